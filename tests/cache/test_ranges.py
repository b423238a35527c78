"""Tests of `buddyproxy.cache.ranges`: RFC 9110, 13.1.5, 14 and 15.3.7.3; RFC 9111, 3.3 and 3.4."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.ranges import MOST, Part, Span, asked_ranges, assembled, suffices
from buddyproxy.cache.stored import Selecting, StoredResponse
from buddyproxy.message import Request, Response
from tests.support.values import answer, at, field_values, fields, get, kept, properties

CONTENT = b"0123456789"
MOST_BYTES = 100

Pairs = list[tuple[int, int]]

_NUMBERS = st.integers(0, 12).map(str) | st.just("")
_VALUES = st.lists(st.tuples(_NUMBERS, _NUMBERS).map("-".join), max_size=4).map(
    lambda specs: "bytes=" + ",".join(specs)
)


def whole(*lines: str, content: bytes = CONTENT) -> StoredResponse:
    """Return a stored response with all of `content`."""
    return evolve(kept(*lines), body=content)


def part(first: int, last: int, *lines: str, content: bytes = CONTENT, selecting: Selecting = ()) -> StoredResponse:
    """Return a stored response with the bytes `first` to `last` of `content`."""
    stored = kept(f"Content-Range: bytes {first}-{last}/{len(content)}", *lines, status=206, selecting=selecting)
    return evolve(stored, body=content[first : last + 1])


def draft(stored: StoredResponse) -> StoredResponse:
    """Return what is known of `stored` before its content arrives."""
    return evolve(stored, body=b"")


def spans(*pairs: tuple[int, int]) -> tuple[Span, ...]:
    """Return ranges by their first and last positions."""
    return tuple(Span(first, last) for first, last in pairs)


class SpanTests(SynchronousTestCase):
    """Bytes of a content."""

    def test_length(self) -> None:
        """The last position is part of it (RFC 9110, 14.1.2)."""
        for first, last, expected in ((0, 0, 1), (0, 499, 500), (500, 999, 500)):
            self.assertEqual(len(Span(first, last)), expected)


class PartTests(SynchronousTestCase):
    """Content-Range."""

    def test_of(self) -> None:
        """A part is known by its first and last position and the whole's length, or not at all (RFC 9110, 14.4)."""
        nineteen = "9" * 19
        cases: tuple[tuple[list[str], tuple[int, int, int] | None], ...] = (
            (["bytes 0-499/1234"], (0, 499, 1234)),
            (["bytes 734-1233/1234"], (734, 1233, 1234)),
            (["bytes 0-0/1"], (0, 0, 1)),
            (["Bytes 0-0/1"], (0, 0, 1)),
            (["bytes 00-01/02"], (0, 1, 2)),
            ([f"bytes 0-1/{nineteen}"], (0, 1, int(nineteen))),
            ([f"bytes 0-1/1{nineteen}"], None),
            (["bytes 0-1/" + "9" * 5000], None),
            (["bytes 42-1233/*"], None),
            (["bytes */1234"], None),
            (["bytes 1-0/2"], None),
            (["bytes 0-2/2"], None),
            (["bytes 0-0/0"], None),
            (["bytes 2-2/2"], None),
            (["lines 0-0/1"], None),
            (["bytes=0-0/1"], None),
            (["bytes  0-0/1"], None),
            (["bytes -0/1"], None),
            (["bytes 0-/1"], None),
            (["bytes +0-0/1"], None),
            (["bytes 0-0/1 x"], None),
            (["bytes 0-0/1, bytes 0-0/1"], None),
            (["bytes 0-0/2", "bytes 1-1/2"], None),
            (["x"], None),
            ([""], None),
            ([], None),
        )
        for values, expected in cases:
            found = Part.of(fields(*(f"Content-Range: {value}" for value in values)))
            known = None if expected is None else Part(Span(expected[0], expected[1]), expected[2])
            self.assertEqual(found, known, values)

    @properties
    @given(field_values)
    def test_never_fails(self, value: bytes) -> None:
        """Whatever the field holds, a part that is known lies within the whole."""
        found = Part.of(answer().headers.adding((b"Content-Range", value)))
        self.assertTrue(found is None or 0 <= found.span.first <= found.span.last < found.total)


