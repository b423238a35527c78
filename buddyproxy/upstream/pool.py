"""The connections to one origin: those in use, those kept for the next request, and who waits for one.

There are no more than the limit, those being opened and those being closed included; only an idle one that has to make
room for a new one is not waited for. Who finds all of them in use waits, and gets one in the order of asking. What the
endpoint of an origin is, and how long anybody waits, is not known here.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from buddyproxy.upstream.connection import Connection
from buddyproxy.upstream.failures import NoConnectionFree
from buddyproxy.upstream.patience import Phase

MOST: Final = 1000
"""How many connections there may be where nobody says."""

MOST_WAITING: Final = 1000

# Less than the minute after which common servers and load balancers close an idle connection: better we than they, as a
# request may be on its way when they do.
_LONGEST_IDLE: Final = 50.0
_MOST_IDLE: Final = 64


class _ConnectionFactory(Factory[Connection]):
    noisy = False

    def __init__(self, build: Callable[[], Connection]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        return self._build()


class Pool:
    """The connections to one origin, which `endpoint` leads to."""

    def __init__(self, clock: IReactorTime, endpoint: IStreamClientEndpoint, limit: int = MOST) -> None:
        self._clock = clock
        self._endpoint: Any = endpoint
        self._limit = limit
        self._count = 0
        self._idle: dict[Connection, IDelayedCall] = {}
        """The one that was in use last comes last, each with the end of its time."""
        self._waiting: deque[Deferred[None]] = deque()
        self._serving: IDelayedCall | None = None
        self._closed = False

    def limit(self, connections: int) -> None:
        """Allow so many connections from now on; none is closed for it before its time."""
        self._limit = connections
        self._wake()

    async def acquire(self, enter: Callable[[Phase], None], alone: bool = False) -> Connection:
        """Return a connection for one request: a new one, or, unless it is to be `alone`, one that was kept.

        `enter` is told what is being waited for. Raises `NoConnectionFree` where too many wait already, and whatever
        the endpoint fails with; nothing has been sent then.
        """
        if self._waiting or not self._ready():
            enter("queue")
            await self._turn()
        if alone and self._count >= self._limit:
            self._drop(next(iter(self._idle)))
        if alone or not self._idle:
            return await self._open(enter)
        connection, ending = self._idle.popitem()
        ending.cancel()
        return connection

    def clear(self) -> None:
        """Close the connections that are idle."""
        for connection in list(self._idle):
            self._drop(connection)

    async def close(self) -> None:
        """Close the connections that are idle now, and those in use as soon as they are; returns when the first are."""
        self._closed = True
        idle, self._idle = self._idle, {}
        for ending in idle.values():
            ending.cancel()
        await gatherResults([connection.abort() for connection in idle])

    def _ready(self) -> bool:
        """Tell whether a request need not wait: a good connection is idle, or there is room for another."""
        while self._idle and (latest := next(reversed(self._idle))).spoilt():
            self._drop(latest)
        return bool(self._idle) or self._count < self._limit

    async def _turn(self) -> None:
        """Wait until it is our turn; what was then there for us must be taken at once."""
        if len(self._waiting) >= MOST_WAITING:
            raise NoConnectionFree(f"all of its {self._limit} connections are in use, and {MOST_WAITING} requests wait")
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        await turn

    def _wake(self) -> None:
        """Let those who wait have their turns, but not before whoever calls this is done with the connection."""
        if self._waiting and self._serving is None:
            self._serving = self._clock.callLater(0, self._serve)

    def _serve(self) -> None:
        self._serving = None
        while self._waiting and self._ready():
            self._waiting.popleft().callback(None)

    async def _open(self, enter: Callable[[Phase], None]) -> Connection:
        self._count += 1
        enter("connect")
        try:
            connection: Connection = await self._endpoint.connect(_ConnectionFactory(self._build))
        except BaseException:
            self._left()
            raise
        if not connection.ready.called:
            enter("tls")
        await connection.ready
        return connection

    def _build(self) -> Connection:
        return Connection(self._clock, self._keep, self._lost)

    def _keep(self, connection: Connection) -> None:
        """Keep a connection whose request is done, for the next."""
        if self._closed or len(self._idle) >= _MOST_IDLE:
            connection.close()
        else:
            self._idle[connection] = self._clock.callLater(_LONGEST_IDLE, self._drop, connection)
            self._wake()

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        connection.close()

    def _lost(self, connection: Connection) -> None:
        self._forget(connection)
        self._left()

    def _forget(self, connection: Connection) -> None:
        ending = self._idle.pop(connection, None)
        if ending is not None and ending.active():
            ending.cancel()

    def _left(self) -> None:
        self._count -= 1
        self._wake()
