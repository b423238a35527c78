"""Every wait for an origin has an end: its limit, or the departure of the one who waits."""

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock

from buddyproxy.errors import UpstreamTimeout
from buddyproxy.message import Origin
from buddyproxy.upstream import Incoming, Timeouts, Upstream
from tests.support.certificates import Authority
from tests.support.origin import ScriptedOrigin, Talk
from tests.support.upstreams import OK, Gathered, UpstreamTestCase, request

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
UPLOAD = request(method=b"POST", body=bytes(20_000_000))


async def silent(talk: Talk) -> None:
    """Take a request, answer nothing."""
    await talk.request()


async def deaf(talk: Talk) -> None:
    """Take the head of a request and no more."""
    await talk.until(b"\r\n\r\n")
    talk.stop_reading()


async def slow(talk: Talk) -> None:
    """Begin an answer and leave it at that."""
    await talk.request()
    talk.send(HEAD + b"hi")


class TimeTestCase(UpstreamTestCase):
    async def assert_timed_out(self, waiting: Deferred[Incoming], said: str) -> None:
        with self.assertRaises(UpstreamTimeout) as raised:
            await waiting
        self.assertTrue(str(raised.exception).endswith(said), raised.exception)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def waiting(self, origin: ScriptedOrigin, **limits: float) -> Deferred[Incoming]:
        """Return what waits for the answer to a request the origin has got."""
        waiting = Deferred.fromCoroutine(self.send(origin, **limits))
        talk = await origin.connected()
        while not talk.received:
            await self.turns(1)
        return waiting


