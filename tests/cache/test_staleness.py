"""Tests of `buddyproxy.cache.staleness`: RFC 9111, 4.2.4, and RFC 5861."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.directives import request_cache_control
from buddyproxy.cache.policy import Policy
from buddyproxy.cache.staleness import (
    ERRORS,
    Stale,
    instead_of_failure,
    standing,
    tolerated,
    while_revalidating,
)
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.message import Headers
from tests.support.values import BUDDY, NOW, RFC9111, at, field_values, fields, get, kept, properties

MINUTE = "Cache-Control: max-age=60"

GRACIOUS = evolve(RFC9111, stale_while_revalidate=30.0, stale_if_error=30.0)
OVERRIDING = evolve(BUDDY, override_origin=True, default_ttl=60.0)

FORBIDDING = (
    "must-revalidate",
    "proxy-revalidate",
    "no-cache",
    "s-maxage=60",
    "Must-Revalidate",
    "must-revalidate=1",
    "must-revalidate; x",
    'x="a, must-revalidate',
    'no-cache="',
    'no-cache="Vary"',
    "s-maxage",
)
"""What an origin says to have each stale response validated, some of it misspelt."""


def _asked(line: str) -> Headers:
    return fields(f"Cache-Control: {line}") if line else Headers()


def _tolerated(asked: str, stored: StoredResponse, policy: Policy = RFC9111) -> bool:
    return tolerated(request_cache_control(_asked(asked)), standing(stored, policy, NOW))


def _while_revalidating(asked: str, stored: StoredResponse, policy: Policy = RFC9111) -> bool:
    return while_revalidating(request_cache_control(_asked(asked)), standing(stored, policy, NOW), policy)


def _instead(asked: str, stored: StoredResponse, policy: Policy = RFC9111, *, answered: bool = True) -> bool:
    line = [f"Cache-Control: {asked}"] if asked else []
    return instead_of_failure(get(*line), stored, policy, NOW, answered=answered) is not None


class StandingTests(SynchronousTestCase):
    """How a stored response stands."""

    def test_staleness(self) -> None:
        """It is what the age exceeds the lifetime by; without a lifetime, all of the age (4.2)."""
        for case, lines, age, expected in (
            ("fresh", [MINUTE], 20, -40),
            ("at the end of its lifetime", [MINUTE], 60, 0),
            ("stale", [MINUTE], 80, 20),
            ("old when it came", [MINUTE, "Age: 50"], 20, 10),
            ("of no known lifetime", [], 20, 20),
            ("by a lifetime for this cache", [MINUTE, "CDN-Cache-Control: max-age=10"], 30, 20),
        ):
            stands = standing(kept(*lines, age=age), RFC9111, NOW)
            self.assertEqual((stands.age - stands.lifetime, stands.staleness), (expected, expected), case)

    def test_what_forbids(self) -> None:
        """The origin may have each stale response validated, by directives faulty or not (4.2.4)."""
        for directive in FORBIDDING:
            for lines in (
                [f"Cache-Control: max-age=60, {directive}"],
                [f"Cache-Control: {directive}", MINUTE],
                [f"Cache-Control: {directive}, max-age=60"],
            ):
                self.assertFalse(standing(kept(*lines), RFC9111, NOW).reusable_stale, lines)

    def test_what_does_not(self) -> None:
        """Other directives, words inside quotes, and `no-cache` for some fields alone forbid nothing of the kind."""
        for directive in (
            "public",
            "immutable",
            "must-understand",
            "revalidate",
            'no-cache="Set-Cookie"',
            'x="must-revalidate, no-cache"',
            "max-age=0",
            "max-age=x",
        ):
            self.assertTrue(standing(kept(f"Cache-Control: {directive}"), RFC9111, NOW).reusable_stale, directive)

    def test_for_shared_caches(self) -> None:
        """Nothing follows from what is for shared caches to one that is nobody else's (5.2.2.8, 5.2.2.10)."""
        for directive in ("s-maxage=60", "proxy-revalidate"):
            stored = kept(f"Cache-Control: {directive}")
            self.assertTrue(standing(stored, BUDDY, NOW).reusable_stale, directive)
            self.assertFalse(standing(stored, RFC9111, NOW).reusable_stale, directive)

    def test_targeted(self) -> None:
        """What a targeted field says for this cache is all that counts (RFC 9213, 2.2)."""
        for case, lines, expected in (
            ("it forbids", ["CDN-Cache-Control: max-age=60, must-revalidate", MINUTE], False),
            ("Cache-Control forbids", ["CDN-Cache-Control: max-age=60", "Cache-Control: must-revalidate"], True),
            ("it is invalid", ["CDN-Cache-Control: max-age=", "Cache-Control: must-revalidate"], False),
            ("another cache's forbids", ["Other-Cache-Control: must-revalidate", MINUTE], True),
        ):
            self.assertEqual(standing(kept(*lines), RFC9111, NOW).reusable_stale, expected, case)

    def test_override(self) -> None:
        """Where the operator knows better, what the origin forbids does not count."""
        for directive in FORBIDDING:
            self.assertTrue(standing(kept(f"Cache-Control: {directive}"), OVERRIDING, NOW).reusable_stale, directive)

    def test_marked_as_outdated(self) -> None:
        """What was marked as stale for good is never reused so, whoever is asked."""
        marked = kept(MINUTE, age=70).marked_outdated()
        for policy in (GRACIOUS, BUDDY, OVERRIDING):
            self.assertFalse(standing(marked, policy, NOW).reusable_stale)
            self.assertFalse(_tolerated("max-stale", marked, policy))
            self.assertFalse(_while_revalidating("", marked, policy))
            for answered in (True, False):
                self.assertFalse(_instead("stale-if-error=100", marked, policy, answered=answered))


