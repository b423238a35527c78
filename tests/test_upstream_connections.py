"""Connections to origins are kept where that is safe, and only there; and they all come to an end."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, DNSLookupError, NoRouteError, TCPTimedOutError
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web._newclient import RequestNotSent
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from buddyproxy.errors import StaleConnection, UpstreamError, UpstreamTimeout
from buddyproxy.message import Origin
from buddyproxy.upstream import Timeouts
from buddyproxy.upstream.connection import Connection
from buddyproxy.upstream.failures import explained
from buddyproxy.upstream.wire import WireHeaders, WireRequest
from tests.support.certificates import Authority
from tests.support.origin import ScriptedOrigin, Talk
from tests.support.upstreams import OK, UpstreamTestCase, request


class ReuseTests(UpstreamTestCase):
    """Which connections are used again."""

    async def connections(self, answer: bytes, requests: int = 3) -> int:
        """Return how many connections `requests` that are answered with `answer` take."""
        origin = await self.listen(answer)
        for _ in range(requests):
            await self.fetch(origin)
            await self.turns(3)
        return len(origin.talks)

    async def test_kept(self) -> None:
        """One connection carries one request after the other, as HTTP/1.1 has it, or HTTP/1.0 where it says so."""
        for answer in (
            OK,
            b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nConnection: closed, x-close\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ):
            self.assertEqual(await self.connections(answer), 1, answer)

    async def test_not_kept(self) -> None:
        """A connection that the origin closes, or that has brought what nobody asked for, is not used again."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nConnection: x-y ,CLOSE\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 304 Not Modified\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            OK + b"H",
            OK + OK,
            b"HTTP/1.1 304 Not Modified\r\n\r\nx",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx",
        ):
            self.assertEqual(await self.connections(answer), 3, answer)

    async def test_nobodys_answer(self) -> None:
        """What comes while no request is on its way is never taken for the answer to the next one."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(OK)
            if talk is origin.talks[0]:
                await self.turns(3)
                talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")

        origin = await self.listen(script)
        for _ in range(2):
            self.assertEqual((await self.fetch(origin)).content, b"hi")
            await self.turns()
        self.assertIsNotNone(origin.talks[0].lost)

    def test_nobodys_answer_at_once(self) -> None:
        """After such bytes a connection is good for nothing, though it takes another round until it is gone."""
        connection = Connection(self.clock, lambda _: None, lambda _: None)
        connection.makeConnection(StringTransport())
        connection.dataReceived(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        self.assertTrue(connection.spoilt())
        self.assertTrue(connection.transport.disconnected)

    async def test_closed_meanwhile(self) -> None:
        """A connection that the origin closed while it was idle is not used: the next request takes a new one."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(OK)
            await self.turns(2)
            talk.close()

        origin = await self.listen(script)
        for _ in range(3):
            await self.fetch(origin)
            await self.turns()
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(origin.talks), 3)

    async def test_closed_just_now(self) -> None:
        """An end that the reactor has not come round to noticing is noticed: no request is lost to it."""
        authority = Authority(self.directory())
        for origin, to in (
            ((plain := await self.listen(OK)), Origin("http", "127.0.0.1", plain.port)),
            (
                (secure := await self.listen(OK, authority.issue("localhost"))),
                Origin("https", "localhost", secure.port, authority.ca_file),
            ),
        ):
            for count in range(1, 4):
                incoming = await self.upstream.send(request(), to, self.NO_LIMITS)
                self.assertEqual((await self.read(incoming)).content, b"hi")
                self.assertEqual(len(origin.talks), count)
                # The system knows of it at once, the reactor only after this round, in which we send again.
                origin.talks[-1].end_now()

    def test_reset_just_now(self) -> None:
        """A connection that was reset is as little good as one that was closed."""

        class Reset(StringTransport):
            def getHandle(self) -> "Reset":
                return self

            def recv(self, size: int, flags: int) -> bytes:
                raise ConnectionResetError

        connection = Connection(self.clock, lambda _: None, lambda _: None)
        connection.makeConnection(Reset())
        self.assertTrue(connection.spoilt())

    async def test_stale(self) -> None:
        """A connection closed by the origin just as it is used again makes an error of its own kind."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(OK)
            await talk.request()
            talk.close()

        origin = await self.listen(script)
        for sent in (request(), request(method=b"POST", body=b"x")):
            await self.fetch(origin)
            error = await self.error_of(self.send(origin, sent), StaleConnection)
            self.assertEqual(str(error), f"http://127.0.0.1:{origin.port}: it closed the connection without an answer")
            self.assertEqual(error.code, UpstreamError.code)

    async def test_not_stale(self) -> None:
        """An answer that has begun, or that is none, is no sign of an old connection."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(OK)
            await talk.request()
            talk.send(b"garbage\r\n")

        origin = await self.listen(script)
        await self.fetch(origin)
        await self.error_of(self.send(origin))

    async def test_no_delay(self) -> None:
        """Nothing waits on a connection for more to be sent with it, with TLS or without."""
        authority = Authority(self.directory())
        plain, secure = await self.listen(OK), await self.listen(OK, authority.issue("localhost"))
        for to in (
            Origin("http", "127.0.0.1", plain.port),
            Origin("https", "localhost", secure.port, authority.ca_file),
        ):
            incoming = await self.upstream.send(request(), to, self.NO_LIMITS)
            await self.read(incoming)
            self.assertTrue(self.socket_to(to.port).getTcpNoDelay(), to)

    async def test_one_each(self) -> None:
        """Requests at the same time take a connection each, and all of these are kept."""
        arrived: list[Talk] = []
        everybody: Deferred[None] = Deferred()

        async def script(talk: Talk) -> None:
            while True:
                await talk.request()
                arrived.append(talk)
                if len(arrived) == 10:
                    everybody.callback(None)
                if len(arrived) <= 10:
                    gate: Deferred[None] = Deferred()
                    everybody.addCallback(lambda _, gate=gate: gate.callback(None))
                    await gate
                talk.send(OK)

        origin = await self.listen(script)
        for fetched in [Deferred.fromCoroutine(self.fetch(origin)) for _ in range(10)]:
            await fetched
        for _ in range(10):
            await self.fetch(origin)
        self.assertEqual(len(origin.talks), 10)

    async def test_origins_apart(self) -> None:
        """Connections are one origin's only."""
        first, second = await self.listen(OK), await self.listen(OK)
        for _ in range(2):
            await self.fetch(first)
            await self.fetch(second)
        self.assertEqual([len(first.talks), len(second.talks)], [1, 1])


