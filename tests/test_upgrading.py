"""Requests for another protocol: what is relayed and what is not, and how the two connections hang together."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone

from buddyproxy.message import Origin
from buddyproxy.web.site import ProxySite
from buddyproxy.web.upgrading import CLOSING, QUIET
from tests.support.memory import Fields, spell
from tests.support.origin import Script, Talk
from tests.support.proxies import ProxyTestCase
from tests.support.upstreams import OK, request
from tests.support.walk import WalkTests, answering

HOUR = 3600
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n"
ASK: Fields = [("Connection", "Upgrade"), ("Upgrade", "echo/1")]
MANY = b"0123456789abcdef" * 2**21
"""32 MB: more than any buffer on the way may hold."""


async def agreeing(talk: Talk) -> None:
    """Agree to the other protocol."""
    await talk.request()
    talk.send(SWITCH)


class TunnelTestCase(ProxyTestCase):
    """A tunnel between two connections."""

    async def join(self, script: Script = agreeing, **settings: Any) -> tuple[Talk, Talk]:
        """Return the two ends of a tunnel: a caller's, and the origin's."""
        await self.start(script, **settings)
        return await self.tunnel()

    async def tunnel(self) -> tuple[Talk, Talk]:
        """Return the two ends of a new tunnel through the proxy."""
        caller = await self.call()
        caller.send(spell("GET", "/api/a", ASK))
        self.assertEqual(await caller.until(b"\r\n\r\n"), SWITCH)
        return caller, self.origin.talks[-1]

    def waits(self) -> list[Any]:
        """Return what the proxy waits for; sites keep the time of day besides."""
        calls: list[Any] = self.clock.getDelayedCalls()
        return [call for call in calls if not isinstance(getattr(call.func, "__self__", None), ProxySite)]


class HandshakeTests(TunnelTestCase):
    """The request and the answer that agrees."""

    async def asked(self, request: bytes, **settings: Any) -> bytes:
        """Return what an origin gets of `request`."""
        await self.start(OK, **settings)
        caller = await self.call()
        caller.send(request)
        await caller.until(b"\r\n\r\nhi")
        return self.origin.talks[0].received

    async def test_request(self) -> None:
        """The origin gets the target and the fields as from any other request, and is asked for the protocols."""
        got = await self.asked(spell("GET", "/api/a?b=%20&c", [*ASK, ("X-Any", "1"), ("Sec-WebSocket-Key", "eA==")]))
        expected = (
            b"GET /a?b=%%20&c HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Any: 1\r\nSec-Websocket-Key: eA==\r\n"
            b"Via: 1.1 buddyproxy\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n" % self.origin.port
        )
        self.assertEqual(got, expected)

    async def test_fields_of_the_connection(self) -> None:
        """What else Connection names stays here."""
        asking = [("Connection", "keep-alive, X-Hop, upgrade"), ("Upgrade", "echo/1"), ("X-Hop", "1")]
        got = await self.asked(spell("GET", "/api/a", asking))
        self.assertNotIn(b"X-Hop", got)
        self.assertIn(b"Connection: upgrade\r\nUpgrade: echo/1\r\n", got)

    async def test_any_method_without_content(self) -> None:
        """A method does not matter, nor does a content of no length."""
        for method in ("OPTIONS", "POST", "BREW"):
            got = await self.asked(spell(method, "/api/a", [*ASK, ("Content-Length", "0")]))
            self.assertIn(b"Upgrade: echo/1\r\n", got)

    async def test_with_content(self) -> None:
        """A request with content is one like any other."""
        self.assertNotIn(b"pgrade", await self.asked(spell("POST", "/api/a", ASK, b"content")))
        chunked = spell("POST", "/api/a", [*ASK, ("Transfer-Encoding", "chunked")]) + b"0\r\n\r\n"
        self.assertNotIn(b"pgrade", await self.asked(chunked))

    async def test_old_caller(self) -> None:
        """HTTP/1.0 knows no upgrade."""
        got = await self.asked(spell("GET", "/api/a", ASK).replace(b"HTTP/1.1", b"HTTP/1.0"))
        self.assertNotIn(b"pgrade", got)

    async def test_removed_by_the_mapping(self) -> None:
        """A mapping that removes Upgrade has none."""
        got = await self.asked(spell("GET", "/api/a", ASK), request_headers={"remove": ["Upgrade"]})
        self.assertNotIn(b"pgrade", got)

    async def test_no_line_ends_early(self) -> None:
        """What would end a line in the field is refused, and what is no protocol is left out."""
        await self.start(OK)
        for value in ("echo\rX: 1", "echo\0"):
            caller = await self.call()
            caller.send(spell("GET", "/api/a", [("Connection", "Upgrade"), ("Upgrade", value)]))
            self.assertTrue((await caller.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 "))
        self.assertEqual(self.origin.talks, [])
        got = await self.asked(spell("GET", "/api/a", [("Connection", "Upgrade"), ("Upgrade", "a b, echo/1, /2, c:d")]))
        self.assertIn(b"Upgrade: echo/1\r\n\r\n", got)

    async def test_fields_of_the_answer(self) -> None:
        """The head that agrees has the origin's fields, changed as the mapping says, but for those of the upgrade."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(b"HTTP/1.1 101 Fine\r\nUpgrade: ECHO/1\r\nX-Inner: 1\r\nX-Hop: 1\r\nSet-Cookie: a\r\n")
            talk.send(b"Sec-WebSocket-Accept: x=\r\nConnection: Upgrade, X-Hop\r\nContent-Length: 3\r\n\r\n")

        changes = {"remove": ["X-Inner", "Sec-WebSocket-Accept"], "set": {"X-Ours": "2"}}
        await self.start(script, response_headers=changes)
        caller = await self.call()
        caller.send(spell("GET", "/api/a", ASK))
        expected = (
            b"HTTP/1.1 101 Fine\r\nConnection: upgrade\r\nUpgrade: ECHO/1\r\nSet-Cookie: a\r\nX-Ours: 2\r\n"
            b"Sec-Websocket-Accept: x=\r\n\r\n"
        )
        self.assertEqual(await caller.until(b"\r\n\r\n"), expected)

    async def test_interim(self) -> None:
        """What an origin says before it agrees comes before."""
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        await self.start(hints + SWITCH)
        caller = await self.call()
        caller.send(spell("GET", "/api/a", ASK))
        self.assertEqual([await caller.until(b"\r\n\r\n") for _ in range(2)], [hints, SWITCH])

    async def test_a_connection_of_its_own(self) -> None:
        """A connection kept from before is not used, and one that became a tunnel is nobody else's."""

        async def script(talk: Talk) -> None:
            while True:
                talk.send(SWITCH if b"pgrade" in await talk.request() else OK)

        await self.start(script)
        for asked, answer in (
            (spell("GET", "/api/a"), b"\r\n\r\nhi"),
            (spell("GET", "/api/a", ASK), b"\r\n\r\n"),
            (spell("GET", "/api/b"), b"\r\n\r\nhi"),
        ):
            caller = await self.call()
            caller.send(asked)
            await caller.until(answer)
        self.assertEqual([talk.received.count(b" HTTP/1.1\r\n") for talk in self.origin.talks], [2, 1])


