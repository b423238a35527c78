"""Tests of `buddyproxy.cache.answering`: RFC 9111, 4.3.2; RFC 9110, 13, 14, 15.3.7, 15.4.5 and 15.5.17."""

import re
from email import message_from_bytes
from email.message import Message
from hashlib import sha256

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.answering import answered, etags_match
from buddyproxy.cache.ranges import MOST, suffices
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.message import Request, Response
from tests.support.values import at, fields, get, kept, post, properties

CONTENT = b"0123456789"

_CONTENTS = st.binary(max_size=60) | st.text("\r\n-", max_size=20).map(str.encode)

# A first and a last position, or how much of the end.
_SPECS = st.tuples(st.integers(0, 70), st.none() | st.integers(0, 70)).map(
    lambda pair: (pair[0], None if pair[1] is None else pair[0] + pair[1])
) | st.integers(0, 70)


def whole(*lines: str, content: bytes = CONTENT, status: int = 200) -> StoredResponse:
    """Return a stored response with all of `content`."""
    return evolve(kept(*lines, status=status), body=content)


def part(first: int, last: int, *lines: str, content: bytes = CONTENT) -> StoredResponse:
    """Return a stored response with the bytes `first` to `last` of `content`."""
    stored = kept(f"Content-Range: bytes {first}-{last}/{len(content)}", *lines, status=206)
    return evolve(stored, body=content[first : last + 1])


def status(request: Request, stored: StoredResponse) -> int:
    """Return the status that `request` gets, having made sure that a 304 comes without content."""
    response, content = answered(request, stored)
    assert response.status != 304 or content == b""
    return response.status


def received(response: Response, content: bytes) -> list[tuple[int, bytes]]:
    """Return what a client makes of a 206: the pieces with their positions."""
    kind = response.headers.get(b"content-type") or b""
    if not kind.startswith(b"multipart/byteranges"):
        return [_piece((response.headers.get(b"content-range") or b"").decode(), content)]
    message = message_from_bytes(b"Content-Type: " + kind + b"\r\n\r\n" + content)
    assert message.is_multipart() and not message.defects, message.defects
    return [_of_part(member) for member in message.walk() if not member.is_multipart()]


def _of_part(member: Message) -> tuple[int, bytes]:
    content = member.get_payload(decode=True)
    assert isinstance(content, bytes)
    return _piece(member["Content-Range"], content)


def _piece(content_range: str, content: bytes) -> tuple[int, bytes]:
    match = re.fullmatch(r"bytes (\d+)-(\d+)/\d+", content_range)
    assert match is not None, content_range
    first, last = int(match[1]), int(match[2])
    assert last - first + 1 == len(content), content_range
    return first, content


class UnconditionalTests(SynchronousTestCase):
    """What is asked for without conditions."""

    def test_as_it_is_stored(self) -> None:
        """Who asks for nothing less gets all of it, whatever its status and the method."""
        for request in (get(), Request(b"HEAD", b"/"), post(b"x"), get("If-Range: x", "Accept-Ranges: bytes")):
            for code in (200, 203, 301, 404, 500):
                stored = whole('ETag: "a"', status=code)
                self.assertEqual(answered(request, stored), (stored.response, CONTENT))

    def test_conditions_are_for_success(self) -> None:
        """Of what is no 200 or 206, no condition is judged and no part is made (RFC 9110, 13.2.1; RFC 9111, 4.3.2)."""
        for code in (203, 204, 300, 301, 404, 410, 500):
            stored = whole('ETag: "a"', f"Last-Modified: {at(-9)}", status=code)
            for line in ('If-None-Match: "a"', "If-None-Match: *", f"If-Modified-Since: {at()}", "Range: bytes=0-1"):
                self.assertEqual(answered(get(line), stored), (stored.response, CONTENT), (code, line))


