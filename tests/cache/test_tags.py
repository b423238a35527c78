"""Tests of `buddyproxy.cache.tags`: RFC 9875, 2, and the two older fields."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.tags import tags
from buddyproxy.message import Headers
from tests.support.values import field_values, fields, kept, properties


class TagsTests(SynchronousTestCase):
    """The names by which stored responses are purged together."""

    def test_each_field(self) -> None:
        """Every field gives its tags in its own way; case, order and what is inside them stay."""
        cases: tuple[tuple[str, list[str], tuple[bytes, ...]], ...] = (
            ("none", ["ETag: a"], ()),
            ("tags", ["Cache-Tag: a,b , C d,,"], (b"a", b"b", b"C d")),
            ("keys", ["Surrogate-Key: a  b,c\tD"], (b"a", b"b,c", b"D")),
            ("groups", ['Cache-Groups: "a", "b, c"'], (b"a", b"b, c")),
            ("all", ['cache-groups: "c"', "CACHE-TAG: a", "Surrogate-Key: b"], (b"a", b"b", b"c")),
            ("each once", ["Cache-Tag: a, b, a", "Surrogate-Key: b a", 'Cache-Groups: "a"'], (b"a", b"b")),
            ("several lines", ["Cache-Tag: a", "Cache-Tag: b", 'Cache-Groups: "c"', 'Cache-Groups: "d"'], (*b"abcd",)),
            ("empty", ["Cache-Tag:", "Surrogate-Key:", "Cache-Groups:"], ()),
            ("faults on one line of two", ['Cache-Groups: "c"', "Cache-Groups: d", "Cache-Tag: a"], (b"a",)),
            ("controls and what is not ASCII", ["Cache-Tag: a\x01, ü, b", "Surrogate-Key: ü c"], (b"b", b"c")),
        )
        for case, lines, expected in cases:
            wanted = tuple(tag if isinstance(tag, bytes) else bytes([tag]) for tag in expected)
            self.assertEqual(tags(fields(*lines)), wanted, case)

    def test_groups(self) -> None:
        """Cache-Groups is a list of strings, with parameters that are ignored; anything else gives none (RFC 9651)."""
        cases: tuple[tuple[str, list[bytes]], ...] = (
            ('"a"', [b"a"]),
            ('  "a"\t,\t"b"  ', [b"a", b"b"]),
            (r'"a\"b\\c"', [rb"a\"b\c".replace(rb"\"", b'"')]),
            ('""', [b""]),
            ('"a";x, "b"; y=1;z="q,";u=t:/;v=:YQ==:;w=?0;d=@-1;e=1.5;f=%"%c3%bc"', [b"a", b"b"]),
            ('"a",', []),
            ('"a",,"b"', []),
            ('"a" "b"', []),
            ('"a', []),
            ('"a"; ', []),
            ('"a";X', []),
            ('"a";x=', []),
            ('"a";x=1.', []),
            ('"a";x=1.2345', []),
            ('"a";x=1234567890123456', []),
            ('"a";x=?2', []),
            ('"a";x=@1.5', []),
            ('"a";x=:Y:Q', []),
            ('"a";x=%"%C3%BC"', []),
            ('"a";x="\x7f"', []),
            ('"a";x;x=1;y', [b"a"]),
            (r'"a\b"', []),
            ('"ü"', []),
            ("a", []),
            ('"a", b', []),
            ('"a", 1', []),
            ('("a" "b")', []),
            (",".join(f'"{number:032}"' for number in range(100)), [b"%032d" % number for number in range(100)]),
        )
        for value, expected in cases:
            self.assertEqual(list(tags(fields(f"Cache-Groups: {value}"))), expected, value)

    @properties
    @given(st.lists(st.tuples(st.sampled_from((b"Cache-Tag", b"Surrogate-Key", b"Cache-Groups")), field_values)))
    def test_never_fails(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """Whatever the fields hold, tags are ASCII, and each is there once."""
        found = tags(Headers(tuple(pairs)))
        self.assertTrue(all(tag.isascii() for tag in found))
        self.assertEqual(len(set(found)), len(found))

    def test_of_a_stored_response(self) -> None:
        """A stored response has the tags of its fields."""
        self.assertEqual(kept("Cache-Tag: a, b").tags, (b"a", b"b"))
