"""Tests of `buddyproxy.cache.worth`."""

import gzip
import json
import zlib

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.cache.worth import JUDGED, MEMBERS, is_judged, is_readable, is_worth_keeping
from buddyproxy.config import parse_condition
from tests.support.values import BUDDY, fields, kept, properties

JSON = "Content-Type: application/json"
EVENTS = "Content-Type: text/event-stream; charset=utf-8"
LINES = "Content-Type: application/x-ndjson"
SEQUENCE = "Content-Type: application/json-seq"

_JSON = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 1.0, "a", "b", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=6,
)

CUT_SHORT = 'choices[*].finish_reason = "length"'


def unless(*conditions: str):
    """Return the policy of a mapping with these conditions."""
    return evolve(BUDDY, store_unless=tuple(map(parse_condition, conditions)))


def holding(body: bytes, *lines: str) -> StoredResponse:
    """Return a stored response."""
    return evolve(kept(*lines), body=body)


class WorthTests(SynchronousTestCase):
    """Which finished answers are worth keeping."""

    def test_conditions(self) -> None:
        """A condition is met where anything at its path is there, is the value, or is another one than that."""
        for text, condition, met in (
            ({"error": {"code": 5}}, "error", True),
            ({"error": False}, "error", True),
            ({"error": None}, "error", False),
            ({"errors": []}, "error", False),
            ({"a": {"error": 1}}, "error", False),
            ([{"error": 1}], "error", False),
            ([{"error": 1}], "[0].error", True),
            ([{"error": 1}], "[1].error", False),
            ([{}, {"error": 1}], "[*].error", True),
            ({"a": {"x": 1}, "b": {"error": 1}}, "[*].error", True),
            ({"a": [1]}, "a.x", False),
            ({"a": {"0": 1}}, "a[0]", False),
            (5, "a", False),
            ({"status": "failed"}, 'status = "failed"', True),
            ({"status": "Failed"}, 'status = "failed"', False),
            ({"a": 1}, "a = 1.0", True),
            ({"a": True}, "a = 1", False),
            ({"a": 1}, "a = true", False),
            ({"a": False}, "a = 0", False),
            ({"a": None}, "a = null", True),
            ({}, "a = null", False),
            ({"a": "done"}, 'a != "done"', False),
            ({"a": "cut"}, 'a != "done"', True),
            ({"a": True}, "a != 1", True),
            ({"a": None}, 'a != "done"', False),
            ({}, 'a != "done"', False),
            ({"choices": [{"finish_reason": "stop"}, {"finish_reason": "length"}]}, CUT_SHORT, True),
            ({"choices": [{"finish_reason": "stop"}, {"finish_reason": None}]}, CUT_SHORT, False),
        ):
            stored = holding(json.dumps(text).encode(), JSON)
            self.assertIs(is_worth_keeping(stored, unless("nothing.of[0].it", condition)), not met, (text, condition))

    def test_spelling(self) -> None:
        """Escapes, white space and a byte order mark change nothing; other encodings than UTF-8 are not JSON's."""
        condition = 'é = "length"'
        for body, met in (
            ('{"é": "length"}'.encode(), True),
            (b'{"\\u00e9": "len\\u0067th"}', True),
            ('\ufeff { "é" :\n"length" } '.encode(), True),
            ('{"é": "length\\n"}'.encode(), False),
            ('{"é": "len", "e": "length"}'.encode(), False),
            ('{"é": "length"}'.encode("utf-16"), False),
        ):
            self.assertIs(is_worth_keeping(holding(body, JSON), unless(condition)), not met, body)

    @properties
    @given(_JSON, st.sampled_from(["a", "a.b", "[*].a", "a[0]", 'a = "b"', "b != 1", "a = 1"]))
    def test_reading_all_of_it(self, value: object, condition: str) -> None:
        """What is not parsed would not have met the condition: an escape, which has everything parsed, shows it."""
        plain, escaped = json.dumps(value), json.dumps([value, "\n"])
        policy = unless(condition)
        outer = unless(f"[0]{condition}" if condition.startswith("[") else f"[0].{condition}")
        verdicts = [is_worth_keeping(holding(plain.encode(), JSON), policy)]
        verdicts.append(is_worth_keeping(holding(escaped.encode(), JSON), outer))
        self.assertEqual(verdicts[0], verdicts[1])

    def test_events(self) -> None:
        """Of a stream every event is looked at: one that meets a condition is enough."""
        good, cut = b'{"choices": [{"finish_reason": null}]}', b'{"choices": [{"finish_reason": "length"}]}'
        for line, body, kept_ in (
            (EVENTS, b"data: %b\n\ndata: [DONE]\n\n" % good, True),
            (EVENTS, b"data: %b\n\ndata:%b\r\n\r\ndata: [DONE]\n\n" % (good, cut), False),
            (EVENTS, b"event: x\nid: 1\ndata: %b\ndata: %b\n\n" % (cut[:12], cut[12:]), False),
            (EVENTS, b": %b\n\nother: %b\n\n" % (cut, cut), True),
            (EVENTS, b"data: %b" % cut, False),
            (EVENTS, b"", True),
            (LINES, b"%b\n%b\n" % (good, good), True),
            (LINES, b"%b\nbroken\n%b\n" % (good, cut), False),
            (SEQUENCE, b"\x1e%b\n\x1e%b\n" % (good, good), True),
            (SEQUENCE, b"\x1e%b\n\x1e%b\n" % (good, cut), False),
        ):
            self.assertIs(is_worth_keeping(holding(body, line), unless(CUT_SHORT)), kept_, body)

    def test_not_looked_at(self) -> None:
        """Without conditions everything is kept; with them, what is no JSON is: it has no members."""
        error = b'{"error": 1}'
        self.assertTrue(is_worth_keeping(holding(error, JSON), BUDDY))
        self.assertFalse(is_worth_keeping(holding(error, "Content-Type: application/problem+json"), unless("error")))
        for line in ("Content-Type: text/plain", "X: y"):
            self.assertTrue(is_worth_keeping(holding(error, line), unless("error")), line)
        for body in (b"", b"{", b'{"error": 1', b"\xff", b"[" * 100_000):
            self.assertTrue(is_worth_keeping(holding(body, JSON), unless("error")), body)

    def test_what_readers_stumble_over(self) -> None:
        """Numbers of any length are read, a mark of byte order may lead, and what is nested too deep is not kept."""
        policy = unless("error")
        for case, body, line, expected in (
            ("a long number", b'{"error": 1, "x": ' + b"1" * 5000 + b"}", JSON, False),
            ("a long number, and no more", b'{"x": ' + b"1" * 5000 + b', "y": "error"}', JSON, True),
            ("too deep to tell", b'{"error": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON, False),
            ("a mark before events", b'\xef\xbb\xbfdata: {"error": 1}\n\n', EVENTS, False),
            ("a mark before an object", b'\xef\xbb\xbf{"error": 1}', JSON, False),
        ):
            self.assertEqual(is_worth_keeping(holding(body, line), policy), expected, case)

    def test_codings(self) -> None:
        """What is gzip or deflate is read; what cannot be, and what is broken or very large, is not kept."""
        good, bad = b'{"a": 1}', b'{"error": 1}'
        for coding, body, kept_ in (
            ("gzip", gzip.compress(good), True),
            ("gzip", gzip.compress(bad), False),
            ("X-GZip", gzip.compress(bad[:5]) + gzip.compress(bad[5:]), False),
            ("identity, gzip", gzip.compress(good), True),
            ("deflate", zlib.compress(good), True),
            ("deflate", zlib.compress(bad), False),
            ("gzip", b"", True),
            ("gzip", gzip.compress(good)[:-3], False),
            ("gzip", good, False),
            ("gzip", gzip.compress(good) + b"more", False),
            ("br", good, False),
            ("gzip, gzip", gzip.compress(gzip.compress(good)), False),
        ):
            stored = holding(body, JSON, f"Content-Encoding: {coding}")
            self.assertIs(is_worth_keeping(stored, unless("error")), kept_, (coding, body))

    def test_size(self) -> None:
        """The bound is on what is read, not on what came."""
        largest = b"[" + b" " * (JUDGED - 2) + b"]"
        for content, kept_ in ((largest, True), (largest + b" ", False)):
            self.assertIs(is_worth_keeping(holding(content, JSON), unless("error")), kept_)
            packed = holding(gzip.compress(content), JSON, "Content-Encoding: gzip")
            self.assertIs(is_worth_keeping(packed, unless("error")), kept_)
        twice = holding(gzip.compress(largest) + gzip.compress(b" " * 10), JSON, "Content-Encoding: gzip")
        self.assertFalse(is_worth_keeping(twice, unless("error")))

    def test_members(self) -> None:
        """Content coded in very many pieces is not read, and so not kept."""
        for count, kept_ in ((MEMBERS, True), (MEMBERS + 1, False)):
            body = gzip.compress(b"[]") + gzip.compress(b" ") * (count - 1)
            stored = holding(body, JSON, "Content-Encoding: gzip")
            self.assertIs(is_worth_keeping(stored, unless("error")), kept_, count)

    def test_known_at_the_head(self) -> None:
        """By its head it is known whether a response will be looked at, and whether it can be."""
        for lines, judged, readable in (
            ((JSON,), True, True),
            ((EVENTS, "Content-Encoding: gzip"), True, True),
            ((LINES, "Content-Encoding: br"), True, False),
            (("Content-Type: text/html", "Content-Encoding: br"), False, False),
            ((), False, True),
        ):
            self.assertIs(is_judged(fields(*lines), unless("error")), judged, lines)
            self.assertFalse(is_judged(fields(*lines), BUDDY))
            self.assertIs(is_readable(fields(*lines)), readable, lines)

    @properties
    @given(
        st.binary(max_size=40), st.sampled_from([JSON, EVENTS, LINES, SEQUENCE]), st.sampled_from(["gzip", "", "br"])
    )
    def test_anything(self, body: bytes, line: str, coding: str) -> None:
        """Whatever comes is kept or not; no content is too broken for that."""
        stored = holding(body, line, f"Content-Encoding: {coding}")
        self.assertIn(is_worth_keeping(stored, unless("error", "[*] = 0")), (True, False))
