"""Tests of `buddyproxy.cache.query`: what counts of a query."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.query import counted_uri, parameter_name
from tests.support.values import BUDDY, properties

URI = b"https://origin.example/a"
_PARAMETERS = st.lists(st.text("ab=%1", max_size=4).map(str.encode), max_size=5)


class CountedUriTests(SynchronousTestCase):
    """The URI as the key has it."""

    def test_ignored(self) -> None:
        """Ignored parameters are left out, by name or by how it begins; what is left stays as it was sent."""
        policy = evolve(BUDDY, ignore_query=(b"filter[x]", b"t", b"utm_*"))
        for query, expected in (
            (b"", b""),
            (b"?", b"?"),
            (b"?a=1&b=2", b"?a=1&b=2"),
            (b"?b=2&t=5&a=1", b"?b=2&a=1"),
            (b"?t", b""),
            (b"?t=1&t=2", b""),
            (b"?T=1&tt=1&t%20=1", b"?T=1&tt=1&t%20=1"),
            (b"?utm_source=x&utm_=y&utm=z", b"?utm=z"),
            (b"?a=t&b=utm_x", b"?a=t&b=utm_x"),
            (b"?%74=1&%75tm%5Fa=1&a=%41", b"?a=%41"),
            (b"?filter%5Bx%5D=1&filter[x]=1&filter[y]=1", b"?filter[y]=1"),
            (b"?a=1&&t=1&", b"?a=1&&"),
            (b"?a=?t=1", b"?a=?t=1"),
        ):
            self.assertEqual(counted_uri(URI + query, policy), URI + expected, query)

    def test_all_ignored(self) -> None:
        """An asterisk alone is every parameter."""
        policy = evolve(BUDDY, ignore_query=(b"*",))
        for query in (b"", b"?", b"?a=1&b"):
            self.assertEqual(counted_uri(URI + query, policy), URI)

    def test_sorted(self) -> None:
        """Parameters come in the order of their names; those with one name keep theirs, for they may be a list."""
        policy = evolve(BUDDY, sort_query=True)
        for query, expected in (
            (b"", b""),
            (b"?b=1&a=2", b"?a=2&b=1"),
            (b"?b=2&a=1&b=1", b"?a=1&b=2&b=1"),
            (b"?%62=2&b=1&a", b"?a&%62=2&b=1"),
        ):
            self.assertEqual(counted_uri(URI + query, policy), URI + expected, query)
        both = evolve(policy, ignore_query=(b"b",))
        self.assertEqual(counted_uri(URI + b"?c&b&a", both), URI + b"?a&c")

    @properties
    @given(_PARAMETERS)
    def test_as_it_was_sent(self, parameters: list[bytes]) -> None:
        """Where nothing is said of queries, every byte of one counts."""
        uri = URI + b"?" + b"&".join(parameters)
        self.assertEqual(counted_uri(uri, BUDDY), uri)

    @properties
    @given(_PARAMETERS, _PARAMETERS)
    def test_what_is_left_is_told_apart(self, one: list[bytes], other: list[bytes]) -> None:
        """Two queries count as the same exactly when what is left of them is the same."""
        policy = evolve(BUDDY, ignore_query=(b"a*",))
        left = [[part for part in parts if not parameter_name(part).startswith(b"a")] for parts in (one, other)]
        # A query always has one parameter, be it empty: without any there is none to ignore.
        made = [counted_uri(URI + b"?" + b"&".join(parts or [b"a"]), policy) for parts in (one, other)]
        self.assertEqual(made[0] == made[1], left[0] == left[1])


class ParameterNameTests(SynchronousTestCase):
    """The name of a parameter, as forms spell it."""

    def test_table(self) -> None:
        """What stands before the first equals sign, decoded."""
        for parameter, expected in (
            (b"", b""),
            (b"a", b"a"),
            (b"a=b=c", b"a"),
            (b"=b", b""),
            (b"%61+%2B%20=1", b"a + "),
            (b"%", b"%"),
        ):
            self.assertEqual(parameter_name(parameter), expected, parameter)
