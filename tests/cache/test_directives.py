"""Tests of `buddyproxy.cache.directives`: RFC 9111, 5.2, and RFC 9213."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.directives import (
    LONGEST,
    CacheControl,
    delta_seconds,
    request_cache_control,
    response_cache_control,
)
from buddyproxy.message import Headers
from tests.support.values import fields, properties, tokens

CDN = b"cdn-cache-control"


def _read(*lines: bytes) -> CacheControl:
    return response_cache_control(Headers(tuple((b"Cache-Control", line) for line in lines)), ())


def _targeted(value: bytes, *lines: str) -> CacheControl:
    """Return what a response says whose CDN-Cache-Control is `value`, beside the header fields `lines`."""
    return response_cache_control(fields(*lines).adding((b"CDN-Cache-Control", value)), (CDN,))


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
        self.assertEqual(response_cache_control(fields("CACHE-control: public"), ()).arguments, {b"public": [None]})
        self.assertEqual(response_cache_control(fields("Age: 1"), ()).arguments, {})

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
        for found in (_read(*lines), request_cache_control(Headers(tuple((b"Cache-Control", line) for line in lines)))):
            for name in (b"max-age", b"s-maxage", b"max-stale", *found.arguments):
                self.assertIn(found.permits(name), (True, False))
                self.assertEqual(found.applies(name), name in found and not found.limited_to(name))
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


class QualifiedTests(SynchronousTestCase):
    """`no-cache` and `private` for some fields alone (5.2.2.4 and 5.2.2.7)."""

    def test_fields(self) -> None:
        """The argument lists names of fields, in any case, and of all the times it is given."""
        for case, value, expected in (
            ("one", b'private="Set-Cookie"', {b"set-cookie"}),
            ("several", b'private="Set-Cookie,X-Name"', {b"set-cookie", b"x-name"}),
            ("white space", b'private=" a\t, b "', {b"a", b"b"}),
            ("the form of a token", b"private=Set-Cookie", {b"set-cookie"}),
            ("twice", b'private="a", private="b"', {b"a", b"b"}),
            ("another directive's", b'no-cache="b", private="a"', {b"a"}),
            ("a fault elsewhere", b'x y, private="a"', {b"a"}),
        ):
            found = _read(value)
            self.assertEqual(found.limited_to(b"private"), expected, case)
            self.assertFalse(found.applies(b"private"), case)

    def test_the_whole_response(self) -> None:
        """Without an argument, and with one that is no list of fields, it is for the whole response."""
        for case, value in (
            ("no argument", b"private"),
            ("an empty one", b"private="),
            ("an empty string", b'private=""'),
            ("an empty member", b'private="a,"'),
            ("an empty member before", b'private=",a"'),
            ("white space alone", b'private=" "'),
            ("no comma", b'private="a b"'),
            ("no names", b'private="a, <b>"'),
            ("with and without", b'private="a", private'),
            ("without and with", b'private, private="a"'),
            ("one of them faulty", b'private="a", private="b"; x'),
            ("faulty", b'private="a"; x'),
            ("never closed", b'private="a'),
            ("white space before the argument", b'private= "a"'),
        ):
            found = _read(value)
            self.assertEqual(found.limited_to(b"private"), frozenset(), case)
            self.assertTrue(found.applies(b"private"), case)

    def test_fields_that_caching_goes_by(self) -> None:
        """Left out, these would make the rest more cacheable, or unreadable: it is for the whole response."""
        for name in (
            b"Age",
            b"Cache-Control",
            b"CDN-Cache-Control",
            b"Content-Encoding",
            b"Content-Range",
            b"Date",
            b"Expires",
            b"Vary",
        ):
            self.assertTrue(_read(b'no-cache="Set-Cookie, %b"' % name).applies(b"no-cache"), name)
            self.assertTrue(_targeted(b'private="%b"' % name).applies(b"private"), name)
        for name in (b"ETag", b"Last-Modified", b"X-Vary", b"Cache-Tag"):
            self.assertFalse(_read(b'no-cache="%b"' % name).applies(b"no-cache"), name)

    def test_absent(self) -> None:
        """What is not given applies to nothing."""
        for found in (_read(b"public"), _read(b'x="private"'), _read()):
            self.assertFalse(found.applies(b"private"))
            self.assertEqual(found.limited_to(b"private"), frozenset())

    @properties
    @given(st.lists(st.binary(max_size=20) | st.text('private="a, ;', max_size=20).map(str.encode), max_size=3))
    def test_more_lines_never_lift_it(self, lines: list[bytes]) -> None:
        """What was said for the whole response stays so, whatever other lines add."""
        self.assertTrue(_read(b"private", *lines).applies(b"private"))
        self.assertTrue(_read(*lines, b"private").applies(b"private"))


class TargetedTests(SynchronousTestCase):
    """Fields that stand for Cache-Control (RFC 9213)."""

    def test_values(self) -> None:
        """A member is a directive; its value is absent, a number or a string, and of no other type (2.1)."""
        for case, value, expected in (
            ("no value", b"no-store", {b"no-store": [None]}),
            ("true", b"no-store=?1", {b"no-store": [None]}),
            ("an integer", b"max-age=60", {b"max-age": [b"60"]}),
            ("a negative one", b"max-age=-60", {b"max-age": [b"-60"]}),
            ("a string", b'private="a, B"', {b"private": [b"a, B"]}),
            ("several", b"public, max-age=60", {b"public": [None], b"max-age": [b"60"]}),
            ("parameters, which are ignored", b"max-age=60;a=1;b, public;c", {b"max-age": [b"60"], b"public": [None]}),
            ("a member given twice: the last", b"max-age=60, max-age=5", {b"max-age": [b"5"]}),
            ("white space", b"  public \t,\tmax-age=60  ", {b"public": [None], b"max-age": [b"60"]}),
        ):
            found = _targeted(value)
            self.assertEqual((found.arguments, found.targeted), (expected, True), case)

    def test_values_of_other_types(self) -> None:
        """A value of a type that its directive has not is not converted, and says nothing but that it is there."""
        for case, value in (
            ("a decimal", b"max-age=60.0"),
            ("a string of digits", b'max-age="60"'),
            ("a token", b"max-age=a60"),
            ("true", b"max-age"),
            ("false", b"max-age=?0"),
            ("bytes", b"max-age=:NjA=:"),
            ("a date", b"max-age=@60"),
            ("a display string", b'max-age=%"60"'),
            ("an inner list", b"max-age=(60)"),
            ("negative", b"max-age=-1"),
        ):
            self.assertEqual(_targeted(value, "Cache-Control: max-age=60").seconds(b"max-age"), 0, case)

    def test_of_a_wrong_type_forbids_still(self) -> None:
        """A directive whose value is none of its types forbids as much as it can, and permits nothing."""
        for value in (b"=?0", b"=1.5", b"=a", b"=(a b)", b"=@1", b"=:YQ==:", b'=%"a"'):
            found = _targeted(b"public%b, no-store%b, private%b" % (value, value, value))
            self.assertIn(b"no-store", found, value)
            self.assertTrue(found.applies(b"private"), value)
            self.assertFalse(found.permits(b"public"), value)

    def test_qualified(self) -> None:
        """A string lists the fields (2.1); there is no other way to name them."""
        self.assertEqual(_targeted(b'no-cache="A, b"').limited_to(b"no-cache"), {b"a", b"b"})
        self.assertTrue(_targeted(b"no-cache=a").applies(b"no-cache"))

    def test_stands_alone(self) -> None:
        """A usable targeted field is all that counts: nothing of Cache-Control is added to it (2.2)."""
        for value in (b"max-age=60", b"x", b"max-age=60, no-cache"):
            found = _targeted(value, "Cache-Control: no-store, private, max-age=1")
            self.assertTrue(found.targeted, value)
            self.assertNotIn(b"no-store", found, value)
            self.assertNotIn(b"private", found, value)

    def test_ignored(self) -> None:
        """An empty field, and one that is no Dictionary, is as if it were not there (2.1)."""
        for value in (
            b"",
            b"  ",
            b"max-age=60,",
            b"max-age = 60",
            b"max-age=",
            b"MAX-AGE=60",
            b"max-age=60; no-store=1 2",
            b"no-store private",
            b'private="a',
            b"@",
            b"(a b)",
            b"\xff\x00",
            b"max-age=60, " * 100,
        ):
            found = _targeted(value, "Cache-Control: no-cache")
            self.assertEqual((found.arguments, found.targeted), ({b"no-cache": [None]}, False), value)

    def test_priority(self) -> None:
        """The first usable one of the list counts, whatever order the fields come in (2.2)."""
        own, cdn, both = b"own-cache-control", CDN, (b"own-cache-control", CDN)
        lines = ["CDN-Cache-Control: max-age=2", "Own-Cache-Control: max-age=1", "Cache-Control: max-age=3"]
        for case, names, answered, expected in (
            ("the first", both, lines, 1),
            ("the other first", (cdn, own), lines, 2),
            ("one of them", (cdn,), lines, 2),
            ("none of them", (), lines, 3),
            ("the first absent", both, [lines[0], lines[2]], 2),
            ("the first empty", both, ["Own-Cache-Control:", *lines[::2]], 2),
            ("the first invalid", both, ["Own-Cache-Control: a b", *lines[::2]], 2),
            ("both invalid", both, ["Own-Cache-Control: a b", "CDN-Cache-Control: ,", lines[2]], 3),
            ("neither there", both, [lines[2]], 3),
        ):
            self.assertEqual(response_cache_control(fields(*answered), names).seconds(b"max-age"), expected, case)

    def test_lines_are_one_dictionary(self) -> None:
        """Several lines are one value: a fault in any makes all of them unusable (RFC 9651, 4.2)."""
        line, fault = "CDN-Cache-Control: max-age=60", "cdn-cache-control: no-store;"
        found = response_cache_control(fields(line, "cdn-cache-control: no-store"), (CDN,))
        self.assertEqual(found.arguments, {b"max-age": [b"60"], b"no-store": [None]})
        self.assertEqual(response_cache_control(fields(line, fault), (CDN,)).arguments, {})

    def test_of_any_length(self) -> None:
        """Values too long to be remembered are read all the same."""
        more = b", x=1" * 200
        self.assertEqual(_targeted(b"max-age=60" + more).seconds(b"max-age"), 60)
        self.assertEqual(_read(b"max-age=60" + more).seconds(b"max-age"), 60)

    @properties
    @given(st.binary(max_size=60) | st.text('no-storemaxage=,"\\ ;60?@%:()', max_size=40).map(str.encode))
    def test_never_raises(self, value: bytes) -> None:
        """Whatever is sent, it is a Dictionary and counts alone, or Cache-Control counts as if it were not there."""
        found = _targeted(value, "Cache-Control: max-age=7")
        if found.targeted:
            self.assertTrue(found.arguments)
            for name in found.arguments:
                self.assertTrue(0 <= (found.seconds(name) or 0) <= LONGEST)
        else:
            self.assertEqual(found.arguments, {b"max-age": [b"7"]})


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

    def test_of_a_demand(self) -> None:
        """What asks for more, the larger it is, counts as the largest of several, and as the most if no number."""
        for case, value, expected in (
            ("one", b"min-fresh=10", 10),
            ("quoted", b'min-fresh="10"', 10),
            ("nothing", b"min-fresh=0", 0),
            ("the larger, behind", b"min-fresh=10, min-fresh=20", 20),
            ("the larger, before", b"min-fresh=20, min-fresh=10", 20),
            ("no value", b"min-fresh", LONGEST),
            ("an empty value", b"min-fresh=", LONGEST),
            ("no number", b"min-fresh=x", LONGEST),
            ("one of them no number", b"min-fresh=10, min-fresh=x", LONGEST),
            ("faulty", b"min-fresh; x", LONGEST),
            ("absent", b"no-store", None),
        ):
            self.assertEqual(_read(value).demand(b"min-fresh"), expected, case)


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
        self.assertEqual(response_cache_control(fields("Pragma: no-cache"), (CDN,)).arguments, {})

    def test_no_targeted_field_is_a_requests(self) -> None:
        """Targeted fields are fields of responses (RFC 9213, 2): in a request they say nothing."""
        asked = request_cache_control(fields("CDN-Cache-Control: no-store", "Cache-Control: max-age=1"))
        self.assertEqual(asked.arguments, {b"max-age": [b"1"]})