class ToleratedTests(SynchronousTestCase):
    """What a caller puts up with (5.2.1.2)."""

    def test_max_stale(self) -> None:
        """With a value, it is the most staleness in seconds; without, there is no such bound."""
        stored = kept(MINUTE, age=80)
        for asked, expected in (
            ("max-stale", True),
            ("max-stale=21", True),
            ("max-stale=20", True),
            ("max-stale=19", False),
            ("max-stale=0", False),
            ("Max-Stale=20", True),
            ('max-stale="20"', True),
            ("max-stale=99999999999999", True),
            ("max-stale=50, max-stale=10", False),
            ("max-stale, max-stale=10", False),
            ("max-stale=", False),
            ("max-stale=-1", False),
            ("max-stale=x", False),
            ("max-stale; x", False),
            ("max-age=100", False),
            ("stale-if-error=100", False),
            ("", False),
        ):
            self.assertEqual(_tolerated(asked, stored), expected, asked)

    def test_at_the_end_of_the_lifetime(self) -> None:
        """A response as old as its lifetime is stale already: it takes a word of sense to have it."""
        stored = kept(MINUTE, age=60)
        for asked, expected in (("max-stale=1", True), ("max-stale", True), ("max-stale=x", False), ("", False)):
            self.assertEqual(_tolerated(asked, stored), expected, asked)

    def test_the_origin_may_forbid(self) -> None:
        """No caller's patience counts against the origin's word (4.2.4)."""
        for directive in FORBIDDING:
            self.assertFalse(_tolerated("max-stale", kept(f"Cache-Control: {directive}", MINUTE, age=80)), directive)


