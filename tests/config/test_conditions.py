"""Tests of `buddyproxy.config.conditions`."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.config import Condition, parse_condition
from tests.support.values import properties


class ConditionTests(SynchronousTestCase):
    """Conditions on JSON as people write them."""

    def test_paths(self) -> None:
        """A path leads by names, numbers and `[*]`; `$` before it changes nothing."""
        for text, *path in (
            ("error", "error"),
            ("  error  ", "error"),
            ("$.error", "error"),
            ("a.b-c.dé", "a", "b-c", "dé"),
            ("choices[*].finish_reason", "choices", None, "finish_reason"),
            ("[0].code", 0, "code"),
            ("$[*]", None),
            ('["a.b"][12]["say \\"hi\\""]', "a.b", 12, 'say "hi"'),
            ("*", "*"),
        ):
            self.assertEqual(parse_condition(text), Condition(tuple(path)), text)  # type: ignore[arg-type]

    def test_comparisons(self) -> None:
        """Behind the path there may be `=` or `!=` and a JSON value that has no parts."""
        for text, relation, value in (
            ('a = "length"', "=", "length"),
            ('a="length"', "=", "length"),
            ("a == 1", "=", 1),
            ("a != -1.5e3", "!=", -1500.0),
            ("a!=true", "!=", True),
            ("a = null ", "=", None),
            ('a = "x = \\u0022y\\u0022"', "=", 'x = "y"'),
        ):
            self.assertEqual(parse_condition(text), Condition(("a",), relation, value), text)  # type: ignore[arg-type]

    def test_literals(self) -> None:
        """What a JSON text must hold word for word is known before it is read: names, and a string that is wanted."""
        for text, *literals in (
            ("[0][*]", *()),
            ('a[*]["b c"].é = "length"', '"a"', '"b c"', '"é"', '"length"'),
            ('a != "length"', '"a"'),
            ("a = 5", '"a"'),
            (r'["\ud800"]', '"?"'),
        ):
            self.assertEqual(parse_condition(text).literals, tuple(literal.encode() for literal in literals), text)

    def test_what_is_none(self) -> None:
        """Anything else is refused, with a word on what is accepted."""
        for text in (
            *("", " ", "$", ".", ".a", "a.", "a..b", "a b", "$a", "[", "[]", "[a]", "[-1]", "[*", "a[0]b", "['a']"),
            *("a =", "= 1", "a = length", "a = [1]", "a = {}", "a = NaN", "a = -Infinity", "a < 1", "a = 1 2", "a !"),
            *('["\\x"]', '["a', "a = 'b'", "a = 1 and b = 2", "a = " + "[" * 100_000),
        ):
            error = self.assertRaises(ValueError, parse_condition, text)
            self.assertIn("expected a condition on JSON", str(error), text)

    @properties
    @given(st.text('a.[]*"$=!01 \\', max_size=12))
    def test_anything(self, text: str) -> None:
        """Whatever is written either is a condition with a path, or is refused."""
        try:
            condition = parse_condition(text)
        except ValueError:
            return
        self.assertTrue(condition.path)
