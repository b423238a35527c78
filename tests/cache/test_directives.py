"""Tests of `buddyproxy.cache.directives`: RFC 9111, 5.2."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.directives import LONGEST, CacheControl, cache_control, delta_seconds, request_cache_control
from buddyproxy.message import Headers
from tests.support.values import fields, properties, tokens


def _read(*lines: bytes) -> CacheControl:
    return cache_control(Headers(tuple((b"Cache-Control", line) for line in lines)))


class SyntaxTests(SynchronousTestCase):
    """What is read out of Cache-Control."""

    def test_reads(self) -> None:
        """Directives are tokens with or without an argument, which may be a token or a quoted string."""
        for case, value, expected in (
            ("one", b"no-store", {b"no-store": [None]}),
            ("several", b"public, max-age=60", {b"public": [None], b"max-age": [b"60"]}),
            ("no white space", b"public,max-age=60", {b"public": [None], b"max-age": [b"60"]}),
            ("more white space", b"\tpublic \t,\t max-age=60 ", {b"public": [None], b"max-age": [b"60"]}),
            ("names in any case", b"Public, MAX-AGE=60", {b"public": [None], b"max-age": [b"60"]}),
            ("empty members", b", ,public,,", {b"public": [None]}),
            ("a quoted argument", b'max-age="60"', {b"max-age": [b"60"]}),
            ("commas in quotes", b'private="a, no-store", public', {b"private": [b"a, no-store"], b"public": [None]}),
            ("escapes in quotes", rb'x="a\"b\\c, d"', {b"x": [rb'a"b\c, d']}),
            ("an escaped line break", b'x="a\\\nb"', {b"x": [b"a\nb"]}),
            ("case of arguments", b"x=AbC", {b"x": [b"AbC"]}),
            ("repeated", b"max-age=2, max-age=1, max-age", {b"max-age": [b"2", b"1", None]}),
            ("an empty argument", b"max-age=, public", {b"max-age": [b""], b"public": [None]}),
            ("every character of a token", b"!#$%&'*+.^_`|~09Az-", {b"!#$%&'*+.^_`|~09az-": [None]}),
            ("nothing", b"", {}),
        ):
            self.assertEqual(_read(value).arguments, expected, case)

    def test_lines_are_one_list(self) -> None:
        """Several lines are read like one (RFC 9110, 5.3), but no line's faults reach into the next."""
        self.assertEqual(_read(b"public", b"max-age=1").arguments, {b"public": [None], b"max-age": [b"1"]})
        self.assertIn(b"no-store", _read(b'x="', b"no-store"))
        self.assertEqual(cache_control(fields("CACHE-control: public")).arguments, {b"public": [None]})
        self.assertEqual(cache_control(fields("Age: 1")).arguments, {})

    def test_what_is_no_directive_counts_as_far_as_it_forbids(self) -> None:
        """A faulty member makes its names known but gives them nothing to permit, and hides none of the others."""
        for case, value in (
            ("semicolons", b"no-store; public"),
            ("semicolons, at the end", b"public; no-store"),
            ("no comma", b"public no-store"),
            ("white space before the argument", b"no-store= public"),
            ("white space before the equals sign", b"no-store =1"),
            ("in quotes", b'"no-store", "public"'),
            ("an open quote before", b'ext="a, no-store'),
            ("an open quote behind", b'no-store, public="a'),
            ("an open quote in the member", b'no-store="a, public'),
            ("a quote closed by chance", b'ext="a, no-store, public="b"'),
            ("something behind a quote", b'ext="a"b, no-store'),
            ("something behind a quote, in the member", b'no-store="a"b'),
            ("an open escape", b'no-store="a\\"'),
            ("bytes that are no text", b"\xff\x00no-store\x00"),
            ("a slash in the argument", b"no-store=a/b"),
            ("another member's fault", b"@@@, no-store"),
            ("on a line's end", b"no-store;"),
        ):
            self.assertIn(b"no-store", _read(value), case)
            self.assertFalse(_read(value).permits(b"public"), case)

    def test_behind_an_open_quote_nothing_permits(self) -> None:
        """Where a quoted string ends is unknown: all behind it counts against reuse only. Other faults end sooner."""
        for case, value, seconds, permitted in (
            ("an open quote", b'ext="a, max-age=60, public', 0, False),
            ("something behind a quote", b'ext="a"b, max-age=60, public', 0, False),
            ("a quote in the wrong place", b'"ext", max-age=60, public', 0, False),
            ("another fault", b"a b, max-age=60, public", 60, True),
            ("another fault, and a quote behind it", b'a b, ext="c", max-age=60, public', 60, True),
        ):
            found = _read(value)
            self.assertEqual((found.seconds(b"max-age"), found.permits(b"public")), (seconds, permitted), case)

    def test_quotes_hide(self) -> None:
        """What stands inside a quoted string is no directive."""
        self.assertNotIn(b"no-store", _read(b'ext="no-store, a", public'))
        self.assertNotIn(b"no-store", _read(b'ext="a\\", no-store, \\"b"'))

    def test_permits(self) -> None:
        """A directive makes more possible only where it is given, and each time without a fault."""
        for case, value, expected in (
            ("given", b"public", True),
            ("given with an argument", b"public=yes", True),
            ("given twice", b"public, public", True),
            ("beside another's fault", b"public, x y", True),
            ("absent", b"private", False),
            ("faulty", b"public; x", False),
            ("without the argument it announces", b"public=", False),
            ("given, and given faulty", b"public, public; x", False),
        ):
            self.assertEqual(_read(value).permits(b"public"), expected, case)

    @properties
    @given(
        st.lists(st.binary(max_size=60) | st.text('no-storemaxage=,"\\ ;60', max_size=40).map(str.encode), max_size=4)
    )
    def test_never_raises(self, lines: list[bytes]) -> None:
        """Whatever is sent as Cache-Control, reading it is no failure, and all that is asked of it has an answer."""
        for read in (cache_control, request_cache_control):
            found = read(Headers(tuple((b"Cache-Control", line) for line in lines)))
            for name in (b"max-age", b"s-maxage", b"max-stale", *found.arguments):
                self.assertIn(found.permits(name), (True, False))
                for seconds in (found.seconds(name), found.tolerance(name)):
                    self.assertTrue(seconds is None or 0 <= seconds <= LONGEST)
            self.assertEqual([name.lower() for name in found.arguments], list(found.arguments))

    @properties
    @given(st.dictionaries(tokens.map(bytes.lower), st.none() | tokens | st.binary(max_size=9), max_size=6))
    def test_what_is_written_is_read_again(self, directives: dict[bytes, bytes | None]) -> None:
        """Arguments of any bytes come through a quoted string."""
        line = b", ".join(
            name if value is None else name + b'="' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
            for name, value in directives.items()
        )
        self.assertEqual(_read(line).arguments, {name: [value] for name, value in directives.items()})

    @properties
    @given(st.binary(max_size=40), st.binary(max_size=40).filter(lambda text: b'"' not in text))
    def test_no_member_hides_the_next_line(self, before: bytes, behind: bytes) -> None:
        """`no-store` as a member counts whatever stands on other lines, and behind it."""
        self.assertIn(b"no-store", _read(before, b"no-store," + behind))
        self.assertIn(b"no-store", _read(behind + b",no-store", before))