class WhileRevalidatingTests(SynchronousTestCase):
    """Reuse while the origin is asked (RFC 5861, 3)."""

    def test_window(self) -> None:
        """For the seconds named after it became stale, and no longer, it may be reused."""
        for case, line, age, expected in (
            ("just stale", "max-age=60, stale-while-revalidate=30", 60, True),
            ("within", "max-age=60, stale-while-revalidate=30", 80, True),
            ("at its end", "max-age=60, stale-while-revalidate=30", 90, True),
            ("after it", "max-age=60, stale-while-revalidate=30", 90.5, False),
            ("stale from the start", "max-age=0, stale-while-revalidate=30", 0, True),
            ("of nothing", "max-age=60, stale-while-revalidate=0", 60, False),
            ("absent", "max-age=60", 60, False),
            ("absent, some time later", "max-age=60", 61, False),
            ("the smallest of several", "max-age=60, stale-while-revalidate=90, stale-while-revalidate=10", 80, False),
            ("no number", "max-age=60, stale-while-revalidate=x", 60, False),
            ("no argument", "max-age=60, stale-while-revalidate", 60, False),
            ("faulty", "max-age=60, stale-while-revalidate = 30", 60, False),
            ("negative", "max-age=60, stale-while-revalidate=-30", 60, False),
            ("quoted", 'max-age=60, stale-while-revalidate="30"', 80, True),
            ("the other one", "max-age=60, stale-if-error=30", 80, False),
        ):
            self.assertEqual(_while_revalidating("", kept(f"Cache-Control: {line}", age=age)), expected, case)

    def test_what_the_operator_grants(self) -> None:
        """The operator's grace counts where the response names none; where it does, faulty or not, that counts."""
        for case, line, age, expected in (
            ("none named", "max-age=60", 90, True),
            ("none named, later", "max-age=60", 91, False),
            ("a longer one", "max-age=60, stale-while-revalidate=60", 110, True),
            ("a shorter one", "max-age=60, stale-while-revalidate=10", 80, False),
            ("of nothing", "max-age=60, stale-while-revalidate=0", 70, False),
            ("no number", "max-age=60, stale-while-revalidate=x", 70, False),
            ("for failures only", "max-age=60, stale-if-error=0", 80, True),
        ):
            self.assertEqual(_while_revalidating("", kept(f"Cache-Control: {line}", age=age), GRACIOUS), expected, case)
        overriding = evolve(OVERRIDING, stale_while_revalidate=30.0)
        stored = kept("Cache-Control: no-cache, stale-while-revalidate=0", age=80)
        self.assertTrue(_while_revalidating("", stored, overriding), "overridden")

    def test_the_origin_may_forbid(self) -> None:
        """Nobody grants what the origin forbids elsewhere in the same response (RFC 9111, 4.2.4)."""
        for directive in FORBIDDING:
            stored = kept(f"Cache-Control: max-age=60, stale-while-revalidate=30, {directive}", age=70)
            for policy in (RFC9111, GRACIOUS):
                self.assertFalse(_while_revalidating("", stored, policy), directive)

    def test_the_caller_may_forbid(self) -> None:
        """A caller who says how fresh it has to be gets nothing stale (RFC 9111, 5.2.1)."""
        stored = kept("Cache-Control: max-age=60, stale-while-revalidate=30", age=80)
        for asked, expected in (
            ("no-cache", False),
            ("max-age=100", False),
            ("max-age=0", False),
            ("min-fresh=1", False),
            ("max-stale, max-age=100", False),
            ("no-cache; x", False),
            ("max-stale", True),
            ("no-transform", True),
            ("stale-while-revalidate=0", True),
        ):
            self.assertEqual(_while_revalidating(asked, stored), expected, asked)
            self.assertEqual(_while_revalidating(asked, kept(MINUTE, age=80), GRACIOUS), expected, asked)

    def test_targeted(self) -> None:
        """The window of a targeted field counts, and none other beside it (RFC 9213, 2.2)."""
        other = "Cache-Control: max-age=60, stale-while-revalidate=30"
        for line, expected in (
            ("CDN-Cache-Control: max-age=60, stale-while-revalidate=30", True),
            ("CDN-Cache-Control: max-age=60", False),
            ("CDN-Cache-Control: max-age=60, stale-while-revalidate=30.0", False),
            ("CDN-Cache-Control: max-age=60, stale-while-revalidate=", True),
        ):
            self.assertEqual(_while_revalidating("", kept(line, other, age=80)), expected, line)


