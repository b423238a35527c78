"""Durations and sizes as people write them: `"1h30m"`, `"7d"`, `"10MB"`.

The configuration and the command line both read them here. A size's K, M, G and T are powers of 1024, with or without
the `i` and the `B`, as in the configuration files of other proxies; upper and lower case mean the same there. Units of
time are lower case and come from the longest to the shortest, each at most once.
"""

import re
from typing import Final

KB: Final = 2**10
MB: Final = 2**20

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR

LONGEST: Final = 2.0**31
"""The longest duration in seconds, some 68 years: what `max-age` can say at most (RFC 9111, 1.2.2)."""
LARGEST: Final = 2**63 - 1
"""The largest size in bytes: what a column of the store holds."""

_SECONDS: Final = {"w": 7 * DAY, "d": DAY, "h": HOUR, "m": 60.0, "s": 1.0, "ms": 0.001}
_FACTORS: Final = {"": 1, "k": KB, "m": MB, "g": 2**30, "t": 2**40}

_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"
_BARE: Final = re.compile(_NUMBER)
_DURATION: Final = re.compile("".join(rf"(?:(?P<{unit}>{_NUMBER}) ?{unit} ?)?" for unit in _SECONDS))
_SIZE: Final = re.compile(r"(?P<whole>[0-9]{1,30})(?P<part>\.[0-9]{1,30})? *(?P<unit>[kmgt]?)(?:i?b)?", re.IGNORECASE)

_DURATION_WANTED: Final = (
    'expected a duration from 0 to 68 years: seconds, or a text such as "90", "500ms", "15m", "1h30m", "7d" '
    "(units w, d, h, m, s, ms)"
)
_SIZE_WANTED: Final = (
    'expected a size: a whole number of bytes, or a text such as "512", "64KB", "10MB", "1GB" (powers of 1024)'
)


def parse_duration(value: object) -> float:
    """Return the seconds that `value`, a number of seconds or a text with units, stands for.

    Raises `ValueError`, saying what is accepted.
    """
    seconds = _seconds(value)
    if seconds is None or not 0 <= seconds <= LONGEST:
        raise ValueError(_DURATION_WANTED)
    return float(seconds)


def format_duration(seconds: float) -> str:
    """Return `seconds`, to the millisecond, as `parse_duration` reads it: `"1h30m"`."""
    left = round(seconds * 1000)
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, round(_SECONDS[unit] * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def parse_size(value: object) -> int:
    """Return the bytes that `value`, a number of bytes or a text with a unit, stands for.

    Raises `ValueError`, saying what is accepted.
    """
    size = _bytes(value)
    if size is None or not 0 <= size <= LARGEST:
        raise ValueError(_SIZE_WANTED)
    return size


def _seconds(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str):
        return None
    text = value.strip(" ")
    if _BARE.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text)
    if not text or not found:
        return None
    return sum(float(count) * _SECONDS[unit] for unit, count in found.groupdict().items() if count)


def _bytes(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    found = _SIZE.fullmatch(value.strip(" ")) if isinstance(value, str) else None
    if not found:
        return None
    factor = _FACTORS[found["unit"].lower()]
    return int(found["whole"]) * factor + int(float(found["part"] or 0) * factor)