class EndTests(UpstreamTestCase):
    """How connections end."""

    async def test_idle(self) -> None:
        """A connection that nobody has used for 50 seconds is closed."""
        origin = await self.listen(OK)
        await self.fetch(origin)
        self.clock.advance(49)
        await self.turns()
        self.assertIsNone(origin.talks[0].lost)
        self.clock.advance(1)
        await origin.talks[0].gone()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_close(self) -> None:
        """Closing closes idle connections and waits for that; what is on its way is finished, and closed then."""

        async def script(talk: Talk) -> None:
            await talk.request()
            if len(origin.talks) == 2:
                await told
            talk.send(OK)

        told: Deferred[None] = Deferred()
        origin = await self.listen(script)
        await self.fetch(origin)
        busy = await self.occupied(origin)
        fetched = Deferred.fromCoroutine(self.fetch(origin))
        await busy
        await self.upstream.close()
        await origin.talks[0].gone()
        told.callback(None)
        self.assertEqual((await fetched).content, b"hi")
        await origin.talks[1].gone()

    async def occupied(self, origin: ScriptedOrigin) -> Deferred[Talk]:
        """Have the idle connection taken by nobody: the next request opens the second."""
        origin.talks[0].send(b"x")
        await self.turns()
        return Deferred.fromCoroutine(origin.connected(2))

    def test_early_then_broken(self) -> None:
        """Content that fails to be produced after an answer has come changes nothing about the answer."""

        @implementer(IBodyProducer)
        class Broken:
            length = 10

            def startProducing(self, consumer):
                return producing

            def pauseProducing(self): ...
            def resumeProducing(self): ...
            def stopProducing(self): ...

        producing: Deferred[None] = Deferred()
        connection = Connection(self.clock, lambda _: None, lambda _: None)
        connection.makeConnection(StringTransport())
        answered = connection.request(WireRequest(b"PUT", b"/", WireHeaders(), Broken(), lambda: None))
        connection.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        producing.errback(ZeroDivisionError())
        self.assertEqual(self.successResultOf(answered).code, 200)

    async def test_unsent(self) -> None:
        """A connection that is in use, or lost, takes no request."""
        connection = Connection(self.clock, lambda _: None, lambda _: None)
        connection._state = "CONNECTION_LOST"
        sent = WireRequest(b"GET", b"/", WireHeaders(), None, lambda: None)
        await self.assertFailure(connection.request(sent), RequestNotSent)
        connection.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])


