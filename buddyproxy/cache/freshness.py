"""Freshness: how long a response may be reused (RFC 9111, 4.2)."""

from typing import Final

from buddyproxy.cache.age import date_of
from buddyproxy.cache.dates import parse_date
from buddyproxy.cache.directives import LONGEST, CacheControl, response_cache_control
from buddyproxy.cache.policy import Policy
from buddyproxy.message import Headers, Response

# RFC 9110, 15.1.
HEURISTICALLY_CACHEABLE: Final = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})

# RFC 9111, 4.2.2 suggests a tenth of the time since the last modification; a day bounds the damage of a wrong guess.
HEURISTIC_FRACTION: Final = 0.1
HEURISTIC_LIMIT: Final = 86400.0


def freshness_lifetime(
    response: Response, policy: Policy, response_time: float, directives: CacheControl | None = None
) -> float | None:
    """Return the freshness lifetime in seconds, None where neither the response nor the policy gives it one.

    `directives` are those of the response, where they have been read already.
    """
    if policy.override_origin and policy.default_ttl is not None and response.status < 400:
        return policy.default_ttl
    if directives is None:
        directives = response_cache_control(response.headers, policy.targeted)
    explicit = explicit_lifetime(response.headers, directives, response_time)
    if explicit is not None:
        return explicit
    if response.status in policy.error_ttl:
        return policy.error_ttl[response.status]
    if response.status >= 400 and policy.error_lifetime is not None:
        return policy.error_lifetime
    if policy.default_ttl is not None and response.status < 400:
        return policy.default_ttl if response.status in HEURISTICALLY_CACHEABLE else None
    return _heuristic(response, directives, response_time)


def heuristically_cacheable(response: Response, directives: CacheControl) -> bool:
    """Return whether `response` may be stored without a lifetime of its own (RFC 9111, 3 and 4.2.2)."""
    return response.status in HEURISTICALLY_CACHEABLE or directives.permits(b"public")


def explicit_lifetime(headers: Headers, directives: CacheControl, response_time: float) -> float | None:
    """Return the lifetime the origin itself gave, by s-maxage, max-age or Expires in this order (RFC 9111, 4.2.1)."""
    for name in (b"s-maxage", b"max-age"):
        seconds = directives.seconds(name)
        if seconds is not None:
            return seconds
    expires = [] if directives.targeted else headers.get_all(b"expires")
    return _until(expires, headers, response_time) if expires else None


def _until(expires: list[bytes], headers: Headers, response_time: float) -> float:
    """Return the seconds from the response's date to the earliest of `expires`; negative where that came before it.

    What is no date counts as the moment the response was made: already expired (RFC 9111, 5.3).
    """
    made = date_of(headers, response_time)
    moments = (parse_date(value, response_time) for value in expires)
    return min(min(made if moment is None else moment for moment in moments) - made, LONGEST)


def _heuristic(response: Response, directives: CacheControl, response_time: float) -> float | None:
    modified = parse_date(response.headers.get(b"last-modified"), response_time)
    if modified is None or not heuristically_cacheable(response, directives):
        return None
    since = date_of(response.headers, response_time) - modified
    return min(max(0.0, since * HEURISTIC_FRACTION), HEURISTIC_LIMIT)
