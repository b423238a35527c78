"""Event streams through the whole proxy in memory: handed on as they come, stored when whole, and sent again."""

import json
from collections.abc import Sequence

from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as ServerRequest

from buddyproxy.web.delivery import STALLED
from tests.support.memory import Connection, parse, spell
from tests.support.walk import WalkTests, answering

EVENTS = (b"data: 1\n\n", b"data: 2\n\nda", b"ta: 3\n\n")


class StreamWalk(WalkTests):
    """A stream from an origin whose every chunk a test sends."""

    def open(self, media_type: str = "text/event-stream", **settings: object) -> ServerRequest:
        """Begin a stream, and return the origin's side of it."""

        def begin(request: ServerRequest) -> int:
            request.setHeader(b"content-type", media_type.encode())
            request.setHeader(b"cache-control", b"max-age=60")
            return NOT_DONE_YET

        self.start(begin, **settings)
        self.caller = self.call()
        return self.origin.requests[0]

    def call(self, method: str = "GET", version: str = "1.1") -> Connection:
        """Ask, and return the connection that the answer comes on."""
        caller = self.proxy.connect()
        caller.send(spell(method, "/api/a").replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
        self.proxy.endpoint.flush()
        return caller

    def send(self, request: ServerRequest, *chunks: bytes, seconds: float = 0.5) -> None:
        """Let the origin send `chunks`, with so many seconds between them."""
        for number, chunk in enumerate(chunks):
            self.proxy.clock.advance(seconds if number else 0)
            request.write(chunk)
            self.proxy.endpoint.flush()

    def store(self, *chunks: bytes, media_type: str = "text/event-stream", **settings: object) -> None:
        """Have a stream of `chunks` stored."""
        request = self.open(media_type, **settings)
        self.send(request, *chunks)
        request.finish()
        self.proxy.endpoint.flush()

    def chunks(self, caller: Connection) -> Sequence[bytes]:
        """Return the chunks that `caller` has got so far; an empty one is the end (RFC 9112, 7.1)."""
        found, rest = [], caller.received.partition(b"\r\n\r\n")[2]
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            found.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        return found


class StreamTests(StreamWalk):
    """Streams are handed on as they come, and sent again as they came or otherwise."""

    def test_forwarded_as_it_comes(self) -> None:
        """Each chunk is handed on as it is, in the moment in which it comes."""
        request = self.open()
        for count, chunk in enumerate(EVENTS, 1):
            self.send(request, chunk)
            self.assertEqual(self.chunks(self.caller), list(EVENTS[:count]))
        request.finish()
        self.proxy.endpoint.flush()
        self.assertEqual(self.chunks(self.caller), [*EVENTS, b""])

    def test_instant(self) -> None:
        """By default a stored stream is sent again at once, in the chunks in which it came."""
        for media_type in ("text/event-stream; charset=utf-8", "application/x-ndjson", "application/json"):
            self.store(*EVENTS, media_type=media_type)
            caller = self.call()
            self.assertEqual(self.chunks(caller), [*EVENTS, b""], media_type)
            reply = parse(caller.received)
            self.assertEqual((reply.word, reply["Content-Length"]), ("hit", None))

    def test_recorded(self) -> None:
        """With the recorded timing it begins at once, and each chunk comes when it came."""
        self.store(*EVENTS, api={"replay": "recorded"})
        caller = self.call()
        for advance, expected in ((0, 1), (0.49, 1), (0.01, 2), (0.25, 2), (0.25, 4)):
            self.proxy.clock.advance(advance)
            self.assertEqual(self.chunks(caller), [*EVENTS, b""][:expected])
        self.assertEqual(parse(caller.received).body, b"".join(EVENTS))
        self.assertTrue(self.proxy.metrics.seen[-1].complete)

    def test_rate(self) -> None:
        """At a rate, events come one by one, however they came first."""
        self.store(*EVENTS, api={"replay": "20/s"})
        caller = self.call()
        events = [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"]
        for expected in (events[:1], events[:2], [*events, b""]):
            self.assertEqual(self.chunks(caller), expected)
            self.proxy.clock.advance(1 / 20)

    def test_rule(self) -> None:
        """A rule may say it for some paths."""
        rules = [{"path": "/a", "replay": "1/s"}]
        self.store(*EVENTS, api={"replay": "instant", "rules": rules})
        self.assertEqual(self.chunks(self.call()), [b"data: 1\n\n"])

    def test_whole_answers(self) -> None:
        """What is no stream, or came in one piece, is answered with its length, as ever; so is HEAD."""
        for media_type, chunks in (("text/plain", EVENTS), ("application/json", (b"{}",))):
            self.store(*chunks, media_type=media_type, api={"replay": "1/s"})
            reply = parse(self.call().received)
            self.assertEqual((reply.word, reply.body), ("hit", b"".join(chunks)))
            self.assertEqual(reply["Content-Length"], str(len(reply.body)))
        self.store(*EVENTS, api={"replay": "1/s"})
        head = self.call("HEAD")
        self.assertEqual((parse(head.received, "HEAD").word, self.chunks(head)), ("hit", []))

    def test_part_of_a_stream(self) -> None:
        """A part of a stored stream is a part like any other, and goes at once."""
        self.store(*EVENTS, api={"replay": "1/s"})
        reply = self.ask(fields=[("Range", "bytes=0-5")])
        self.assertEqual((reply.status, reply.body), (206, b"data: "))

    def test_old_caller(self) -> None:
        """A caller that knows no chunks gets the same bytes, up to the close of the connection."""
        self.store(*EVENTS, api={"replay": "20/s"})
        caller = self.call(version="1.0")
        for _ in EVENTS:
            self.proxy.clock.advance(1 / 20)
        self.assertEqual(caller.received.partition(b"\r\n\r\n")[2], b"".join(EVENTS))
        self.assertFalse(caller.transport.connected)

    def test_validated(self) -> None:
        """A stream that the origin confirms is sent again like any other, and keeps its times."""
        request = self.open(api={"replay": "1/s"})
        request.setHeader(b"etag", b'"1"')
        self.send(request, *EVENTS)
        request.finish()
        self.proxy.endpoint.flush()
        self.proxy.clock.advance(60)
        self.origin.answer = answering(b"", 304, etag='"1"', cache_control="max-age=60")
        for _ in range(2):
            self.assertEqual(self.chunks(self.call()), [b"data: 1\n\n"])
        self.assertEqual(self.origin.statuses, [200, 304])

    def test_caller_leaves(self) -> None:
        """When the caller leaves, nothing is left of the replay."""
        self.store(*EVENTS, api={"replay": "recorded"})
        calls = len(self.proxy.clock.getDelayedCalls())
        caller = self.call()
        self.proxy.clock.advance(0.5)
        caller.leave()
        self.assertEqual(len(self.proxy.clock.getDelayedCalls()), calls)
        self.assertFalse(self.proxy.metrics.seen[-1].complete)

    def test_shutdown(self) -> None:
        """An orderly end waits for a replay as for any answer, and what ends that wait ends the replay."""
        self.store(*EVENTS, api={"replay": "recorded"})
        caller = self.call()
        drained = self.proxy.site.drain()
        self.proxy.clock.advance(0.5)
        self.assertEqual(self.chunks(caller), list(EVENTS[:2]))
        self.assertNoResult(drained)
        self.proxy.site.abort()
        self.successResultOf(drained)
        self.proxy.clock.advance(60)
        self.assertEqual(self.chunks(caller), list(EVENTS[:2]))
        self.assertFalse(self.proxy.metrics.seen[-1].complete)

    def test_caller_who_waits(self) -> None:
        """Nothing is sent to a caller who takes nothing; what fell due meanwhile follows when it goes on."""
        self.store(*EVENTS, api={"replay": "recorded"})
        caller = self.call()
        caller.protocol.pauseProducing()
        self.proxy.clock.advance(0.75)
        self.assertEqual(self.chunks(caller), [EVENTS[0]])
        caller.protocol.resumeProducing()
        self.assertEqual(self.chunks(caller), list(EVENTS[:2]))
        self.proxy.clock.advance(0.25)
        self.assertEqual(self.chunks(caller), [*EVENTS, b""])

    def test_caller_who_takes_nothing(self) -> None:
        """A caller who never goes on is cut off."""
        self.store(*EVENTS, api={"replay": "recorded"})
        caller = self.call()
        caller.protocol.pauseProducing()
        self.proxy.clock.advance(STALLED)
        self.assertTrue(caller.transport.aborted)

    def test_full_buffers(self) -> None:
        """At once still means as fast as the caller takes it."""
        self.store(*EVENTS)
        caller = self.proxy.connect()
        write = caller.transport.write

        def full(data: bytes) -> None:
            write(data)
            if data.endswith(EVENTS[0]) or EVENTS[0] in data:
                caller.protocol.pauseProducing()

        caller.transport.write = full
        caller.transport.writeSequence = lambda data: full(b"".join(data))
        caller.send(spell("GET", "/api/a"))
        self.assertEqual(self.chunks(caller), [EVENTS[0]])
        caller.protocol.resumeProducing()
        self.assertEqual(self.chunks(caller), [*EVENTS, b""])

    def test_broken_stream(self) -> None:
        """A stream that broke off, or whose end nobody marked, is not stored."""
        request = self.open()
        self.send(request, *EVENTS)
        request.channel.loseConnection()
        self.proxy.endpoint.flush()
        self.assertNotIn(b"", self.chunks(self.caller))

        def until_close(request: ServerRequest) -> int:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
            request.channel.transport.write(head + b"".join(EVENTS))
            request.channel.loseConnection()
            return NOT_DONE_YET

        self.origin.answer = until_close
        for reply in (self.ask(), self.ask()):
            self.assertEqual((reply.word, reply.body), ("fwd=uri-miss", b"".join(EVENTS)))

    def test_thousand_callers(self) -> None:
        """A thousand callers who join at any time each get every byte once, in order, of one fetch."""
        request = self.open()
        callers = [self.caller]
        events = [f"data: {json.dumps({'number': number})}\n\n".encode() for number in range(37)]
        for event in events:
            self.send(request, event)
            callers += [self.call() for _ in range(27)]
        request.finish()
        self.proxy.endpoint.flush()
        self.assertEqual(len(callers), 1000)
        self.assertEqual({tuple(self.chunks(caller)) for caller in callers}, {(*events, b"")})
        self.assertEqual(len(self.origin.asked), 1)
        self.assertEqual(self.ask().word, "hit")


CUT_SHORT = 'choices[*].finish_reason = "length"'


class WorthTests(StreamWalk):
    """Answers that turn out not to be worth keeping."""

    def test_cut_short(self) -> None:
        """A stream in which an event meets a condition is handed on whole, and not stored; others are."""
        for reason, expected in (("length", "fwd=uri-miss"), ("stop", "hit")):
            events = [f'data: {{"choices": [{{"finish_reason": "{reason}"}}]}}\n\n'.encode(), b"data: [DONE]\n\n"]
            self.store(*events, api={"store_unless": [CUT_SHORT]})
            reply = parse(self.caller.received)
            self.assertEqual(reply.body, b"".join(events))
            own = "buddyproxy; fwd=uri-miss; fwd-status=200; ttl=60; detail=judged-at-end"
            self.assertEqual(reply["Cache-Status"], own)
            self.origin.answer = answering()
            self.assertEqual(self.ask().word, expected)

    def test_error_in_an_answer(self) -> None:
        """A 200 that holds an error is not stored where that is asked for; a rule may ask for something else."""
        rules = [{"path": "/b", "store_unless": []}]
        body = b'{"error": "overloaded"}'
        self.start(answering(body, content_type="application/json"), api={"store_unless": ["error"], "rules": rules})
        self.assertEqual(self.words(self.ask(), self.ask()), ["fwd=uri-miss"] * 2)
        self.assertEqual(self.words(self.ask("/api/b"), self.ask("/api/b")), ["fwd=uri-miss", "hit"])

    def test_what_is_there_already(self) -> None:
        """An answer that is not worth keeping does not take the place of one that was."""
        fields = {"content_type": "application/json", "cache_control": "max-age=60"}
        self.start(answering(b'{"a": 1}', **fields), api={"store_unless": ["error"]})
        self.ask()
        self.origin.answer = answering(b'{"error": 1}', **fields)
        self.assertEqual(self.ask(fields=[("Cache-Control", "no-cache")]).body, b'{"error": 1}')
        hit = self.ask()
        self.assertEqual((hit.word, hit.body), ("hit", b'{"a": 1}'))

    def test_no_json(self) -> None:
        """What is no JSON is stored as ever, and its head says so."""
        self.start(answering(content_type="text/plain"), api={"store_unless": ["error"]})
        self.assertIn("stored", self.ask()["Cache-Status"] or "")
        self.assertEqual(self.ask().word, "hit")
