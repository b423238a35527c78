"""HTTP dates (RFC 9110, 5.6.7), read strictly but for upper and lower case (RFC 9111, 4.2): anything else is no date."""

import re
from calendar import timegm
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Final

_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_TIME: Final = rb"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_MONTH: Final = rb"(?P<month>" + b"|".join(_MONTHS) + rb")"

_FORMS: Final = (
    re.compile(rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>\d\d) " + _MONTH + rb" (?P<year>\d{4}) " + _TIME + rb" GMT"),
    re.compile(
        rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>\d\d)-"
        + _MONTH
        + rb"-(?P<year>\d\d) "
        + _TIME
        + rb" GMT"
    ),
    re.compile(rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) " + _MONTH + rb" (?P<day>[ \d]\d) " + _TIME + rb" (?P<year>\d{4})"),
)


def parse_date(value: bytes | None, now: float) -> float | None:
    """Return the seconds since the epoch that `value` names, or None where it is not a date.

    `now` places the two-digit years of the RFC 850 form: at most 50 years ahead.
    """
    if value is None:
        return None
    for form in _FORMS:
        if match := form.fullmatch(value.strip(b" \t")):
            return _seconds(match, now)
    return None


def format_date(seconds: float) -> bytes:
    """Return `seconds` since the epoch as an IMF-fixdate."""
    return formatdate(seconds, usegmt=True).encode("ascii")


def _seconds(match: re.Match[bytes], now: float) -> float | None:
    year = int(match["year"])
    if len(match["year"]) == 2:
        this_year = datetime.fromtimestamp(now, UTC).year
        year += this_year - this_year % 100
        if year > this_year + 50:
            year -= 100
    month = _MONTHS.index(match["month"]) + 1
    # A leap second is written :60; timegm carries it over.
    second = min(int(match["second"]), 60)
    try:
        datetime(year, month, int(match["day"]), int(match["hour"]), int(match["minute"]), min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    return timegm((year, month, int(match["day"]), int(match["hour"]), int(match["minute"]), second))
