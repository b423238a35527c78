"""The first decision: how to answer a request, given what is stored (RFC 9111, 4)."""

from collections.abc import Sequence
from typing import Final

from attrs import evolve, frozen

from buddyproxy.cache.coding import coding_of, takes, without_coding
from buddyproxy.cache.directives import CacheControl, request_cache_control
from buddyproxy.cache.policy import Policy
from buddyproxy.cache.ranges import suffices
from buddyproxy.cache.staleness import Standing, standing, tolerated, while_revalidating
from buddyproxy.cache.status import Reason
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.cache.vary import decodable, selects
from buddyproxy.message import Request

# Preconditions that are the origin's to judge (RFC 9111, 4.3.2; RFC 9110, 13.1.1 and 13.1.4).
_FOR_THE_ORIGIN: Final = frozenset({b"if-match", b"if-unmodified-since"})

# What a validation replaces: the caller's own validators are answered from what comes back, and so are ranges of a
# content that is stored whole. Of a part, the origin is asked with both Range and If-Range: where the content has
# changed, a part of the new one must not go to a caller who holds the rest of the old one (RFC 9110, 13.1.5).
_CONDITIONAL: Final = frozenset({b"if-none-match", b"if-modified-since"})
_CONDITIONAL_OR_RANGE: Final = _CONDITIONAL | {b"if-range", b"range"}

# What goes with one caller's question, but not with one asked in the background.
_OF_THE_CALLER: Final = _CONDITIONAL_OR_RANGE | {b"cache-control", b"pragma"}

NOMINATED: Final = 8
"""How many variants are named in one conditional request at most."""


@frozen
class Reuse:
    """Serve this stored response without waiting for the origin."""

    stored: StoredResponse
    age: int
    ttl: int
    """Remaining freshness lifetime; negative where it is stale, and may be served all the same."""
    revalidate: bool = False
    """Whether to ask the origin afterwards, in the background (RFC 5861, 3)."""


@frozen
class Validate:
    """Ask the origin whether this stored response still holds (RFC 9111, 4.3.1)."""

    stored: StoredResponse
    conditions: tuple[tuple[bytes, bytes], ...]
    reason: Reason

    @property
    def nominated(self) -> tuple[StoredResponse, ...]:
        """What a 304 may confirm."""
        return (self.stored,)

    @property
    def stale(self) -> StoredResponse | None:
        """What might serve if the origin fails."""
        return self.stored if self.reason == "stale" else None

    def outgoing(self, request: Request) -> Request:
        """Return `request` as the origin is to see it."""
        replaced = _CONDITIONAL if self.stored.partial else _CONDITIONAL_OR_RANGE
        return evolve(request, headers=request.headers.without(replaced).adding(*self.conditions))


@frozen
class Distinguish:
    """Ask the origin which of these, all stored for requests unlike this one, is what it would send (4.3.1)."""

    nominated: tuple[StoredResponse, ...]
    reason: Reason = "vary-miss"
    stored: None = None
    stale: None = None

    def outgoing(self, request: Request) -> Request:
        """Return `request` as the origin is to see it."""
        tags = b", ".join(dict.fromkeys(stored.headers.get(b"etag") or b"" for stored in self.nominated))
        return evolve(request, headers=request.headers.without(_CONDITIONAL_OR_RANGE).adding((b"If-None-Match", tags)))


@frozen
class Forward:
    """Ask the origin, as the caller does."""

    reason: Reason
    stored: StoredResponse | None = None
    """What the request selects, although it does not answer it as it is."""
    nominated: tuple[()] = ()

    @property
    def stale(self) -> StoredResponse | None:
        """What might serve if the origin fails."""
        return self.stored if self.reason == "stale" else None

    def outgoing(self, request: Request) -> Request:
        """Return `request` as the origin is to see it."""
        return request


@frozen
class GatewayTimeout:
    """Answer 504: the caller wants no forwarding, and nothing stored will do (RFC 9111, 5.2.1.7)."""

    reason: Reason


Question = Validate | Distinguish | Forward
Choice = Reuse | Question | GatewayTimeout


def choose(request: Request, stored: Sequence[StoredResponse], policy: Policy, now: float) -> Choice:
    """Select how to answer `request` at `now`, given the stored responses of its key, the one last stored first."""
    asked = request_cache_control(request.headers)
    choice = _choose(request, asked, stored, policy, now)
    if b"only-if-cached" in asked and not isinstance(choice, Reuse):
        return GatewayTimeout(choice.reason)
    return choice


def revalidation(request: Request, stored: StoredResponse) -> tuple[Request, Question]:
    """Return how to ask the origin about `stored`, which `request` selected, in nobody's name."""
    method = b"GET" if request.method == b"HEAD" else request.method
    return evolve(request, method=method, headers=request.headers.without(_OF_THE_CALLER)), _ask_about(stored, "stale")


def wants_whole(request: Request) -> bool:
    """Return whether `request` is answered by a content as it is: it names no part, and no copy of the caller's own."""
    return request.headers.names.isdisjoint(_CONDITIONAL_OR_RANGE)


