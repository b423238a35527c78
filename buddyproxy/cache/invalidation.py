"""What a response shows about others than the one it answers: that they no longer hold, or that it is one of them, too.

RFC 9111, 4.4; RFC 9875, 3; RFC 9110, 9.3.3.
"""

from urllib.parse import urljoin, urlsplit

from attrs import evolve

from buddyproxy.cache.conclude import Arrival
from buddyproxy.cache.directives import response_cache_control
from buddyproxy.cache.freshness import explicit_lifetime
from buddyproxy.cache.policy import Policy
from buddyproxy.cache.structured import strings
from buddyproxy.message import Request


def invalidated(arrival: Arrival, policy: Policy) -> tuple[bytes, ...]:
    """Return the URIs whose stored responses no longer hold: the target's, and those named beside it (RFC 9111, 4.4).

    Only URIs of the target's own origin count: nobody speaks for another's.
    """
    if not _changes(arrival, policy):
        return ()
    named = [value for name in (b"location", b"content-location") for value in arrival.response.headers.get_all(name)]
    uris = [arrival.uri]
    for reference in named:
        uri = _resolved(arrival.uri, reference)
        if uri is not None and _origin(uri) == _origin(arrival.uri):
            uris.append(uri)
    return tuple(dict.fromkeys(uris))


def invalidated_groups(arrival: Arrival, policy: Policy) -> tuple[bytes, ...]:
    """Return the groups whose stored responses no longer hold, by Cache-Group-Invalidation (RFC 9875, 3)."""
    value = arrival.response.headers.combined(b"cache-group-invalidation")
    return strings(value) if value is not None and _changes(arrival, policy) else ()


def as_get(arrival: Arrival, policy: Policy) -> Request | None:
    """Return the GET request that the response to a POST answers as well; None where it says no such thing.

    Where POST is stored in its own right, it stays apart.

    It must name the target as what its content is, and say itself how long that holds (RFC 9110, 9.3.3).
    """
    headers = arrival.response.headers
    location = headers.get(b"content-location")
    if arrival.request.method != b"POST" or location is None or policy.caches(b"POST"):
        return None
    directives = response_cache_control(headers, policy.targeted)
    lifetime = explicit_lifetime(headers, directives, arrival.response_time)
    if arrival.response.status != 200 or lifetime is None or _resolved(arrival.uri, location) != arrival.uri:
        return None
    asked = arrival.request.headers.without({b"content-type", b"content-length", b"content-encoding"})
    return evolve(arrival.request, method=b"GET", headers=asked, body=b"")


def _changes(arrival: Arrival, policy: Policy) -> bool:
    """Return whether the request may have changed something at the origin."""
    method = arrival.request.method
    safe = method in (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PROPFIND", b"REPORT", b"SEARCH", b"QUERY")
    # A method whose responses the mapping caches is a question there, not a change.
    return not safe and not policy.caches(method) and 200 <= arrival.response.status < 400


def _resolved(base: bytes, reference: bytes) -> bytes | None:
    """Return the absolute URI that `reference` stands for, without its fragment; None where it is none."""
    try:
        return urljoin(base, reference.strip(b" \t")).partition(b"#")[0]
    except ValueError:
        return None


def _origin(uri: bytes) -> tuple[bytes, bytes]:
    parts = urlsplit(uri)
    return parts.scheme.lower(), parts.netloc.lower()
