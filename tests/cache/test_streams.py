"""Tests of `buddyproxy.cache.streams`."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.policy import Pace
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.cache.streams import Replay, boundary, is_timed, split, timeline
from buddyproxy.cache.timeline import Timeline
from tests.support.values import kept, properties

EVENTS = "Content-Type: text/event-stream"
LINES = "Content-Type: application/x-ndjson"


def streamed(*lines: str, chunks: tuple[bytes, ...], times: tuple[float, ...] = ()) -> StoredResponse:
    """Return a stored stream whose `chunks` came at `times`, or a second apart."""
    came = times or tuple(map(float, range(len(chunks))))
    return evolve(kept(*lines), body=b"".join(chunks), timeline=Timeline.of(chunks, came))


class SplitTests(SynchronousTestCase):
    """Where events end."""

    def events(self, media_type: bytes, content: bytes) -> list[bytes]:
        """Return the events of `content`."""
        at = boundary(media_type)
        assert at is not None
        return list(split(content, at))

    def test_server_sent_events(self) -> None:
        """An event ends with an empty line, however lines end; more of them belong to it."""
        for content, expected in (
            (b"", []),
            (b"data: a\n\ndata: b\n\n", [b"data: a\n\n", b"data: b\n\n"]),
            (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"data: a\r\n\r\n", b"data: b\r\n\r\n"]),
            (b"data: a\r\rdata: b\r\r", [b"data: a\r\r", b"data: b\r\r"]),
            (b"data: a\n\r\ndata: b", [b"data: a\n\r\n", b"data: b"]),
            (
                b"event: x\ndata: a\ndata: b\r\nid: 1\n\n\n\n: hi",
                [b"event: x\ndata: a\ndata: b\r\nid: 1\n\n\n\n", b": hi"],
            ),
            (b"\n\ndata: a\n\n", [b"\n\n", b"data: a\n\n"]),
        ):
            self.assertEqual(self.events(b"text/event-stream", content), expected)

    def test_lines(self) -> None:
        """Where each line is an event, it ends with the line."""
        for media_type in (b"application/x-ndjson", b"application/ndjson", b"application/jsonl"):
            self.assertEqual(self.events(media_type, b"{}\n[]\r\n\n1"), [b"{}\n", b"[]\r\n\n", b"1"])

    def test_records(self) -> None:
        """A record begins with its separator (RFC 7464, 2.2)."""
        for media_type in (b"application/json-seq", b"application/geo+json-seq"):
            self.assertEqual(self.events(media_type, b"\x1e{}\n\x1e1\n"), [b"\x1e{}\n", b"\x1e1\n"])

    @properties
    @given(
        st.sampled_from([b"text/event-stream", b"application/x-ndjson", b"application/json-seq"]),
        st.text("\r\n\x1ead:", max_size=30).map(str.encode),
    )
    def test_nothing_is_lost(self, media_type: bytes, content: bytes) -> None:
        """Put together, the events are the content, and none of them is empty."""
        events = self.events(media_type, content)
        self.assertEqual(b"".join(events), content)
        self.assertNotIn(b"", events)


class TimedTests(SynchronousTestCase):
    """Of which responses it is recorded when their content comes."""

    def test_which(self) -> None:
        """Event streams by their media type, and JSON that was begun before its length was known; no parts."""
        for expected, *lines in (
            (True, EVENTS),
            (True, "Content-Type: Text/Event-Stream; charset=utf-8", "Content-Length: 5"),
            (True, LINES),
            (True, "Content-Type: application/jsonl"),
            (True, "Content-Type: application/json-seq"),
            (True, "Content-Type: application/stream+json"),
            (True, "Content-Type: application/vnd.amazon.eventstream"),
            (True, "Content-Type: application/json"),
            (True, "Content-Type: application/problem+json"),
            (False, "Content-Type: application/json", "Content-Length: 5"),
            (False, "Content-Type: text/plain"),
            (False,),
        ):
            self.assertIs(is_timed(kept(*lines)), expected, lines)  # type: ignore[arg-type]
        self.assertFalse(is_timed(kept(EVENTS, status=206)))

    def test_timeline(self) -> None:
        """JSON that came in one piece is no stream; what was not recorded has no timeline."""
        json = "Content-Type: application/json"
        for line, chunks, times, expected in (
            (EVENTS, (b"a",), (5.0,), [(0, 1)]),
            (EVENTS, (b"a", b"bc"), (5.0, 6.0), [(0, 1), (1000, 2)]),
            (EVENTS, (b"a", b"bc"), (), []),
            (EVENTS, (), (), []),
            (json, (b"[", b"]"), (5.0, 6.0), [(0, 1), (1000, 1)]),
            (json, (b"[]",), (5.0,), []),
        ):
            self.assertEqual(list(timeline(kept(line), chunks, times)), expected, line)


class ReplayTests(SynchronousTestCase):
    """What is sent again, and when."""

    def pieces(self, stored: StoredResponse, pace: Pace) -> list[tuple[float, bytes]]:
        """Return the pieces of `stored`."""
        return list(Replay(stored, pace).pieces())

    def test_paces(self) -> None:
        """At once and as it came it is cut as it came; at a rate, where its events end."""
        stored = streamed(EVENTS, chunks=(b"data: 1\n", b"\ndata: 2\n\nda", b"ta: 3\n\n"), times=(7.0, 7.5, 9.25))
        chunks = [b"data: 1\n", b"\ndata: 2\n\nda", b"ta: 3\n\n"]
        self.assertEqual(self.pieces(stored, "instant"), [(0.0, chunk) for chunk in chunks])
        self.assertEqual(self.pieces(stored, "recorded"), list(zip((0.0, 0.5, 2.25), chunks, strict=True)))
        events = [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"]
        self.assertEqual(self.pieces(stored, 4.0), list(zip((0.0, 0.25, 0.5), events, strict=True)))

    def test_rate_without_events(self) -> None:
        """Where the content does not show its events, a rate counts the chunks."""
        for lines in (
            (EVENTS, "Content-Encoding: gzip"),
            ("Content-Type: application/json",),
            ("Content-Type: application/vnd.amazon.eventstream",),
        ):
            stored = streamed(*lines, chunks=(b"a\n\nb", b"c"))
            self.assertEqual(self.pieces(stored, 2.0), [(0.0, b"a\n\nb"), (0.5, b"c")], lines)

    @properties
    @given(
        st.sampled_from([EVENTS, LINES, "Content-Type: application/json"]),
        st.lists(st.text("\r\na:", max_size=9).map(str.encode), min_size=1).map(tuple),
        st.sampled_from(["instant", "recorded", 20.0]),
    )
    def test_every_byte_once(self, line: str, chunks: tuple[bytes, ...], pace: Pace) -> None:
        """At every pace it is the same bytes, in order, and no piece is due before the one before it."""
        stored = streamed(line, chunks=chunks)
        pieces = self.pieces(stored, pace)
        self.assertEqual(b"".join(piece for _, piece in pieces), stored.body)
        self.assertEqual([offset for offset, _ in pieces], sorted(offset for offset, _ in pieces))