@implementer(IHostnameResolver)
class Names:
    """A resolver that finds nothing, and leaves the machine alone."""

    def __init__(self, answers: bool = True) -> None:
        self.asked: list[str] = []
        self._answers = answers

    def resolveHostName(self, receiver, hostName, portNumber=0, addressTypes=None, transportSemantics="TCP"):
        self.asked.append(hostName)
        if self._answers:
            receiver.resolutionComplete()
        return receiver


class NameTests(UpstreamTestCase):
    """From a name to an address."""

    async def test_unknown(self) -> None:
        """A name that leads nowhere."""
        names = Names()
        self.addCleanup(self.reactor.installNameResolver, self.reactor.installNameResolver(names))
        error = await self.error_of(self.upstream.send(request(), Origin("http", "a.example", 80), self.NO_LIMITS))
        self.assertEqual(str(error), "http://a.example: its name could not be resolved")
        self.assertEqual(names.asked, ["a.example"])

    async def test_unanswered(self) -> None:
        """A name that nobody says anything about is waited for as long as a connection may take, or until cancelled."""
        names = Names(answers=False)
        self.addCleanup(self.reactor.installNameResolver, self.reactor.installNameResolver(names))
        origin = Origin("http", "a.example", 80)
        waiting = Deferred.fromCoroutine(self.upstream.send(request(), origin, Timeouts(5, 1, 1, 1, 0)))
        self.clock.advance(5)
        error = self.failureResultOf(waiting, UpstreamTimeout).value
        self.assertIn("no connection within 5 s", str(error))
        waiting = Deferred.fromCoroutine(self.upstream.send(request(), origin, Timeouts(5, 1, 1, 1, 0)))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)

    async def test_invalid(self) -> None:
        """A name that can be none."""
        for scheme in ("http", "https"):
            waiting = self.upstream.send(request(), Origin(scheme, "a..example", 81), self.NO_LIMITS)
            self.assertEqual(
                str(await self.error_of(waiting)), f"{scheme}://a..example:81: its name is not a valid one"
            )

    async def test_address(self) -> None:
        """An address needs no resolver; an IPv6 one goes out in brackets."""
        reactor = MemoryReactorClock()
        names = Names()
        reactor.installNameResolver(names)
        upstream = type(self.upstream)(reactor)
        for host in ("127.0.0.1", "::1"):
            waiting = Deferred.fromCoroutine(upstream.send(request(), Origin("http", host, 8080), self.NO_LIMITS))
            self.assertEqual(reactor.tcpClients[-1][:2], (host, 8080))
            waiting.cancel()
            self.failureResultOf(waiting)
        self.assertEqual(names.asked, [])


class ExplanationTests(SynchronousTestCase):
    """What cannot well be brought about on loopback."""

    def test_connecting(self) -> None:
        """Why there is no connection."""
        origin = Origin("https", "a.example", 443)
        for error, kind, said in (
            (NoRouteError(113, "x"), UpstreamError, "no connection: No route to host"),
            (TCPTimedOutError(110, "x"), UpstreamTimeout, "no connection: Connection timed out"),
            (ConnectError(101, "x"), UpstreamError, "no connection: Network is unreachable"),
            (ConnectError(string="x"), UpstreamError, "no connection: the attempt failed"),
            (DNSLookupError("x"), UpstreamError, "its name could not be resolved"),
            (RequestNotSent(), UpstreamError, "it broke the connection without an answer"),
        ):
            explanation = explained(error, origin)
            self.assertIs(type(explanation), kind)
            self.assertEqual(str(explanation), f"https://a.example: {said}")
