"""The second decision: what becomes of the origin's answer (RFC 9111, 3 and 4.3)."""

from collections.abc import Collection, Sequence

from attrs import evolve, field, frozen

from buddyproxy.cache.age import initial_age
from buddyproxy.cache.answering import etags_match
from buddyproxy.cache.choose import Question, strong_etag
from buddyproxy.cache.directives import CacheControl, request_cache_control, response_cache_control
from buddyproxy.cache.freshness import freshness_lifetime, heuristically_cacheable
from buddyproxy.cache.policy import Policy
from buddyproxy.cache.ranges import DIGESTS, Part
from buddyproxy.cache.search import search_of
from buddyproxy.cache.staleness import ERRORS, Stale, instead_of_failure
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.cache.vary import selecting_fields
from buddyproxy.cache.worth import is_judged, is_readable
from buddyproxy.message import Headers, Request, Response

# How long a stale response is kept, in seconds: a 304 is cheaper than the content, and a stale answer than none.
KEEP_STALE = 86400.0

# What these say holds for the request that got them, not for the resource: a condition or expectation that failed
# (RFC 9110, 15), or that is missing, too many requests, fields that were too large, a network that wants a login first
# (RFC 6585, 3 to 6, which forbids to store them).
_OF_THE_REQUEST = frozenset({304, 412, 416, 417, 428, 429, 431, 511})

# The final statuses whose meaning for caches is known here (RFC 9111, 5.2.2.3): those of RFC 9110, 15, and 451.
_UNDERSTOOD = frozenset(
    {200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 305, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408}
    | {409, 410, 411, 413, 414, 415, 421, 422, 426, 451, 500, 501, 502, 503, 504, 505}
)

# RFC 9111, 3.2: what a 304 must not change in a stored response, whose content stays as it is.
_NOT_UPDATED = DIGESTS | {b"content-length", b"content-encoding", b"content-range"}