class InsteadOfFailureTests(SynchronousTestCase):
    """What serves where the origin fails."""

    def test_errors(self) -> None:
        """The statuses that are errors here (RFC 5861, 4)."""
        self.assertEqual(ERRORS, {500, 502, 503, 504})

    def test_nothing_stored(self) -> None:
        """Where nothing is stored, nothing serves."""
        for answered in (True, False):
            self.assertIsNone(
                instead_of_failure(get("Cache-Control: stale-if-error=9"), None, GRACIOUS, NOW, answered=answered)
            )

    def test_what_serves(self) -> None:
        """It is told with its age and for how long it has been stale, in whole seconds."""
        for case, age, expected in (
            ("a while", 80.0, (80, -20)),
            ("a fraction", 80.7, (80, -20)),
            ("just", 60.0, (60, 0)),
        ):
            stored = kept("Cache-Control: max-age=60, stale-if-error=30", age=age)
            for answered in (True, False):
                self.assertEqual(
                    instead_of_failure(get(), stored, RFC9111, NOW, answered=answered), Stale(stored, *expected), case
                )

    def test_errors_take_leave(self) -> None:
        """An error gives way to a stale response for as long as the origin, the caller or the operator allowed it."""
        cases: tuple[tuple[str, str, str, Policy, bool], ...] = (
            ("nobody", "max-age=60", "", RFC9111, False),
            ("the origin", "max-age=60, stale-if-error=30", "", RFC9111, True),
            ("the origin, to the second", "max-age=60, stale-if-error=20", "", RFC9111, True),
            ("the origin, for less", "max-age=60, stale-if-error=19", "", RFC9111, False),
            ("the caller", "max-age=60", "stale-if-error=30", RFC9111, True),
            ("the caller, to the second", "max-age=60", "stale-if-error=20", RFC9111, True),
            ("the caller, for less", "max-age=60", "stale-if-error=19", RFC9111, False),
            ("the operator", "max-age=60", "", GRACIOUS, True),
            ("the operator, for less", "max-age=60", "", evolve(GRACIOUS, stale_if_error=19.0), False),
            ("the operator, beside the origin", "max-age=60, stale-if-error=10", "", GRACIOUS, False),
            ("the operator, beside the caller", "max-age=60", "stale-if-error=10", GRACIOUS, False),
            ("the caller, beside the origin", "max-age=60, stale-if-error=10", "stale-if-error=30", RFC9111, True),
            ("the origin, beside the caller", "max-age=60, stale-if-error=30", "stale-if-error=10", RFC9111, True),
            ("the other leave", "max-age=60, stale-while-revalidate=30", "", RFC9111, False),
            ("the origin, no number", "max-age=60, stale-if-error=x", "", RFC9111, False),
            ("the origin, no argument", "max-age=60, stale-if-error", "", RFC9111, False),
            ("the origin, faulty, beside the operator", "max-age=60, stale-if-error=x", "", GRACIOUS, False),
            ("the caller, no number", "max-age=60", "stale-if-error=x", RFC9111, False),
            ("the smallest of several", "max-age=60, stale-if-error=30, stale-if-error=5", "", RFC9111, False),
        )
        for case, said, asked, policy, expected in cases:
            self.assertEqual(_instead(asked, kept(f"Cache-Control: {said}", age=80), policy), expected, case)

    def test_no_leave_at_the_end_of_the_lifetime(self) -> None:
        """Right when it becomes stale, it takes leave already, and no faulty one."""
        for line, expected in (
            ("max-age=60", False),
            ("max-age=60, stale-if-error=0", False),
            ("max-age=60, stale-if-error=x", False),
            ("max-age=60, stale-if-error=1", True),
        ):
            self.assertEqual(_instead("", kept(f"Cache-Control: {line}", age=60)), expected, line)

    def test_disconnected(self) -> None:
        """An origin out of reach takes no leave, however stale the response is (RFC 9111, 4.2.4)."""
        for line in ("max-age=60", "max-age=0", "max-age=60, stale-if-error=0", "public"):
            self.assertTrue(_instead("", kept(f"Cache-Control: {line}", age=80000), answered=False), line)
        self.assertTrue(_instead("", kept(age=80000), answered=False), "no Cache-Control")

    def test_the_origin_may_forbid(self) -> None:
        """What must be validated is not served stale, whether the origin fails or is out of reach (5.2.2.2)."""
        for directive in FORBIDDING:
            stored = kept(f"Cache-Control: max-age=60, stale-if-error=30, {directive}", age=70)
            for policy in (RFC9111, GRACIOUS):
                for answered in (True, False):
                    self.assertFalse(_instead("stale-if-error=30", stored, policy, answered=answered), directive)

    def test_the_caller_may_forbid(self) -> None:
        """A caller who says how fresh it has to be is told of the failure instead (RFC 9111, 5.2.1)."""
        stored = kept("Cache-Control: max-age=60, stale-if-error=30", age=70)
        for asked, expected in (
            ("no-cache", False),
            ("max-age=90", False),
            ("min-fresh=1", False),
            ("max-age=90, stale-if-error=30", False),
            ("no-transform", True),
            ("max-stale=1", True),
        ):
            for answered in (True, False):
                self.assertEqual(_instead(asked, stored, answered=answered), expected, asked)
        for answered in (True, False):
            pragma = get("Pragma: no-cache")
            self.assertIsNone(instead_of_failure(pragma, stored, RFC9111, NOW, answered=answered))

    def test_override(self) -> None:
        """Where the operator knows better, the origin's leave counts as little as what it forbids."""
        generous = kept("Cache-Control: max-age=60, stale-if-error=30", age=70)
        self.assertFalse(_instead("", generous, OVERRIDING))
        self.assertTrue(_instead("", generous, evolve(OVERRIDING, stale_if_error=10.0)))
        self.assertTrue(_instead("", kept("Cache-Control: must-revalidate", age=70), OVERRIDING, answered=False))


