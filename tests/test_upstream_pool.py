"""There are no more connections to an origin than allowed, and who waits for one gets it in turn."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from buddyproxy.errors import StaleConnection, UpstreamBusy, UpstreamError, UpstreamTimeout
from buddyproxy.message import Origin
from buddyproxy.upstream import Incoming, Switched, Timeouts, Upstream
from buddyproxy.upstream.pool import MOST_WAITING
from tests.support.certificates import Authority
from tests.support.origin import ScriptedOrigin, Talk, closed_port
from tests.support.upstreams import OK, Gathered, UpstreamTestCase, request


class PoolTestCase(UpstreamTestCase):
    """An origin that answers each request when it is told to."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[tuple[bytes, Deferred[bytes]]] = []
        """The target of each request that came, and what is to be called with the answer to it."""

    async def start(self, limit: int) -> None:
        """Listen, and allow `limit` connections."""

        async def script(talk: Talk) -> None:
            while True:
                target = (await talk.request()).split(b" ")[1]
                answered: Deferred[bytes] = Deferred()
                self.asked.append((target, answered))
                talk.send(await answered)

        self.origin = await self.listen(script)
        self.allow(limit)

    def allow(self, limit: int) -> None:
        self.upstream.limit(Origin("http", self.origin.host, self.origin.port), limit)

    def begin(self, target: bytes, **limits: float) -> Deferred[Gathered]:
        """Ask for `target`, and read the answer when it comes."""
        return Deferred.fromCoroutine(self.fetch(self.origin, request(target), **limits))

    async def arrived(self, *targets: bytes) -> None:
        """Wait, and see that the requests for `targets`, and no others, are all that has come so far."""
        await self.turns()
        self.assertEqual([target for target, _ in self.asked], list(targets))

    async def answer(self, number: int, answer: bytes = OK) -> None:
        """Answer a request, and let those who wait for its connection have it."""
        self.asked[number][1].callback(answer)
        await self.turns()
        self.clock.advance(0)
        await self.turns()


