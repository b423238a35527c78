"""Tests of `buddyproxy.cache.structured`: RFC 9651."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from http_sf import DisplayString, Token
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.structured import dictionary, strings
from tests.support.values import field_values, properties

# Of what structured fields are made, so that faults of every kind come up, and what is almost right.
_PIECES = st.sampled_from(
    (
        b"a",
        b"A",
        b"*",
        b"=",
        b",",
        b";",
        b" ",
        b"\t",
        b"(",
        b")",
        b'"',
        b"\\",
        b"?1",
        b"?",
        b"-",
        b".",
        b"0",
        b"@",
        b":",
    )
) | st.sampled_from((b"9" * 15, b"YQ==", b"%", b'%"', b"%c3%bc", b"\0", b"\x7f", b"\xff", b"a=", b'"b"', b";c"))
_ALMOST = st.lists(_PIECES, max_size=12).map(b"".join) | field_values

_FAULTS: tuple[bytes, ...] = (
    b"a=1,",
    b",a=1",
    b"a=1,,b=2",
    b"a=1 b=2",
    b"a =1",
    b"a= 1",
    b"a=",
    b"A=1",
    b"1=1",
    b"a=1;",
    b"a=1; B",
    b"a=1.",
    b"a=1.2345",
    b"a=1234567890123456",
    b"a=1234567890123.1",
    b"a=--1",
    b"a=+1",
    b"a=?2",
    b'a="b',
    b'a="\\b"',
    b'a="\xc3\xbc"',
    b'a="\t"',
    b"a=:Y:Q",
    b"a=(1 2",
    b"a=(1,2)",
    b"a=((1))",
    b"a=@1.5",
    b'a=%"%C3%BC"',
    b'a=%"%ff"',
    b'a=%"%c"',
    b"a=%b",
    b"a=\xfc",
    b"a=1\0",
)


class DictionaryTests(SynchronousTestCase):
    """Dictionaries."""

    def test_values(self) -> None:
        """Each member has its value, of any type, without its parameters; the last of one name counts (3.2, 4.2.2)."""
        cases: tuple[tuple[bytes, dict[str, Any]], ...] = (
            (b"", {}),
            (b"   ", {}),
            (b"a", {"a": True}),
            (b"a, b;c=1", {"a": True, "b": True}),
            (b"a=?1, b=?0", {"a": True, "b": False}),
            (b"a=1, b=-2,c=015", {"a": 1, "b": -2, "c": 15}),
            (b"a=1.5", {"a": Decimal("1.5")}),
            (b'a="b, \\"c\\" \\\\"', {"a": 'b, "c" \\'}),
            (b"a=b/c:d", {"a": Token("b/c:d")}),
            (b"a=:YQ==:", {"a": b"a"}),
            (b"a=@1800000000", {"a": datetime(2027, 1, 15, 8, tzinfo=UTC)}),
            (b'a=%"%c3%bc"', {"a": DisplayString("\xfc")}),
            (b"a=1;b=2;c", {"a": 1}),
            (b"a=(1 2);b", {"a": [(1, {}), (2, {})]}),
            (b"a=()", {"a": []}),
            (b"a=1, b=2, a=3", {"a": 3, "b": 2}),
            (b"  a=1 \t,\t b=2 ", {"a": 1, "b": 2}),
            (b"*a._-*0=1", {"*a._-*0": 1}),
        )
        for value, expected in cases:
            self.assertEqual(dictionary(value), expected, value)

    def test_types_stay_apart(self) -> None:
        """A token is no string, and a string is no token, although they read alike (3.3)."""
        members = dictionary(b'a=b, c="b", d=1, e')
        self.assertEqual([type(member) for member in members.values()], [Token, str, int, bool])

    def test_faults(self) -> None:
        """One fault anywhere, and nothing of it counts (4.2)."""
        for fault in _FAULTS:
            self.assertEqual(dictionary(fault), {}, fault)
            self.assertEqual(dictionary(b"z=1, " + fault), {}, fault)

    @properties
    @given(_ALMOST)
    def test_never_fails(self, value: bytes) -> None:
        """Whatever it is, it is read; names are as they can be typed (3.1.2)."""
        for name in dictionary(value):
            self.assertRegex(name, r"\A[a-z*][a-z0-9_.*-]*\Z")


class StringsTests(SynchronousTestCase):
    """Lists of strings."""

    def test_values(self) -> None:
        """Each member is given without its quotes and parameters, in order, as often as it is there (3.1, 3.3.3)."""
        cases: tuple[tuple[bytes, tuple[bytes, ...]], ...] = (
            (b"", ()),
            (b'"a"', (b"a",)),
            (b'"a", "b","a"', (b"a", b"b", b"a")),
            (b'  "a" \t,\t "b"  ', (b"a", b"b")),
            (b'""', (b"",)),
            (b'"a, b"', (b"a, b",)),
            (b'"\\"\\\\"', (b'"\\',)),
            (b'"a";b;c="d", "e"; f=?0', (b"a", b"e")),
            (b'" ~!"', (b" ~!",)),
        )
        for value, expected in cases:
            self.assertEqual(strings(value), expected, value)

    def test_of_anything_else(self) -> None:
        """A list with one member that is no string counts as none (RFC 9875, 2)."""
        for member in (b"a", b"1", b"1.5", b"?1", b":YQ==:", b"@1", b'%"a"', b'("a")', b"()"):
            for value in (member, b'"a", ' + member, member + b', "a"'):
                self.assertEqual(strings(value), (), value)

    def test_faults(self) -> None:
        """One fault anywhere, and nothing of it counts (4.2)."""
        for fault in (
            b'"a',
            b'"a",',
            b',"a"',
            b'"a",,"b"',
            b'"a" "b"',
            b'"\\a"',
            b'"\xfc"',
            b'"\x7f"',
            b"'a'",
            b'"a";',
        ):
            self.assertEqual(strings(fault), (), fault)
            self.assertEqual(strings(b'"z", ' + fault), (), fault)

    @properties
    @given(_ALMOST)
    def test_never_fails(self, value: bytes) -> None:
        """Whatever it is, it is read, and nothing comes of it but printable ASCII (3.3.3)."""
        for member in strings(value):
            self.assertRegex(member, rb"\A[ -~]*\Z")

    @properties
    @given(
        st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8).map(str.encode), min_size=1)
    )
    def test_what_was_written_is_read(self, members: list[bytes]) -> None:
        """Any strings, written as the grammar says, are read back (4.1.6)."""
        quoted = [b'"' + member.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"' for member in members]
        self.assertEqual(strings(b", ".join(quoted)), tuple(members))