class NotRelayedTests(WalkTests):
    """Protocols that nobody here could look into."""

    def test_not_relayed(self) -> None:
        """HTTP/2 and TLS are not asked for, nor is anything that Connection does not name; all else is as it was."""
        for connection, upgrade, expected in (
            ("Upgrade, HTTP2-Settings", "h2c", None),
            ("Upgrade", "H2C", None),
            ("Upgrade", "h2", None),
            ("Upgrade", "HTTP/2.0", None),
            ("Upgrade", "TLS/1.2", None),
            ("Upgrade", "TLS/1.0, HTTP/1.1", None),
            ("Upgrade", "", None),
            ("keep-alive", "websocket", None),
            ("Upgrade", "h2c, websocket ,TLS/1.3", b"websocket"),
            ("close, UPGRADE", "WebSocket, irc/6.9", b"WebSocket, irc/6.9"),
        ):
            self.start(answering(cache_control="max-age=60"))
            asking = [("Connection", connection), ("Upgrade", upgrade), ("HTTP2-Settings", "AAMAAABk")]
            reply = self.ask(fields=asking)
            self.assertEqual((reply.status, reply.body), (200, b"hello"))
            self.assertEqual(reply.word, "fwd=uri-miss" if expected is None else "fwd=bypass")
            [request] = self.origin.requests
            self.assertEqual(request.getHeader(b"upgrade"), expected)
            self.assertEqual(request.getHeader(b"connection"), None if expected is None else b"upgrade")

    def test_past_the_cache(self) -> None:
        """A request for another protocol is not answered from the store, nor is its answer stored; changes count."""
        self.start(answering(cache_control="max-age=60"))
        words = self.words(self.ask(), self.ask(fields=ASK), self.ask(), self.ask("/api/b", fields=ASK))
        self.assertEqual(words, ["fwd=uri-miss", "fwd=bypass", "hit", "fwd=bypass"])
        self.assertEqual(self.ask("/api/b").word, "fwd=uri-miss")
        self.ask(method="DELETE", fields=ASK)
        self.assertEqual(self.ask().word, "fwd=uri-miss")
        self.assertEqual(self.proxy.metrics.seen[1].word, "bypass")