class LimitTests(PoolTestCase):
    """How many there are."""

    async def test_limit(self) -> None:
        """No more connections than allowed; further requests wait until one is free, and use it."""
        await self.start(2)
        fetched = [self.begin(target) for target in (b"/1", b"/2", b"/3", b"/4")]
        await self.arrived(b"/1", b"/2")
        await self.answer(1)
        await self.arrived(b"/1", b"/2", b"/3")
        await self.answer(0)
        await self.arrived(b"/1", b"/2", b"/3", b"/4")
        await self.answer(2)
        await self.answer(3)
        for each in fetched:
            self.assertEqual((await each).content, b"hi")
        self.assertEqual(len(self.origin.talks), 2)

    async def test_closed(self) -> None:
        """A connection that ends makes room for a new one."""
        await self.start(1)
        first, second = self.begin(b"/1"), self.begin(b"/2")
        await self.arrived(b"/1")
        await self.answer(0, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await first
        await self.arrived(b"/1", b"/2")
        await self.answer(1)
        await second
        self.assertEqual(len(self.origin.talks), 2)

    async def test_given_up(self) -> None:
        """So does one whose answer nobody wants any more."""
        await self.start(1)
        incoming = Deferred.fromCoroutine(self.send(self.origin, request(b"/1")))
        second = self.begin(b"/2")
        await self.arrived(b"/1")
        await self.answer(0, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        (await incoming).abort()
        await self.turns()
        self.clock.advance(0)
        await self.arrived(b"/1", b"/2")
        await self.answer(1)
        await second

    async def test_refused(self) -> None:
        """So does one that never came about."""
        to = Origin("http", ScriptedOrigin.host, await closed_port(self.reactor))
        self.upstream.limit(to, 1)
        waiting = [Deferred.fromCoroutine(self.upstream.send(request(), to, self.NO_LIMITS)) for _ in range(3)]
        for each in waiting:
            await self.assertFailure(each, UpstreamError)
            self.clock.advance(0)

    async def test_spoilt(self) -> None:
        """A kept connection that was closed meanwhile is not used, nor is there another until it is gone."""
        await self.start(1)
        first = self.begin(b"/1")
        await self.arrived(b"/1")
        await self.answer(0)
        await first
        self.origin.talks[0].end_now()
        second = self.begin(b"/2")
        self.assertEqual(len(self.origin.talks), 1)
        await self.turns()
        self.clock.advance(0)
        await self.arrived(b"/1", b"/2")
        await self.answer(1)
        await second

    async def test_changed(self) -> None:
        """More may be allowed while requests wait, and they go; where fewer are, none is closed before its time."""
        await self.start(1)
        fetched = [self.begin(target) for target in (b"/1", b"/2", b"/3")]
        await self.arrived(b"/1")
        self.allow(2)
        self.clock.advance(0)
        await self.arrived(b"/1", b"/2")
        self.allow(1)
        await self.answer(0)
        await self.arrived(b"/1", b"/2", b"/3")
        await self.answer(1)
        await self.answer(2)
        for each in fetched:
            await each
        self.assertEqual(len(self.origin.talks), 2)

    async def test_origins_apart(self) -> None:
        """Who waits for one origin keeps nobody waiting who asks another."""
        await self.start(1)
        waiting = [self.begin(target) for target in (b"/1", b"/2")]
        self.assertEqual((await self.fetch(await self.listen(OK))).content, b"hi")
        await self.arrived(b"/1")
        await self.answer(0)
        await self.answer(1)
        for each in waiting:
            await each

    async def test_idle(self) -> None:
        """Of those that are idle, 64 are kept."""
        await self.start(100)
        fetched = [self.begin(b"/%d" % number) for number in range(66)]
        while len(self.asked) < 66:
            await self.turns(1)
        for _, answered in self.asked:
            answered.callback(OK)
        for each in fetched:
            await each
        await self.turns()
        self.assertEqual(sum(talk.lost is None for talk in self.origin.talks), 64)


class AloneTests(PoolTestCase):
    """A request to change to another protocol has a connection of its own."""

    def switch(self, target: bytes) -> Deferred[Incoming | Switched]:
        """Ask for another protocol."""
        to = Origin("http", self.origin.host, self.origin.port)
        fields = ((b"Connection", b"upgrade"), (b"Upgrade", b"echo"))
        return Deferred.fromCoroutine(self.upstream.switch(request(target, headers=fields), to, self.NO_LIMITS))

    async def test_new(self) -> None:
        """It takes none that was kept; where there may be no more, an idle one gives way."""
        for limit in (2, 1):
            self.asked.clear()
            await self.start(limit)
            first = self.begin(b"/1")
            await self.arrived(b"/1")
            await self.answer(0)
            await first
            switching = self.switch(b"/2")
            await self.arrived(b"/1", b"/2")
            await self.answer(1)
            (await switching).abort()
            await self.turns()
            self.assertEqual(len(self.origin.talks), 2)
            self.assertEqual(sum(talk.lost is None for talk in self.origin.talks), limit)

    async def test_counts(self) -> None:
        """It waits where all are in use, and others wait for it."""
        await self.start(1)
        first, switching, third = self.begin(b"/1"), self.switch(b"/2"), self.begin(b"/3")
        await self.arrived(b"/1")
        await self.answer(0)
        await self.arrived(b"/1", b"/2")
        await self.answer(1, b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        await self.arrived(b"/1", b"/2")
        (await switching).abort()
        await self.turns()
        self.clock.advance(0)
        await self.arrived(b"/1", b"/2", b"/3")
        await self.answer(2)
        await first
        await third


class WaitingTests(PoolTestCase):
    """Who waits."""

    async def test_order(self) -> None:
        """Requests get their turns in the order in which they came; nobody overtakes."""
        await self.start(1)
        fetched = [self.begin(target) for target in (b"/1", b"/2", b"/3")]
        await self.arrived(b"/1")
        self.asked[0][1].callback(OK)
        await fetched[0]
        fetched.append(self.begin(b"/late"))  # the connection is idle now, but it is another's turn
        self.clock.advance(0)
        await self.arrived(b"/1", b"/2")
        for number in (1, 2, 3):
            await self.answer(number)
        await self.arrived(b"/1", b"/2", b"/3", b"/late")
        for each in fetched:
            await each

    async def test_cancelled(self) -> None:
        """Who does not want to wait any more leaves the queue, and is never sent."""
        await self.start(1)
        first, second, third = (self.begin(target) for target in (b"/1", b"/2", b"/3"))
        second.cancel()
        await self.assertFailure(second, CancelledError)
        await self.arrived(b"/1")
        await self.answer(0)
        await self.arrived(b"/1", b"/3")
        await self.answer(1)
        await first
        await third

    async def test_too_long(self) -> None:
        """The wait has the limit that a connection has, and another request's end does not prolong it."""
        await self.start(1)
        first, second = self.begin(b"/1"), self.begin(b"/2", connect=5)
        await self.arrived(b"/1")
        self.clock.advance(4.9)
        self.assertNoResult(second)
        self.clock.advance(0.1)
        error = await self.assertFailure(second, UpstreamBusy)
        said = "all connections to it were in use for 5 s"
        setting = "domain_mappings.NAME.max_connections and timeouts.connect set this"
        self.assertEqual(str(error), f"http://127.0.0.1:{self.origin.port}: {said} ({setting})")
        self.assertEqual((error.retry_after, error.unsent), (1, True))
        await self.answer(0)
        await first
        await self.arrived(b"/1")

    async def test_whole(self) -> None:
        """The limit on the whole counts while waiting, too."""
        await self.start(1)
        first, second = self.begin(b"/1"), self.begin(b"/2", connect=5, total=3)
        await self.arrived(b"/1")
        self.clock.advance(3)
        error = await self.assertFailure(second, UpstreamTimeout)
        self.assertTrue(error.unsent)
        await self.answer(0)
        await first

    async def test_connect_anew(self) -> None:
        """When its turn has come, the limit on connecting begins anew."""
        upstream, to = Upstream(self.reactor, self.clock, lambda _: Nowhere()), Origin("http", "a.example", 80)
        upstream.limit(to, 1)
        limits = Timeouts(connect=5, tls=0, first_byte=0, idle=0, total=0)
        waiting = [Deferred.fromCoroutine(upstream.send(request(), to, limits)) for _ in range(2)]
        self.clock.advance(4)
        waiting[0].cancel()
        self.failureResultOf(waiting[0], CancelledError)
        self.clock.advance(0)
        self.clock.advance(4)
        self.assertNoResult(waiting[1])
        self.clock.advance(1)
        self.assertIn("no connection within 5 s", str(self.failureResultOf(waiting[1], UpstreamTimeout).value))

    async def test_too_many(self) -> None:
        """Where a thousand wait already, the next is told at once."""
        await self.start(0)
        waiting = [self.begin(b"/") for _ in range(MOST_WAITING)]
        error = await self.error_of(self.fetch(self.origin), UpstreamBusy)
        self.assertTrue(str(error).endswith("all of its 0 connections are in use, and 1000 requests wait"), error)
        self.assertTrue(error.unsent)
        for each in waiting:
            each.cancel()
            self.failureResultOf(each, CancelledError)


@implementer(IStreamClientEndpoint)
class Nowhere:
    """An endpoint where nothing happens."""

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred()


class HandshakeTests(UpstreamTestCase):
    """With TLS, a connection is there when the handshake is done."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority(self.directory())

    async def test_cancelled(self) -> None:
        """Who does not want to wait for it any more ends it, and its place is free again."""

        async def mute(talk: Talk) -> None:
            return None

        origin = await self.listen(mute)
        to = Origin("https", "localhost", origin.port, self.authority.ca_file)
        self.upstream.limit(to, 1)
        for count in (1, 2):
            waiting = Deferred.fromCoroutine(self.upstream.send(request(), to, self.NO_LIMITS))
            talk = await origin.connected(count)
            await self.turns()
            waiting.cancel()
            await self.assertFailure(waiting, CancelledError)
            await talk.gone()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_failed(self) -> None:
        """One that fails leaves its place, and nothing of the request was sent."""
        origin = await self.listen(OK, self.authority.issue("other.example"))
        to = Origin("https", "localhost", origin.port, self.authority.ca_file)
        self.upstream.limit(to, 1)
        for _ in range(3):
            sending = self.upstream.send(request(method=b"POST", body=b"x"), to, self.NO_LIMITS)
            self.assertTrue((await self.error_of(sending)).unsent)
        self.assertEqual(b"".join(origin.received), b"")


class StaleTests(UpstreamTestCase):
    """What follows from a kept connection that was closed."""

    async def test_others(self) -> None:
        """The other kept connections, which most likely were too, are not used."""
        both: Deferred[None] = Deferred()

        async def script(talk: Talk) -> None:
            await talk.request()
            if len(origin.talks) < 2:
                await both
            talk.send(OK)
            await talk.request()
            talk.close()

        origin = await self.listen(script)
        fetched = [Deferred.fromCoroutine(self.fetch(origin)) for _ in range(2)]
        await origin.connected(2)
        await fetched[1]
        both.callback(None)
        await fetched[0]
        await self.error_of(self.send(origin), StaleConnection)
        self.assertEqual((await self.fetch(origin)).content, b"hi")
        self.assertEqual(len(origin.talks), 3)
