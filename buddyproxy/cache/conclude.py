"""The second decision: what becomes of the origin's answer (RFC 9111, 3 and 4.3)."""

from collections.abc import Collection

from attrs import evolve, field, frozen

from buddyproxy.cache.choose import conditions
from buddyproxy.cache.directives import CacheControl, cache_control, request_cache_control
from buddyproxy.cache.freshness import freshness_lifetime, heuristically_cacheable, initial_age
from buddyproxy.cache.policy import Policy
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.cache.vary import selecting_fields
from buddyproxy.message import Headers, Request, Response

# How long a stale response that can be validated is kept, in seconds: a 304 is cheaper than the content.
KEEP_STALE = 86400.0

# What these say holds for the request that got them, not for the resource: a part of it, a condition or expectation
# that failed, fields that were too large (RFC 9110, 15; RFC 6585, 5).
_OF_THE_REQUEST = frozenset({206, 304, 412, 416, 417, 431})

# RFC 9111, 3.2: what a 304 must not change in a stored response, whose content stays as it is.
_NOT_UPDATED = frozenset({b"content-length", b"content-encoding", b"content-range"})

# What says how a response may be reused, or what it is. Where Connection names one, the response comes without it, and
# would seem to be what it is not; no origin means that (RFC 9110, 7.6.1).
_TELLING = frozenset(
    {
        b"age",
        b"cache-control",
        b"cdn-cache-control",
        b"content-encoding",
        b"content-range",
        b"content-type",
        b"date",
        b"etag",
        b"expires",
        b"last-modified",
        b"pragma",
        b"set-cookie",
        b"surrogate-control",
        b"vary",
    }
)

# How old the response was the time before: of no meaning once it is validated, even where the 304 says nothing of it.
_OUTDATED = frozenset({b"age", b"date"})


@frozen
class Arrival:
    """A response whose head arrived, with the request it answers. Times in seconds since the epoch."""

    request: Request
    """As the caller made it: without the conditions of a validation."""
    uri: bytes = field(repr=False)
    key: bytes
    response: Response
    request_time: float
    response_time: float
    framed: bool = True
    """Whether the end of the content will be known from more than the connection's close (RFC 9112, 6.3)."""
    connection: Collection[bytes] = ()
    """What its Connection field named, in lower case: fields of these names are not in `response` any more."""


@frozen
class Store:
    """Keep the response, once its content is whole; `draft` lacks the content only."""

    draft: StoredResponse


@frozen
class Freshen:
    """The stored response was confirmed: keep and serve it, its fields brought up to date."""

    stored: StoredResponse


@frozen
class Refetch:
    """The origin confirmed another response than the one we hold, or one we may not keep: ask again, unconditionally.

    RFC 9111, 4.3.4 and 5.2.2.
    """


@frozen
class Relay:
    """Hand the response on and keep nothing of it."""

    reason: str
    """Why it is not stored: a token for `Cache-Status: detail`."""


Conclusion = Store | Freshen | Refetch | Relay


def conclude(arrival: Arrival, validated: StoredResponse | None, policy: Policy) -> Conclusion:
    """Decide what becomes of a response; `validated` is the stored response the request was made conditional on."""
    if validated is not None and arrival.response.status == 304:
        return _freshen(arrival, validated, policy) if _confirms(arrival.response, validated) else Refetch()
    refusal = _refusal(arrival, policy)
    return Relay(refusal) if refusal else _store(arrival, policy)


