"""HTTP dates (RFC 9110, 5.6.7), read strictly, but without regard to upper and lower case (RFC 9111, 4.2)."""

import re
from datetime import UTC, date, datetime
from email.utils import formatdate
from functools import lru_cache
from typing import Final

_MONTH_NAMES: Final = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_MONTHS: Final = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_EPOCH: Final = date(1970, 1, 1).toordinal()
_TIME: Final = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_MONTH: Final = rb"(?P<month>" + b"|".join(_MONTHS) + rb")"

_DAY: Final = rb"(?:mon|tue|wed|thu|fri|sat|sun)"
_LONG_DAY: Final = rb"(?:mon|tues|wednes|thurs|fri|satur|sun)day"

# "Sun, 06 Nov 1994 08:49:37 GMT"; the obsolete forms are never of that length.
_FIXDATE_LENGTH: Final = 29
_FIXDATE: Final = re.compile(_DAY + rb", (?P<day>\d\d) " + _MONTH + rb" (?P<year>\d{4}) " + _TIME + rb" gmt")
_OBSOLETE: Final = (
    re.compile(_LONG_DAY + rb", (?P<day>\d\d)-" + _MONTH + rb"-(?P<year>\d\d) " + _TIME + rb" gmt"),
    re.compile(_DAY + b" " + _MONTH + rb" (?P<day>[ \d]\d) " + _TIME + rb" (?P<year>\d{4})"),
)


def parse_date(value: bytes | None, now: float) -> float | None:
    """Return the seconds since the epoch that `value` names, or None where it is not a date.

    `now` places the two-digit years of the RFC 850 form: at most 50 years ahead.
    """
    if value is None:
        return None
    value = value.strip(b" \t")
    if len(value) == _FIXDATE_LENGTH:
        return _fixdate(value)
    for form in _OBSOLETE:
        if match := form.fullmatch(value.lower()):
            return _seconds(match, now)
    return None


def format_date(seconds: float) -> bytes:
    """Return `seconds` since the epoch as an IMF-fixdate."""
    return formatdate(seconds, usegmt=True).encode("ascii")


@lru_cache(maxsize=256)
def _fixdate(value: bytes) -> float | None:
    """Return the seconds that an IMF-fixdate names. All that comes in one second has the same: it is remembered."""
    match = _FIXDATE.fullmatch(value.lower())
    return None if match is None else _seconds(match, 0.0)


def _seconds(match: re.Match[bytes], now: float) -> float | None:
    day, month, year = int(match["day"]), _MONTHS[match["month"]], int(match["year"])
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    if len(match["year"]) == 2:
        today = datetime.fromtimestamp(now, UTC).timetuple()
        year += today.tm_year - today.tm_year % 100
        if (year - 50, month, day, hour, minute, second) > today[:6]:
            year -= 100
    # A leap second is written :60, and is the next one here.
    if hour > 23 or minute > 59 or second > 60:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None
    return days * 86400 + hour * 3600 + minute * 60 + second