class LimitTests(TimeTestCase):
    """Limits in time, each with the setting that it is."""

    def connecting(self, **limits: float) -> tuple[MemoryReactorClock, Deferred[Incoming]]:
        """Return what waits for a connection that is never there."""
        reactor = MemoryReactorClock()
        upstream = Upstream(reactor, self.clock)
        timeouts = Timeouts(**{"connect": 0, "tls": 0, "first_byte": 0, "idle": 0, "total": 0, **limits})
        return reactor, Deferred.fromCoroutine(upstream.send(request(), Origin("http", "127.0.0.1", 81), timeouts))

    async def test_connect(self) -> None:
        """A connection that does not come about."""
        reactor, waiting = self.connecting(connect=2.5, first_byte=1)
        self.clock.advance(2.4)
        self.assertNoResult(waiting)
        self.clock.advance(0.1)
        said = "http://127.0.0.1:81: no connection within 2.5 s (domain_mappings.NAME.timeouts.connect sets this)"
        await self.assert_timed_out(waiting, said)
        self.assertTrue(reactor.connectors[0].stoppedConnecting)

    async def test_total_while_connecting(self) -> None:
        """The limit on the whole counts from the beginning."""
        reactor, waiting = self.connecting(connect=10, total=3)
        self.clock.advance(3)
        said = "the answer was not complete within 3 s (domain_mappings.NAME.timeouts.total sets this)"
        await self.assert_timed_out(waiting, said)
        self.assertTrue(reactor.connectors[0].stoppedConnecting)

    async def test_total_begun_before(self) -> None:
        """The limit on the whole counts from when it began, which may be longer ago than it allows."""
        for age, left in ((0, 3), (2, 1), (10, 0), (-100, 3)):
            self.clock.advance(100)
            upstream, to = Upstream(MemoryReactorClock(), self.clock), Origin("http", "127.0.0.1", 81)
            began = self.clock.seconds() - age
            waiting = Deferred.fromCoroutine(upstream.send(request(), to, evolve(self.NO_LIMITS, total=3), began=began))
            self.assertNoResult(waiting)
            [limit] = self.clock.getDelayedCalls()
            self.assertEqual(limit.getTime() - self.clock.seconds(), left, age)
            self.clock.advance(left)
            await self.assert_timed_out(waiting, "within 3 s (domain_mappings.NAME.timeouts.total sets this)")

    async def test_first_byte(self) -> None:
        """An answer that does not come."""
        origin = await self.listen(silent)
        waiting = await self.waiting(origin, connect=1, first_byte=30, idle=1)
        self.clock.advance(29)
        self.assertNoResult(waiting)
        self.clock.advance(1)
        said = "no answer within 30 s (domain_mappings.NAME.timeouts.first_byte or server.request_timeout sets this)"
        await self.assert_timed_out(waiting, f"http://127.0.0.1:{origin.port}: {said}")
        await origin.talks[0].gone()

    async def test_first_byte_again(self) -> None:
        """The same, on a connection that has been used before."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(OK)

        origin = await self.listen(script)
        await self.fetch(origin, first_byte=30)
        waiting = Deferred.fromCoroutine(self.send(origin, first_byte=30))
        self.clock.advance(30)
        with self.assertRaises(UpstreamTimeout):
            await waiting
        await origin.talks[0].gone()

    async def test_half_head(self) -> None:
        """A head that does not come to its end counts as none, and neither does an interim response."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nA")

        origin = await self.listen(script)
        waiting = await self.waiting(origin, first_byte=30)
        await self.turns()
        self.clock.advance(30)
        with self.assertRaises(UpstreamTimeout):
            await waiting

    async def test_handshake(self) -> None:
        """A TLS handshake that does not get on."""
        authority = Authority(self.directory())

        async def mute(talk: Talk) -> None:
            return None

        origin = await self.listen(mute)
        to = Origin("https", "localhost", origin.port, authority.ca_file)
        waiting = Deferred.fromCoroutine(self.upstream.send(request(), to, Timeouts(0, 7, 1, 1, 0)))
        await origin.connected()
        await self.turns()
        self.clock.advance(7)
        said = "no TLS within 7 s (domain_mappings.NAME.timeouts.tls sets this)"
        await self.assert_timed_out(waiting, said)
        await origin.talks[0].gone()

    async def test_sending(self) -> None:
        """An upload that stands still; `first_byte` counts only from its end."""
        origin = await self.listen(deaf)
        waiting = Deferred.fromCoroutine(self.send(origin, UPLOAD, first_byte=1, idle=20))
        await origin.connected()
        await self.turns()
        self.clock.advance(19)
        self.assertNoResult(waiting)
        self.clock.advance(1)
        said = "it took nothing of the request for 20 s (domain_mappings.NAME.timeouts.idle sets this)"
        await self.assert_timed_out(waiting, said)
        origin.talks[0].resume_reading()
        await origin.talks[0].gone()

    async def test_sending_slowly(self) -> None:
        """An upload that moves takes its time."""

        async def script(talk: Talk) -> None:
            await talk.until(b"\r\n\r\n")
            for _ in range(10):
                self.clock.advance(0.3)
                await talk.exactly(2_000_000)
                await self.turns(3)
            talk.send(OK)

        origin = await self.listen(script)
        await self.fetch(origin, UPLOAD, idle=1)
        self.assertGreater(self.clock.seconds(), 2)

    async def reading(self, **limits: float) -> tuple[ScriptedOrigin, Incoming, Gathered]:
        """Return an answer that stands still after its first bytes."""
        origin = await self.listen(slow)
        incoming = await self.send(origin, **limits)
        sink = Gathered()
        incoming.start(sink)
        await sink.has(b"hi")
        return origin, incoming, sink

    async def test_idle(self) -> None:
        """Content that stands still."""
        origin, _, sink = await self.reading(first_byte=1, idle=60)
        self.clock.advance(59)
        origin.talks[0].send(b"ho")
        await sink.has(b"hiho")
        self.clock.advance(59)
        self.assertEqual(sink.ends, [])
        self.clock.advance(1)
        (error,) = sink.ends
        self.assertIsInstance(error, UpstreamTimeout)
        said = "the answer stood still for 60 s (domain_mappings.NAME.timeouts.idle sets this)"
        self.assertEqual(str(error), f"http://127.0.0.1:{origin.port}: {said}")
        await origin.talks[0].gone()
        self.assertEqual(len(sink.ends), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_paused(self) -> None:
        """A pause of ours does not count as the origin's standing still, but the whole goes on counting."""
        origin, incoming, sink = await self.reading(idle=60, total=1000)
        incoming.pause()
        self.clock.advance(500)
        incoming.resume()
        self.clock.advance(59)
        self.assertEqual(sink.ends, [])
        incoming.pause()
        self.clock.advance(441)
        said = "the answer was not complete within 1000 s (domain_mappings.NAME.timeouts.total sets this)"
        self.assertTrue(str(sink.ends[0]).endswith(said), sink.ends)
        origin.talks[0].send(b"more")
        await origin.talks[0].gone()

    async def test_resumed(self) -> None:
        """After a pause, the origin's time counts anew."""
        _, incoming, sink = await self.reading(idle=60)
        incoming.pause()
        incoming.resume()
        self.clock.advance(60)
        self.assertIsInstance(sink.ends[0], UpstreamTimeout)

    async def test_before_start(self) -> None:
        """An answer whose reader has not begun in time fails as soon as it does."""
        origin = await self.listen(slow)
        incoming = await self.send(origin, first_byte=1, idle=1, total=100)
        self.clock.advance(99)
        await self.turns()
        self.assertIsNone(origin.talks[0].lost)
        self.clock.advance(1)
        await origin.talks[0].gone()
        sink = Gathered()
        incoming.start(sink)
        self.assertIsInstance(sink.ends[0], UpstreamTimeout)

    async def test_no_limits(self) -> None:
        """0 means no limit; and nothing is left counting when all went well."""
        origin, incoming, sink = await self.reading()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        incoming.pause()
        incoming.resume()
        origin.talks[0].send(b"hohoho!")
        self.assertIs(await sink.end(), True)
        sink = await self.fetch(await self.listen(OK), connect=1, first_byte=1, idle=1, total=1)
        self.assertEqual(sink.ends, [True])
        self.clock.advance(1000)
        await self.turns()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CancelTests(TimeTestCase):
    """Whoever waits may stop waiting."""

    async def assert_cancelled(self, waiting: Deferred[Incoming]) -> None:
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_connecting(self) -> None:
        """While there is no connection: there will be none."""
        reactor = MemoryReactorClock()
        upstream = Upstream(reactor, self.clock)
        sending = upstream.send(request(), Origin("http", "127.0.0.1", 81), Timeouts(1, 1, 1, 1, 1))
        await self.assert_cancelled(Deferred.fromCoroutine(sending))
        self.assertTrue(reactor.connectors[0].stoppedConnecting)

    async def test_waiting(self) -> None:
        """While there is no answer: the connection is closed."""
        origin = await self.listen(silent)
        await self.assert_cancelled(await self.waiting(origin, first_byte=1, total=1))
        await origin.talks[0].gone()

    async def test_waiting_again(self) -> None:
        """The same on a connection from before: that is no sign of its age."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(OK)

        origin = await self.listen(script)
        await self.fetch(origin)
        self.assertEqual(len(origin.talks), 1)
        waiting = Deferred.fromCoroutine(self.send(origin, first_byte=1))
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        await origin.talks[0].gone()

    async def test_sending(self) -> None:
        """While the request is being sent: the rest is not."""
        origin = await self.listen(deaf)
        waiting = Deferred.fromCoroutine(self.send(origin, UPLOAD, idle=1, total=1))
        await origin.connected()
        await self.turns()
        await self.assert_cancelled(waiting)
        origin.talks[0].resume_reading()
        await origin.talks[0].gone()
        self.assertLess(len(origin.talks[0].received), len(UPLOAD.body))
