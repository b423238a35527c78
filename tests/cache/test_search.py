"""Tests of `buddyproxy.cache.search`: draft-ietf-httpbis-no-vary-search."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.key import primary_key
from buddyproxy.cache.search import Search, search_of
from tests.support.values import RFC9111, field_values, fields, get, properties

A = b"https://origin.example/thing"


class SearchTests(SynchronousTestCase):
    """What of a query matters, and which URIs are the same by that."""

    def test_what_is_said(self) -> None:
        """The field is a Dictionary of three members; anything wrong with it means that everything matters."""
        ab = frozenset({b"a", b"b"})
        cases: tuple[tuple[str, Search | None], ...] = (
            ("key-order", Search(sort=True)),
            ("params", Search(all_but=True)),
            ('params=("a" "b")', Search(names=ab)),
            ('params=("b" "a" "a"), key-order', Search(sort=True, names=ab)),
            ('params=("a b" "c%20d" "e+f")', Search(names=frozenset({b"a b", b"c d", b"e f"}))),
            ('params, except=("a" "b")', Search(all_but=True, names=ab)),
            ("params, except=()", Search(all_but=True)),
            ("params, unknown=1", Search(all_but=True)),
            ("params=?0", None),
            ("params=()", None),
            ("key-order=?0", None),
            ("", None),
            ("params=1", None),
            ("params=(a)", None),
            ('params="a"', None),
            ("params=(1)", None),
            ("key-order=1, params", None),
            ('except=("a")', None),
            ('params=?0, except=("a")', None),
            ('params=("a"), except=("b")', None),
            ("params, except=1", None),
            ("params,", None),
            ("Params", None),
        )
        for value, expected in cases:
            self.assertEqual(search_of(fields(f"No-Vary-Search: {value}")), expected, value)
        self.assertIsNone(search_of(fields("Vary: a")))
        self.assertEqual(search_of(fields("No-Vary-Search: key-order", "No-Vary-Search: params")), Search(True, True))

    def test_the_same_uri(self) -> None:
        """URIs that differ only in what does not matter are one, whatever the parameters' spelling."""
        some, all_but, order = (
            Search(names=frozenset({b"s"})),
            Search(False, True, frozenset({b"q"})),
            Search(sort=True),
        )
        for search, uri, expected in (
            (some, b"/a?q=1&s=2", b"/a?q=1"),
            (some, b"/a?s=2&q=1&%73=3&s", b"/a?q=1"),
            (some, b"/a?s=1", b"/a"),
            (some, b"/a?", b"/a"),
            (some, b"/a", b"/a"),
            (some, b"/a?q=1&&s=", b"/a?q=1"),
            (some, b"/a?S=1", b"/a?S=1"),
            (all_but, b"/a?x=1&q=2&y=3", b"/a?q=2"),
            (all_but, b"/a?x=1", b"/a"),
            (Search(all_but=True), b"/a?x=1", b"/a"),
            (order, b"/a?b=1&a=2&b=0", b"/a?a=2&b=1&b=0"),
            (order, b"/a?q=1", b"/a?q=1"),
        ):
            self.assertEqual(search.counted(uri), expected, (search, uri))

    def test_keys(self) -> None:
        """What different words make the same URI stays apart: it was not said of the same."""
        searches = (
            None,
            Search(sort=True),
            Search(all_but=True),
            Search(names=frozenset({b"a"})),
            Search(names=frozenset({b"a", b"b"})),
            Search(names=frozenset({b"a 1:b"})),
            Search(all_but=True, names=frozenset({b"a"})),
        )
        keys = [primary_key(get(), A, RFC9111, b"s" * 32, search) for search in searches]
        self.assertEqual(len(set(keys)), len(searches))
        self.assertEqual(keys[0], primary_key(get(), A, RFC9111, b"s" * 32))
        ordered = [primary_key(get(), A + query, RFC9111, b"", Search(sort=True)) for query in (b"?a&b", b"?b&a")]
        self.assertEqual(*ordered)

    @properties
    @given(field_values, st.binary(max_size=40))
    def test_never_fails(self, value: bytes, query: bytes) -> None:
        """Whatever is said of whatever query, nothing fails, and the path stays."""
        search = search_of(fields("No-Vary-Search: " + value.decode("latin-1"))) or Search(all_but=True)
        self.assertEqual(search.counted(b"/a?" + query).partition(b"?")[0], b"/a")
