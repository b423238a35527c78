"""The proxy between two sockets: what an origin sends, to the byte, and what the caller gets of it."""

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.logger import LogLevel

from buddyproxy.config import Config
from buddyproxy.metrics import Metrics
from buddyproxy.service.assembly import Assembly, gate_of
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.web.site import ProxySite
from tests.support.files import TemporaryFiles
from tests.support.memory import spell
from tests.support.origin import Script, Talk
from tests.support.upstreams import OK, UpstreamTestCase

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n"
KEPT = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nhi"


class WireTestCase(UpstreamTestCase):
    """A proxy with one mapping, `api`, in front of an origin that runs a script."""

    async def caller(self, script: Script, **mapping: Any) -> Talk:
        """Return a connection to a proxy in front of an origin; `mapping` are settings of the mapping."""
        self.origin = await self.listen(script)
        upstream = f"http://{self.origin.host}:{self.origin.port}"
        config = Config.from_mapping({"domain_mappings": {"api": {"upstream": upstream, **mapping}}})
        metrics, storage = Metrics(LogLevel.critical), MemoryStorage(2**20, 1000)
        assembly = Assembly(config, gate_of(config.security), storage, self.upstream, metrics, self.clock, lambda: 0.0)
        site = ProxySite(assembly.resource(), self.clock, config.server.max_request_body)
        listening: Any = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(site)
        self.addCleanup(site.drain)
        self.addCleanup(listening.stopListening)
        to = TCP4ClientEndpoint(self.reactor, "127.0.0.1", listening.getHost().port)
        talk: Talk = await connectProtocol(to, Talk())
        self.addCleanup(talk.gone)
        self.addCleanup(talk.reset)
        return talk


