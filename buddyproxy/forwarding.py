"""A mapping's way to its origins: the one it names, and those that stand in for it.

Theory of operation. From the outside in: each origin is asked in turn until one answers (`fallback`); each is asked
again where that is safe (`retries`), while its budget lasts; and before each time its circuit breaker is asked for
leave, and told how it went. An answer is an answer, whatever its status: only what ends before the head of one goes any
further. What a failure is for the breaker: that, and a status by which an origin says that it failed.
"""

from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Generic, TypeVar

from attrs import evolve, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from buddyproxy.breaker import Breaker, Permit, Refused, Terms
from buddyproxy.cache.staleness import ERRORS
from buddyproxy.errors import CircuitOpen, StaleConnection, UpstreamError, UpstreamUnavailable
from buddyproxy.message import Origin, Request
from buddyproxy.retries import Budget, backoff, is_movable, is_repeatable
from buddyproxy.routing import Base
from buddyproxy.upstream import Incoming, Interim, Switched, Timeouts, Upstream

_log = Logger(namespace="buddyproxy")


@frozen
class Destination:
    """An origin that requests may go to, and what is known of it."""

    base: Base
    breaker: Breaker = field(repr=False)
    budget: Budget = field(repr=False)


class Destinations:
    """What is known of origins, whichever mapping they are asked for.

    Where two mappings of one origin have different terms for its circuit, each has a breaker of its own.
    """

    def __init__(self) -> None:
        self._breakers: dict[tuple[Origin, Terms], Breaker] = {}
        self._budgets: dict[Origin, Budget] = {}

    def at(self, base: Base, terms: Terms) -> Destination:
        """Return the destination at `base`."""
        breaker = self._breakers.setdefault((base.origin, terms), Breaker(terms))
        return Destination(base, breaker, self._budgets.setdefault(base.origin, Budget()))


A = TypeVar("A", Incoming, Incoming | Switched)
"""An answer."""


@frozen
class _Errand(Generic[A]):
    """A request on its way, whichever origin it is for."""

    asking: Callable[[Request, Origin, Timeouts, Interim, float], Awaitable[A]]
    """`Upstream.send`, or `Upstream.switch`."""
    interim: Interim
    began: float


@frozen
class Forwarder:
    """Sends the requests of one mapping to its origins."""

    upstream: Upstream
    clock: IReactorTime
    destinations: Sequence[Destination]
    """The mapping's own origin, then those to fall back on."""
    timeouts: Timeouts
    retries: int
    """How often a request is sent to one origin again."""
    chance: Callable[[], float]
    """Says how much of the longest wait before a retry is waited, from 0 to 1."""

    async def send(self, request: Request, interim: Interim) -> Incoming:
        """Send `request`, which is as the first of the origins is to see it, and return the head of the answer.

        Raises `UpstreamError`, that of the origin asked last, where there is none.
        """
        return await self._go(request, _Errand(self.upstream.send, interim, self.clock.seconds()))

    async def switch(self, request: Request, *, interim: Interim) -> Incoming | Switched:
        """Send `request`, which asks for another protocol; return the connection where an origin agrees."""
        return await self._go(request, _Errand(self.upstream.switch, interim, self.clock.seconds()))

    async def _go(self, request: Request, errand: _Errand[A]) -> A:
        """Ask one origin after the other, until one answers."""
        own, *fallbacks = self.destinations
        try:
            return await self._ask(own, request, errand)
        except UpstreamError as error:
            failed = error
        for fallback in fallbacks:
            if not is_movable(request.method, failed) or not self._left(errand):
                break
            _log.info("{error}; {origin} is asked instead", error=failed, origin=fallback.base.origin)
            try:
                answer = await self._ask(fallback, _moved(request, own.base, fallback.base), errand)
            except UpstreamError as error:
                failed = error
            else:
                return _placed(answer, fallback.base.origin)
        raise failed

    async def _ask(self, destination: Destination, request: Request, errand: _Errand[A]) -> A:
        """Send `request` to one origin, and again where that is safe and may help."""
        destination.budget.requested(self.clock.seconds())
        retries = 0
        while True:
            try:
                return await self._try(destination, request, errand)
            except UpstreamError as error:
                if retries >= self.retries or not is_repeatable(request.method, error):
                    raise
                # That a kept connection was closed says nothing of how busy the origin is.
                wait = 0.0 if isinstance(error, StaleConnection) else backoff(retries, self.chance())
                if wait >= self._left(errand) or not destination.budget.spend(self.clock.seconds()):
                    raise
            if wait:
                await deferLater(self.clock, wait)
            retries += 1

    async def _try(self, destination: Destination, request: Request, errand: _Errand[A]) -> A:
        """Send `request` to one origin, once, if its circuit lets it."""
        origin = destination.base.origin
        permit = destination.breaker.admit(self.clock.seconds())
        if isinstance(permit, Refused):
            raise CircuitOpen(
                f"{origin}: it failed too often of late, and is given a rest (domain_mappings.NAME.breaker sets this)",
                permit.retry_after,
            )
        try:
            answer = await errand.asking(request, origin, self.timeouts, errand.interim, errand.began)
        except BaseException as error:
            self._tell(destination, permit, True if _is_origins_fault(error) else None)
            raise
        self._tell(destination, permit, answer.response.status in ERRORS)
        return answer

    def _tell(self, destination: Destination, permit: Permit, failed: bool | None) -> None:
        """Tell the breaker how a request ended: `failed`, or None where that says nothing of the origin."""
        breaker, now = destination.breaker, self.clock.seconds()
        was_open = breaker.is_open
        if failed is None:
            breaker.withdrawn(permit)
        elif failed:
            breaker.failed(permit, now)
        else:
            breaker.succeeded(permit, now)
        if breaker.is_open and not was_open:
            _log.warn("{origin} failed too often: it is given a rest", origin=destination.base.origin)
        elif was_open and not breaker.is_open:
            _log.info("{origin} answers again", origin=destination.base.origin)

    def _left(self, errand: _Errand[A]) -> float:
        """Return the seconds until the limit on the whole is reached."""
        if not self.timeouts.total:
            return inf
        return max(errand.began + self.timeouts.total - self.clock.seconds(), 0.0)


def _is_origins_fault(error: BaseException) -> bool:
    """Return whether a request that ended in `error` speaks against the origin.

    A caller who left does not; neither does what was never sent because of us, nor a kept connection that was closed.
    """
    return isinstance(error, UpstreamError) and not isinstance(error, (UpstreamUnavailable, StaleConnection))


def _moved(request: Request, own: Base, other: Base) -> Request:
    """Return `request`, which is for the base `own`, for the base `other`."""
    authority = own.origin.authority
    # A Host that the mapping sets is for all its origins.
    headers = request.headers.changing(b"host", lambda value: other.origin.authority if value == authority else value)
    return evolve(request, target=other.target(request.target[len(own.path) :]), headers=headers)


def _placed(answer: A, origin: Origin) -> A:
    """Return `answer`, which is from `origin`, with a Location that means the same elsewhere (RFC 9110, 10.2.2)."""
    response = answer.response
    location = response.headers.get(b"location")
    if location is not None and location.startswith(b"/") and not location.startswith(b"//"):
        headers = response.headers.changing(b"location", lambda value: origin.root + value)
        answer.response = evolve(response, headers=headers)
    return answer