class RefusedTests(TunnelTestCase):
    """Answers that do not agree, and none."""

    async def test_answer(self) -> None:
        """Another answer is handed on as such, and the caller goes on with HTTP."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(b"HTTP/1.1 403 No\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\nContent-Length: 8\r\n\r\nnot ")
            await begun
            talk.send(b"here")
            await talk.request()
            talk.send(OK)

        begun: Deferred[None] = Deferred()
        await self.start(script)
        caller = await self.call()
        caller.send(spell("GET", "/api/a", ASK))
        head = await caller.until(b"\r\n\r\nnot ")
        self.assertTrue(head.startswith(b"HTTP/1.1 403 No\r\n"))
        self.assertNotIn(b"pgrade:", head)
        begun.callback(None)
        await caller.exactly(4)
        caller.send(spell("GET", "/api/a"))
        self.assertRegex(await caller.until(b"\r\n\r\nhi"), rb"^HTTP/1.1 200 OK\r\n(?s:.)*fwd=uri-miss")
        self.assertEqual([(seen.status, seen.word) for seen in self.metrics.seen], [(403, "bypass"), (200, "uri-miss")])

    async def test_requests_behind(self) -> None:
        """What a caller sent behind a request that was not agreed to are requests."""
        await self.start(OK)
        caller = await self.call()
        caller.send(spell("GET", "/api/a", ASK) + spell("GET", "/api/b") + spell("GET", "/api/c"))
        for word in (b"bypass", b"uri-miss", b"uri-miss"):
            self.assertIn(b"fwd=" + word, await caller.until(b"\r\n\r\nhi"))

    async def test_nobody_asked(self) -> None:
        """A 101 to a plain request, or to a protocol that was not asked for, is no answer."""
        for asking, named in (
            ([], b"Upgrade: echo/1\r\n"),
            ([("Connection", "Upgrade"), ("Upgrade", "h2c")], b"Upgrade: h2c\r\n"),
            (ASK, b"Upgrade: websocket\r\n"),
            (ASK, b"Upgrade: echo\r\n"),
            (ASK, b"Upgrade: echo/1, websocket\r\n"),
            (ASK, b""),
        ):
            await self.start(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n" + named + b"\r\nevil")
            caller = await self.call()
            caller.send(spell("GET", "/api/a", asking))
            self.assertTrue((await caller.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 502 "))
            self.assertIn(b"another protocol, which nobody asked for", await caller.until(b"\n"))
            await self.origin.talks[0].gone()

    async def test_no_origin(self) -> None:
        """An origin that closes, or takes too long, is reported as always."""

        async def closing(talk: Talk) -> None:
            await talk.request()
            talk.close()

        await self.start(closing)
        caller = await self.call()
        caller.send(spell("GET", "/api/a", ASK))
        self.assertTrue((await caller.until(b"}}\n")).startswith(b"HTTP/1.1 502 "))
        self.assertEqual((self.metrics.seen[0].status, self.metrics.seen[0].word), (502, "upstream-failed"))

        async def silent(talk: Talk) -> None:
            await talk.request()

        await self.start(silent, timeouts={"first_byte": 7})
        caller = await self.call()
        caller.send(spell("GET", "/api/a", ASK))
        origin = await self.origin.connected()
        await self.comes_true(lambda: b"\r\n\r\n" in origin.received)
        self.clock.advance(7)
        self.assertTrue((await caller.until(b"}}\n")).startswith(b"HTTP/1.1 504 "))
        await origin.gone()

    async def test_caller_leaves_before(self) -> None:
        """A caller that does not wait for the answer takes its connection to the origin along."""

        async def silent(talk: Talk) -> None:
            await talk.request()

        await self.start(silent)
        caller = await self.call()
        caller.send(spell("GET", "/api/a", ASK))
        origin = await self.origin.connected()
        caller.close()
        await origin.gone()
        self.assertEqual((await self.outcome()).status, 499)


class FlowTests(TunnelTestCase):
    """Bytes both ways."""

    async def test_untouched(self) -> None:
        """Bytes are not looked at, in either direction, though they look like HTTP."""
        caller, origin = await self.join()
        for data in (spell("GET", "/api/b"), OK, b"\r\n\r\n", bytes(range(256))):
            caller.send(data)
            self.assertEqual(await origin.exactly(len(data)), data)
            origin.send(data)
            self.assertEqual(await caller.exactly(len(data)), data)
        self.assertEqual(len(self.origin.talks), 1)

    async def test_before_the_answer(self) -> None:
        """What a caller says before the origin has agreed waits for that, and is no request."""

        async def script(talk: Talk) -> None:
            await talk.request()
            await sent
            talk.send(SWITCH)

        sent: Deferred[None] = Deferred()
        await self.start(script)
        caller = await self.call()
        early = spell("GET", "/api/b") + b"x" * 300_000
        caller.send(spell("GET", "/api/a", ASK) + early[:10])
        origin = await self.origin.connected()
        caller.send(early[10:])
        await self.turns()
        [channel] = self.site._open
        self.assertLessEqual(sum(map(len, channel._dataBuffer)), 0x4000 + 2**16)
        sent.callback(None)
        self.assertEqual(await origin.exactly(len(early)), early)

    async def test_behind_the_answer(self) -> None:
        """What comes with the head is the other protocol's."""
        await self.start(SWITCH + OK)
        caller = await self.call()
        caller.send(spell("GET", "/api/a", ASK))
        self.assertEqual(await caller.exactly(len(SWITCH + OK)), SWITCH + OK)

    async def test_much_behind_the_answer(self) -> None:
        """Nothing is lost of what comes with the head, however much, where the origin closes right after it."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(SWITCH + MANY)
            talk.close()

        await self.start(script)
        caller = await self.call()
        caller.send(spell("GET", "/api/a", ASK))
        await caller.until(b"\r\n\r\n")
        self.assertEqual(await caller.exactly(len(MANY)), MANY)
        await caller.gone()
        self.assertEqual((await self.outcome()).tunnelled, (0, len(MANY)))

    async def test_nobody_reads(self) -> None:
        """A side that does not read holds up the other one, and gets all of it once it does."""
        for reader, writer in (await self.join(), (await self.tunnel())[::-1]):
            reader.stop_reading()
            writer.send(MANY)
            left = -1
            while left != (left := _unsent(writer.transport)):
                await self.turns()
            self.assertGreater(left, len(MANY) // 2)
            self.assertLess(self.held(), 2**20)
            reader.resume_reading()
            self.assertEqual(await reader.exactly(len(MANY)), MANY)

    def held(self) -> int:
        """Return how many bytes wait in the proxy's own buffers."""
        transports = [channel.transport for channel in self.site._open]
        transports += [switched._reins._producer for switched in self.upstream._switched]
        return sum(map(_unsent, transports))


