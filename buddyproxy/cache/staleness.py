"""Whether a stale response may be reused after all (RFC 9111, 4.2.4; RFC 5861)."""

from typing import Final

from attrs import frozen

from buddyproxy.cache.directives import NONE, CacheControl, request_cache_control, response_cache_control
from buddyproxy.cache.freshness import freshness_lifetime
from buddyproxy.cache.policy import Policy
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.message import Request

ERRORS: Final = frozenset({500, 502, 503, 504})
"""The statuses by which an origin says that it failed (RFC 5861, 4)."""


@frozen
class Standing:
    """How a stored response stands at one moment. Times in seconds."""

    age: float
    lifetime: float
    directives: CacheControl
    """Those of the response that bind us."""
    reusable_stale: bool
    """Whether nothing forbids to reuse it when it is stale."""

    @property
    def staleness(self) -> float:
        """Return for how long it has been stale; negative while it is fresh."""
        return self.age - self.lifetime

    def reusable_within(self, grace: float) -> bool:
        """Return whether it may be reused in the `grace` seconds after it became stale; no grace is no leave at all."""
        return self.reusable_stale and grace > 0 and self.staleness <= grace


@frozen
class Stale:
    """Serve this stored response although it is stale."""

    stored: StoredResponse
    age: int
    ttl: int
    """Remaining freshness lifetime: 0 or negative."""


def standing(stored: StoredResponse, policy: Policy, now: float) -> Standing:
    """Return how `stored` stands at `now`."""
    said = response_cache_control(stored.headers, policy.targeted)
    lifetime = freshness_lifetime(stored.response, policy, stored.response_time, said) or 0.0
    directives = NONE if policy.override_origin else said
    forbidden = (
        stored.outdated
        or b"must-revalidate" in directives
        or directives.applies(b"no-cache")
        # RFC 9111, 5.2.2.8 and 5.2.2.10: they speak to shared caches.
        or (policy.shared and (b"proxy-revalidate" in directives or b"s-maxage" in directives))
    )
    return Standing(stored.age(now), lifetime, directives, not forbidden)


def tolerated(asked: CacheControl, standing: Standing) -> bool:
    """Return whether the caller puts up with a response as stale as this one (5.2.1.2), and may."""
    return standing.reusable_within(asked.tolerance(b"max-stale") or 0)


def while_revalidating(asked: CacheControl, standing: Standing, policy: Policy) -> bool:
    """Return whether it may be reused while it is validated behind the caller's back (RFC 5861, 3)."""
    window = standing.directives.seconds(b"stale-while-revalidate")
    grace = policy.stale_while_revalidate if window is None else window
    return standing.reusable_within(grace) and not _particular(asked)


def instead_of_failure(
    request: Request, stored: StoredResponse | None, policy: Policy, now: float, *, answered: bool
) -> Stale | None:
    """Return what may be served of `stored` where the origin failed to answer `request`; None where nothing may.

    Where it `answered`, with one of `ERRORS`, that takes the leave of the caller, the origin or the operator (RFC 5861,
    4). Where it could not be reached at all, it takes only that nobody forbade it (RFC 9111, 4.2.4).
    """
    if stored is None:
        return None
    asked = request_cache_control(request.headers)
    stands = standing(stored, policy, now)
    if not stands.reusable_stale or _particular(asked):
        return None
    if answered:
        granted = [
            seconds
            for directives in (stands.directives, asked)
            if (seconds := directives.seconds(b"stale-if-error")) is not None
        ]
        if not stands.reusable_within(max(granted, default=policy.stale_if_error)):
            return None
    return Stale(stored, int(stands.age), int(-stands.staleness))


def _particular(asked: CacheControl) -> bool:
    """Return whether the caller wants it fresh, or asked about (5.2.1.1, 5.2.1.3, 5.2.1.4)."""
    return any(name in asked for name in (b"no-cache", b"max-age", b"min-fresh"))
