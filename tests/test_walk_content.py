"""The content of requests on its walk through the proxy, in memory: what is taken, when, and what is left of it."""

import json
import tempfile
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as ServerRequest

from buddyproxy.web.content import IN_MEMORY
from buddyproxy.web.site import LINGER
from tests.support.files import TemporaryFiles
from tests.support.memory import Answerer, Connection, Fields, Reply, parse, spell
from tests.support.values import properties
from tests.support.walk import WalkTests, answering

KEY = "correct-horse-battery-staple"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LARGE = bytes(range(256)) * (3 * IN_MEMORY // 256)


class ContentWalks(WalkTests):
    """A proxy, an origin that keeps the content it is sent, and a look at what is left behind."""

    def start(self, answer: Answerer | None = None, **settings: object) -> None:  # type: ignore[override]
        """Start a proxy; the origin gives `answer`, which is short and may be stored unless said otherwise."""
        self.contents: list[bytes] = []
        self.files = TemporaryFiles(self)
        then = answer or answering(cache_control="max-age=60")

        def kept(request: ServerRequest) -> bytes | int:
            self.contents.append(request.content.read())
            request.content.close()
            return then(request)

        super().start(kept, **settings)

    def begin(self, *fields: tuple[str, str], target: str = "/api/a", method: str = "POST") -> Connection:
        """Send the head of a request with the header fields `fields`, and nothing else."""
        connection = self.proxy.connect()
        connection.send(spell(method, target, fields))
        return connection

    def assert_refused(self, connection: Connection, status: int, code: str) -> None:
        """Assert that the caller got this and nothing else, with the word that the connection ends."""
        reply = parse(connection.received)
        self.assertEqual((reply.status, reply["Connection"]), (status, "close"))
        self.assertEqual(json.loads(reply.body)["error"]["code"], code)
        self.assertEqual(self.contents, [])
        self.assertEqual(self.files.left(), [])


def length_of(content: bytes) -> tuple[str, str]:
    """Return the field that says how long `content` is."""
    return "Content-Length", str(len(content))


EXPECTING = ("Expect", "100-continue")
CHUNKED = ("Transfer-Encoding", "chunked")


class ArrivalTests(ContentWalks):
    """Content in pieces."""

    def sent(self, pieces: Sequence[bytes], *, chunked: bool) -> Reply:
        """Send a request whose content comes in `pieces`, and return the reply."""
        framing = CHUNKED if chunked else length_of(b"".join(pieces))
        connection = self.begin(framing, ("X-Cache-Debug", "key"))
        for piece in pieces:
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        connection.send(b"0\r\n\r\n" if chunked else b"")
        self.proxy.endpoint.flush()
        return parse(connection.received)

    @settings(properties, max_examples=25)
    @given(
        size=st.integers(IN_MEMORY - 2, IN_MEMORY + 2),
        cuts=st.lists(st.integers(1, IN_MEMORY - 3) | st.integers(IN_MEMORY - 3, IN_MEMORY + 1), max_size=6),
        chunked=st.booleans(),
    )
    @example(size=IN_MEMORY, cuts=[IN_MEMORY - 1], chunked=True)
    @example(size=IN_MEMORY + 1, cuts=[IN_MEMORY], chunked=True)
    def test_any_pieces(self, size: int, cuts: list[int], chunked: bool) -> None:
        """However content comes, the origin gets the same, and the same question is found again."""
        content = LARGE[:size]
        places = sorted({0, size, *(cut for cut in cuts if cut < size)})
        self.start()
        first = self.sent([content], chunked=False)
        again = self.sent([content[start:end] for start, end in pairwise(places)], chunked=chunked)
        other = self.sent([content[:-1] + b"!"], chunked=chunked)
        self.assertTrue(self.contents == [content, content[:-1] + b"!"])
        self.assertEqual([first.word, again.word, other.word], ["fwd=uri-miss", "hit", "fwd=uri-miss"])
        keys = [(reply["Cache-Status"] or "").partition("key=")[2] for reply in (first, again, other)]
        self.assertEqual((keys[0] == keys[1], keys[1] == keys[2]), (True, False))
        self.assertEqual(self.files.left(), [])

    def test_every_byte_alone(self) -> None:
        """A caller who sends chunks of a byte is understood."""
        self.start()
        self.sent([b"%c" % each for each in b"content"], chunked=True)
        self.assertEqual(self.contents, [b"content"])

    def test_next_request(self) -> None:
        """What follows the content on the same connection is the next request."""
        self.start()
        connection = self.begin(length_of(LARGE))
        connection.send(LARGE + spell("GET", "/api/b"))
        self.proxy.endpoint.flush()
        self.assertEqual(self.origin.asked, [(b"POST", b"/base/a"), (b"GET", b"/base/b")])
        self.assertTrue(connection.transport.connected)


class LimitTests(ContentWalks):
    """`server.max_request_body`."""

    def start_limited(self) -> None:
        """Start a proxy that takes content of at most 1000 bytes."""
        self.start(server={"max_request_body": 1000})

    def test_said_before(self) -> None:
        """Content whose length is above the limit is refused before it is read; the caller need not wait to be told."""
        self.start_limited()
        for fields in ([("Content-Length", "1001")], [("Content-Length", "1001"), EXPECTING]):
            self.assert_refused(self.begin(*fields), 413, "body-too-large")
        [outcome, _] = self.proxy.metrics.seen
        self.assertEqual((outcome.method, outcome.mapping, outcome.word), (b"POST", "api", "body-too-large"))

    def test_found_out(self) -> None:
        """Content of no known length is refused as soon as there is too much of it, and what follows is not taken."""
        self.start_limited()
        for rest in (b"0\r\n\r\n", b"1\r\nx\r\n0\r\n\r\n" + spell("GET", "/api/b")):
            connection = self.begin(CHUNKED)
            connection.send((b"1f4\r\n" + b"x" * 500 + b"\r\n") * 2)
            self.assertEqual(connection.received, b"")
            connection.send(b"1\r\nx\r\n")
            self.assert_refused(connection, 413, "body-too-large")
            connection.send(rest)
            self.assertFalse(connection.transport.connected)
            self.assert_refused(connection, 413, "body-too-large")

    def test_all_at_once(self) -> None:
        """Too much content that comes in one piece, its end included, is refused all the same."""
        self.start_limited()
        connection = self.begin(CHUNKED)
        connection.send((b"200\r\n" + b"x" * 512 + b"\r\n") * 2 + b"0\r\n\r\n")
        self.assert_refused(connection, 413, "body-too-large")
        self.assertFalse(connection.transport.connected)

    def test_exactly(self) -> None:
        """Content as large as the limit is taken, however it is framed."""
        self.start_limited()
        self.assertEqual(self.ask(method="POST", body=b"x" * 1000).status, 200)
        connection = self.begin(CHUNKED)
        connection.send(b"3e8\r\n" + b"y" * 1000 + b"\r\n0\r\n\r\n")
        self.proxy.endpoint.flush()
        self.assertEqual(parse(connection.received).status, 200)


class ExpectationTests(ContentWalks):
    """`Expect: 100-continue` (RFC 9110, 10.1.1)."""

    def test_met(self) -> None:
        """Whoever may go on is told so, once, and the origin learns nothing of it."""
        for spelling in ("100-continue", "100-Continue"):
            self.start()
            connection = self.begin(length_of(b"content"), ("Expect", spelling))
            self.assertEqual((connection.received, self.contents), (CONTINUE, []))
            connection.send(b"content")
            self.proxy.endpoint.flush()
            head, reply = connection.received[: len(CONTINUE)], parse(connection.received[len(CONTINUE) :])
            self.assertEqual((head, reply.status, self.contents), (CONTINUE, 200, [b"content"]))
            self.assertIsNone(self.origin.requests[-1].getHeader(b"expect"))
            self.assertTrue(connection.transport.connected)

    def test_not_met(self) -> None:
        """Whoever is refused by the head of its request is told at once, and never to go on."""
        cases = [
            ("no key", "/api/a", [], 403, "forbidden"),
            ("no mapping", f"/{KEY}/nope/a", [], 404, "unknown-mapping"),
            ("too large", f"/{KEY}/api/a", [("Content-Length", "200000001")], 413, "body-too-large"),
            ("two hosts", f"/{KEY}/api/a", [("Host", "b.example")], 400, "bad-request"),
            ("a ring", f"/{KEY}/api/a", [("Via", ", ".join(["1.1 buddyproxy"] * 8))], 508, "loop-detected"),
        ]
        for case, target, fields, status, code in cases:
            self.start(security={"secure_key": KEY})
            framing = [] if case == "too large" else [length_of(b"content")]
            connection = self.begin(*fields, *framing, EXPECTING, target=target)
            self.assertTrue(connection.received.startswith(b"HTTP/1.1 %d " % status), case)
            self.assert_refused(connection, status, code)
            self.assertFalse(connection.transport.connected, case)

    def test_of_no_content(self) -> None:
        """Nobody is told to send what there is not."""
        self.start()
        connection = self.begin(length_of(b""), EXPECTING)
        self.proxy.endpoint.flush()
        self.assertEqual(parse(connection.received).status, 200)

    def test_of_an_old_caller(self) -> None:
        """A caller that speaks HTTP/1.0 knows of no such word, and gets none."""
        self.start()
        connection = self.proxy.connect()
        connection.send(b"POST /api/a HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual(connection.received, b"")
        connection.send(b"x")
        self.proxy.endpoint.flush()
        self.assertEqual((parse(connection.received).status, self.contents), (200, [b"x"]))

    def test_another(self) -> None:
        """What else a caller may expect is for the origin to say."""
        self.start(answering(status=417))
        reply = self.ask(method="POST", fields=[("Expect", "something-else")], body=b"x")
        self.assertEqual(reply.status, 417)
        self.assertEqual(self.origin.requests[-1].getHeader(b"expect"), b"something-else")


class RefusalTests(ContentWalks):
    """Who is refused by the head of its request, and sends content nevertheless."""

    def refused(self, target: str = "/api/a", method: str = "POST", fields: Fields = ()) -> Connection:
        """Send the head of a request without the key that it needs, which is refused at once."""
        self.start(security={"secure_key": KEY})
        connection = self.begin(length_of(LARGE), *fields, target=target, method=method)
        self.assertTrue(connection.received)
        return connection

    def test_nothing_is_kept(self) -> None:
        """Nothing of the content is kept, and the connection ends where it ends."""
        connection = self.refused()
        connection.send(LARGE[:-1])
        self.assert_refused(connection, 403, "forbidden")
        self.assertTrue(connection.transport.connected)
        connection.send(LARGE[-1:] + spell("GET", f"/{KEY}/api/a"))
        self.assert_refused(connection, 403, "forbidden")
        self.assertFalse(connection.transport.connected)
        self.assertEqual(self.origin.asked, [])

    def test_not_for_ever(self) -> None:
        """Who goes on and on is cut off."""
        connection = self.refused()
        self.proxy.clock.advance(LINGER - 1)
        connection.send(LARGE[:-1])
        self.assertTrue(connection.transport.connected)
        self.proxy.clock.advance(1)
        self.assertFalse(connection.transport.connected)

    def test_left(self) -> None:
        """Who leaves then, leaves nothing to be done."""
        connection = self.refused()
        connection.leave()
        self.assertEqual(self.proxy.clock.getDelayedCalls(), [])
        [outcome] = self.proxy.metrics.seen
        self.assertEqual(outcome.status, 403)

    def test_head(self) -> None:
        """A HEAD request with content is refused in the same way."""
        connection = self.refused(method="HEAD")
        reply = parse(connection.received, "HEAD")
        self.assertEqual((reply.status, reply["Connection"]), (403, "close"))
        connection.send(LARGE)
        self.assertFalse(connection.transport.connected)

    def test_pages(self) -> None:
        """The proxy's own pages want no content."""
        for target, method, status in (
            ("/admin/health", "POST", 405),
            ("/admin/health", "GET", 200),
            ("*", "PUT", 405),
        ):
            connection = self.refused(target, method)
            connection.send(LARGE)
            reply = parse(connection.received)
            self.assertEqual((reply.status, reply["Connection"]), (status, "close"), target)
            self.assertFalse(connection.transport.connected)
            self.assertEqual(self.files.left(), [])


class LeftoverTests(ContentWalks):
    """Large content, and what is left of it: nothing, whatever happens."""

    def upload(self, size: int = len(LARGE), method: str = "POST") -> Connection:
        """Send a request with `LARGE` as its content, of which `size` bytes come."""
        connection = self.begin(length_of(LARGE), method=method)
        connection.send(LARGE[:size])
        return connection

    def assert_held(self) -> None:
        """Assert that there is one file, which has no name."""
        [name] = self.files.left()
        self.assertIn("(deleted)", name)

    def test_answered(self) -> None:
        """It is gone with the answer, from the origin or from the store."""
        self.start()
        for _ in range(2):
            connection = self.upload(len(LARGE) - 1)
            self.assert_held()
            connection.send(LARGE[-1:])
            self.proxy.endpoint.flush()
            self.assertEqual(parse(connection.received).status, 200)
            self.assertEqual(self.files.left(), [])
        self.assertEqual([outcome.word for outcome in self.proxy.metrics.seen], ["uri-miss", "hit"])

    def test_caller_leaves(self) -> None:
        """It is gone with its caller, while it comes, while it goes on to the origin, and while the origin thinks."""
        for size, turns in ((len(LARGE) - 1, False), (len(LARGE), False), (len(LARGE), True)):
            self.start(lambda request: NOT_DONE_YET)
            connection = self.upload(size)
            self.assert_held()
            if turns:
                self.proxy.endpoint.flush()
                self.assertTrue(self.contents == [LARGE])
            connection.leave()
            self.proxy.endpoint.flush()
            self.assertEqual(self.files.left(), [])
            [outcome] = self.proxy.metrics.seen
            self.assertEqual((outcome.status, outcome.word), (499, "left"))

    def test_caller_stands_still(self) -> None:
        """A caller who sends nothing more for a minute is cut off."""
        self.start()
        connection = self.upload(len(LARGE) - 1)
        self.proxy.clock.advance(59)
        self.assertTrue(connection.transport.connected)
        self.proxy.clock.advance(1)
        self.assertFalse(connection.transport.connected)
        self.assertEqual(self.files.left(), [])

    def test_broken(self) -> None:
        """It is gone where what comes cannot be read any further, and nothing of it reaches the origin."""
        self.start()
        connection = self.begin(CHUNKED)
        connection.send(b"%x\r\n%b\r\n" % (len(LARGE), LARGE))
        self.assert_held()
        connection.send(b"no size\r\n")
        self.assertEqual(parse(connection.received).status, 400)
        self.assertFalse(connection.transport.connected)
        self.assertEqual((self.contents, self.files.left()), ([], []))

    def test_origin_fails(self) -> None:
        """It is gone where the origin cannot be asked."""
        self.start()
        self.proxy.endpoint.failure = Refused()
        self.assertEqual(parse(self.upload().received).status, 502)
        self.assertEqual(self.files.left(), [])

    def test_sent_again(self) -> None:
        """What is sent again, as a kept connection turned out to be closed, is sent from its first byte."""

        def answer(request: ServerRequest) -> bytes | int:
            if len(self.origin.asked) != 2:
                return b"hello"
            request.channel.loseConnection()
            return NOT_DONE_YET

        self.start(answer)
        self.ask("/api/first")
        connection = self.upload(method="PUT")
        self.proxy.endpoint.flush()
        self.assertEqual(parse(connection.received).status, 200)
        self.assertTrue(self.contents == [b"", LARGE, LARGE])
        self.assertEqual(self.files.left(), [])

    def test_in_the_background(self) -> None:
        """A stored response that serves while the origin is asked: the content is there until the origin has had it."""
        self.start(answering(cache_control="max-age=60, stale-while-revalidate=600", etag='"1"'))
        self.upload()
        self.proxy.endpoint.flush()
        self.proxy.clock.advance(61)
        connection = self.upload()
        self.assertEqual(parse(connection.received).word, "hit")
        connection.leave()
        self.assert_held()
        self.proxy.endpoint.flush()
        self.assertTrue(self.contents == [LARGE, LARGE])
        self.assertEqual(self.files.left(), [])

    def test_no_room(self) -> None:
        """Where it cannot be written, the caller is told so, and smaller content still goes through."""
        self.start()
        self.patch(tempfile, "tempdir", "/no/such/directory")
        connection = self.upload(IN_MEMORY + 1)
        self.assertEqual(parse(connection.received).status, 507)
        self.assert_refused(connection, 507, "insufficient-storage")
        connection.send(LARGE[IN_MEMORY + 1 :])
        self.assertFalse(connection.transport.connected)
        self.assertEqual(self.ask(method="POST", body=b"small").status, 200)