# What says how a response may be reused, or what it is. Where Connection names one, the response comes without it, and
# would seem to be what it is not; no origin means that (RFC 9110, 7.6.1).
_TELLING = frozenset(
    {
        b"age",
        b"cache-control",
        b"content-encoding",
        b"content-range",
        b"content-type",
        b"date",
        b"etag",
        b"expires",
        b"last-modified",
        b"pragma",
        b"set-cookie",
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
    onto: StoredResponse | None = None
    """A part of the same content, which this one goes with (see `ranges.assembled`)."""


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
    outdated: StoredResponse | None = None
    """What it shows to hold no longer, marked as stale."""


Conclusion = Store | Freshen | Refetch | Relay | Stale


def conclude(arrival: Arrival, question: Question, policy: Policy) -> Conclusion:
    """Decide what becomes of the response to `question`."""
    status = arrival.response.status
    if question.nominated and status == 304:
        return _confirmed(arrival, question.nominated, policy)
    if status in ERRORS:
        stale = instead_of_failure(arrival.request, question.stale, policy, arrival.response_time, answered=True)
        if stale is not None:
            return stale
    if arrival.request.method == b"HEAD" and question.stored is not None and status == 200:
        return _freshen_by_head(arrival, question.stored, policy)
    stored = _store(arrival, question.stored, policy)
    return Relay(stored.reason, _superseded(question, status)) if isinstance(stored, Relay) else stored


def _store(arrival: Arrival, held: StoredResponse | None, policy: Policy) -> Store | Relay:
    directives = response_cache_control(arrival.response.headers, policy.targeted)
    refusal = _refusal(arrival, directives, policy)
    if refusal is not None:
        return Relay(refusal)
    selecting = selecting_fields(arrival.request, arrival.response, policy)
    if selecting is None:
        return Relay("vary-star")
    lifetime = freshness_lifetime(arrival.response, policy, arrival.response_time, directives)
    age = initial_age(arrival.response.headers, arrival.request_time, arrival.response_time)
    refusal = _freshness_refusal(arrival, directives, lifetime, age, policy)
    if refusal is not None:
        return Relay(refusal)
    expires = _expires(arrival, lifetime, age)
    draft = StoredResponse(
        key=arrival.key,
        selecting=selecting,
        mapping=policy.mapping,
        method=arrival.request.method,
        uri=arrival.uri,
        response=_with_fields(arrival.response, _storable_fields(arrival.response.headers, directives, policy)),
        body=b"",
        request_time=arrival.request_time,
        response_time=arrival.response_time,
        expires=expires,
        remove_after=expires + KEEP_STALE,
    )
    return _store_part(arrival.request, draft, held) if draft.partial else Store(draft)


def _store_part(request: Request, draft: StoredResponse, held: StoredResponse | None) -> Store | Relay:
    """Return how to store a part: with what is held of the same content, if it goes with that (RFC 9111, 3.4)."""
    onto = held if held is not None and _belong_together(held, draft) else None
    if onto is None and b"if-range" in request.headers:
        # RFC 9110, 15.3.7: such a part comes without the fields that the caller has already.
        return Relay("partial")
    return Store(draft, onto)


def _belong_together(held: StoredResponse, part: StoredResponse) -> bool:
    """Return whether two parts are of one content, by a strong validator, and for the same requests.

    A part may come without Vary, and then has it from the other (RFC 9110, 15.3.7).
    """
    etag = strong_etag(part)
    alike = b"vary" not in part.headers or part.selecting == held.selecting
    return alike and held.partial and etag is not None and etag == strong_etag(held)


def _expires(arrival: Arrival, lifetime: float | None, age: float) -> float:
    """Return when a response stops being fresh; expired long before it was made, it is kept like others."""
    return arrival.response_time + max(0.0, lifetime or 0.0) - age


def _with_fields(response: Response, headers: Headers) -> Response:
    return response if headers is response.headers else evolve(response, headers=headers)


def _storable_fields(headers: Headers, directives: CacheControl, policy: Policy) -> Headers:
    """Return the fields to be stored: those that are for the whole resource and all who ask (RFC 9111, 3.1)."""
    fields = headers.end_to_end()
    # RFC 9111, 5.2.2.4 and 5.2.2.7: some are not to be reused unasked, some not at all.
    kept_out = directives.limited_to(b"no-cache") | directives.limited_to(b"private")
    if not policy.keep_set_cookie:
        kept_out |= {b"set-cookie", b"set-cookie2"}
    return fields.without(kept_out) if kept_out else fields


def _refusal(arrival: Arrival, directives: CacheControl, policy: Policy) -> str | None:
    """Return why the response may not be stored, None where it may (RFC 9111, 3)."""
    request, response = arrival.request, arrival.response
    if request.method not in policy.methods:
        return "method"
    if b"no-store" in request_cache_control(request.headers):
        return "request-no-store"
    if refusal := _status_refusal(request, response, policy):
        return refusal
    if _hides(arrival, policy):
        return "connection"
    if not policy.override_origin and (refusal := _origin_refusal(directives, response.status)):
        return refusal
    if policy.shared and b"authorization" in request.headers and not _allows_sharing(directives):
        return "authorization"
    if not arrival.framed:
        # RFC 9111, 3.3: whether such content is whole, nobody can tell.
        return "unframed"
    return _content_refusal(response.headers, policy)


def _content_refusal(headers: Headers, policy: Policy) -> str | None:
    if is_judged(headers, policy) and not is_readable(headers):
        return "unreadable"
    length = _declared_length(headers)
    if length is not None and length > policy.max_size:
        return "too-large"
    if length is not None and length < policy.min_size:
        return "too-small"
    return None


def _hides(arrival: Arrival, policy: Policy) -> bool:
    """Return whether Connection took a field away without which nobody knows what may be done with the response."""
    return bool(arrival.connection) and not _TELLING.union(policy.targeted).isdisjoint(arrival.connection)


def _status_refusal(request: Request, response: Response, policy: Policy) -> str | None:
    status = response.status
    if status < 200 or status in _OF_THE_REQUEST:
        return "status"
    if status == 206 and not (request.method == b"GET" and b"range" in request.headers and Part.of(response.headers)):
        return "partial"
    if status >= 400 and not policy.store_errors and status not in policy.error_ttl:
        return "error"
    return None


def _origin_refusal(directives: CacheControl, status: int) -> str | None:
    if b"must-understand" in directives and status not in _UNDERSTOOD:
        return "must-understand"
    # RFC 9111, 5.2.2.3: no-store stands beside it for those who do not know it.
    if b"no-store" in directives and not directives.permits(b"must-understand"):
        return "no-store"
    return "private" if directives.applies(b"private") else None


def _allows_sharing(directives: CacheControl) -> bool:
    """Return whether the answer to a request with Authorization may be stored for others (RFC 9111, 3.5)."""
    return any(directives.permits(name) for name in (b"public", b"s-maxage", b"must-revalidate"))


def _freshness_refusal(
    arrival: Arrival, directives: CacheControl, lifetime: float | None, age: float, policy: Policy
) -> str | None:
    """Return why storing it would be of no use: it could neither be reused nor validated."""
    headers = arrival.response.headers
    # Only a GET can be validated.
    validator = arrival.request.method == b"GET" and bool(headers.get(b"etag") or headers.get(b"last-modified"))
    if lifetime is None:
        # RFC 9111, 3: a status that is not cacheable by itself needs the origin's or the operator's word, which a
        # lifetime that is not None amounts to.
        return None if validator and heuristically_cacheable(arrival.response, directives) else "no-freshness"
    if directives.applies(b"no-cache") and not policy.override_origin:
        return None if validator else "stale"
    named = directives.seconds(b"stale-while-revalidate")
    grace = policy.stale_while_revalidate if named is None else named
    return "stale" if age >= lifetime + grace and not validator else None


def _declared_length(headers: Headers) -> int | None:
    value = headers.get(b"content-length") or b""
    # Nineteen digits already exceed any size: never convert thousands of them.
    return int(value[:19]) if value.isdigit() else None


def _superseded(question: Question, status: int) -> StoredResponse | None:
    """Return what a response that is not kept shows to be out of date; None where it is only about this request."""
    of_the_resource = status not in _OF_THE_REQUEST and (status < 400 or status in (404, 410))
    # Of a part that did not suffice, the rest says nothing.
    held = question.stored if question.reason != "partial" else None
    return held.marked_outdated() if held is not None and of_the_resource else None


def _confirmed(arrival: Arrival, nominated: Sequence[StoredResponse], policy: Policy) -> Freshen | Refetch:
    """Return which of `nominated` a 304 is about: the one of its validator, or the only one (RFC 9111, 4.3.4)."""
    etag, modified = (arrival.response.headers.get(name) for name in (b"etag", b"last-modified"))
    if etag is not None:
        candidates = [stored for stored in nominated if etags_match(etag, stored.headers.get(b"etag") or b"")]
    elif len(nominated) == 1:
        candidates = [stored for stored in nominated if modified in (None, stored.headers.get(b"last-modified"))]
    else:
        candidates = []
    if not candidates:
        return Refetch()
    freshened = _freshen(arrival, candidates[0], policy)
    strong = etag is not None and etag.startswith(b'"')
    if policy.shared and isinstance(freshened, Freshen) and strong and not strong_etag(candidates[0]):
        # To the letter, a strong entity tag updates only what has the same: this one is confirmed, and stays as it is.
        return Freshen(candidates[0])
    return freshened


def _freshen_by_head(arrival: Arrival, stored: StoredResponse, policy: Policy) -> Freshen | Relay:
    """Return `stored` brought up to date by the response to a HEAD, or as out of date where they differ (4.3.5)."""
    headers = arrival.response.headers
    length = headers.get(b"content-length")
    part = Part.of(stored.headers) if stored.partial else None
    total = len(stored.body) if part is None else part.total
    same = all(headers.get(name) in (None, stored.headers.get(name)) for name in (b"etag", b"last-modified"))
    if same and length in (None, b"%d" % total):
        if part is not None:
            # It still holds, but answers no HEAD.
            return Relay("method")
        freshened = _freshen(arrival, stored, policy) if stored.response.status == 200 else None
        if isinstance(freshened, Freshen):
            return freshened
    return Relay("method", stored.marked_outdated())


def _keepable(stored: StoredResponse, freshened: Response, policy: Policy) -> bool:
    """Return whether `stored` may be kept once its head is `freshened`."""
    directives = response_cache_control(freshened.headers, policy.targeted)
    if not policy.override_origin and _origin_refusal(directives, freshened.status):
        return False
    if policy.no_vary_search and search_of(freshened.headers) != search_of(stored.headers):
        # It is found by what it said of its query; having changed that, it would be found by what it does not say.
        return False
    # RFC 9111, 3.5: whether it answered a request with Authorization, and so rested on the leave to share it, nobody
    # knows any more.
    shared = policy.shared and _allows_sharing(response_cache_control(stored.headers, policy.targeted))
    return not shared or _allows_sharing(directives)


def _freshen(arrival: Arrival, stored: StoredResponse, policy: Policy) -> Freshen | Refetch:
    """Return `stored` with the fields that `arrival` brought in place of its own (3.2), if they let us keep it."""
    brought = arrival.response.headers.without(_NOT_UPDATED)
    if b"etag" in stored.headers and not (stored.headers.get(b"etag") or b"").startswith(b'"'):
        # A strong tag would say more of the stored content than is known (RFC 9110, 8.8.1).
        brought = brought.without({b"etag"})
    fields = stored.headers.without(_OUTDATED).replacing(*brought)
    directives = response_cache_control(fields, policy.targeted)
    response = evolve(stored.response, headers=_storable_fields(fields, directives, policy))
    selecting = selecting_fields(arrival.request, response, policy)
    if selecting is None or _hides(arrival, policy) or not _keepable(stored, response, policy):
        return Refetch()
    lifetime = freshness_lifetime(response, policy, arrival.response_time)
    age = initial_age(response.headers, arrival.request_time, arrival.response_time)
    expires = _expires(arrival, lifetime, age)
    return Freshen(
        evolve(
            stored,
            selecting=selecting,
            response=response,
            request_time=arrival.request_time,
            response_time=arrival.response_time,
            expires=expires,
            remove_after=expires + KEEP_STALE,
        )
    )
