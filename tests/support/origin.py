r"""An origin server that does exactly what a test tells it to, down to the byte.

For a test of the wire: it parses nothing but the end of a request. A script is a coroutine that is run for each
connection and speaks with the client through a `Talk`:

    async def script(talk):
        await talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
        talk.reset()

    origin = await ScriptedOrigin.listen(reactor, script)
    self.addCleanup(origin.stop)

Bytes in the place of a script answer each request on a connection with these bytes.
"""

import re
from collections.abc import Callable, Coroutine
from socket import SHUT_WR
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.endpoints import TCP4ServerEndpoint, wrapServerTLS
from twisted.internet.error import ConnectionClosed
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.support.certificates import Certificate

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


class Talk(Protocol):
    """One connection, as its script sees it."""

    transport: Any

    def __init__(self) -> None:
        self.lost: Failure | None = None
        """Why the connection is gone, once it is."""
        self._received = bytearray()
        self._read = 0
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    @property
    def received(self) -> bytes:
        """Every byte that came."""
        return bytes(self._received)

    # What a script may do.

    def send(self, data: bytes) -> None:
        """Send `data`."""
        self.transport.write(data)

    def close(self) -> None:
        """Close in order."""
        self.transport.loseConnection()

    def cut(self) -> None:
        """End the TCP connection without ending TLS; without TLS, as `close`."""
        getattr(self.transport, "transport", self.transport).loseConnection()

    def reset(self) -> None:
        """Break the connection: the client gets a TCP reset."""
        self.transport.abortConnection()

    def end_now(self) -> None:
        """Have the system send the connection's end at once, past Twisted and TLS."""
        getattr(self.transport, "transport", self.transport).getHandle().shutdown(SHUT_WR)

    def stop_reading(self) -> None:
        """Take nothing more from the client."""
        self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Take what the client sends again."""
        self.transport.resumeProducing()

    async def until(self, ending: bytes) -> bytes:
        """Wait for `ending` and return what was not read before, up to and with it."""
        await self._until(lambda: self._received.find(ending, self._read) >= 0)
        return self._take(self._received.index(ending, self._read) + len(ending))

    async def exactly(self, size: int) -> bytes:
        """Wait for `size` bytes not read before and return them."""
        await self._until(lambda: len(self._received) - self._read >= size)
        return self._take(self._read + size)

    async def request(self) -> bytes:
        """Wait for the next request and return its bytes; its content has a `Content-Length` or is empty."""
        head = await self.until(b"\r\n\r\n")
        length = _LENGTH.search(head)
        return head + (await self.exactly(int(length[1])) if length else b"")

    async def gone(self) -> None:
        """Wait until the connection is lost, whoever ended it."""
        if self.lost is None:
            try:
                await self._until(lambda: False)
            except ConnectionClosed:
                return

    # What the reactor does.

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason
        waiting, self._waiting = self._waiting, []
        for _, deferred in waiting:
            deferred.errback(reason if reason.check(ConnectionClosed) else Failure(ConnectionClosed(str(reason.value))))

    def _take(self, end: int) -> bytes:
        taken, self._read = self._received[self._read : end], end
        return bytes(taken)

    def _look(self) -> None:
        ready = [each for each in self._waiting if each[0]()]
        self._waiting = [each for each in self._waiting if each not in ready]
        for _, deferred in ready:
            deferred.callback(None)

    async def _until(self, condition: Callable[[], bool]) -> None:
        if condition():
            return
        if self.lost is not None:
            self.lost.raiseException()
        deferred: Deferred[None] = Deferred()
        self._waiting.append((condition, deferred))
        await deferred


Script = Callable[[Talk], Coroutine[Any, Any, None]] | bytes


def repeating(answer: bytes) -> Callable[[Talk], Coroutine[Any, Any, None]]:
    """Return a script that answers each request on a connection with `answer`."""

    async def script(talk: Talk) -> None:
        while True:
            await talk.request()
            talk.send(answer)

    return script


class ScriptedOrigin:
    """A server on 127.0.0.1 that runs a script for each connection.

    `talks` are its connections in the order they came; `host` and `port` say where it is.
    """

    host = "127.0.0.1"
    port: int

    def __init__(self, script: Script) -> None:
        self.talks: list[Talk] = []
        self._script = repeating(script) if isinstance(script, bytes) else script
        self._waiting: list[tuple[int, Deferred[None]]] = []
        self._scripts: list[Deferred[None]] = []
        self._listening: Any = None

    @classmethod
    async def listen(cls, reactor: Any, script: Script, certificate: Certificate | None = None) -> "ScriptedOrigin":
        """Return an origin that listens on a free port, with TLS if there is a `certificate`."""
        origin = cls(script)
        endpoint: Any = TCP4ServerEndpoint(reactor, 0, interface=cls.host)
        if certificate is not None:
            endpoint = wrapServerTLS(certificate.shown(), endpoint, reactor)
        origin._listening = await endpoint.listen(_Talks(origin))
        origin.port = origin._listening.getHost().port
        return origin

    @property
    def received(self) -> list[bytes]:
        """What each connection has brought so far."""
        return [talk.received for talk in self.talks]

    async def connected(self, count: int = 1) -> Talk:
        """Wait until there were `count` connections and return the last of these."""
        if len(self.talks) < count:
            deferred: Deferred[None] = Deferred()
            self._waiting.append((count, deferred))
            await deferred
        return self.talks[count - 1]

    async def stop(self) -> None:
        """Listen no more, break what is connected, and raise what a script has raised of its own."""
        await self._listening.stopListening()
        for talk in self.talks:
            if talk.lost is None:
                talk.resume_reading()
                talk.reset()
        for talk in self.talks:
            await talk.gone()
        for deferred in self._scripts:
            deferred.cancel()
        for succeeded, result in await DeferredList(self._scripts, consumeErrors=True):
            if not succeeded and not result.check(CancelledError, ConnectionClosed):
                result.raiseException()

    def _accept(self, talk: Talk) -> None:
        self.talks.append(talk)
        self._scripts.append(Deferred.fromCoroutine(self._script(talk)))
        ready = [each for each in self._waiting if each[0] <= len(self.talks)]
        self._waiting = [each for each in self._waiting if each not in ready]
        for _, deferred in ready:
            deferred.callback(None)


class _Talks(Factory[Talk]):
    noisy = False

    def __init__(self, origin: ScriptedOrigin) -> None:
        self._origin = origin

    def buildProtocol(self, addr: object) -> Talk:
        talk = Talk()
        talk.connectionMade = lambda: self._origin._accept(talk)
        return talk


async def closed_port(reactor: Any) -> int:
    """Return a port of 127.0.0.1 where nobody listens."""
    listening = await TCP4ServerEndpoint(reactor, 0, interface=ScriptedOrigin.host).listen(Factory())
    port: int = listening.getHost().port
    await listening.stopListening()
    return port