_GRACES = ("stale-while-revalidate", "stale-if-error")
_HELD = st.lists(
    st.tuples(
        st.sampled_from((b"Cache-Control", b"CDN-Cache-Control", b"Expires", b"Age")),
        st.sampled_from((b"max-age=60", b"stale-while-revalidate=30", b"stale-if-error=30", at(30).encode(), b"10"))
        | field_values,
    ),
    max_size=4,
).map(lambda pairs: Headers(tuple(pairs)))


class PropertyTests(SynchronousTestCase):
    """What holds whatever the fields say."""

    @properties
    @given(_HELD, _HELD, st.floats(0, 200))
    def test_never_raises(self, held: Headers, asked: Headers, age: float) -> None:
        """Nothing that is sent makes it fail, and a failure never makes more possible than being out of reach."""
        stored = kept(age=age)
        stored = evolve(stored, response=evolve(stored.response, headers=held))
        request = evolve(get(), headers=asked)
        for policy in (RFC9111, GRACIOUS, BUDDY, OVERRIDING):
            stands = standing(stored, policy, NOW)
            self.assertGreaterEqual(stands.age, age - 1e-6)
            self.assertGreaterEqual(stands.lifetime, 0)
            answered, out_of_reach = (
                instead_of_failure(request, stored, policy, NOW, answered=answered) for answered in (True, False)
            )
            if answered is not None:
                self.assertEqual(answered, out_of_reach)
            if while_revalidating(request_cache_control(asked), stands, policy):
                self.assertIsNotNone(out_of_reach)

    @properties
    @given(
        st.sampled_from(_GRACES),
        st.text(" =-.\"'x/;e+\\", max_size=4),
        st.text(" =-.\"'x/;e+\\0369", max_size=4),
        st.sampled_from((60.0, 60.5, 70.0, 90.0)),
    )
    def test_a_misspelt_grace_is_none(self, name: str, fault: str, argument: str, age: float) -> None:
        """What is not spelled as a number of seconds gives no leave, and takes the operator's away or leaves it."""
        if (fault, argument.isdigit()) == ("=", True) or (fault + argument).strip('="').isdigit():
            return
        plain = kept(MINUTE, age=age)
        more = kept(f"Cache-Control: max-age=60, {name}{fault}{argument}", age=age)
        for policy in (RFC9111, GRACIOUS):
            self.assertLessEqual(_while_revalidating("", more, policy), _while_revalidating("", plain, policy))
            self.assertLessEqual(_instead("", more, policy), _instead("", plain, policy))