class EntityTagTests(SynchronousTestCase):
    """If-None-Match."""

    def test_comparison(self) -> None:
        """Two tags match by what is in quotes, whether or not one says that it is weak (RFC 9110, 8.8.3.2)."""
        for one, other, expected in (
            (b'W/"1"', b'W/"1"', True),
            (b'W/"1"', b'W/"2"', False),
            (b'W/"1"', b'"1"', True),
            (b'"1"', b'"1"', True),
            (b'"1"', b'"2"', False),
            (b'"a"', b'"A"', False),
            (b'""', b'W/""', True),
            (b' "1"\t', b'"1"', True),
            (b'w/"1"', b'"1"', False),
            (b'"W/1"', b'"1"', False),
        ):
            self.assertEqual((etags_match(one, other), etags_match(other, one)), (expected, expected), (one, other))

    def test_if_none_match(self) -> None:
        """A 304 says that one of the tags listed is the stored one, or that anything will do (RFC 9110, 13.1.2)."""
        cases: tuple[tuple[str, str | None, list[str], int], ...] = (
            ("the same", '"a"', ['"a"'], 304),
            ("another", '"a"', ['"b"'], 200),
            ("another case", '"a"', ['"A"'], 200),
            ("both weak", 'W/"a"', ['W/"a"'], 304),
            ("the stored one weak", 'W/"a"', ['"a"'], 304),
            ("the caller's one weak", '"a"', ['W/"a"'], 304),
            ("first of a list", '"a"', ['"a", "b"'], 304),
            ("last of a list", '"a"', ['"b",W/"c","a"'], 304),
            ("empty members around", '"a"', [', "b", , "a",'], 304),
            ("not in the list", '"a"', ['"b", "c"'], 200),
            ("on another line", '"a"', ['"b"', '"a"'], 304),
            ("with a comma", '"a,b"', ['"a,b"'], 304),
            ("what is beside the comma", '"a"', ['"a,b", "b,a"'], 200),
            ("with a comma, in a list", '"a,b"', ['"a", "a,b"'], 304),
            ("what looks weak inside", '"W/a"', ['"a"'], 200),
            ("with bytes beyond ASCII", '"\xfc"', ['"\xfc"'], 304),
            ("the empty tag", '""', ['""'], 304),
            ("the empty tag among others", '"a"', ['"", "b"'], 200),
            ("anything", '"a"', ["*"], 304),
            ("anything, with white space", '"a"', [" * "], 304),
            ("anything, of what has no tag", None, ["*"], 304),
            ("anything beside a tag, which is nothing", '"a"', ['*, "b"'], 200),
            ("anything twice, which is nothing", '"a"', ["*", "*"], 200),
            ("a tag, of what has none", None, ['"a"'], 200),
            ("no tag", '"a"', [""], 200),
            ("no tag, of what has an empty field", "", [""], 200),
            ("a tag, of what has an empty field", "", ['""'], 200),
            ("anything, of what has an empty field", "", ["*"], 304),
            ("no quotes", '"a"', ["a"], 200),
            ("no quotes, repeated exactly", "a", ["a"], 304),
            ("no quotes, among others", "a", ['"b", a'], 200),
            ("no quotes, which are given back with some", "a", ['"a"'], 200),
            ("a quote that does not end", '"a"', ['"a'], 200),
            ("white space inside", '"a"', ['" a"'], 200),
        )
        for case, etag, conditions, expected in cases:
            stored = whole(*([] if etag is None else [f"ETag: {etag}"]))
            asked = get(*(f"If-None-Match: {condition}" for condition in conditions))
            self.assertEqual(status(asked, stored), expected, case)