class AskedRangesTests(SynchronousTestCase):
    """Range."""

    def test_values(self) -> None:
        """Positions are within the whole; what is no set of byte ranges asks for the whole (RFC 9110, 14.1.2, 14.2)."""
        cases: tuple[tuple[str, Pairs | None], ...] = (
            ("bytes=0-4", [(0, 4)]),
            ("bytes=9-9", [(9, 9)]),
            ("bytes=9-", [(9, 9)]),
            ("bytes=0-", [(0, 9)]),
            ("bytes=0-10", [(0, 9)]),
            ("bytes=-1", [(9, 9)]),
            ("bytes=-10", [(0, 9)]),
            ("bytes=-11", [(0, 9)]),
            ("bytes=0-0,-1", [(0, 0), (9, 9)]),
            ("bytes= 0-0,\t4-5 , -2", [(0, 0), (4, 5), (8, 9)]),
            ("BYTES=0-0", [(0, 0)]),
            ("bytes=00-001", [(0, 1)]),
            ("bytes=8-9,0-1", [(8, 9), (0, 1)]),
            ("bytes=0-4,3-7", [(0, 4), (3, 7)]),
            ("bytes=0-4,5-9", [(0, 4), (5, 9)]),
            ("bytes=10-", []),
            ("bytes=10-12", []),
            ("bytes=-0", []),
            ("bytes=10-,-0,11-11", []),
            ("bytes=0-1,10-", [(0, 1)]),
            ("bytes=4-3", None),
            ("bytes=12-11", None),
            ("bytes=0-1,4-3", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("bytes", None),
            ("", None),
            ("=0-1", None),
            ("lines=0-1", None),
            ("bytes 0-1", None),
            ("bytes:0-1", None),
            ("bytes=0", None),
            ("bytes=0-1;2-3", None),
            ("bytes=0-1,", None),
            ("bytes=0 - 1", None),
            ("bytes=--1", None),
            ("bytes=+0-1", None),
            ("bytes=0-1-2", None),
            ("bytes=a-b", None),
            ("bytes=0x0-0x1", None),
            ("bytes=\xb2-", None),
            ("bytes=0-1,x", None),
            ("bytes=0-1=2", None),
        )
        for value, expected in cases:
            found = asked_ranges(get(f"Range: {value}"), whole())
            self.assertEqual(found, None if expected is None else spans(*expected), value)

    def test_none(self) -> None:
        """Without the field, all is asked for; two of them ask for nothing that is sure."""
        self.assertIsNone(asked_ranges(get(), whole()))
        self.assertIsNone(asked_ranges(get("Range: bytes=0-1", "Range: bytes=4-5"), whole()))

    def test_great_numbers(self) -> None:
        """Numbers of any size do no harm: nineteen digits count, and with more the field is ignored (14.1.2)."""
        nineteen = "9" * 19
        for value, expected in (
            (f"bytes=0-{nineteen}", spans((0, 9))),
            (f"bytes=-{nineteen}", spans((0, 9))),
            (f"bytes={nineteen}-", ()),
            (f"bytes=0-1{nineteen}", None),
            (f"bytes=-1{nineteen}", None),
            (f"bytes=1{nineteen}-", None),
            ("bytes=0-" + "9" * 50_000, None),
        ):
            self.assertEqual(asked_ranges(get(f"Range: {value}"), whole()), expected, value[:40])

    def test_too_many(self) -> None:
        """More ranges than any client needs, or more bytes than there are, ask for the whole (RFC 9110, 17.15)."""
        content = bytes(1000)
        most = [(2 * number, 2 * number) for number in range(MOST)]
        for case, pairs, expected in (
            ("as many as may be", most, spans(*most)),
            ("one more", [*most, (500, 501)], None),
            ("one more that is not there", [*most, (1000, 1001)], spans(*most)),
            ("all in two halves", [(0, 499), (500, 999)], spans((0, 499), (500, 999))),
            ("one byte more than all", [(0, 499), (499, 999)], None),
            ("all, twice", [(0, 999), (0, 999)], None),
        ):
            value = ",".join(f"{first}-{last}" for first, last in pairs)
            self.assertEqual(asked_ranges(get(f"Range: bytes={value}"), whole(content=content)), expected, case)

    def test_empty_content(self) -> None:
        """Of nothing, there is no part (RFC 9110, 14.2)."""
        for value in ("bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"):
            self.assertIsNone(asked_ranges(get(f"Range: {value}"), whole(content=b"")), value)

    def test_methods_and_statuses(self) -> None:
        """Ranges are of what a GET finds, and of nothing else (RFC 9110, 14.2)."""
        for method, status, expected in (
            (b"GET", 200, spans((0, 1))),
            (b"HEAD", 200, None),
            (b"POST", 200, None),
            (b"QUERY", 200, None),
            (b"get", 200, None),
            (b"GET", 203, None),
            (b"GET", 301, None),
            (b"GET", 404, None),
        ):
            stored = evolve(whole(), response=Response(status))
            asked = Request(method, b"/", fields("Range: bytes=0-1"))
            self.assertEqual(asked_ranges(asked, stored), expected, (method, status))

    def test_of_a_part(self) -> None:
        """Positions are those in the whole, of which a stored part tells the length (RFC 9110, 14.4)."""
        for value, expected in (
            ("bytes=3-4", spans((3, 4))),
            ("bytes=-1", spans((9, 9))),
            ("bytes=0-", spans((0, 9))),
            ("bytes=10-", ()),
        ):
            self.assertEqual(asked_ranges(get(f"Range: {value}"), part(3, 5)), expected, value)
        self.assertIsNone(asked_ranges(get("Range: bytes=0-1"), kept("Content-Range: bytes 0-4/*", status=206)))

    def test_if_range(self) -> None:
        """A range counts only where If-Range names what is stored by a strong validator (RFC 9110, 13.1.5)."""
        etag, modified, date = 'ETag: "a"', f"Last-Modified: {at(-60)}", f"Date: {at(-5)}"
        same_second, rfc850 = f"Date: {at(-60)}", "Friday, 15-Jan-27 07:59:00 GMT"
        cases: tuple[tuple[str, list[str], list[str], bool], ...] = (
            ("none", [etag], [], True),
            ("the same tag", [etag], ['"a"'], True),
            ("white space around", [etag], [' "a"\t'], True),
            ("another tag", [etag], ['"b"'], False),
            ("another case", [etag], ['"A"'], False),
            ("the caller's tag weak", [etag], ['W/"a"'], False),
            ("the stored tag weak", ['ETag: W/"a"'], ['"a"'], False),
            ("both weak", ['ETag: W/"a"'], ['W/"a"'], False),
            ("a tag, where none is stored", [modified, date], ['"a"'], False),
            ("a list of tags", [etag], ['"a", "b"'], False),
            ("tags on two lines", [etag], ['"a"', '"a"'], False),
            ("anything", [etag], ["*"], False),
            ("no quotes", ["ETag: a"], ["a"], False),
            ("nothing", [etag], [""], False),
            ("the same date", [modified, date], [at(-60)], True),
            ("the same date, beside a tag", [etag, modified, date], [at(-60)], True),
            ("a date one second before the response", [modified, f"Date: {at(-59)}"], [at(-60)], True),
            ("a date in the second of the response, so weak", [modified, same_second], [at(-60)], False),
            ("a date after the response", [modified, f"Date: {at(-61)}"], [at(-60)], False),
            ("a later date", [modified, date], [at(-59)], False),
            ("an earlier date", [modified, date], [at(-61)], False),
            ("the same moment in another form", [modified, date], [rfc850], False),
            ("the same old form", [f"Last-Modified: {rfc850}", date], [rfc850], True),
            ("a date, where none is stored", [etag, date], [at(-60)], False),
            ("no date, repeated exactly", ["Last-Modified: x", date], ["x"], False),
        )
        for case, lines, conditions, expected in cases:
            asked = get("Range: bytes=0-1", *(f"If-Range: {condition}" for condition in conditions))
            for stored in (whole(*lines), part(0, 5, *lines)):
                self.assertEqual(asked_ranges(asked, stored), spans((0, 1)) if expected else None, case)

    def test_if_range_alone(self) -> None:
        """Without a Range, it says nothing (RFC 9110, 13.1.5)."""
        self.assertIsNone(asked_ranges(get('If-Range: "a"'), whole('ETag: "a"')))

    @properties
    @given(_VALUES | field_values.map(lambda value: "bytes=" + value.decode("latin-1")), st.binary(max_size=12))
    def test_within_the_whole(self, value: str, content: bytes) -> None:
        """Whatever the field holds, what it asks for is there."""
        asked = Request(b"GET", b"/", answer().headers.adding((b"Range", value.encode("latin-1"))))
        for span in asked_ranges(asked, whole(content=content)) or ():
            self.assertTrue(0 <= span.first <= span.last < len(content))


class SufficesTests(SynchronousTestCase):
    """Whether what is stored will do."""

    def test_suffices(self) -> None:
        """A stored part answers those who ask for ranges within it, and nobody else (RFC 9111, 3.3)."""
        for case, lines, expected in (
            ("all of it", ["Range: bytes=3-7"], True),
            ("the first byte", ["Range: bytes=3-3"], True),
            ("the last byte", ["Range: bytes=7-7"], True),
            ("several", ["Range: bytes=3-4,6-7"], True),
            ("one byte before", ["Range: bytes=2-4"], False),
            ("one byte after", ["Range: bytes=6-8"], False),
            ("one of two", ["Range: bytes=3-4,8-9"], False),
            ("the end", ["Range: bytes=3-"], False),
            ("the end, by its length", ["Range: bytes=-2"], False),
            ("nothing that is there", ["Range: bytes=10-"], False),
            ("no range", [], False),
            ("no range that can be understood", ["Range: bytes=4-3"], False),
            ("of the same representation", ["Range: bytes=3-7", 'If-Range: "a"'], True),
            ("of another one", ["Range: bytes=3-7", 'If-Range: "b"'], False),
        ):
            self.assertEqual(suffices(get(*lines), part(3, 7, 'ETag: "a"')), expected, case)
            self.assertTrue(suffices(get(*lines), whole('ETag: "a"')), case)
        self.assertTrue(suffices(get("Range: bytes=8-,-1"), part(7, 9)))

    def test_methods(self) -> None:
        """Only a GET can ask for a range."""
        for method, expected in ((b"GET", True), (b"HEAD", False), (b"POST", False)):
            self.assertEqual(suffices(Request(method, b"/", fields("Range: bytes=3-4")), part(3, 7)), expected, method)

    def test_unknown_part(self) -> None:
        """Of which part is not known, nothing can be asked for."""
        self.assertFalse(suffices(get("Range: bytes=0-1"), kept("Content-Range: bytes 0-4/*", status=206)))


class AssembledTests(SynchronousTestCase):
    """What is stored once the content is there."""

    def test_whole(self) -> None:
        """The content of what is no part is stored as it came."""
        for status in (200, 203, 404):
            stored = evolve(whole("A: b"), response=answer("A: b", status=status))
            self.assertEqual(assembled(draft(stored), part(0, 4), CONTENT, MOST_BYTES), stored)

    def test_not_as_announced(self) -> None:
        """Content of another length than Content-Range says, or without one, is not stored (RFC 9110, 14.4)."""
        for stored, body in (
            (part(3, 5), b"34"),
            (part(3, 5), b"3456"),
            (part(3, 5), b""),
            (kept(status=206), b"345"),
            (kept("Content-Range: bytes 3-5/*", status=206), b"345"),
            (kept("Content-Type: multipart/byteranges; boundary=a", status=206), b"345"),
        ):
            for onto in (None, part(0, 2)):
                self.assertIsNone(assembled(draft(stored), onto, body, MOST_BYTES))

    def test_alone(self) -> None:
        """A part without another is stored as it came; as the whole response where that is all (15.3.7.3)."""
        stored = part(3, 5, "A: b", "Content-Length: 3")
        found = assembled(draft(stored), None, b"345", MOST_BYTES)
        assert found is not None
        self.assertEqual((found.response.status, found.body, found.partial), (206, b"345", True))
        self.assertEqual(found.headers, fields("A: b", "Content-Length: 3", "Content-Range: bytes 3-5/10"))

        found = assembled(draft(part(0, 9, "A: b")), None, CONTENT, MOST_BYTES)
        assert found is not None
        self.assertEqual(found.response, Response(200, fields("A: b", "Content-Length: 10"), b"OK"))
        self.assertEqual((found.body, found.partial), (CONTENT, False))

    def test_two(self) -> None:
        """Parts that meet become one, whole where nothing is missing; of others the last is kept (RFC 9111, 3.4)."""
        for case, held, new, expected in (
            ("behind", (0, 2), (3, 5), (0, 5)),
            ("before", (3, 5), (0, 2), (0, 5)),
            ("overlapping behind", (0, 4), (3, 5), (0, 5)),
            ("overlapping before", (3, 5), (0, 4), (0, 5)),
            ("within", (1, 8), (3, 5), (1, 8)),
            ("around", (3, 5), (1, 8), (1, 8)),
            ("the same", (3, 5), (3, 5), (3, 5)),
            ("one byte missing between", (0, 2), (4, 5), (4, 5)),
            ("one byte missing between, before", (4, 5), (0, 2), (0, 2)),
            ("all there is", (0, 4), (5, 9), (0, 9)),
            ("all there is, the end first", (5, 9), (0, 4), (0, 9)),
            ("all there is, overlapping", (0, 8), (1, 9), (0, 9)),
        ):
            found = assembled(draft(part(*new)), part(*held), CONTENT[new[0] : new[1] + 1], MOST_BYTES)
            assert found is not None, case
            self.assertEqual(found.body, CONTENT[expected[0] : expected[1] + 1], case)
            self.assertEqual(found.headers.get_all(b"content-length"), [b"%d" % len(found.body)], case)
            if expected == (0, 9):
                self.assertEqual((found.response.status, found.response.reason), (200, b"OK"), case)
                self.assertNotIn(b"content-range", found.headers, case)
            else:
                self.assertEqual(found.response.status, 206, case)
                self.assertEqual(Part.of(found.headers), Part(Span(*expected), 10), case)

    def test_no_more_than_may_be(self) -> None:
        """Parts do not grow together beyond what may be stored: then the new one is stored alone."""
        held, new = part(0, 3), part(3, 5)
        for most, expected in ((6, b"012345"), (5, b"345"), (3, b"345"), (0, b"345")):
            found = assembled(draft(new), held, new.body, most)
            assert found is not None
            self.assertEqual((found.response.status, found.body), (206, expected), most)

    def test_what_came_last_counts(self) -> None:
        """Where two parts overlap, the new one's bytes are stored."""
        found = assembled(draft(part(2, 5)), part(0, 3), b"cdef", MOST_BYTES)
        assert found is not None
        self.assertEqual(found.body, b"01cdef")

    def test_no_part_of_the_same(self) -> None:
        """Parts of contents of different lengths, or of no known place, are not put together (RFC 9110, 14.4)."""
        for held in (part(0, 2, content=CONTENT + b"x"), kept("Content-Range: bytes 0-2/*", status=206)):
            found = assembled(draft(part(3, 5)), held, b"345", MOST_BYTES)
            assert found is not None
            self.assertEqual((found.response.status, found.body), (206, b"345"))
            self.assertEqual(Part.of(found.headers), Part(Span(3, 5), 10))

    def test_fields(self) -> None:
        """The new part's fields count, and the stored one's where it has none (RFC 9110, 15.3.7.3; RFC 9111, 3.4)."""
        held = part(0, 2, "Content-Type: a/b", "Cache-Control: max-age=1", "A: 1", "A: 2", f"Date: {at(-9)}", "Age: 8")
        for new, missing in (((3, 5), False), ((5, 6), True)):
            stored = part(*new, "Cache-Control: max-age=2", "A: 3", f"Date: {at()}", "B: 4")
            found = assembled(draft(stored), held, stored.body, MOST_BYTES)
            assert found is not None
            others = found.headers.without({b"content-range", b"content-length"})
            expected = fields("Content-Type: a/b", "Cache-Control: max-age=2", "A: 3", f"Date: {at()}", "B: 4")
            self.assertEqual(others, expected)
            self.assertEqual(len(found.body), 2 if missing else 6)

    def test_digests(self) -> None:
        """No part's digest is that of two (RFC 9530, 2); the representation's stays."""
        digests = ("Content-Digest: sha-256=:YQ==:", "Content-MD5: YQ==", "Repr-Digest: sha-256=:Yg==:")
        found = assembled(draft(part(3, 5, *digests)), part(0, 2, *digests), b"345", MOST_BYTES)
        assert found is not None
        self.assertEqual(found.headers.names, {b"repr-digest", b"content-range", b"content-length"})

    def test_selecting(self) -> None:
        """What selected the stored part selects both: the new one may lack Vary and Content-Encoding (15.3.7)."""
        gzip, origin = (b"accept-encoding", b"gzip"), (b"origin", None)
        for held, new, expected in (
            ((gzip,), (), (gzip,)),
            ((), (gzip,), (gzip,)),
            ((origin,), (gzip,), (gzip, origin)),
            ((gzip, origin), (gzip,), (gzip, origin)),
        ):
            found = assembled(draft(part(3, 5, selecting=new)), part(0, 2, selecting=held), b"345", MOST_BYTES)
            assert found is not None
            self.assertEqual(found.selecting, expected)

    def test_times_are_the_new_ones(self) -> None:
        """The union is as fresh as the part that arrived last (RFC 9111, 3.4)."""
        held = evolve(part(0, 2), request_time=1.0, response_time=2.0, expires=3.0, remove_after=4.0)
        new = evolve(part(3, 5), request_time=5.0, response_time=6.0, expires=7.0, remove_after=8.0)
        found = assembled(draft(new), held, b"345", MOST_BYTES)
        assert found is not None
        self.assertEqual((found.request_time, found.response_time), (5.0, 6.0))
        self.assertEqual((found.expires, found.remove_after), (7.0, 8.0))

    @properties
    @given(st.binary(min_size=1, max_size=40), st.data())
    def test_never_a_wrong_byte(self, content: bytes, data: st.DataObject) -> None:
        """Whatever parts arrive in whatever order, what is stored is what the content has there."""
        positions = st.integers(0, len(content) - 1)
        pairs = data.draw(st.lists(st.tuples(positions, positions).map(sorted), min_size=1, max_size=6))
        held: StoredResponse | None = None
        known: set[int] = set()
        for first, last in pairs:
            new = part(first, last, content=content)
            held = assembled(draft(new), held, new.body, MOST_BYTES)
            assert held is not None
            arrived = set(range(first, last + 1))
            meets = known & {first - 1, *arrived, last + 1}
            known = known | arrived if meets else arrived
            self.assertEqual((min(known), len(known)), (_first(held), len(held.body)))
            self.assertEqual(held.body, content[min(known) : max(known) + 1])
            if len(known) == len(content):
                self.assertEqual((held.response.status, held.partial), (200, False))
                return

    @properties
    @given(st.binary(min_size=1, max_size=40), st.data())
    def test_split_and_put_together(self, content: bytes, data: st.DataObject) -> None:
        """A content cut anywhere is whole again once its parts came, each beside those before it."""
        cuts = sorted(data.draw(st.sets(st.integers(1, len(content) - 1) if len(content) > 1 else st.nothing())))
        pairs = list(zip([0, *cuts], [*(cut - 1 for cut in cuts), len(content) - 1], strict=True))
        start = data.draw(st.integers(0, len(pairs) - 1))
        before, after = pairs[:start], pairs[start + 1 :]
        held: StoredResponse | None = None
        following = pairs[start]
        while True:
            new = part(*following, content=content)
            held = assembled(draft(new), held, new.body, MOST_BYTES)
            assert held is not None
            if not before and not after:
                break
            behind = bool(after) and (not before or data.draw(st.booleans()))
            following = after.pop(0) if behind else before.pop()
        self.assertEqual((held.response.status, held.body), (200, content))
        self.assertEqual(held.headers, fields(f"Content-Length: {len(content)}"))


def _first(stored: StoredResponse) -> int:
    """Return the position of the first byte that is stored."""
    found = Part.of(stored.headers)
    return 0 if found is None else found.span.first