class SecondsTests(SynchronousTestCase):
    """Delta-seconds (RFC 9111, 1.2.2)."""

    def test_reads(self) -> None:
        """Digits are seconds, an overflow is the most there is, and anything else is none at all."""
        for case, argument, expected in (
            ("none", b"0", 0),
            ("some", b"60", 60),
            ("leading zeros", b"0060", 60),
            ("many leading zeros", b"0" * 30 + b"60", 60),
            ("nothing but zeros", b"0" * 30, 0),
            ("the most", b"2147483648", 2**31),
            ("one less", b"2147483647", 2**31 - 1),
            ("one more", b"2147483649", 2**31),
            ("ten digits", b"9999999999", 2**31),
            ("eleven digits", b"10000000000", 2**31),
            ("thousands of digits", b"9" * 5000, 2**31),
            ("negative", b"-1", 0),
            ("with a sign", b"+60", 0),
            ("a fraction", b"60.5", 0),
            ("an exponent", b"1e3", 0),
            ("a unit", b"60s", 0),
            ("in single quotes", b"'60'", 0),
            ("with an underscore", b"6_0", 0),
            ("with white space", b" 60", 0),
            ("digits of another script", "٦٠".encode(), 0),
            ("empty", b"", 0),
            ("absent", None, 0),
        ):
            self.assertEqual(delta_seconds(argument), expected, case)

    def test_of_a_directive(self) -> None:
        """The smallest of several counts, and no number is no time; absent is something else (4.2.1)."""
        for case, value, expected in (
            ("one", b"max-age=60", 60),
            ("quoted", b'max-age="60"', 60),
            ("the smaller, behind", b"max-age=60, max-age=5", 5),
            ("the smaller, before", b"max-age=5, max-age=60", 5),
            ("one of them is no number", b"max-age=60, max-age=x", 0),
            ("no argument", b"max-age", 0),
            ("faulty", b"max-age 60", 0),
            ("absent", b"s-maxage=60", None),
        ):
            self.assertEqual(_read(value).seconds(b"max-age"), expected, case)

    def test_of_a_tolerance(self) -> None:
        """`max-stale` without a value accepts any age (5.2.1.2), but not where it says something else as well."""
        for case, value, expected in (
            ("no value", b"max-stale", LONGEST),
            ("a value", b"max-stale=10", 10),
            ("an empty value", b"max-stale=", 0),
            ("no number", b"max-stale=x", 0),
            ("faulty", b"max-stale; x", 0),
            ("with and without", b"max-stale, max-stale=10", 0),
            ("absent", b"no-store", None),
        ):
            self.assertEqual(_read(value).tolerance(b"max-stale"), expected, case)


class RequestTests(SynchronousTestCase):
    """What a request asks for."""

    def test_pragma_stands_in(self) -> None:
        """`Pragma: no-cache` asks for what `Cache-Control: no-cache` does, where there is none (5.4)."""
        for case, lines, expected in (
            ("Cache-Control", ["Cache-Control: max-age=1"], {b"max-age": [b"1"]}),
            ("Pragma", ["Pragma: no-cache"], {b"no-cache": [None]}),
            ("Pragma in any case", ["pragma: NO-Cache"], {b"no-cache": [None]}),
            ("Pragma among others", ["Pragma: x, no-cache"], {b"no-cache": [None]}),
            ("another Pragma", ["Pragma: x"], {}),
            ("both", ["Pragma: no-cache", "Cache-Control: max-age=1"], {b"max-age": [b"1"]}),
            ("neither", [], {}),
        ):
            self.assertEqual(request_cache_control(fields(*lines)).arguments, expected, case)

    def test_pragma_means_nothing_in_a_response(self) -> None:
        """In a response, `Pragma` was never given a meaning (5.4)."""
        self.assertEqual(cache_control(fields("Pragma: no-cache")).arguments, {})
