"""Tests of `buddyproxy.cache.age`: RFC 9111, 4.2.3 and 5.1."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.age import date_of, initial_age
from buddyproxy.message import Headers
from tests.support.values import NOW, at, field_values, fields, kept, properties


class DateTests(SynchronousTestCase):
    """When a response was made (RFC 9110, 6.6.1)."""

    def test_date(self) -> None:
        """Date says it, in any of the three forms; without one that can be read, it is when the response arrived."""
        for case, lines, expected in (
            ("before it arrived", [f"Date: {at(-20)}"], -20),
            ("after it arrived, by the origin's clock", [f"Date: {at(20)}"], 20),
            ("in lower case", [f"date: {at(-20).lower()}"], -20),
            ("the form of RFC 850", ["Date: Friday, 15-Jan-27 07:59:00 GMT"], -60),
            ("the form of asctime", ["Date: Fri Jan 15 07:59:00 2027"], -60),
            ("two of them: the first", [f"Date: {at(-20)}", f"Date: {at(-50)}"], -20),
            ("none", [], 0),
            ("empty", ["Date:"], 0),
            ("no date", ["Date: yesterday"], 0),
            ("a number", ["Date: 0"], 0),
            ("another zone", ["Date: Fri, 15 Jan 2027 07:59:00 EST"], 0),
        ):
            self.assertEqual(date_of(fields(*lines), NOW), NOW + expected, case)
            self.assertEqual(kept(*lines).date, NOW + expected, case)


class AgeTests(SynchronousTestCase):
    """How old a response is (4.2.3)."""

    def test_initial_age(self) -> None:
        """The larger of what Date and what Age tell, the latter counted from when the request was sent."""
        for case, lines, took, expected in (
            ("no word of it", [], 0, 0),
            ("no word of it, and slow", [], 3, 3),
            ("Age", ["Age: 10"], 0, 10),
            ("Age, and slow", ["Age: 10"], 3, 13),
            ("Date", [f"Date: {at(-20)}"], 0, 20),
            ("Date, and slow", [f"Date: {at(-20)}"], 3, 20),
            ("Date ahead of our clock", [f"Date: {at(20)}"], 0, 0),
            ("Date ahead of our clock, and slow", [f"Date: {at(20)}"], 3, 3),
            ("both, Date more", ["Age: 10", f"Date: {at(-20)}"], 3, 20),
            ("both, Age more", ["Age: 18", f"Date: {at(-20)}"], 3, 21),
            ("Date that is none", ["Date: yesterday"], 3, 3),
        ):
            headers = fields(*lines)
            self.assertEqual(initial_age(headers, NOW - took, NOW), expected, case)
            stored = evolve(kept(*lines), request_time=NOW - took)
            self.assertEqual((stored.initial_age, stored.age(NOW + 7)), (expected, expected + 7), case)

    def test_age_values(self) -> None:
        """Of several ages the first counts, an overflow is the most there is, and no number is no age (5.1)."""
        for case, lines, expected in (
            ("a list", ["Age: 10, 20"], 10),
            ("several lines", ["Age: 10", "Age: 20"], 10),
            ("the first no number", ["Age: x, 20"], 0),
            ("no number", ["Age: old"], 0),
            ("negative", ["Age: -10"], 0),
            ("a fraction", ["Age: 1.5"], 0),
            ("quoted", ['Age: "10"'], 0),
            ("empty", ["Age:"], 0),
            ("nothing", ["Age: 0"], 0),
            ("leading zeros", ["Age: 000000000000010"], 10),
            ("an overflow", ["Age: 99999999999999999999"], 2**31),
            ("thousands of digits", ["Age: " + "9" * 5000], 2**31),
        ):
            self.assertEqual(initial_age(fields(*lines), NOW, NOW), expected, case)

    def test_current_age(self) -> None:
        """A stored response ages with the clock; a clock set back does not make it younger than it arrived."""
        for case, stored, expected in (
            ("just arrived", kept(), 0),
            ("a minute ago", kept(age=60), 60),
            ("a minute ago, being old then", kept("Age: 10", age=60), 70),
            ("a minute ago, made before", kept(f"Date: {at(-100)}", age=60), 100),
            ("in the future", kept("Age: 10", age=-60), 10),
            ("after three seconds", evolve(kept(age=60), request_time=NOW - 63), 63),
        ):
            self.assertEqual(stored.age(NOW), expected, case)

    @properties
    @given(
        st.lists(st.tuples(st.sampled_from((b"Age", b"Date")), field_values | st.just(at(-50).encode()))),
        st.floats(0, 1e6),
        st.floats(0, 1e6),
    )
    def test_never_younger(self, pairs: list[tuple[bytes, bytes]], took: float, later: float) -> None:
        """Whatever the fields say, no response is younger than its way here took, and none gets younger."""
        headers = Headers(tuple(pairs))
        arrived = initial_age(headers, NOW - took, NOW)
        self.assertGreaterEqual(arrived, NOW - (NOW - took))
        stored = evolve(kept(), request_time=NOW - took, response=evolve(kept().response, headers=headers))
        self.assertEqual(stored.age(NOW), arrived)
        self.assertGreaterEqual(stored.age(NOW + later), arrived)