class DateTests(SynchronousTestCase):
    """If-Modified-Since."""

    def test_if_modified_since(self) -> None:
        """A 304 says that it was not modified after that date (RFC 9110, 13.1.3; RFC 9111, 4.3.2)."""
        modified = f"Last-Modified: {at(-60)}"
        cases: tuple[tuple[str, list[str], list[str], int], ...] = (
            ("the same", [modified], [at(-60)], 304),
            ("later", [modified], [at(-59)], 304),
            ("earlier", [modified], [at(-61)], 200),
            ("in the future", [modified], [at(3600)], 304),
            ("in another form", ["Last-Modified: Friday, 15-Jan-27 07:59:00 GMT"], [at(-60)], 304),
            ("the form of RFC 850", [modified], ["Friday, 15-Jan-27 07:59:00 GMT"], 304),
            ("the form of RFC 850, earlier", [modified], ["Friday, 15-Jan-27 07:58:59 GMT"], 200),
            ("the form of RFC 850, of the last century", [modified], ["Friday, 15-Jan-99 07:59:00 GMT"], 200),
            ("the form of asctime", [modified], ["Fri Jan 15 07:59:00 2027"], 304),
            ("the form of asctime, earlier", [modified], ["Fri Jan 15 07:58:59 2027"], 200),
            ("white space around", [modified], [f" {at(-60)}\t"], 304),
            ("no date", [modified], ["now"], 200),
            ("nothing", [modified], [""], 200),
            ("a number", [modified], ["1800000000"], 200),
            ("no day of any month", [modified], ["Fri, 32 Jan 2027 08:00:00 GMT"], 200),
            ("another zone", [modified], ["Fri, 15 Jan 2027 08:00:00 CET"], 200),
            ("two dates", [modified], [f"{at()}, {at()}"], 200),
            ("two dates on two lines", [modified], [at(), at()], 200),
            ("no Last-Modified, but a Date", [f"Date: {at(-30)}"], [at(-30)], 304),
            ("no Last-Modified, and before the Date", [f"Date: {at(-30)}"], [at(-31)], 200),
            ("a Last-Modified before the Date", [modified, f"Date: {at(-30)}"], [at(-60)], 304),
            ("a Last-Modified that is no date", ["Last-Modified: x", f"Date: {at(-30)}"], [at(-30)], 304),
            ("neither, so when it arrived", [], [at()], 304),
            ("neither, and before it arrived", [], [at(-1)], 200),
        )
        for case, lines, conditions, expected in cases:
            asked = get(*(f"If-Modified-Since: {condition}" for condition in conditions))
            self.assertEqual(status(asked, whole(*lines)), expected, case)

    def test_precedence(self) -> None:
        """Where there is an If-None-Match, whatever it holds, the date does not count (RFC 9110, 13.1.3)."""
        stored = whole('ETag: "a"', f"Last-Modified: {at(-60)}")
        for etag, date, expected in (
            ('"a"', at(-60), 304),
            ('"a"', at(-61), 304),
            ('"b"', at(-60), 200),
            ("", at(-60), 200),
            ("b", at(), 200),
        ):
            asked = get(f"If-Modified-Since: {date}", f"If-None-Match: {etag}")
            self.assertEqual(status(asked, stored), expected, (etag, date))


class NotModifiedTests(SynchronousTestCase):
    """A 304, and who gets it."""

    def test_methods(self) -> None:
        """It answers GET and HEAD, by what a GET brought; all else gets what is stored (RFC 9110, 15.4.5)."""
        for line in ('If-None-Match: "a"', "If-None-Match: *", f"If-Modified-Since: {at()}"):
            for method, stored_method, expected in (
                (b"GET", b"GET", 304),
                (b"HEAD", b"GET", 304),
                (b"POST", b"POST", 200),
                (b"QUERY", b"QUERY", 200),
                (b"GET", b"POST", 200),
            ):
                stored = evolve(whole('ETag: "a"', f"Last-Modified: {at(-60)}"), method=stored_method)
                self.assertEqual(status(Request(method, b"/", fields(line)), stored), expected, (line, method))

    def test_a_part_is_as_good(self) -> None:
        """A stored part has validators too (RFC 9111, 4.3.2); the condition comes before the range (RFC 9110, 14.2)."""
        for stored in (whole('ETag: "a"'), part(2, 5, 'ETag: "a"')):
            self.assertEqual(status(get('If-None-Match: "a"', "Range: bytes=3-4"), stored), 304)
            self.assertEqual(status(get('If-None-Match: "b"', "Range: bytes=3-4"), stored), 206)

    def test_fields(self) -> None:
        """It has all that updates a copy, and nothing that speaks of the content it lacks (RFC 9110, 15.4.5)."""
        lines = [
            f"Date: {at(-5)}",
            "Cache-Control: max-age=60",
            'ETag: "a"',
            f"Expires: {at(60)}",
            "Vary: Accept",
            "Content-Location: /b",
            f"Last-Modified: {at(-60)}",
            "X-Other: c",
        ]
        of_content = [
            "Content-Type: text/plain",
            "CONTENT-LENGTH: 10",
            "Content-Encoding: gzip",
            "Content-Language: de",
            "Content-Range: bytes 0-9/10",
            "Content-Digest: sha-256=:YQ==:",
            "Content-MD5: YQ==",
        ]
        response, content = answered(get('If-None-Match: "a"'), whole(*of_content, *lines))
        self.assertEqual((response, content), (Response(304, fields(*lines), b"Not Modified"), b""))


