"""One request: look up, choose, reuse or validate or forward, conclude.

The driver that turns each decision of `cache/` into what it asks for. It decides nothing itself, and knows neither the
caller's connection nor the origin's.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, assert_never

from attrs import evolve, frozen
from twisted.logger import Logger

from buddyproxy.cache.choose import CONDITIONAL, Forward, GatewayTimeout, Reuse, Validate, choose
from buddyproxy.cache.conclude import Arrival, Freshen, Refetch, Relay, Store, conclude, invalidates
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


@frozen
class _Question:
    """A request to be forwarded, with all that its answer will be judged by."""

    request: Request
    uri: bytes
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
        try:
            incoming = await self._send(question.outgoing())
        except ProxyError as error:
            return Failed(error, CacheStatus(fwd=question.reason, detail=error.code))
        arrival = Arrival(
            request=question.request,
            uri=question.uri,
            key=question.key,
            response=evolve(incoming.response, headers=incoming.response.headers.end_to_end()),
            request_time=sent,
            response_time=self._clock.seconds(),
            framed=_framed(incoming.response),
        )
        if invalidates(arrival.request, arrival.response, self._policy):
            self._storage.invalidate(self._policy.mapping, arrival.uri)
        return await self._conclude(question, arrival, incoming)

    async def _conclude(self, question: _Question, arrival: Arrival, incoming: Incoming) -> Answer | Failed:
        status = CacheStatus(fwd=question.reason, fwd_status=arrival.response.status)
        match conclude(arrival, question.validated, self._policy):
            case Freshen(stored):
                incoming.abort()
                self._storage.store(stored)
                ttl = int(stored.expires - arrival.response_time)
                return Answer(stored.response, stored.body, evolve(status, ttl=ttl, stored=True))
            case Refetch():
                incoming.abort()
                return await self._forward(evolve(question, validated=None, conditions=()))
            case Store(draft):
                flight = Flight(incoming, lambda body: self._keep(draft, body), self._policy.max_size)
                ttl = int(draft.expires - arrival.response_time)
                return Answer(arrival.response, flight, evolve(status, ttl=ttl, stored=True))
            case Relay(reason):
                return Answer(arrival.response, Flight(incoming), evolve(status, detail=reason))
            case unreachable:
                assert_never(unreachable)

    def _keep(self, draft: StoredResponse, body: bytes) -> None:
        if len(body) >= self._policy.min_size:
            self._storage.store(evolve(draft, body=body))


def _framed(response: Response) -> bool:
    """Return whether the response says where its content ends, or can have none (RFC 9112, 6.3)."""
    fields = (b"content-length", b"transfer-encoding")
    return response.status in (204, 304) or any(name in response.headers for name in fields)