def invalidates(request: Request, response: Response, policy: Policy) -> bool:
    """Return whether stored responses for the target URI no longer hold (RFC 9111, 4.4)."""
    safe = request.method in (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PROPFIND", b"REPORT", b"SEARCH", b"QUERY")
    # A method whose responses the mapping caches is a question there, not a change.
    return not safe and not policy.caches(request.method) and 200 <= response.status < 400


def _store(arrival: Arrival, policy: Policy) -> Store | Relay:
    selecting = selecting_fields(arrival.request, arrival.response, policy)
    if selecting is None:
        return Relay("vary-star")
    draft = StoredResponse(
        key=arrival.key,
        selecting=selecting,
        mapping=policy.mapping,
        method=arrival.request.method,
        uri=arrival.uri,
        response=evolve(arrival.response, headers=_storable_fields(arrival.response.headers, policy)),
        body=b"",
        request_time=arrival.request_time,
        response_time=arrival.response_time,
        expires=0.0,
        remove_after=0.0,
    )
    return Store(_timed(draft, policy))


def _timed(stored: StoredResponse, policy: Policy) -> StoredResponse:
    """Return `stored` with the times that follow from its fields."""
    lifetime = freshness_lifetime(stored.response, policy, stored.response_time) or 0.0
    age = initial_age(stored.headers, stored.request_time, stored.response_time)
    expires = stored.response_time + lifetime - age
    keep = KEEP_STALE if conditions(stored) else 0.0
    return evolve(stored, expires=expires, remove_after=expires + keep)


def _storable_fields(headers: Headers, policy: Policy) -> Headers:
    fields = headers.end_to_end()
    return fields if policy.keep_set_cookie else fields.without({b"set-cookie", b"set-cookie2"})


def _refusal(arrival: Arrival, policy: Policy) -> str | None:
    """Return why the response may not be stored, None where it may (RFC 9111, 3)."""
    request, response = arrival.request, arrival.response
    if request.method not in policy.methods:
        return "method"
    if b"no-store" in request_cache_control(request.headers):
        return "request-no-store"
    if refusal := _status_refusal(response.status, policy):
        return refusal
    if not _TELLING.isdisjoint(arrival.connection):
        return "connection"
    directives = cache_control(response.headers)
    if not policy.override_origin and (refusal := _origin_refusal(directives)):
        return refusal
    if policy.shared and b"authorization" in request.headers and not _allows_sharing(directives):
        return "authorization"
    if not arrival.framed:
        # RFC 9111, 3.3: whether such content is whole, nobody can tell.
        return "unframed"
    length = _declared_length(response.headers)
    if length is not None and length > policy.max_size:
        return "too-large"
    if length is not None and length < policy.min_size:
        return "too-small"
    return _freshness_refusal(arrival, directives, policy)


def _status_refusal(status: int, policy: Policy) -> str | None:
    if status < 200 or status in _OF_THE_REQUEST:
        return "status"
    if status >= 400 and not policy.store_errors and status not in policy.error_ttl:
        return "error"
    return None


def _origin_refusal(directives: CacheControl) -> str | None:
    return next((name.decode("ascii") for name in (b"no-store", b"private") if name in directives), None)


def _allows_sharing(directives: CacheControl) -> bool:
    """Return whether the answer to a request with Authorization may be stored for others (RFC 9111, 3.5)."""
    return any(directives.permits(name) for name in (b"public", b"s-maxage", b"must-revalidate"))


def _freshness_refusal(arrival: Arrival, directives: CacheControl, policy: Policy) -> str | None:
    """Return why storing it would be of no use: it could neither be reused nor validated."""
    response = arrival.response
    # Only a GET can be validated.
    named = (response.headers.get(name) for name in (b"etag", b"last-modified"))
    validator = arrival.request.method == b"GET" and any(named)
    lifetime = freshness_lifetime(response, policy, arrival.response_time)
    if lifetime is None:
        # RFC 9111, 3: a status that is not cacheable by itself needs the origin's or the operator's word, which a
        # lifetime that is not None amounts to.
        return None if validator and heuristically_cacheable(response) else "no-freshness"
    age = initial_age(response.headers, arrival.request_time, arrival.response_time)
    stale = age >= lifetime or (b"no-cache" in directives and not policy.override_origin)
    return "stale" if stale and not validator else None


def _declared_length(headers: Headers) -> int | None:
    value = headers.get(b"content-length") or b""
    # Nineteen digits already exceed any size: never convert thousands of them.
    return int(value[:19]) if value.isdigit() else None


def _confirms(response: Response, validated: StoredResponse) -> bool:
    """Return whether a 304 is about the stored response: it names the same entity tag, or none (RFC 9111, 4.3.4)."""
    etag = response.headers.get(b"etag")
    return etag is None or _opaque(etag) == _opaque(validated.headers.get(b"etag") or b"")


def _opaque(etag: bytes) -> bytes:
    return etag.strip(b" \t").removeprefix(b"W/")


def _freshen(arrival: Arrival, stored: StoredResponse, policy: Policy) -> Freshen | Refetch:
    """Return `stored` with the fields a 304 brought in place of its own (RFC 9111, 3.2), if they let us keep it."""
    brought = _storable_fields(arrival.response.headers, policy).without(_NOT_UPDATED)
    response = evolve(stored.response, headers=stored.headers.without(_OUTDATED).replacing(*brought))
    selecting = selecting_fields(arrival.request, response, policy)
    forbidden = not policy.override_origin and _origin_refusal(cache_control(response.headers))
    if selecting is None or forbidden or not _TELLING.isdisjoint(arrival.connection):
        return Refetch()
    freshened = evolve(
        stored,
        selecting=selecting,
        response=response,
        request_time=arrival.request_time,
        response_time=arrival.response_time,
    )
    return Freshen(_timed(freshened, policy))
