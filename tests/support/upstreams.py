"""What the tests of the upstream side share: real sockets, a test's clock, and a sink that gathers."""

import tempfile
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from shutil import rmtree
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from buddyproxy.errors import UpstreamError
from buddyproxy.message import Headers, LargeContent, Origin, Request, Response
from buddyproxy.upstream import Incoming, Timeouts, Upstream
from tests.support.certificates import Certificate
from tests.support.origin import Script, ScriptedOrigin

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

Pairs = Iterable[tuple[bytes, bytes]]


class Gathered:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.ends: list[bool | UpstreamError] = []
        """How it ended: `framed`, or the error. One, if all is well."""
        self.reacting: Callable[[bytes], None] = lambda chunk: None
        """Called with each chunk."""
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    @property
    def content(self) -> bytes:
        return b"".join(self.chunks)

    def received(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.reacting(chunk)
        self._look()

    def ended(self, framed: bool) -> None:
        self.ends.append(framed)
        self._look()

    def failed(self, error: UpstreamError) -> None:
        self.ends.append(error)
        self._look()

    async def has(self, content: bytes) -> None:
        """Wait until exactly `content` has come."""
        await self._until(lambda: self.content == content)

    async def end(self) -> bool | UpstreamError:
        """Wait for the end and return it."""
        await self._until(lambda: bool(self.ends))
        return self.ends[0]

    def _look(self) -> None:
        ready = [each for each in self._waiting if each[0]()]
        self._waiting = [each for each in self._waiting if each not in ready]
        for _, deferred in ready:
            deferred.callback(None)

    async def _until(self, condition: Callable[[], bool]) -> None:
        if not condition():
            deferred: Deferred[None] = Deferred()
            self._waiting.append((condition, deferred))
            await deferred


def request(
    target: bytes = b"/", method: bytes = b"GET", headers: Pairs = (), body: bytes | LargeContent = b""
) -> Request:
    return Request(method, target, Headers(tuple(headers)), body)


class UpstreamTestCase(TestCase):
    """Real sockets on loopback; time passes only when a test says so."""

    timeout = 20

    NO_LIMITS = Timeouts(connect=0, tls=0, first_byte=0, idle=0, total=0)

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.clock = Clock()
        self.upstream = Upstream(reactor, self.clock)
        self.interims: list[Response] = []
        self.addCleanup(self.upstream.close)

    def directory(self) -> Path:
        """Return a directory that is there as long as the test."""
        made = tempfile.mkdtemp()
        self.addCleanup(rmtree, made)
        return Path(made)

    async def listen(self, script: Script, certificate: Certificate | None = None) -> ScriptedOrigin:
        """Return an origin that runs `script`, until the test is over."""
        origin = await ScriptedOrigin.listen(self.reactor, script, certificate)
        self.addCleanup(origin.stop)
        return origin

    async def send(self, origin: ScriptedOrigin, sent: Request | None = None, **limits: float) -> Incoming:
        """Send `sent`, or a plain GET, to `origin` without TLS; `limits` are timeouts. Interim responses are kept."""
        to = Origin("http", origin.host, origin.port)
        timeouts = evolve(self.NO_LIMITS, **limits)
        incoming = await self.upstream.send(sent or request(), to, timeouts, self.interims.append)
        self.addCleanup(incoming.abort)
        return incoming

    async def read(self, incoming: Incoming) -> Gathered:
        """Read `incoming` to its end."""
        sink = Gathered()
        incoming.start(sink)
        await sink.end()
        self.assertEqual(len(sink.ends), 1)
        return sink

    async def fetch(self, origin: ScriptedOrigin, sent: Request | None = None, **limits: float) -> Gathered:
        """Send, and read the answer's content to its end."""
        return await self.read(await self.send(origin, sent, **limits))

    async def turns(self, count: int = 20) -> None:
        """Let the reactor do what it has to, `count` times."""
        for _ in range(count):
            await deferLater(self.reactor, 0.001)

    def socket_to(self, port: int) -> Any:
        """Return this process's end of the one connection whose other end has `port`."""
        readers = (reader for reader in self.reactor.getReaders() if ITCPTransport.providedBy(reader))
        [socket] = [reader for reader in readers if reader.getPeer().port == port]
        return socket

    async def error_of(
        self, waiting: Coroutine[Any, Any, Any], kind: type[UpstreamError] = UpstreamError
    ) -> UpstreamError:
        """Return the error that `waiting` ends in, which is exactly of `kind`."""
        try:
            result = await waiting
        except UpstreamError as error:
            self.assertIs(type(error), kind, error)
            return error
        raise AssertionError(f"there was no error, but {result!r}")
