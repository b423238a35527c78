"""The first decision: how to answer a request, given what is stored (RFC 9111, 4)."""

from collections.abc import Sequence

from attrs import frozen

from buddyproxy.cache.directives import CacheControl, cache_control, request_cache_control
from buddyproxy.cache.freshness import current_age, freshness_lifetime
from buddyproxy.cache.policy import Policy
from buddyproxy.cache.status import Reason
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.cache.vary import selects
from buddyproxy.message import Headers, Request

# Preconditions and ranges that a stored response does not answer yet (RFC 9110, 13.1 and 14.2).
_UNANSWERED = (b"range", b"if-match", b"if-unmodified-since", b"if-range")

# What a validation replaces: the caller's own validators are answered from what comes back.
CONDITIONAL = frozenset({b"if-none-match", b"if-modified-since"})


@frozen
class Reuse:
    """Serve this stored response without contacting the origin."""

    stored: StoredResponse
    age: int
    ttl: int
    """Remaining freshness lifetime; negative where a stale response was asked for (`max-stale`)."""


@frozen
class Validate:
    """Ask the origin whether this stored response still holds."""

    stored: StoredResponse
    conditions: tuple[tuple[bytes, bytes], ...]
    reason: Reason


@frozen
class Forward:
    """Ask the origin."""

    reason: Reason


@frozen
class GatewayTimeout:
    """Answer 504: the caller wants no forwarding, and nothing stored will do (RFC 9111, 5.2.1.7)."""

    reason: Reason


Choice = Reuse | Validate | Forward | GatewayTimeout


def choose(request: Request, stored: Sequence[StoredResponse], policy: Policy, now: float) -> Choice:
    """Select how to answer `request` at `now`, given the stored responses of its key, latest first."""
    directives = request_cache_control(request.headers)
    choice = _choose(request, directives, stored, policy, now)
    if b"only-if-cached" in directives and not isinstance(choice, Reuse):
        return GatewayTimeout(choice.reason)
    return choice


def conditions(stored: StoredResponse) -> tuple[tuple[bytes, bytes], ...]:
    """Return the fields that make a request conditional on `stored`; none where it cannot be validated (4.3.1)."""
    if stored.method != b"GET":
        # A failed If-None-Match would be answered 412, not 304 (RFC 9110, 13.1.2).
        return ()
    validators = ((b"If-None-Match", b"etag"), (b"If-Modified-Since", b"last-modified"))
    return tuple((name, value) for name, field in validators if (value := stored.headers.get(field)))


def _choose(
    request: Request, directives: CacheControl, stored: Sequence[StoredResponse], policy: Policy, now: float
) -> Reuse | Validate | Forward:
    if not policy.caches(request.method):
        return Forward("method")
    if b"no-store" in directives:
        return Forward("request")
    if any(name in request.headers for name in _UNANSWERED):
        return Forward("bypass")
    selected = next((candidate for candidate in stored if selects(request, candidate, policy)), None)
    if selected is None:
        return Forward("vary-miss" if stored else "uri-miss")
    age = current_age(selected, now)
    lifetime = freshness_lifetime(selected.response, policy, selected.response_time) or 0.0
    refusal = _refusal(directives, _binding(selected, policy), age, lifetime)
    if refusal is None and selected.outdated:
        # Purged, softly: whoever did that knows better than the fields, and than a caller's max-stale.
        refusal = "stale"
    if refusal is None:
        return Reuse(selected, int(age), int(lifetime - age))
    fields = conditions(selected)
    return Validate(selected, fields, refusal) if fields else Forward(refusal)


def _refusal(asked: CacheControl, binding: CacheControl, age: float, lifetime: float) -> Reason | None:
    """Return why a selected response may not be reused as it is; None where it may (RFC 9111, 4.2.4 and 5.2.1)."""
    if b"no-cache" in asked:
        return "request"
    if b"no-cache" in binding:
        return "stale"
    max_age, min_fresh = asked.seconds(b"max-age"), asked.seconds(b"min-fresh")
    if max_age is not None and age > max_age:
        return "request"
    if min_fresh is not None and lifetime - age < min_fresh:
        return "request"
    if age < lifetime or _tolerated(asked, binding, age - lifetime):
        return None
    return "stale"


def _tolerated(asked: CacheControl, binding: CacheControl, staleness: float) -> bool:
    """Return whether the caller accepts a response stale by `staleness` seconds, and the origin lets it."""
    if any(name in binding for name in (b"must-revalidate", b"proxy-revalidate", b"s-maxage")):
        return False
    tolerance = asked.tolerance(b"max-stale")
    return tolerance is not None and staleness <= tolerance


def _binding(stored: StoredResponse, policy: Policy) -> CacheControl:
    """Return the directives of `stored` that bind us."""
    return cache_control(Headers() if policy.override_origin else stored.headers)