def _unsent(transport: Any) -> int:
    """Return how many bytes `transport` was given and the system has not taken yet."""
    transport = getattr(transport, "transport", transport)  # beneath TLS
    size: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    return size


class EndTests(TunnelTestCase):
    """The end of it."""

    async def nothing_left(self) -> None:
        """Wait until the proxy waits for nothing, and has no connection."""
        await self.comes_true(lambda: not (self.waits() or self.site._open or self.upstream._switched))

    async def test_caller_leaves(self) -> None:
        """What a caller said last reaches the origin, and then the end."""
        caller, origin = await self.join()
        caller.send(b"good bye")
        caller.close()
        await origin.until(b"good bye")
        await origin.gone()
        outcome = await self.outcome()
        self.assertEqual((outcome.status, outcome.word, outcome.tunnelled), (101, "upgrade", (8, 0)))
        self.assertEqual((outcome.path, outcome.reason), (b"/a", ""))
        await self.nothing_left()

    async def test_origin_leaves(self) -> None:
        """What an origin said last reaches the caller, and then the end, whether it closes or breaks off."""
        for leave in (Talk.close, Talk.reset):
            caller, origin = await self.join()
            origin.send(b"good bye")
            await caller.until(b"good bye")
            leave(origin)
            await caller.gone()
            self.assertEqual((await self.outcome()).tunnelled, (0, 8))
            await self.nothing_left()

    async def test_both_leave(self) -> None:
        """Both may leave at once."""
        caller, origin = await self.join()
        caller.close()
        origin.close()
        await self.nothing_left()
        self.assertEqual((await self.outcome()).tunnelled, (0, 0))

    async def test_last_words_are_heard(self) -> None:
        """A caller that talks on hears an origin's last words: what it says is read, not answered with a reset."""
        caller, origin = await self.join()
        origin.stop_reading()
        caller.send(MANY)
        origin.send(MANY)
        await self.turns()
        await self.comes_true(lambda: not _unsent(origin.transport))
        origin.end_now()
        self.assertEqual(await caller.exactly(len(MANY)), MANY)
        await caller.gone()
        assert caller.lost is not None
        self.assertTrue(caller.lost.check(ConnectionDone))

    async def test_who_does_not_close_is_cut(self) -> None:
        """A side that does not take its last bytes, or does not close, is cut after a while."""
        for which in (0, 1):
            ends = await self.join()
            stuck, leaving = ends[which], ends[1 - which]
            stuck.stop_reading()
            leaving.send(b"good bye")
            leaving.close()
            await self.outcome()
            self.assertEqual(len(self.waits()), 1)
            self.clock.advance(CLOSING - 1)
            await self.turns()
            self.assertEqual(len(self.site._open) + len(self.upstream._switched), 1)
            self.clock.advance(1)
            await self.nothing_left()

    async def test_silence(self) -> None:
        """A tunnel with no byte for `tunnel_idle` is ended; any byte, either way, counts."""
        caller, origin = await self.join(timeouts={"tunnel_idle": "5m"})
        for speaker, listener in ((caller, origin), (origin, caller), (caller, origin)):
            self.clock.advance(299)
            speaker.send(b"x")
            await listener.exactly(1) if listener is caller else await listener.until(b"x")
        self.clock.advance(299)
        await self.turns()
        self.assertIsNone(caller.lost)
        self.clock.advance(1)
        await caller.gone()
        await origin.gone()
        said = "no byte for 300 s (domain_mappings.NAME.timeouts.tunnel_idle sets this)"
        self.assertEqual((await self.outcome()).reason, said)
        await self.nothing_left()

    async def test_silence_of_one_who_does_not_read(self) -> None:
        """Nor does a side that takes nothing keep a tunnel for ever."""
        caller, origin = await self.join()
        caller.stop_reading()
        origin.send(MANY)
        await self.turns()
        self.clock.advance(HOUR)
        self.assertIn("tunnel_idle", (await self.outcome()).reason)
        self.clock.advance(CLOSING)
        await self.nothing_left()

    async def test_lifetime(self) -> None:
        """A tunnel lasts for `tunnel_total` at most, though it is in use, and for ever where nothing is said."""
        for settings, lasts in (({"tunnel_total": "2h"}, False), ({"total": 60, "idle": 60}, True)):
            caller, origin = await self.join(timeouts=settings)
            for _ in range(2):
                self.clock.advance(HOUR - 1)
                caller.send(b"x")
                await origin.until(b"x")
            self.clock.advance(HOUR - 1)
            if lasts:
                caller.send(b"y")
                await origin.until(b"y")
            else:
                await origin.gone()
                said = "open for 7200 s (domain_mappings.NAME.timeouts.tunnel_total sets this)"
                self.assertEqual((await self.outcome()).reason, said)
                await self.nothing_left()


