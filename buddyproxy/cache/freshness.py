"""Freshness: how long a response may be reused, and how old it is (RFC 9111, 4.2)."""

from typing import Final

from buddyproxy.cache.dates import parse_date
from buddyproxy.cache.directives import LONGEST, CacheControl, cache_control, delta_seconds
from buddyproxy.cache.policy import Policy
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.message import Headers, Response

# RFC 9110, 15.1. 206 is left out: partial responses are not stored yet.
HEURISTICALLY_CACHEABLE: Final = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})

# RFC 9111, 4.2.2 suggests a tenth of the time since the last modification; a day bounds the damage of a wrong guess.
HEURISTIC_FRACTION: Final = 0.1
HEURISTIC_LIMIT: Final = 86400.0


def freshness_lifetime(response: Response, policy: Policy, response_time: float) -> float | None:
    """Return the freshness lifetime in seconds, None where neither the response nor the policy gives it one."""
    if policy.override_origin and policy.default_ttl is not None and response.status < 400:
        return policy.default_ttl
    explicit = explicit_lifetime(response.headers, cache_control(response.headers), response_time)
    if explicit is not None:
        return explicit
    if response.status in policy.error_ttl:
        return policy.error_ttl[response.status]
    if response.status >= 400 and policy.error_lifetime is not None:
        return policy.error_lifetime
    if policy.default_ttl is not None and response.status < 400:
        return policy.default_ttl if response.status in HEURISTICALLY_CACHEABLE else None
    return _heuristic(response, response_time)


def heuristically_cacheable(response: Response) -> bool:
    """Return whether `response` may be stored without a lifetime of its own (RFC 9111, 3 and 4.2.2)."""
    return response.status in HEURISTICALLY_CACHEABLE or cache_control(response.headers).permits(b"public")


def explicit_lifetime(headers: Headers, directives: CacheControl, response_time: float) -> float | None:
    """Return the lifetime the origin itself gave, by s-maxage, max-age or Expires in this order (RFC 9111, 4.2.1)."""
    for name in (b"s-maxage", b"max-age"):
        seconds = directives.seconds(name)
        if seconds is not None:
            return seconds
    expires = headers.get_all(b"expires")
    return _until(expires, headers, response_time) if expires else None


def initial_age(headers: Headers, request_time: float, response_time: float) -> float:
    """Return how old a response was when it arrived, in seconds (RFC 9111, 4.2.3)."""
    apparent = max(0.0, response_time - _date(headers, response_time))
    corrected = _age_value(headers) + (response_time - request_time)
    return max(apparent, corrected)


def current_age(stored: StoredResponse, now: float) -> float:
    """Return how old `stored` is at `now`, in seconds (RFC 9111, 4.2.3)."""
    resident = max(0.0, now - stored.response_time)
    return initial_age(stored.headers, stored.request_time, stored.response_time) + resident


def _until(expires: list[bytes], headers: Headers, response_time: float) -> float:
    """Return the seconds from the response's date to the earliest of `expires`; 0 where one is no date (5.3)."""
    moments = [parse_date(value, response_time) for value in expires]
    known = [moment for moment in moments if moment is not None]
    if len(known) < len(moments):
        return 0.0
    return min(max(0.0, min(known) - _date(headers, response_time)), LONGEST)


def _heuristic(response: Response, response_time: float) -> float | None:
    modified = parse_date(response.headers.get(b"last-modified"), response_time)
    if modified is None or not heuristically_cacheable(response):
        return None
    since = _date(response.headers, response_time) - modified
    return min(max(0.0, since * HEURISTIC_FRACTION), HEURISTIC_LIMIT)


def _date(headers: Headers, response_time: float) -> float:
    """Return when the response was made; the time it arrived where it does not say (RFC 9110, 6.6.1)."""
    date = parse_date(headers.get(b"date"), response_time)
    return response_time if date is None else date


def _age_value(headers: Headers) -> int:
    """Return the Age field's value: the first member where there are several, 0 where it is no number (5.1)."""
    members = headers.members(b"age")
    return delta_seconds(members[0]) if members else 0
