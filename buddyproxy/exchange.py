"""One request: look up, choose, reuse or validate or forward, conclude.

The driver that turns each decision of `cache/` into what it asks for. It decides nothing itself, and knows neither the
caller's connection nor the origin's.
"""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Protocol, assert_never
from weakref import WeakSet, WeakValueDictionary

from attrs import define, evolve, field, frozen
from twisted.logger import Logger

from buddyproxy.cache.choose import CONDITIONAL, Forward, GatewayTimeout, Reuse, Validate, choose
from buddyproxy.cache.conclude import Arrival, Freshen, Refetch, Relay, Store, conclude, invalidates
from buddyproxy.cache.dates import format_date
from buddyproxy.cache.key import primary_key
from buddyproxy.cache.policy import Policy
from buddyproxy.cache.status import CacheStatus, Reason
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.errors import CacheError, NotCached, ProxyError
from buddyproxy.flight import Flight
from buddyproxy.message import Request, Response
from buddyproxy.storage import Storage
from buddyproxy.upstream import Incoming

_log = Logger(namespace="buddyproxy")

Send = Callable[[Request], Awaitable[Incoming]]
"""Asks the mapping's origin; raises `UpstreamError`."""


class Clock(Protocol):
    """Tells the time."""

    def seconds(self) -> float:
        """Return the seconds since the epoch."""


@frozen
class Answer:
    """What to send the caller: a head, its content (whole, or still on its way), and how it came about."""

    response: Response
    content: bytes | Flight
    status: CacheStatus
    age: int | None = None
    """Current age in seconds where a stored response is reused without asking (RFC 9111, 5.1)."""


@frozen
class Failed:
    """The request found no answer: the error to report, and how the cache came to it."""

    error: ProxyError
    status: CacheStatus


class _Rivals:
    """The questions under way about one URI."""

    def __init__(self) -> None:
        self.claims: WeakSet[_Claim] = WeakSet()


@define(eq=False)
class _Claim:
    """A question's right to have its answer stored; it lasts as long as somebody holds it."""

    rivals: _Rivals
    key: bytes
    number: int
    purges: int
    valid: bool = True