class SecureFlowTests(FlowTests):
    """The same with TLS."""

    secure = True


class SecureEndTests(EndTests):
    """The same with TLS."""

    secure = True


class StopTests(TunnelTestCase):
    """The proxy is to stop."""

    async def test_once_quiet(self) -> None:
        """A tunnel counts as a request in progress, and is ended as soon as nothing moves any more."""
        caller, origin = await self.join()
        self.assertEqual(self.site.in_progress, 1)
        draining = self.site.drain()
        for _ in range(5):
            self.clock.advance(QUIET * 0.9)
            caller.send(b"x")
            await origin.until(b"x")
        self.assertNoResult(draining)
        self.clock.advance(QUIET)
        await draining
        await origin.gone()
        self.assertEqual((await self.outcome()).reason, "buddyproxy stops")

    async def test_hurry(self) -> None:
        """Where there is no time, a tunnel is cut, and so is the origin's side when that is asked for."""
        caller, origin = await self.join()
        origin.stop_reading()
        draining = self.site.drain()
        self.assertEqual(self.site.abort(), 1)
        await draining
        await caller.gone()
        await self.upstream.close()
        await self.comes_true(lambda: not (self.upstream._switched or self.waits()))
        self.site.drain()

    async def test_asked_for_while_stopping(self) -> None:
        """One that begins meanwhile does not last either; nor does one that is closing already mind."""

        async def script(talk: Talk) -> None:
            await talk.request()
            await stopping
            talk.send(SWITCH)

        stopping: Deferred[None] = Deferred()
        await self.start(script)
        caller = await self.call()
        caller.send(spell("GET", "/api/a", ASK))
        await self.origin.connected()
        draining = self.site.drain()
        stopping.callback(None)
        await caller.until(b"\r\n\r\n")
        caller.stop_reading()
        self.clock.advance(QUIET)
        self.site.drain()
        self.clock.advance(CLOSING)
        await draining

    async def test_not_taken_over(self) -> None:
        """A connection that nobody takes over can be cut."""
        origin = await self.listen(agreeing)
        asking = request(headers=[(b"Connection", b"upgrade"), (b"Upgrade", b"echo/1")])
        switched = await self.upstream.switch(asking, Origin("http", origin.host, origin.port), self.NO_LIMITS)
        self.assertEqual(switched.response.status, 101)
        await self.upstream.close()
        await origin.talks[0].gone()
        await self.comes_true(lambda: not self.upstream._switched)