def shareable(request: Request, question: Question) -> bool:
    """Return whether the answer to `question` is likely to serve others who ask the same as `request` now.

    Not what the caller wants from the origin itself, nor a HEAD, whose answer has no content, nor what is conditional
    or about a part, unless something stored is asked about in its place.
    """
    if question.reason not in ("uri-miss", "vary-miss", "stale") or request.method == b"HEAD":
        return False
    asked = request_cache_control(request.headers)
    if any(name in asked for name in (b"no-cache", b"no-store", b"max-age", b"min-fresh", b"only-if-cached")):
        return False
    if not request.headers.names.isdisjoint(_FOR_THE_ORIGIN):
        return False
    return isinstance(question, Validate) or wants_whole(request)


def conditions(stored: StoredResponse) -> tuple[tuple[bytes, bytes], ...]:
    """Return the fields that make a request conditional on `stored`; none where it cannot be validated (4.3.1)."""
    if stored.method != b"GET":
        # A failed If-None-Match would be answered 412, not 304 (RFC 9110, 13.1.2).
        return ()
    validators = ((b"If-None-Match", b"etag"), (b"If-Modified-Since", b"last-modified"))
    return tuple((name, value) for name, field in validators if (value := stored.headers.get(field)))


def strong_etag(stored: StoredResponse) -> bytes | None:
    """Return the entity tag of `stored` where it is a strong one (RFC 9110, 8.8.3)."""
    etag = stored.headers.get(b"etag")
    return etag if etag is not None and etag.startswith(b'"') else None


def _choose(
    request: Request, asked: CacheControl, stored: Sequence[StoredResponse], policy: Policy, now: float
) -> Reuse | Question:
    if not policy.caches(request.method):
        # RFC 9211, 2.2: a GET could be handled, were it not for the configuration.
        return Forward("bypass" if request.method in (b"GET", b"HEAD") else "method")
    if b"no-store" in asked:
        return Forward("request")
    if not request.headers.names.isdisjoint(_FOR_THE_ORIGIN):
        return Forward("bypass")
    candidates = [candidate for candidate in stored if selects(request, candidate, policy)]
    if not candidates:
        return _in_another_coding(request, asked, stored, policy, now) or _among_others(request, stored, policy)
    # RFC 9111, 4: the latest one; of several of one moment, the one last stored.
    selected = candidates[0] if len(candidates) == 1 else max(candidates, key=lambda candidate: candidate.date)
    if not suffices(request, selected):
        return Forward("partial", selected)
    return _reuse_or_ask(asked, selected, policy, now)


def _reuse_or_ask(asked: CacheControl, selected: StoredResponse, policy: Policy, now: float) -> Reuse | Question:
    stands = standing(selected, policy, now)
    refusal = _refusal(asked, stands)
    if refusal is None and selected.outdated:
        # Purged, softly: whoever did that knows better than the fields.
        refusal = "stale"
    if refusal is None:
        return Reuse(selected, int(stands.age), int(stands.lifetime - stands.age))
    if refusal == "stale" and while_revalidating(asked, stands, policy):
        return Reuse(selected, int(stands.age), int(stands.lifetime - stands.age), revalidate=True)
    return _ask_about(selected, refusal)


def _ask_about(selected: StoredResponse, reason: Reason) -> Validate | Forward:
    fields = conditions(selected)
    return Validate(selected, fields, reason) if fields else Forward(reason, selected)


def _in_another_coding(
    request: Request, asked: CacheControl, stored: Sequence[StoredResponse], policy: Policy, now: float
) -> Reuse | None:
    """Return how to reuse what was stored for one who takes other codings; None where it would not do, or is stale.

    As it is where the caller takes its coding, too; otherwise without, where the caller takes none (RFC 9110, 12.5.3).
    """
    if not policy.any_coding:
        return None
    alike = [candidate for candidate in stored if selects(request, candidate, policy, but=b"accept-encoding")]
    taken = [candidate for candidate in alike if takes(request, coding_of(candidate.headers))]
    bare = takes(request, b"identity") and not taken
    for candidate in alike if bare else taken:
        choice = _reuse_or_ask(asked, candidate, policy, now) if suffices(request, candidate) else None
        if isinstance(choice, Reuse) and not choice.revalidate:
            converted = without_coding(candidate) if bare else candidate
            if converted is not None:
                return evolve(choice, stored=converted)
    return None


def _among_others(request: Request, stored: Sequence[StoredResponse], policy: Policy) -> Distinguish | Forward:
    """Return how to ask where none is selected: by the entity tags of those that might be the answer all the same."""
    if not stored:
        return Forward("uri-miss")
    nominated = [
        candidate
        for candidate in stored
        if strong_etag(candidate)
        and candidate.method == b"GET"
        and not candidate.partial
        # Some origins give one tag to all codings of a content; whom they then confuse must not be given another's.
        and decodable(request, candidate, policy)
    ]
    return Distinguish(tuple(nominated[:NOMINATED])) if nominated else Forward("vary-miss")


def _refusal(asked: CacheControl, stands: Standing) -> Reason | None:
    """Return why a selected response may not be reused as it is; None where it may (RFC 9111, 4.2.4 and 5.2.1)."""
    if b"no-cache" in asked:
        return "request"
    if stands.directives.applies(b"no-cache"):
        return "stale"
    max_age, min_fresh = asked.seconds(b"max-age"), asked.demand(b"min-fresh")
    if max_age is not None and stands.age > max_age:
        return "request"
    if min_fresh is not None and stands.lifetime - stands.age < min_fresh:
        return "request"
    if stands.age < stands.lifetime or tolerated(asked, stands):
        return None
    return "stale"