class _Claims:
    """Who may store what, so that no answer outlives what came after it.

    An answer may be on its way for long. Meanwhile a change of its resource may have been seen, or an answer to a later
    question stored: then what it says is old news, and not to be kept.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        # A claim holds its rivals, and they are found as long as there is one: nothing to clean up.
        self._by_uri: WeakValueDictionary[bytes, _Rivals] = WeakValueDictionary()
        self._numbers = count()

    def put(self, uri: bytes, key: bytes) -> _Claim:
        """Return the claim of a question that is asked now."""
        rivals = self._by_uri.setdefault(uri, _Rivals())
        claim = _Claim(rivals, key, next(self._numbers), self._storage.purges)
        rivals.claims.add(claim)
        return claim

    def void(self, uri: bytes) -> None:
        """Let nothing be stored that was asked about `uri` before now."""
        rivals = self._by_uri.get(uri)
        for claim in rivals.claims if rivals is not None else ():
            claim.valid = False

    def fulfil(self, claim: _Claim) -> bool:
        """Return whether the answer may be stored; if so, none to an earlier question of the same key may."""
        # Whatever was purged: purges are rare, and not to store costs a hit at most.
        claim.valid = claim.valid and claim.purges == self._storage.purges
        if claim.valid:
            for rival in claim.rivals.claims:
                if rival.key == claim.key and rival.number < claim.number:
                    rival.valid = False
        return claim.valid


@frozen
class _Question:
    """A request to be forwarded, with all that its answer will be judged by."""

    request: Request
    uri: bytes = field(repr=False)
    key: bytes
    reason: Reason
    validated: StoredResponse | None = None
    conditions: tuple[tuple[bytes, bytes], ...] = ()

    def outgoing(self) -> Request:
        """Return the request as the origin is to see it: conditional on the stored response, if one is validated."""
        if self.validated is None:
            return self.request
        return evolve(self.request, headers=self.request.headers.without(CONDITIONAL).adding(*self.conditions))


class Exchange:
    """Answers the requests of one mapping, from the store or by asking its origin."""

    def __init__(self, policy: Policy, storage: Storage, send: Send, clock: Clock) -> None:
        self._policy = policy
        self._storage = storage
        self._send = send
        self._clock = clock
        self._claims = _Claims(storage)

    async def respond(self, request: Request, uri: bytes) -> Answer | Failed:
        """Answer `request`, which is as the origin is to see it, for the target URI `uri`."""
        key = b""
        stored: tuple[StoredResponse, ...] = ()
        if self._policy.caches(request.method):
            key = primary_key(request, uri, self._policy, self._storage.secret)
            stored = await self._lookup(key)
        match choose(request, stored, self._policy, self._clock.seconds()):
            case Reuse(selected, age, ttl):
                return Answer(selected.response, selected.body, CacheStatus(hit=True, ttl=ttl), age)
            case Validate(selected, conditions, reason):
                return await self._forward(_Question(request, uri, key, reason, selected, conditions))
            case Forward(reason):
                return await self._forward(_Question(request, uri, key, reason))
            case GatewayTimeout():
                error = NotCached("nothing stored answers this request, and it asked for a stored response only")
                return Failed(error, CacheStatus(detail=error.code))
            case unreachable:
                assert_never(unreachable)

    async def _lookup(self, key: bytes) -> tuple[StoredResponse, ...]:
        try:
            return tuple(await self._storage.lookup(key))
        except CacheError as error:
            _log.warn("the store failed to look up a response, which counts as a miss: {error}", error=error)
            return ()

    async def _forward(self, question: _Question) -> Answer | Failed:
        sent = self._clock.seconds()
        claim = self._claims.put(question.uri, question.key)
        try:
            incoming = await self._send(question.outgoing())
        except ProxyError as error:
            return Failed(error, CacheStatus(fwd=question.reason, detail=error.code))
        try:
            arrival = self._arrival(question, sent, incoming.response)
            if invalidates(arrival.request, arrival.response, self._policy):
                self._claims.void(arrival.uri)
                self._storage.invalidate(self._policy.mapping, arrival.uri)
            return await self._conclude(question, arrival, incoming, claim)
        except BaseException:
            incoming.abort()
            raise

    def _arrival(self, question: _Question, sent: float, response: Response) -> Arrival:
        now = self._clock.seconds()
        headers = response.headers.end_to_end()
        if b"date" not in headers:
            # RFC 9110, 6.6.1: a recipient with a clock adds it.
            headers = headers.adding((b"Date", format_date(now)))
        return Arrival(
            request=question.request,
            uri=question.uri,
            key=question.key,
            response=evolve(response, headers=headers),
            request_time=sent,
            response_time=now,
            framed=_framed(response),
        )

    async def _conclude(
        self, question: _Question, arrival: Arrival, incoming: Incoming, claim: _Claim
    ) -> Answer | Failed:
        status = CacheStatus(fwd=question.reason, fwd_status=arrival.response.status)
        match conclude(arrival, question.validated, self._policy):
            case Freshen(stored):
                incoming.abort()
                if self._claims.fulfil(claim):
                    self._storage.store(stored)
                ttl = int(stored.expires - arrival.response_time)
                return Answer(_with_cookies(stored, arrival), stored.body, evolve(status, ttl=ttl, stored=claim.valid))
            case Refetch():
                incoming.abort()
                return await self._forward(evolve(question, validated=None, conditions=()))
            case Store(draft):
                flight = Flight(incoming, lambda body: self._keep(claim, draft, body), self._policy.max_size)
                ttl = int(draft.expires - arrival.response_time)
                return Answer(arrival.response, flight, evolve(status, ttl=ttl, stored=True))
            case Relay(reason):
                return Answer(arrival.response, Flight(incoming), evolve(status, detail=reason))
            case unreachable:
                assert_never(unreachable)

    def _keep(self, claim: _Claim, draft: StoredResponse, body: bytes) -> None:
        if len(body) >= self._policy.min_size and self._claims.fulfil(claim):
            self._storage.store(evolve(draft, body=body))


def _with_cookies(stored: StoredResponse, arrival: Arrival) -> Response:
    """Return the head of a confirmed response, and the cookies that came with the confirmation."""
    cookies = tuple((b"Set-Cookie", value) for value in arrival.response.headers.get_all(b"set-cookie"))
    return evolve(stored.response, headers=stored.headers.replacing(*cookies)) if cookies else stored.response


def _framed(response: Response) -> bool:
    """Return whether the response says where its content ends, or can have none (RFC 9112, 6.3)."""
    fields = (b"content-length", b"transfer-encoding")
    return response.status in (204, 304) or any(name in response.headers for name in fields)