class RangeTests(SynchronousTestCase):
    """A 206 or a 416."""

    def test_one(self) -> None:
        """One range comes as it is, with the whole's fields and a Content-Range (RFC 9110, 15.3.7.1)."""
        stored = whole("Content-Type: a/b", "Content-Range: x", "Content-Length: 10", 'ETag: "a"', "Vary: Accept")
        response, content = answered(get("Range: bytes=2-4"), stored)
        self.assertEqual(content, b"234")
        kept_or_made = [
            "Content-Type: a/b",
            'ETag: "a"',
            "Vary: Accept",
            "Content-Range: bytes 2-4/10",
            "Content-Length: 3",
        ]
        self.assertEqual(response, Response(206, fields(*kept_or_made), b"Partial Content"))

    def test_values(self) -> None:
        """Positions count from 0, the last one included; what is not there is left out (RFC 9110, 14.1.2)."""
        cases: tuple[tuple[str, list[tuple[int, bytes]]], ...] = (
            ("bytes=0-0", [(0, b"0")]),
            ("bytes=9-9", [(9, b"9")]),
            ("bytes=7-", [(7, b"789")]),
            ("bytes=-3", [(7, b"789")]),
            ("bytes=0-", [(0, CONTENT)]),
            ("bytes=-10", [(0, CONTENT)]),
            ("bytes=-11", [(0, CONTENT)]),
            ("bytes=8-99", [(8, b"89")]),
            ("bytes=0-0,-1", [(0, b"0"), (9, b"9")]),
            ("bytes= 0-1, 4-5 ,\t-2", [(0, b"01"), (4, b"45"), (8, b"89")]),
            ("bytes=7-8,0-1", [(7, b"78"), (0, b"01")]),
            ("bytes=0-3,2-5", [(0, b"0123"), (2, b"2345")]),
            ("bytes=0-1,10-,-0", [(0, b"01")]),
        )
        for value, expected in cases:
            response, content = answered(get(f"Range: {value}"), whole("Content-Type: a/b"))
            self.assertEqual((response.status, received(response, content)), (206, expected), value)
            self.assertEqual(response.headers.get_all(b"content-length"), [b"%d" % len(content)], value)

    def test_several(self) -> None:
        """Several come as multipart/byteranges, without a Content-Range for them all (RFC 9110, 14.6, 15.3.7.2)."""
        stored = whole("Content-Type: text/plain; charset=utf-8", 'ETag: "a"', "Content-Range: x")
        response, content = answered(get("Range: bytes=0-1,8-"), stored)
        self.assertEqual(response.status, 206)
        self.assertEqual(response.headers.names, {b"content-type", b"etag", b"content-length"})
        kind, _, boundary = (response.headers.get(b"content-type") or b"").partition(b"; boundary=")
        self.assertEqual(kind, b"multipart/byteranges")
        self.assertRegex(boundary, rb"\A[0-9a-f]{1,70}\Z")
        of_all = b"Content-Type: text/plain; charset=utf-8\r\nContent-Range: bytes "
        self.assertEqual(
            content,
            b"--%b\r\n%b0-1/10\r\n\r\n01\r\n" % (boundary, of_all)
            + b"--%b\r\n%b8-9/10\r\n\r\n89\r\n--%b--\r\n" % (boundary, of_all, boundary),
        )

    def test_several_without_a_type(self) -> None:
        """Where the whole has no Content-Type, its parts have none (RFC 9110, 15.3.7.2)."""
        response, content = answered(get("Range: bytes=0-1,8-"), whole())
        self.assertEqual(received(response, content), [(0, b"01"), (8, b"89")])
        self.assertNotIn(b"Content-Type", content)

    def test_boundary(self) -> None:
        """A boundary that the content holds is not taken (RFC 2046, 5.1.1)."""
        taken = sha256(b"bytes 0-1/64bytes 60-63/64").hexdigest()[:32].encode()
        for content in (taken + b"." * 32, b"." * 64):
            response, body = answered(get("Range: bytes=0-1,60-"), whole(content=content))
            self.assertEqual(taken in (response.headers.get(b"content-type") or b""), taken not in content)
            self.assertEqual(received(response, body), [(0, content[:2]), (60, content[60:])])

    def test_of_a_part(self) -> None:
        """What a stored part holds, it can be asked for (RFC 9111, 3.3)."""
        stored = part(3, 7, "Content-Type: a/b", "Content-Length: 5")
        for value, expected in (
            ("bytes=3-7", [(3, b"34567")]),
            ("bytes=5-5", [(5, b"5")]),
            ("bytes=3-4,6-7", [(3, b"34"), (6, b"67")]),
        ):
            response, content = answered(get(f"Range: {value}"), stored)
            self.assertEqual((response.status, received(response, content)), (206, expected), value)
            self.assertEqual(response.headers.get_all(b"content-length"), [b"%d" % len(content)], value)

    def test_unsatisfiable(self) -> None:
        """Where nothing of it is there, a 416 says how much is, and nothing else of it (RFC 9110, 15.5.17)."""
        lines = [f"Date: {at()}", 'ETag: "a"', "Vary: Accept", "Accept-Ranges: bytes"]
        others = ["Content-Type: a/b", "Cache-Control: max-age=9", "Content-Length: 10", f"Last-Modified: {at()}"]
        for value in ("bytes=10-", "bytes=10-11", "bytes=99-,11-12", "bytes=-0"):
            response, content = answered(get(f"Range: {value}"), whole(*others, *lines))
            expected = Response(416, fields(*lines, "Content-Range: bytes */10"), b"Range Not Satisfiable")
            self.assertEqual((response, content), (expected, b""), value)

    def test_ignored(self) -> None:
        """What is no range of bytes, or one too many, or not for GET, gets the whole (RFC 9110, 14.2)."""
        stored = whole('ETag: "a"')
        for line in ("Range: bytes=4-2", "Range: lines=1-2", "Range: bytes=0-,0-", "Range: x"):
            self.assertEqual(answered(get(line), stored), (stored.response, CONTENT), line)
        for method in (b"HEAD", b"POST", b"QUERY"):
            asked = Request(method, b"/", fields("Range: bytes=0-1"))
            self.assertEqual(answered(asked, stored), (stored.response, CONTENT), method)

    def test_if_range(self) -> None:
        """Parts go only to those whose own parts belong with them; the others get the whole (RFC 9110, 13.1.5)."""
        stored = whole('ETag: "a"')
        self.assertEqual(answered(get("Range: bytes=0-1", 'If-Range: "a"'), stored)[1], b"01")
        self.assertEqual(answered(get("Range: bytes=0-1", 'If-Range: "b"'), stored), (stored.response, CONTENT))

    def test_digests(self) -> None:
        """The digest of the whole is not that of a part, and the representation's stays (RFC 9530, 2 and 3)."""
        stored = whole("Content-Digest: sha-256=:YQ==:", "Content-MD5: YQ==", "Repr-Digest: sha-256=:YQ==:")
        for value in ("bytes=0-1", "bytes=0-1,4-5"):
            headers = answered(get(f"Range: {value}"), stored)[0].headers
            self.assertEqual(headers.names & {b"content-digest", b"content-md5", b"repr-digest"}, {b"repr-digest"})