class InterimTests(WireTestCase):
    """Responses before the response (RFC 9110, 15.2)."""

    async def test_as_they_come(self) -> None:
        """Each reaches the caller before the next is there, with its end-to-end fields; none is stored."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nConnection: X-Private\r\n")
            talk.send(b"Link: </a>\r\nX-Private: 1\r\nLink: </b>\r\nKeep-Alive: 5\r\nContent-Length: 3\r\n\r\n")
            await hinted
            talk.send(b"HTTP/1.1 199 \xe9\r\n\r\n")
            await hinted_again
            talk.send(KEPT)

        hinted: Deferred[None] = Deferred()
        hinted_again: Deferred[None] = Deferred()
        caller = await self.caller(script)
        caller.send(spell("GET", "/api/a"))
        self.assertEqual(await caller.until(b"\r\n\r\n"), HINTS)
        hinted.callback(None)
        self.assertEqual(await caller.until(b"\r\n\r\n"), b"HTTP/1.1 199 \xe9\r\n\r\n")
        hinted_again.callback(None)
        self.assertRegex(await caller.until(b"\r\n\r\nhi"), rb"^HTTP/1.1 200 OK\r\n(?s:.)*fwd=uri-miss")
        caller.send(spell("GET", "/api/a"))
        head = await caller.until(b"\r\n\r\nhi")
        self.assertRegex(head, rb"^HTTP/1.1 200 OK\r\n(?s:.)*buddyproxy; hit")
        self.assertNotIn(b"Link", head)

    async def test_before_a_confirmation(self) -> None:
        """What comes before a 304 comes before the stored response it confirms, and leaves nothing in it."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(b'HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nETag: "a"\r\nContent-Length: 2\r\n\r\nhi')
            self.assertIn(b'If-None-Match: "a"\r\n', await talk.request())
            talk.send(HINTS + b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n')

        caller = await self.caller(script)
        caller.send(spell("GET", "/api/a"))
        await caller.until(b"\r\n\r\nhi")
        caller.send(spell("GET", "/api/a"))
        self.assertEqual(await caller.until(b"\r\n\r\n"), HINTS)
        head = await caller.until(b"\r\n\r\nhi")
        self.assertRegex(head, rb"^HTTP/1.1 200 OK\r\n(?s:.)*fwd=stale; fwd-status=304")
        self.assertNotIn(b"Link", head)

    async def test_old_caller(self) -> None:
        """A caller that speaks HTTP/1.0 knows of none, and gets none."""
        caller = await self.caller(HINTS + OK)
        caller.send(b"GET /api/a HTTP/1.0\r\nHost: x\r\n\r\n")
        self.assertRegex(await caller.until(b"\r\n\r\nhi"), rb"^HTTP/1.0 200 OK\r\n")

    async def test_fields_changed(self) -> None:
        """What a mapping keeps from callers stays back here too, and references lead through the proxy."""
        hints = b"HTTP/1.1 103 Early Hints\r\nX-Inner: 1\r\nLocation: /a\r\n\r\n"
        caller = await self.caller(hints + OK, response_headers={"remove": ["X-Inner"]})
        caller.send(spell("GET", "/api/a"))
        self.assertEqual(await caller.until(b"\r\n\r\n"), b"HTTP/1.1 103 Early Hints\r\nLocation: /api/a\r\n\r\n")

    async def test_no_end(self) -> None:
        """An origin that sends nothing else has failed."""
        caller = await self.caller(HINTS * 33)
        caller.send(spell("GET", "/api/a"))
        for _ in range(32):
            self.assertEqual(await caller.until(b"\r\n\r\n"), HINTS)
        self.assertRegex(await caller.until(b"\r\n\r\n"), rb"^HTTP/1.1 502 Bad Gateway\r\n")
        self.assertIn(b"more than 32 interim responses", await caller.until(b"\n"))


class CodeTests(WireTestCase):
    """Status codes and methods, known and unknown."""

    async def test_statuses(self) -> None:
        """Whatever number of three digits it is, and whatever words go with it: both reach the caller as they were.

        None of these is stored for long in buddy mode unless the origin says so; what is, comes back the same.
        """
        for line, words in (
            (b"299 Fine \xe9  so far", [b"uri-miss", b"uri-miss"]),
            (b"205 Start again", [b"uri-miss", b"uri-miss"]),
            (b"404 ", [b"uri-miss", b"uri-miss"]),
            (b"499 Gone\tfishing", [b"uri-miss", b"uri-miss"]),
            (b"599 Odd", [b"uri-miss", b"uri-miss"]),
            (b"799 Odder", [b"uri-miss", b"uri-miss"]),
            (b"999 Oddest", [b"uri-miss", b"uri-miss"]),
            (b"299 Kept\r\nCache-Control: max-age=60", [b"uri-miss", b"hit"]),
            (b"404 Kept\r\nCache-Control: max-age=60", [b"uri-miss", b"uri-miss"]),
            (b"799 Kept\r\nCache-Control: max-age=60", [b"uri-miss", b"uri-miss"]),
        ):
            caller = await self.caller(b"HTTP/1.1 " + line + b"\r\nContent-Length: 2\r\n\r\nhi")
            for word in words:
                caller.send(spell("GET", "/api/a"))
                got = await caller.until(b"\r\n\r\nhi")
                self.assertEqual(got.partition(b"\r\n")[0], b"HTTP/1.1 " + line.partition(b"\r\n")[0])
                self.assertRegex(got, rb"Cache-Status: buddyproxy; (fwd=)?%b" % word)

    async def test_methods(self) -> None:
        """Any method but those about connections is carried in its own case, with its content, and not cached."""
        caller = await self.caller(KEPT)
        for number, method in enumerate(("PURGE", "BREW", "get", "M-SEARCH", "query", "REPORT", "DELETE")):
            for content in (b"", b"question"):
                caller.send(spell(method, f"/api/{number}", body=content))
                self.assertRegex(await caller.until(b"\r\n\r\nhi"), b"fwd=method")
                sent = self.origin.talks[0].received.rpartition(b" HTTP/1.1\r\n")
                self.assertTrue(sent[0].endswith(f"{method} /{number}".encode()), sent)
                self.assertTrue(sent[2].endswith(b"\r\n\r\n" + content), sent)

    async def test_configured_method(self) -> None:
        """A method that a mapping names is cached, told apart by its content and its case."""
        caller = await self.caller(KEPT, methods=["QUERY"])
        for method, content, word in (
            ("QUERY", b"one", b"uri-miss"),
            ("QUERY", b"one", b"hit"),
            ("QUERY", b"two", b"uri-miss"),
            ("query", b"one", b"fwd=method"),
        ):
            caller.send(spell(method, "/api/a", body=content))
            self.assertRegex(await caller.until(b"\r\n\r\nhi"), word)


class FramingTests(WireTestCase):
    """Where one message ends and the next begins."""

    async def assert_apart(self, answer: bytes, expected: bytes, method: str = "GET") -> None:
        """Assert that an origin's `answer` becomes `expected` but for our own fields, and disturbs no later one."""

        async def script(talk: Talk) -> None:
            first = await talk.request()
            talk.send(answer if first.startswith(b"%b /first " % method.encode()) else OK)
            while True:
                await talk.request()
                talk.send(OK)

        caller = await self.caller(script)
        caller.send(spell(method, "/api/first"))
        head = await caller.until(b"\r\n\r\n")
        own = re.sub(rb"(Date|Cache-Status|X-Cache): [^\r]*\r\n", b"", head)
        rest = expected.partition(b"\r\n\r\n")[2]
        self.assertEqual(own + await caller.exactly(len(rest)), expected)
        for _ in range(3):
            caller.send(spell("GET", "/api/second", [("Cache-Control", "no-store")]))
            self.assertRegex(await caller.until(b"\r\n\r\nhi"), rb"^HTTP/1.1 200 OK\r\n")

    async def test_content_where_there_is_none(self) -> None:
        """What an origin sends after a head that ends the message is nobody's answer."""
        smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
        length, chunked = b"Content-Length: %d\r\n" % len(smuggled), b"Transfer-Encoding: chunked\r\n"
        for status in (b"204 No Content", b"304 Not Modified"):
            line = b"HTTP/1.1 " + status + b"\r\n"
            kept = length if status.startswith(b"304") else b""
            await self.assert_apart(line + b"\r\n" + smuggled, line + b"\r\n")
            await self.assert_apart(line + length + b"\r\n" + smuggled, line + kept + b"\r\n")
            await self.assert_apart(line + chunked + b"\r\n2e\r\n" + smuggled + b"\r\n0\r\n\r\n", line + b"\r\n")

    async def test_content_of_head(self) -> None:
        """An answer to HEAD has no content, whatever the origin sends after it."""
        ok = b"HTTP/1.1 200 OK\r\n"
        await self.assert_apart(ok + b"Content-Length: 4\r\n\r\nevil", ok + b"Content-Length: 4\r\n\r\n", "HEAD")
        await self.assert_apart(ok + b"Transfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n", ok + b"\r\n", "HEAD")

    async def test_content_of_205(self) -> None:
        """A 205 ought to have no content, but is framed as any other: what is there is handed on."""
        line = b"HTTP/1.1 205 Reset Content\r\n"
        for answer in (b"Content-Length: 4\r\n\r\nstay", b"Transfer-Encoding: chunked\r\n\r\n4\r\nstay\r\n0\r\n\r\n"):
            await self.assert_apart(line + answer, line + answer)
        await self.assert_apart(line + b"Content-Length: 0\r\n\r\n", line + b"Content-Length: 0\r\n\r\n")

    async def test_trailers(self) -> None:
        """Fields after the content are left out, in both directions, with the word that they come; nothing is lost."""
        ok, chunks = b"HTTP/1.1 200 OK\r\n", b"Transfer-Encoding: chunked\r\n\r\n4\r\nstay\r\n0\r\n"
        trailing = ok + b"Trailer: Digest, X\r\n" + chunks + b"Digest: x\r\nX: Content-Length: 5\r\n\r\n"
        await self.assert_apart(trailing, ok + chunks + b"\r\n")

        caller = await self.caller(OK)
        for _ in range(2):
            caller.send(b"PUT /api/a HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X\r\n" + chunks)
            caller.send(b"X: 1\r\n\r\n")
            await caller.until(b"\r\n\r\nhi")
        host = b"Host: 127.0.0.1:%d\r\n" % self.origin.port
        sent = b"PUT /a HTTP/1.1\r\n" + host + b"Via: 1.1 buddyproxy\r\nContent-Length: 4\r\n\r\nstay"
        self.assertEqual(self.origin.received, [sent * 2])


class ContentTests(WireTestCase):
    """Requests with more content than memory or a socket holds."""

    content = bytes(range(256)) * 40_000

    def setUp(self) -> None:
        super().setUp()
        self.files = TemporaryFiles(self)

    def head(self, target: str = "/api/a", *fields: tuple[str, str]) -> bytes:
        """Return the head of a request with that content."""
        return spell("POST", target, [("Content-Length", str(len(self.content))), *fields])

    async def test_expected(self) -> None:
        """The caller is told to go on before the origin is asked, and the origin, which waits for nothing, gets all."""
        caller = await self.caller(OK)
        caller.send(self.head("/api/a", ("Expect", "100-continue")))
        self.assertEqual(await caller.until(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertEqual(self.origin.talks, [])
        caller.send(self.content)
        self.assertRegex(await caller.until(b"\r\n\r\nhi"), rb"^HTTP/1.1 200 OK\r\n")
        [received] = self.origin.received
        head, _, content = received.partition(b"\r\n\r\n")
        self.assertNotIn(b"Expect", head)
        self.assertTrue(content == self.content)
        self.clock.advance(0)
        self.assertEqual(self.files.left(), [])

    async def test_answered_early(self) -> None:
        """An origin that answers before it has read the content gets the rest of it all the same."""

        async def script(talk: Talk) -> None:
            await talk.until(b"\r\n\r\n")
            talk.stop_reading()
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh")
            await read
            talk.resume_reading()
            received.append(await talk.exactly(len(self.content)))
            talk.send(b"i")

        read: Deferred[None] = Deferred()
        received: list[bytes] = []
        caller = await self.caller(script)
        caller.send(self.head() + self.content)
        await caller.until(b"\r\n\r\nh")
        self.assertEqual((received, len(self.files.left())), ([], 1))
        read.callback(None)
        await caller.until(b"i")
        self.assertTrue(received == [self.content])
        self.clock.advance(0)
        self.assertEqual(self.files.left(), [])

    async def test_refused(self) -> None:
        """A caller who is refused, and sends everything before it reads, still gets to read why."""
        caller = await self.caller(OK)
        caller.stop_reading()
        caller.send(self.head("/nowhere/a") + self.content)
        await self.turns()
        caller.resume_reading()
        self.assertRegex(await caller.until(b"}\n"), rb"^HTTP/1.1 404 Not Found\r\n(?s:.)*unknown-mapping")
        await caller.gone()
        self.assertTrue(caller.lost and caller.lost.check(ConnectionDone), caller.lost)
        self.assertEqual((self.origin.talks, self.files.left()), ([], []))


class StreamTests(WireTestCase):
    """Streams, of which every part is wanted as soon as it is there."""

    async def test_as_they_come(self) -> None:
        """Each chunk reaches the caller before the next one is sent, whatever is in it, and not cut otherwise."""
        chunks = (b"data: 1\n\n", b"da", b"ta: 2\n\ndata: 3\n\n", b"x" * 5000)

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for chunk, taken in zip(chunks, arrived, strict=True):
                talk.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                await taken
            talk.send(b"0\r\n\r\n")

        arrived: list[Deferred[None]] = [Deferred() for _ in chunks]
        caller = await self.caller(script)
        caller.send(spell("GET", "/api/a", [("Accept-Encoding", "gzip")]))
        self.assertNotIn(b"Content-Encoding", await caller.until(b"\r\n\r\n"))
        for chunk, taken in zip(chunks, arrived, strict=True):
            on_the_wire = b"%x\r\n%b\r\n" % (len(chunk), chunk)
            self.assertEqual(await caller.until(on_the_wire), on_the_wire)
            taken.callback(None)
        self.assertEqual(await caller.until(b"0\r\n\r\n"), b"0\r\n\r\n")

    async def test_no_delay(self) -> None:
        """Nothing waits on a caller's connection for more to be sent with it."""
        caller = await self.caller(OK)
        caller.send(spell("GET", "/api/a"))
        await caller.until(b"\r\n\r\nhi")
        self.assertTrue(self.socket_to(caller.transport.getHost().port).getTcpNoDelay())
