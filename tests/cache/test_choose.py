"""Tests of `buddyproxy.cache.choose`: RFC 9111, 4, 4.3.1 and 5.2.1."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.choose import (
    NOMINATED,
    Choice,
    Distinguish,
    Forward,
    GatewayTimeout,
    Question,
    Reuse,
    Validate,
    choose,
    conditions,
    revalidation,
    strong_etag,
)
from buddyproxy.cache.freshness import freshness_lifetime
from buddyproxy.cache.status import Reason
from buddyproxy.cache.stored import Selecting, StoredResponse
from buddyproxy.message import Headers, Request
from tests.support.values import BUDDY, NOW, RFC9111, at, field_values, fields, get, kept, post, properties

MINUTE = "Cache-Control: max-age=60"
TAG = 'ETag: "a"'
IF_NONE_MATCH = (b"If-None-Match", b'"a"')
GERMAN: Selecting = ((b"accept-language", b"de"),)
ENGLISH: Selecting = ((b"accept-language", b"en"),)
FRENCH = "Accept-Language: fr"

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
        | st.sampled_from((b"max-age=9, stale-while-revalidate=60", b'no-cache="a"', b'"a"', b'W/"a"'))
        | field_values,
    ),
    max_size=5,
).map(lambda pairs: Headers(tuple(pairs)))


class ChooseTests(SynchronousTestCase):
    """How a request is answered, given what is stored."""

    def test_nothing_stored_will_do(self) -> None:
        """Without a stored response that the request selects, the origin is asked; the reason says what was missing."""
        german, english = kept(MINUTE, selecting=GERMAN), kept(MINUTE, selecting=ENGLISH)
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
        """Of several stored responses that a request selects, the one made last is used: Date tells which (4)."""
        other: Selecting = ((b"accept", None),)
        for case, one, two in (
            ("by their arrival", kept(MINUTE, age=5), kept(MINUTE, age=10, selecting=other)),
            (
                "by Date, whatever came later",
                kept(MINUTE, f"Date: {at(-10)}", age=10),
                kept(MINUTE, f"Date: {at(-20)}", age=5, selecting=other),
            ),
            ("one has no Date", kept(MINUTE, age=5), kept(MINUTE, f"Date: {at(-10)}", age=5, selecting=other)),
            ("the last one is stale", kept(MINUTE, age=70), kept(MINUTE, f"Date: {at(-80)}", age=10, selecting=other)),
        ):
            for stored in ([one, two], [two, one]):
                self.assertEqual(choose(get(), stored, RFC9111, NOW), choose(get(), [one], RFC9111, NOW), case)
        stale, earlier = kept(MINUTE, TAG, age=70), kept(f"Date: {at(-80)}", "Cache-Control: max-age=600")
        validate = Validate(stale, (IF_NONE_MATCH,), "stale")
        self.assertEqual(choose(get(), [earlier, stale], RFC9111, NOW), validate, "not a fresh one made before")

    def test_of_one_moment(self) -> None:
        """Of several made at one moment, the one last stored is used, which is given first."""
        first, second = kept(MINUTE, "X: 1"), kept(MINUTE, "X: 2", selecting=((b"accept", None),))
        self.assertEqual(choose(get(), [first, second], RFC9111, NOW), Reuse(first, 0, 60))
        self.assertEqual(choose(get(), [second, first], RFC9111, NOW), Reuse(second, 0, 60))

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
            self.assertEqual(
                choice, Validate(stored, expected, "stale") if expected else Forward("stale", stored), case
            )

    def test_no_cache_is_validated_though_fresh(self) -> None:
        """A stored `no-cache` is asked about each time, unless it is for some fields alone (5.2.2.4)."""
        for case, lines, expected in (
            ("no-cache", ["Cache-Control: no-cache, max-age=60"], "stale"),
            ("for fields that are not stored", ['Cache-Control: no-cache="Set-Cookie", max-age=60'], None),
            ("for such fields, and for all", ['Cache-Control: no-cache="a", no-cache, max-age=60'], "stale"),
            ("for none", ['Cache-Control: no-cache="", max-age=60'], "stale"),
            ("for this cache", [MINUTE, "CDN-Cache-Control: no-cache, max-age=60"], "stale"),
            ("for other caches", ["Cache-Control: no-cache", "CDN-Cache-Control: max-age=60"], None),
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
            ("max-stale, the smaller of two", ["Cache-Control: max-stale=50, max-stale=10"], stale, "stale"),
            ("max-age, the smaller of two", ["Cache-Control: max-age=90, max-age=10"], fresh, "request"),
            ("min-fresh, the larger of two", ["Cache-Control: min-fresh=90, min-fresh=10"], fresh, "request"),
            ("min-fresh, no number", ["Cache-Control: min-fresh=x"], fresh, "request"),
            ("max-stale, no number", ["Cache-Control: max-stale=x"], stale, "stale"),
            ("max-stale, faulty", ["Cache-Control: max-stale; x"], stale, "stale"),
            ("what has no meaning here", ["Cache-Control: no-transform, private, immutable, x"], fresh, None),
            ("leave for failures only", ["Cache-Control: stale-if-error=90"], stale, "stale"),
            ("a targeted field, which is no request's", ["CDN-Cache-Control: no-cache"], fresh, None),
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

    def test_what_the_origin_is_to_judge_passes_by(self) -> None:
        """Preconditions that only the origin can judge are forwarded as they are (4.3.2)."""
        for line in ('If-Match: "a"', "If-Match: *", f"If-Unmodified-Since: {at()}", "if-unmodified-since: x"):
            for stored in ([], [kept(MINUTE)], [kept(MINUTE, TAG, age=70)]):
                self.assertEqual(choose(get(line), stored, RFC9111, NOW), Forward("bypass"), line)

    def test_ranges(self) -> None:
        """A range is answered from what is stored whole, which is asked about like any other where it is stale."""
        fresh, stale = kept(MINUTE, TAG), kept(MINUTE, TAG, age=80)
        for lines in (
            ["Range: bytes=0-1"],
            ["Range: bytes=0-1, 3-4"],
            ["Range: bytes=99-"],
            ["Range: x"],
            ["Range: bytes=0-1", 'If-Range: "a"'],
            ["Range: bytes=0-1", 'If-Range: "b"'],
        ):
            self.assertEqual(choose(get(*lines), [fresh], RFC9111, NOW), Reuse(fresh, 0, 60), lines)
            validate = Validate(stale, (IF_NONE_MATCH,), "stale")
            self.assertEqual(choose(get(*lines), [stale], RFC9111, NOW), validate, lines)
            self.assertEqual(choose(get(*lines), [], RFC9111, NOW), Forward("uri-miss"), lines)

    def test_parts(self) -> None:
        """A stored part answers requests for what it holds; for all else the origin is asked, as the caller does."""
        part = kept(MINUTE, TAG, "Content-Range: bytes 5-9/20", status=206)
        for case, lines, expected in (
            ("all of it", ["Range: bytes=5-9"], True),
            ("some of it", ["Range: bytes=6-7"], True),
            ("some of it, of a known content", ["Range: bytes=6-7", 'If-Range: "a"'], True),
            ("more before", ["Range: bytes=4-9"], False),
            ("more behind", ["Range: bytes=5-10"], False),
            ("to the end", ["Range: bytes=5-"], False),
            ("some elsewhere", ["Range: bytes=6-7, 0-0"], False),
            ("of another content", ["Range: bytes=6-7", 'If-Range: "b"'], False),
            ("the whole", [], False),
            ("a range of no kind", ["Range: x"], False),
        ):
            choice = choose(get(*lines), [part], RFC9111, NOW)
            self.assertEqual(choice, Reuse(part, 0, 60) if expected else Forward("partial", part), case)
        head = Request(b"HEAD", b"/thing", fields("Range: bytes=6-7"))
        self.assertEqual(choose(head, [part], RFC9111, NOW), Forward("partial", part), "no content is asked for")

    def test_parts_that_are_stale(self) -> None:
        """A stale part is asked about with the range that it answers, so that no more than that comes back (4.3.2)."""
        part = kept(MINUTE, TAG, "Content-Range: bytes 5-9/20", status=206, age=80)
        asking = get("Range: bytes=6-7", 'If-Range: "a"', 'If-None-Match: "b"')
        choice = choose(asking, [part], RFC9111, NOW)
        assert isinstance(choice, Validate), choice
        self.assertEqual(choice, Validate(part, (IF_NONE_MATCH,), "stale"))
        self.assertEqual(
            choice.outgoing(asking).headers, fields("Range: bytes=6-7", 'If-Range: "a"', 'If-None-Match: "a"')
        )
        whole = choose(get(), [part], RFC9111, NOW)
        self.assertEqual(whole, Forward("partial", part), "its tag is not named where it would not do")

    def test_the_callers_own_validators(self) -> None:
        """A caller with a copy of its own is answered from a fresh response like any other."""
        stored = kept(MINUTE, TAG)
        for line in ('If-None-Match: "b"', f"If-Modified-Since: {at()}"):
            self.assertEqual(choose(get(line), [stored], RFC9111, NOW), Reuse(stored, 0, 60), line)

    def test_only_if_cached(self) -> None:
        """Who wants a stored response only gets it, or is told that there is none to give (5.2.1.7)."""
        fresh, stale, german = kept(MINUTE), kept(MINUTE, TAG, age=80), kept(MINUTE, TAG, selecting=GERMAN)
        part = kept(MINUTE, TAG, "Content-Range: bytes 5-9/20", status=206)
        graced = kept("Cache-Control: max-age=60, stale-while-revalidate=60", age=80)
        cases: tuple[tuple[str, list[str], list[StoredResponse], Choice], ...] = (
            ("fresh", ["Cache-Control: only-if-cached"], [fresh], Reuse(fresh, 0, 60)),
            ("stale", ["Cache-Control: only-if-cached"], [stale], GatewayTimeout("stale")),
            ("stale, but it will do", ["Cache-Control: only-if-cached, max-stale"], [stale], Reuse(stale, 80, -20)),
            ("nothing", ["Cache-Control: only-if-cached"], [], GatewayTimeout("uri-miss")),
            ("too old", ["Cache-Control: only-if-cached, max-age=10"], [stale], GatewayTimeout("request")),
            ("a range", ["Cache-Control: only-if-cached", "Range: bytes=0-"], [fresh], Reuse(fresh, 0, 60)),
            ("more than there is", ["Cache-Control: only-if-cached"], [part], GatewayTimeout("partial")),
            ("another variant", ["Cache-Control: only-if-cached", FRENCH], [german], GatewayTimeout("vary-miss")),
            ("for the origin", ["Cache-Control: only-if-cached", "If-Match: *"], [fresh], GatewayTimeout("bypass")),
            ("not to be stored", ["Cache-Control: only-if-cached, no-store"], [fresh], GatewayTimeout("request")),
            ("with grace", ["Cache-Control: only-if-cached"], [graced], Reuse(graced, 80, -20, revalidate=True)),
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

    def test_configured_not_to(self) -> None:
        """A GET that the configuration keeps out of the cache passes by (RFC 9211, 2.2)."""
        nothing = evolve(RFC9111, methods=frozenset())
        reasons: tuple[tuple[bytes, Reason], ...] = ((b"GET", "bypass"), (b"HEAD", "bypass"), (b"POST", "method"))
        for method, reason in reasons:
            self.assertEqual(choose(Request(method, b"/thing"), [], nothing, NOW), Forward(reason), method)

    def test_post(self) -> None:
        """In buddy mode a POST is answered too; stale, it is asked again, for it cannot be made conditional."""
        fresh, stale = (evolve(kept(MINUTE, TAG, age=age), method=b"POST") for age in (0, 80))
        self.assertEqual(choose(post(b"a"), [fresh], BUDDY, NOW), Reuse(fresh, 0, 60))
        self.assertEqual(choose(post(b"a"), [stale], BUDDY, NOW), Forward("stale", stale))
        self.assertEqual(choose(post(b"a", "Cache-Control: no-cache"), [fresh], BUDDY, NOW), Forward("request", fresh))

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
                self.assertEqual(choose(get(*lines), [bare], policy, NOW), Forward("stale", bare), policy)
            asking = get("Cache-Control: only-if-cached, max-stale")
            self.assertEqual(choose(asking, [fresh], policy, NOW), GatewayTimeout("stale"), policy)
            asking = get("Cache-Control: no-cache")
            self.assertEqual(choose(asking, [bare], policy, NOW), Forward("request", bare), policy)

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
            fresh = stored.age(NOW) < lifetime
            graced = any(b"stale-while-revalidate" in value for value in held.get_all(b"cache-control"))
            self.assertTrue(fresh or b"max-stale" in words or graced)
            self.assertFalse(choice.revalidate and (fresh or not graced))
            self.assertTrue(choice.revalidate or fresh or b"max-stale" in words)
            self.assertNotIn(b"no-cache", held.members(b"cache-control"))
            self.assertNotIn(b"no-store", asked.members(b"cache-control"))
        elif isinstance(choice, Validate):
            self.assertEqual(choice.conditions, conditions(stored))
            self.assertTrue(choice.conditions)

    @properties
    @given(_REQUEST_FIELDS, st.lists(st.sampled_from((0.0, 59.0, 60.0, 61.0, 89.0, 200.0)), min_size=1, max_size=3))
    def test_more_directives_ask_for_more(self, asked: Headers, ages: list[float]) -> None:
        """Whatever is added to a request but `max-stale`, it never lets more be reused (5.2.1)."""
        if any(b"max-stale" in value.lower() for _, value in asked):
            return
        for age in ages:
            stored = kept("Cache-Control: max-age=60, stale-while-revalidate=30", TAG, age=age)
            if isinstance(choose(Request(b"GET", b"/thing", asked), [stored], RFC9111, NOW), Reuse):
                self.assertIsInstance(choose(get(), [stored], RFC9111, NOW), Reuse)


class StaleWhileRevalidateTests(SynchronousTestCase):
    """Reuse with a question to the origin afterwards (RFC 5861, 3)."""

    def test_reused_and_asked_about(self) -> None:
        """Within the grace it is reused, marked to be asked about; a fresh one is not, nor one put up with."""
        line = "Cache-Control: max-age=60, stale-while-revalidate=30"
        cases: tuple[tuple[str, list[str], float, bool], ...] = (
            ("fresh", [], 59, False),
            ("just stale", [], 60, True),
            ("at the end of the grace", [], 90, True),
            ("put up with", ["Cache-Control: max-stale=30"], 80, False),
            ("stale beyond what is put up with", ["Cache-Control: max-stale=10"], 80, True),
        )
        for case, asked, age, revalidate in cases:
            stored = kept(line, TAG, age=age)
            expected = Reuse(stored, int(age), int(60 - age), revalidate)
            self.assertEqual(choose(get(*asked), [stored], RFC9111, NOW), expected, case)

    def test_not_reused(self) -> None:
        """After the grace, and where the caller wants it fresh or the origin validated, it is asked about at once."""
        line = "Cache-Control: max-age=60, stale-while-revalidate=30"
        cases: tuple[tuple[str, list[str], list[str], float, Reason], ...] = (
            ("after the grace", [line], [], 91, "stale"),
            ("no-cache", [line], ["Cache-Control: no-cache"], 80, "request"),
            ("max-age, though it is no older", [line], ["Cache-Control: max-age=100"], 80, "stale"),
            ("min-fresh", [line], ["Cache-Control: min-fresh=1"], 80, "request"),
            ("must-revalidate", [line, "Cache-Control: must-revalidate"], [], 80, "stale"),
            ("no-cache of the origin's", [line, "Cache-Control: no-cache"], [], 10, "stale"),
            ("s-maxage", [line, "Cache-Control: s-maxage=60"], [], 80, "stale"),
            ("no grace", [MINUTE], [], 60, "stale"),
            ("a faulty one", [MINUTE, "Cache-Control: stale-while-revalidate=x"], [], 60, "stale"),
            ("stale from the start, and no grace", ["Cache-Control: max-age=0"], [], 0, "stale"),
        )
        for case, lines, asked, age, reason in cases:
            stored = kept(*lines, TAG, age=age)
            choice = choose(get(*asked), [stored], RFC9111, NOW)
            self.assertEqual(choice, Validate(stored, (IF_NONE_MATCH,), reason), case)

    def test_by_the_operators_grace(self) -> None:
        """The operator may grant it for all."""
        policy = evolve(RFC9111, stale_while_revalidate=30.0)
        stored = kept(MINUTE, age=80)
        self.assertEqual(choose(get(), [stored], policy, NOW), Reuse(stored, 80, -20, revalidate=True))

    def test_immutable(self) -> None:
        """An immutable response needs no asking while it is fresh, and is like any other once stale (RFC 8246, 2)."""
        lines = ["Cache-Control: max-age=60, immutable", TAG]
        fresh, stale = kept(*lines, age=50), kept(*lines, age=60)
        self.assertEqual(choose(get(), [fresh], RFC9111, NOW), Reuse(fresh, 50, 10))
        self.assertEqual(choose(get(), [stale], RFC9111, NOW), Validate(stale, (IF_NONE_MATCH,), "stale"))
        asking = get("Cache-Control: no-cache")
        self.assertEqual(choose(asking, [fresh], RFC9111, NOW), Validate(fresh, (IF_NONE_MATCH,), "request"))


class DistinguishTests(SynchronousTestCase):
    """What is asked where only other variants are stored (4.1 and 4.3.1)."""

    def test_by_the_tags_of_others(self) -> None:
        """Where none is selected, the origin is asked by the entity tags of those that are there, fresh or stale."""
        german, english = kept(MINUTE, TAG, selecting=GERMAN), kept('ETag: "b"', selecting=ENGLISH, age=80)
        request = get(FRENCH, 'If-None-Match: "c"', f"If-Modified-Since: {at()}", "Range: bytes=0-1", 'If-Range: "c"')
        choice = choose(request, [german, english], RFC9111, NOW)
        assert isinstance(choice, Distinguish), choice
        self.assertEqual(choice, Distinguish((german, english), "vary-miss"))
        self.assertEqual((choice.stored, choice.stale), (None, None))
        self.assertEqual(choice.outgoing(request), get(FRENCH, 'If-None-Match: "a", "b"'))

    def test_each_tag_once(self) -> None:
        """One tag that several variants share is named once."""
        stored = [kept(TAG, selecting=selecting) for selecting in (GERMAN, ENGLISH)]
        choice = choose(get(FRENCH), stored, RFC9111, NOW)
        assert isinstance(choice, Distinguish), choice
        self.assertEqual(choice.outgoing(get(FRENCH)), get(FRENCH, 'If-None-Match: "a"'))

    def test_who_is_not_named(self) -> None:
        """Only a strong tag of a whole response to GET, in codings that this caller accepts, tells enough."""
        gzip: Selecting = ((b"accept-encoding", b"gzip"), *GERMAN)
        cases: tuple[tuple[str, StoredResponse], ...] = (
            ("no tag", kept(MINUTE, selecting=GERMAN)),
            ("a date alone", kept(MINUTE, f"Last-Modified: {at(-9)}", selecting=GERMAN)),
            ("a weak tag", kept('ETag: W/"a"', selecting=GERMAN)),
            ("an empty tag", kept("ETag:", selecting=GERMAN)),
            ("no tag by its form", kept("ETag: a", selecting=GERMAN)),
            ("a part", kept(TAG, "Content-Range: bytes 0-4/9", selecting=GERMAN, status=206)),
            ("of another method", evolve(kept(TAG, selecting=GERMAN), method=b"QUERY")),
            ("in another coding", kept(TAG, "Content-Encoding: gzip", selecting=gzip)),
        )
        named = kept('ETag: "b"', selecting=ENGLISH)
        for case, stored in cases:
            self.assertEqual(choose(get(FRENCH), [stored], RFC9111, NOW), Forward("vary-miss"), case)
            self.assertEqual(choose(get(FRENCH), [stored, named], RFC9111, NOW), Distinguish((named,)), case)
        encoded = kept(TAG, "Content-Encoding: gzip", selecting=gzip)
        asking = get(FRENCH, "Accept-Encoding: gzip")
        self.assertEqual(choose(asking, [encoded], RFC9111, NOW), Distinguish((encoded,)), "in the same coding")

    def test_no_more_than_a_few(self) -> None:
        """However many variants there are, the question stays short: the last stored are named."""
        stored = [kept(f'ETag: "{n}"', selecting=((b"accept-language", b"x%d" % n),)) for n in range(NOMINATED + 3)]
        self.assertEqual(choose(get(FRENCH), stored, RFC9111, NOW), Distinguish(tuple(stored[:NOMINATED])))

    def test_where_nothing_may_be_reused(self) -> None:
        """Where no stored response may answer at all, none is named to the origin either."""
        stored = [kept(TAG, selecting=GERMAN)]
        self.assertEqual(choose(get(FRENCH, "Cache-Control: no-store"), stored, RFC9111, NOW), Forward("request"))
        self.assertEqual(choose(get(FRENCH, "If-Match: *"), stored, RFC9111, NOW), Forward("bypass"))


class QuestionTests(SynchronousTestCase):
    """How the origin is asked."""

    def test_a_validation_replaces_the_callers_conditions(self) -> None:
        """The caller's own validators and range do not go out with ours; all else does (4.3.1)."""
        stored = kept(MINUTE, TAG, f"Last-Modified: {at(-9)}", age=80)
        lines = ["A: 1", "Cache-Control: no-transform", "B: 2"]
        own = ['If-None-Match: "b"', "If-Modified-Since: x", 'If-Range: "b"', "Range: bytes=0-1", 'if-none-match: "c"']
        request = Request(b"HEAD", b"/thing", fields(*own, *lines), b"x", "1.2.3.4")
        choice = choose(request, [stored], RFC9111, NOW)
        assert isinstance(choice, Validate), choice
        expected = fields(*lines, 'If-None-Match: "a"', f"If-Modified-Since: {at(-9)}")
        self.assertEqual(choice.outgoing(request), evolve(request, headers=expected))

    def test_a_plain_question_is_the_callers(self) -> None:
        """What is only forwarded goes as it came, conditions and ranges included."""
        request = get('If-None-Match: "b"', "Range: bytes=0-1", 'If-Range: "b"')
        questions: tuple[Question, ...] = (Forward("uri-miss"), Forward("stale", kept()), Forward("partial", kept()))
        for question in questions:
            self.assertEqual(question.outgoing(request), request)

    def test_what_an_answer_may_be_about(self) -> None:
        """A 304 may confirm what was asked about; in a failure serves only what was asked about for being stale."""
        one, two = kept(TAG), kept('ETag: "b"')
        questions: tuple[tuple[Question, tuple[StoredResponse, ...], StoredResponse | None], ...] = (
            (Validate(one, (IF_NONE_MATCH,), "stale"), (one,), one),
            (Validate(one, (IF_NONE_MATCH,), "request"), (one,), None),
            (Distinguish((one, two)), (one, two), None),
            (Forward("stale", one), (), one),
            (Forward("request", one), (), None),
            (Forward("partial", one), (), None),
            (Forward("uri-miss"), (), None),
        )
        for question, nominated, stale in questions:
            self.assertEqual((question.nominated, question.stale), (nominated, stale), question)

    def test_in_the_background(self) -> None:
        """A question in nobody's name keeps what selected the response, and nothing else of the caller's wishes."""
        own = ['If-None-Match: "b"', "If-Modified-Since: x", 'If-Range: "b"', "Range: bytes=0-1"]
        wishes = ["Cache-Control: max-stale, only-if-cached", "Pragma: x"]
        for method, asked in ((b"GET", b"GET"), (b"HEAD", b"GET"), (b"POST", b"POST")):
            request = Request(method, b"/thing", fields(*own, "Accept: a", *wishes), b"x", "1.2.3.4", True)
            stored = kept(MINUTE, TAG, age=80)
            plain = evolve(request, method=asked, headers=fields("Accept: a"))
            expected: tuple[Request, Question] = (plain, Validate(stored, (IF_NONE_MATCH,), "stale"))
            self.assertEqual(revalidation(request, stored), expected, method)
            bare = kept(MINUTE, age=80)
            self.assertEqual(revalidation(request, bare), (plain, Forward("stale", bare)), method)

    def test_strong_tags(self) -> None:
        """A tag is strong unless it says that it is weak, or is no tag at all (RFC 9110, 8.8.3)."""
        for line, expected in (
            ('ETag: "a"', b'"a"'),
            ('ETag: ""', b'""'),
            ('ETag: W/"a"', None),
            ("ETag: a", None),
            ("ETag:", None),
            ("X: 1", None),
        ):
            self.assertEqual(strong_etag(kept(line)), expected, line)
