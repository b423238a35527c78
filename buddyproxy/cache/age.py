"""Age: how old a response was when it arrived, and is now (RFC 9111, 4.2.3)."""

from buddyproxy.cache.dates import parse_date
from buddyproxy.cache.directives import delta_seconds
from buddyproxy.message import Headers


def date_of(headers: Headers, response_time: float) -> float:
    """Return when a response was made; the time it arrived where it does not say (RFC 9110, 6.6.1)."""
    date = parse_date(headers.get(b"date"), response_time)
    return response_time if date is None else date


def initial_age(headers: Headers, request_time: float, response_time: float) -> float:
    """Return how old a response was when it arrived, in seconds (RFC 9111, 4.2.3)."""
    apparent = max(0.0, response_time - date_of(headers, response_time))
    corrected = _age_value(headers) + (response_time - request_time)
    return max(apparent, corrected)


def _age_value(headers: Headers) -> int:
    """Return the Age field's value: the first member where there are several, 0 where it is no number (5.1)."""
    members = headers.members(b"age")
    return delta_seconds(members[0]) if members else 0
