"""Tests of `buddyproxy.cache.choose`: RFC 9111, 4 and 5.2.1."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.choose import CONDITIONAL, Choice, Forward, GatewayTimeout, Reuse, Validate, choose, conditions
from buddyproxy.cache.freshness import current_age, freshness_lifetime
from buddyproxy.cache.status import Reason
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.message import Headers, Request
from tests.support.values import BUDDY, NOW, RFC9111, at, field_values, fields, get, kept, post, properties

MINUTE = "Cache-Control: max-age=60"
TAG = 'ETag: "a"'
IF_NONE_MATCH = (b"If-None-Match", b'"a"')

_REQUEST_FIELDS = st.lists(
    st.tuples(
        st.sampled_from((b"Cache-Control", b"Pragma", b"Range", b"A")),
        st.sampled_from((b"no-cache", b"max-stale", b"max-stale=30", b"max-age=30, min-fresh=5", b"only-if-cached"))
        | field_values,
    ),
    max_size=3,
).map(lambda pairs: Headers(tuple(pairs)))

_STORED_FIELDS = st.lists(
    st.tuples(
        st.sampled_from((b"Cache-Control", b"Expires", b"Date", b"Age", b"ETag", b"Last-Modified")),
        st.sampled_from((b"max-age=60", b"no-cache", b"s-maxage=60", b"must-revalidate", at(30).encode(), b"10"))
        | field_values,
    ),
    max_size=5,
).map(lambda pairs: Headers(tuple(pairs)))


class ChooseTests(SynchronousTestCase):
    """How a request is answered, given what is stored."""

    def test_nothing_stored_will_do(self) -> None:
        """Without a stored response that the request selects, the origin is asked; the reason says what was missing."""
        german = kept(MINUTE, selecting=((b"accept-language", b"de"),))
        english = kept(MINUTE, selecting=((b"accept-language", b"en"),))
        cases: tuple[tuple[str, list[str], list[StoredResponse], Choice], ...] = (
            ("nothing", [], [], Forward("uri-miss")),
            ("another variant", ["Accept-Language: en"], [german], Forward("vary-miss")),
            ("other variants", [], [german, english], Forward("vary-miss")),
            ("the variant", ["Accept-Language: de"], [german], Reuse(german, 0, 60)),
            ("one of the variants", ["Accept-Language: de"], [english, german], Reuse(german, 0, 60)),
        )
        for case, lines, stored, expected in cases:
            self.assertEqual(choose(get(*lines), stored, RFC9111, NOW), expected, case)

    def test_the_latest_of_several_is_used(self) -> None:
        """Of several stored responses that a request selects, the first one given is used: the latest (4)."""
        latest, earlier = kept(MINUTE, age=5), kept(MINUTE, age=10, selecting=((b"accept", None),))
        self.assertEqual(choose(get(), [latest, earlier], RFC9111, NOW), Reuse(latest, 5, 55))
        stale = kept(MINUTE, TAG, age=70)
        self.assertEqual(
            choose(get(), [stale, earlier], RFC9111, NOW), Validate(stale, (IF_NONE_MATCH,), "stale"), "not a fresh one"
        )

    def test_fresh_while_the_lifetime_exceeds_the_age(self) -> None:
        """A response is reused while its lifetime is more than its age, and asked about from then on (4.2)."""
        for case, lines, age, expected in (
            ("new", [MINUTE], 0, (0, 60)),
            ("older", [MINUTE], 45, (45, 15)),
            ("a fraction", [MINUTE], 45.75, (45, 14)),
            ("just fresh", [MINUTE], 59.5, (59, 0)),
            ("just stale", [MINUTE], 60, None),
            ("stale", [MINUTE], 3600, None),
            ("old when it came", [MINUTE, "Age: 50"], 5, (55, 5)),
            ("too old when it came", [MINUTE, "Age: 50"], 10, None),
            ("made long before it came", [MINUTE, f"Date: {at(-60)}"], 5, None),
            ("heuristically fresh", [f"Last-Modified: {at(-1005)}"], 5, (5, 95)),
            ("heuristically stale", [f"Last-Modified: {at(-1000)}"], 100, None),
            ("of no known lifetime", [TAG], 0, None),
            ("stale from the start", ["Expires: 0"], 0, None),
        ):
            stored = kept(*lines, age=age)
            choice = choose(get(), [stored], RFC9111, NOW)
            if expected is None:
                self.assertIsInstance(choice, Validate | Forward, case)
            else:
                self.assertEqual(choice, Reuse(stored, *expected), case)

    def test_stale_is_validated_where_it_can_be(self) -> None:
        """A stale response with a validator becomes a conditional request, one without a plain one (4.3.1)."""
        modified = f"Last-Modified: {at(-100)}"
        if_modified_since = (b"If-Modified-Since", at(-100).encode())
        for case, lines, expected in (
            ("an entity tag", [TAG], (IF_NONE_MATCH,)),
            ("a weak one", ['ETag: W/"a"'], ((b"If-None-Match", b'W/"a"'),)),
            ("a date", [modified], (if_modified_since,)),
            ("both", [modified, TAG], (IF_NONE_MATCH, if_modified_since)),
            ("empty ones", ["ETag:", "Last-Modified:"], ()),
            ("neither", [], ()),
        ):
            stored = kept("Cache-Control: max-age=60", *lines, age=60)
            self.assertEqual(conditions(stored), expected, case)
            choice = choose(get(), [stored], RFC9111, NOW)
            self.assertEqual(choice, Validate(stored, expected, "stale") if expected else Forward("stale"), case)
            for name, _ in expected:
                self.assertIn(name.lower(), CONDITIONAL, case)

    def test_no_cache_is_validated_though_fresh(self) -> None:
        """A stored `no-cache` is asked about each time, whatever fields it names (5.2.2.4)."""
        for case, lines, expected in (
            ("no-cache", ["Cache-Control: no-cache, max-age=60"], "stale"),
            ("qualified", ['Cache-Control: no-cache="Set-Cookie", max-age=60'], "stale"),
            ("faulty", ["Cache-Control: max-age=60, no-cache; x"], "stale"),
            ("on another line", [MINUTE, "Cache-Control: no-cache"], "stale"),
            ("only Pragma, which is no word of a response's", [MINUTE, "Pragma: no-cache"], None),
        ):
            stored = kept(*lines, TAG)
            choice = choose(get("Cache-Control: max-stale"), [stored], RFC9111, NOW)
            self.assertEqual(
                choice, Validate(stored, (IF_NONE_MATCH,), "stale") if expected else Reuse(stored, 0, 60), case
            )

    def test_request_directives(self) -> None:
        """The caller may ask for less age, more freshness or the origin's own word, or put up with a stale one."""
        fresh, stale = 20.0, 80.0
        cases: tuple[tuple[str, list[str], float, Reason | None], ...] = (
            ("no-cache", ["Cache-Control: no-cache"], fresh, "request"),
            ("no-cache and max-stale", ["Cache-Control: no-cache, max-stale"], fresh, "request"),
            ("Pragma", ["Pragma: no-cache"], fresh, "request"),
            ("Pragma beside Cache-Control", ["Pragma: no-cache", "Cache-Control: max-age=60"], fresh, None),
            ("max-age, older", ["Cache-Control: max-age=30"], fresh, None),
            ("max-age, as old", ["Cache-Control: max-age=20"], fresh, None),
            ("max-age, younger", ["Cache-Control: max-age=19"], fresh, "request"),
            ("max-age=0", ["Cache-Control: max-age=0"], fresh, "request"),
            ("max-age, no number", ["Cache-Control: max-age=x"], fresh, "request"),
            ("max-age, but stale", ["Cache-Control: max-age=90"], stale, "stale"),
            ("max-age and max-stale", ["Cache-Control: max-age=90, max-stale"], stale, None),
            ("max-age, younger, and max-stale", ["Cache-Control: max-age=70, max-stale"], stale, "request"),
            ("min-fresh, less", ["Cache-Control: min-fresh=30"], fresh, None),
            ("min-fresh, as much", ["Cache-Control: min-fresh=40"], fresh, None),
            ("min-fresh, more", ["Cache-Control: min-fresh=41"], fresh, "request"),
            ("min-fresh and max-stale", ["Cache-Control: min-fresh=41, max-stale"], fresh, "request"),
            ("max-stale", ["Cache-Control: max-stale"], stale, None),
            ("max-stale, more", ["Cache-Control: max-stale=21"], stale, None),
            ("max-stale, as much", ["Cache-Control: max-stale=20"], stale, None),
            ("max-stale, less", ["Cache-Control: max-stale=19"], stale, "stale"),
            ("max-stale, no number", ["Cache-Control: max-stale=x"], stale, "stale"),
            ("max-stale, faulty", ["Cache-Control: max-stale; x"], stale, "stale"),
            ("what has no meaning here", ["Cache-Control: no-transform, private, x"], fresh, None),
        )
        for case, lines, age, expected in cases:
            stored = kept(MINUTE, TAG, age=age)
            choice = choose(get(*lines), [stored], RFC9111, NOW)
            if expected is None:
                self.assertEqual(choice, Reuse(stored, int(age), int(60 - age)), case)
            else:
                self.assertEqual(choice, Validate(stored, (IF_NONE_MATCH,), expected), case)

    def test_the_origin_may_forbid_stale_answers(self) -> None:
        """`max-stale` is of no use where the origin wants each stale response validated (4.2.4, 5.2.2)."""
        for line in (
            "max-age=60, must-revalidate",
            "max-age=60, proxy-revalidate",
            "s-maxage=60",
            "max-age=60, no-cache",
        ):
            stored = kept(f"Cache-Control: {line}", TAG, age=80)
            choice = choose(get("Cache-Control: max-stale"), [stored], RFC9111, NOW)
            self.assertEqual(choice, Validate(stored, (IF_NONE_MATCH,), "stale"), line)
            if "no-cache" not in line:
                young = evolve(stored, request_time=NOW, response_time=NOW)
                self.assertEqual(choose(get(), [young], RFC9111, NOW), Reuse(young, 0, 60), line)

    def test_no_store_asks_the_origin(self) -> None:
        """A request that nothing be stored is forwarded, and not made conditional on what is (5.2.1.5)."""
        for stored in ([], [kept(MINUTE)], [kept(TAG)]):
            self.assertEqual(choose(get("Cache-Control: no-store"), stored, RFC9111, NOW), Forward("request"))
        self.assertEqual(
            choose(get("Cache-Control: no-store", "Range: bytes=0-"), [], RFC9111, NOW), Forward("request")
        )

    def test_what_is_not_answered_yet_passes_by(self) -> None:
        """Ranges, and preconditions that are the origin's to judge, are forwarded as they are (4.3.2)."""
        for line in (
            "Range: bytes=0-1",
            'If-Match: "a"',
            f"If-Unmodified-Since: {at()}",
            'If-Range: "a"',
        ):
            for stored in ([], [kept(MINUTE)]):
                self.assertEqual(choose(get(line), stored, RFC9111, NOW), Forward("bypass"), line)

    def test_the_callers_own_validators(self) -> None:
        """A caller with a copy of its own is answered from a fresh response like any other."""
        stored = kept(MINUTE, TAG)
        for line in ('If-None-Match: "b"', f"If-Modified-Since: {at()}"):
            self.assertEqual(choose(get(line), [stored], RFC9111, NOW), Reuse(stored, 0, 60), line)

    def test_only_if_cached(self) -> None:
        """Who wants a stored response only gets it, or is told that there is none to give (5.2.1.7)."""
        fresh, stale = kept(MINUTE), kept(MINUTE, TAG, age=80)
        cases: tuple[tuple[str, list[str], list[StoredResponse], Choice], ...] = (
            ("fresh", ["Cache-Control: only-if-cached"], [fresh], Reuse(fresh, 0, 60)),
            ("stale", ["Cache-Control: only-if-cached"], [stale], GatewayTimeout("stale")),
            ("stale, but it will do", ["Cache-Control: only-if-cached, max-stale"], [stale], Reuse(stale, 80, -20)),
            ("nothing", ["Cache-Control: only-if-cached"], [], GatewayTimeout("uri-miss")),
            ("too old", ["Cache-Control: only-if-cached, max-age=10"], [stale], GatewayTimeout("request")),
            ("a range", ["Cache-Control: only-if-cached", "Range: bytes=0-"], [fresh], GatewayTimeout("bypass")),
        )
        for case, lines, stored, expected in cases:
            self.assertEqual(choose(get(*lines), stored, RFC9111, NOW), expected, case)

    def test_methods(self) -> None:
        """HEAD is answered by what GET fetched; a method that is not cached is always forwarded."""
        fresh, stale = kept(MINUTE), kept(MINUTE, TAG, age=80)
        cases: tuple[tuple[str, bytes, StoredResponse, Choice], ...] = (
            ("GET", b"GET", fresh, Reuse(fresh, 0, 60)),
            ("HEAD", b"HEAD", fresh, Reuse(fresh, 0, 60)),
            ("HEAD, stale", b"HEAD", stale, Validate(stale, (IF_NONE_MATCH,), "stale")),
            ("POST", b"POST", fresh, Forward("method")),
            ("DELETE", b"DELETE", fresh, Forward("method")),
            ("OPTIONS", b"OPTIONS", fresh, Forward("method")),
            ("an unknown one", b"get", fresh, Forward("method")),
        )
        for case, method, stored, expected in cases:
            self.assertEqual(choose(Request(method, b"/thing"), [stored], RFC9111, NOW), expected, case)

    def test_post(self) -> None:
        """In buddy mode a POST is answered too; stale, it is asked again, for it cannot be made conditional."""
        fresh, stale = (evolve(kept(MINUTE, TAG, age=age), method=b"POST") for age in (0, 80))
        self.assertEqual(choose(post(b"a"), [fresh], BUDDY, NOW), Reuse(fresh, 0, 60))
        self.assertEqual(choose(post(b"a"), [stale], BUDDY, NOW), Forward("stale"))
        self.assertEqual(choose(post(b"a", "Cache-Control: no-cache"), [fresh], BUDDY, NOW), Forward("request"))

    def test_only_if_cached_with_another_method(self) -> None:
        """A caller who wants no forwarding is not forwarded by a method that is never stored either (5.2.1.7)."""
        request = evolve(get("Cache-Control: only-if-cached"), method=b"PUT")
        self.assertEqual(choose(request, [], BUDDY, NOW), GatewayTimeout("method"))

    def test_silence(self) -> None:
        """In buddy mode, a response that says nothing of it stays fresh for the default time."""
        stored = kept(TAG, age=3600)
        self.assertEqual(choose(get(), [stored], BUDDY, NOW), Reuse(stored, 3600, 7 * 86400 - 3600))
        brief = evolve(BUDDY, default_ttl=60.0)
        self.assertEqual(choose(get(), [stored], brief, NOW), Validate(stored, (IF_NONE_MATCH,), "stale"))

    def test_override(self) -> None:
        """`override_origin` ignores what the origin said, and nothing of what the caller says."""
        policy = evolve(BUDDY, override_origin=True, default_ttl=60.0)
        for line in ("no-cache", "max-age=0", "s-maxage=1, must-revalidate"):
            stored = kept(f"Cache-Control: {line}", TAG, age=20)
            self.assertEqual(choose(get(), [stored], policy, NOW), Reuse(stored, 20, 40), line)
            older = kept(f"Cache-Control: {line}", TAG, age=80)
            self.assertEqual(choose(get("Cache-Control: max-stale"), [older], policy, NOW), Reuse(older, 80, -20), line)
            asking = get("Cache-Control: no-cache")
            self.assertEqual(choose(asking, [stored], policy, NOW), Validate(stored, (IF_NONE_MATCH,), "request"), line)

    def test_outdated(self) -> None:
        """What was marked as stale is asked about, however fresh, and whoever would put up with less or override."""
        overriding = evolve(BUDDY, override_origin=True, default_ttl=60.0)
        for policy in (RFC9111, BUDDY, overriding):
            fresh, bare = kept(MINUTE, TAG).marked_outdated(), kept(MINUTE).marked_outdated()
            for lines in ([], ["Cache-Control: max-stale"], ["Cache-Control: max-stale=1000000"]):
                validate = Validate(fresh, (IF_NONE_MATCH,), "stale")
                self.assertEqual(choose(get(*lines), [fresh], policy, NOW), validate, policy)
                self.assertEqual(choose(get(*lines), [bare], policy, NOW), Forward("stale"), policy)
            asking = get("Cache-Control: only-if-cached, max-stale")
            self.assertEqual(choose(asking, [fresh], policy, NOW), GatewayTimeout("stale"), policy)
            asking = get("Cache-Control: no-cache")
            self.assertEqual(choose(asking, [bare], policy, NOW), Forward("request"), policy)

    @properties
    @given(_REQUEST_FIELDS, _STORED_FIELDS, st.floats(0, 100))
    def test_whatever_the_fields_say(self, asked: Headers, held: Headers, age: float) -> None:
        """No fields make it fail, and what is reused is fresh, unless the caller puts up with less and may (4)."""
        stored = kept(age=age)
        stored = evolve(stored, response=evolve(stored.response, headers=held))
        request = Request(b"GET", b"/thing", asked)
        choice = choose(request, [stored], RFC9111, NOW)
        if isinstance(choice, Reuse):
            lifetime = freshness_lifetime(stored.response, RFC9111, stored.response_time) or 0.0
            words = b" ".join(value.lower() for _, value in asked)
            fresh = current_age(stored, NOW) < lifetime
            self.assertTrue(fresh or b"max-stale" in words)
            self.assertNotIn(b"no-cache", held.members(b"cache-control"))
            self.assertNotIn(b"no-store", asked.members(b"cache-control"))
            self.assertNotIn(b"range", asked)
        elif isinstance(choice, Validate):
            self.assertEqual(choice.conditions, conditions(stored))
            self.assertTrue(choice.conditions)

    def test_the_fields_that_a_validation_replaces(self) -> None:
        """The caller's own conditions do not go out with ours."""
        self.assertEqual(
            fields('If-None-Match: "b"', "If-Modified-Since: x", "A: 1").without(CONDITIONAL), fields("A: 1")
        )