class ClientTests(SynchronousTestCase):
    """What clients make of it."""

    @properties
    @given(_CONTENTS, st.lists(_SPECS, min_size=1, max_size=MOST + 3), st.sampled_from(([], ["Content-Type: a/b"])))
    def test_pieces_are_those_asked_for(
        self, content: bytes, specs: list[tuple[int, int | None] | int], lines: list[str]
    ) -> None:
        """Whatever ranges are asked for, each piece is what stands there, in the order asked for."""
        wanted = [piece for spec in specs if (piece := _slice(content, spec))[1]]
        response, body = answered(get(_range(specs)), whole(*lines, content=content))
        if not content or sum(len(piece) for _, piece in wanted) > len(content) or len(wanted) > MOST:
            self.assertEqual((response.status, body), (200, content))
        elif wanted:
            self.assertEqual((response.status, received(response, body)), (206, wanted))
        else:
            self.assertEqual((response.status, body), (416, b""))

    @properties
    @given(_CONTENTS.filter(len), st.lists(_SPECS, min_size=1, max_size=3), st.data())
    def test_pieces_of_a_part_are_those_asked_for(
        self, content: bytes, specs: list[tuple[int, int | None] | int], data: st.DataObject
    ) -> None:
        """A stored part gives the same as the whole would, where it holds all that is asked for."""
        first = data.draw(st.integers(0, len(content) - 1))
        held = part(first, data.draw(st.integers(first, len(content) - 1)), content=content)
        if suffices(get(_range(specs)), held):
            response, body = answered(get(_range(specs)), held)
            self.assertEqual(received(response, body), [piece for spec in specs if (piece := _slice(content, spec))[1]])


def _range(specs: list[tuple[int, int | None] | int]) -> str:
    return "Range: bytes=" + ",".join(
        f"-{spec}" if isinstance(spec, int) else f"{spec[0]}-{'' if spec[1] is None else spec[1]}" for spec in specs
    )


def _slice(content: bytes, spec: tuple[int, int | None] | int) -> tuple[int, bytes]:
    if isinstance(spec, int):
        first, end = max(0, len(content) - spec), len(content)
    else:
        first, end = spec[0], len(content) if spec[1] is None else spec[1] + 1
    return first, content[first:end]
