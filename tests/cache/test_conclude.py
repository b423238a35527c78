"""Tests of `buddyproxy.cache.conclude`: RFC 9111, 3, 4.3 and 4.4."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.choose import Reuse, choose
from buddyproxy.cache.conclude import (
    KEEP_STALE,
    Arrival,
    Conclusion,
    Freshen,
    Refetch,
    Relay,
    Store,
    conclude,
    invalidates,
)
from buddyproxy.cache.dates import parse_date
from buddyproxy.cache.policy import Policy
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.cache.vary import selecting_fields
from buddyproxy.message import Headers, Request, Response
from tests.support.values import BUDDY, NOW, RFC9111, answer, at, fields, get, kept, post, properties

MINUTE = "Cache-Control: max-age=60"
TAG = 'ETag: "a"'
MODIFIED = f"Last-Modified: {at(-1000)}"
AUTHORIZED = "Authorization: Bearer a"

OVERRIDING = evolve(BUDDY, override_origin=True)


def _arrival(request: Request, response: Response, took: float = 0.0) -> Arrival:
    return Arrival(
        request=request,
        uri=b"https://origin.example/thing",
        key=b"k" * 32,
        response=response,
        request_time=NOW - took,
        response_time=NOW,
    )


def _conclude(request: Request, response: Response, policy: Policy = RFC9111) -> Conclusion:
    return conclude(_arrival(request, response), None, policy)


def _verdict(request: Request, response: Response, policy: Policy) -> str:
    """Return why a response is not stored, or "stored"."""
    match _conclude(request, response, policy):
        case Store():
            return "stored"
        case Relay(reason):
            return reason
        case other:
            raise AssertionError(other)


def _reused(request: Request, response: Response, policy: Policy, later: float) -> bool:
    """Return whether the response to `request` answers the same request without a word to the origin, `later`."""
    conclusion = _conclude(request, response, policy)
    if not isinstance(conclusion, Store):
        return False
    return isinstance(choose(request, [conclusion.draft], policy, NOW + later), Reuse)


class StoringTests(SynchronousTestCase):
    """Which responses are stored (3)."""

    def _check(self, policy: Policy, cases: tuple[tuple[str, list[str], int, list[str], str], ...]) -> None:
        for case, asked, status, answered, expected in cases:
            self.assertEqual(_verdict(get(*asked), answer(*answered, status=status), policy), expected, case)

    def test_as_the_standard_has_it(self) -> None:
        """Under RFC 9111, a response is stored where its status or its origin allows it and nothing forbids it."""
        self._check(
            RFC9111,
            (
                ("a lifetime", [], 200, [MINUTE], "stored"),
                ("a lifetime for shared caches", [], 200, ["Cache-Control: s-maxage=60"], "stored"),
                ("an expiration", [], 200, [f"Expires: {at(60)}"], "stored"),
                ("a heuristic", [], 200, [MODIFIED], "stored"),
                ("silence", [], 200, [], "no-freshness"),
                ("silence, and public", [], 200, ["Cache-Control: public"], "no-freshness"),
                ("silence, but a validator", [], 200, [TAG], "stored"),
                ("no-cache, and a validator", [], 200, ["Cache-Control: no-cache", TAG], "stored"),
                ("no-cache, and a date of modification", [], 200, ["Cache-Control: no-cache", MODIFIED], "stored"),
                (
                    "no-cache with a lifetime, and a validator",
                    [],
                    200,
                    [MINUTE, "Cache-Control: no-cache", TAG],
                    "stored",
                ),
                ("no-cache with a lifetime, no validator", [], 200, [MINUTE, "Cache-Control: no-cache"], "stale"),
                ("stale from the start", [], 200, ["Cache-Control: max-age=0"], "stale"),
                ("stale from the start, and a validator", [], 200, ["Cache-Control: max-age=0", TAG], "stored"),
                ("stale when it came", [], 200, [MINUTE, "Age: 60"], "stale"),
                ("fresh when it came", [], 200, [MINUTE, "Age: 59"], "stored"),
                ("expired", [], 200, ["Expires: 0"], "stale"),
                ("no-store", [], 200, ["Cache-Control: no-store, max-age=60"], "no-store"),
                ("no-store, on another line", [], 200, [MINUTE, "Cache-Control: No-Store"], "no-store"),
                ("no-store, faulty", [], 200, ["Cache-Control: max-age=60, no-store; x"], "no-store"),
                ("no-store and public", [], 200, ["Cache-Control: public, no-store, max-age=60"], "no-store"),
                (
                    "must-understand, which is not implemented",
                    [],
                    200,
                    ["Cache-Control: must-understand, no-store"],
                    "no-store",
                ),
                ("private", [], 200, ["Cache-Control: private, max-age=60"], "private"),
                ("private, some fields", [], 200, ['Cache-Control: private="Set-Cookie", max-age=60'], "private"),
                ("a request for no-store", ["Cache-Control: no-store"], 200, [MINUTE], "request-no-store"),
                ("a request for no-cache", ["Cache-Control: no-cache"], 200, [MINUTE], "stored"),
                ("varying by anything", [], 200, [MINUTE, "Vary: *"], "vary-star"),
                ("varying by something", [], 200, [MINUTE, "Vary: Accept"], "stored"),
                ("not final", [], 199, [MINUTE], "status"),
                ("a part", [], 206, [MINUTE, "Content-Range: bytes 0-1/2"], "status"),
                ("about the caller's own copy", [], 304, [MINUTE, TAG], "status"),
                ("a status cacheable by itself", [], 410, [MODIFIED], "stored"),
                ("another status", [], 302, [MODIFIED], "no-freshness"),
                ("another status with a validator", [], 302, [TAG], "no-freshness"),
                ("another status, public, with a validator", [], 302, ["Cache-Control: public", TAG], "stored"),
                ("another status with a lifetime", [], 302, [MINUTE], "stored"),
                ("an unknown status with a lifetime", [], 299, [MINUTE], "stored"),
                ("an error", [], 500, [], "no-freshness"),
                ("an error with a lifetime", [], 500, [MINUTE], "stored"),
                ("not found, modified at some time", [], 404, [MODIFIED], "stored"),
                ("a cookie", [], 200, [MINUTE, "Set-Cookie: a=b"], "stored"),
                ("a request with a cookie", ["Cookie: a=b"], 200, [MINUTE], "stored"),
            ),
        )

    def test_authorized(self) -> None:
        """A shared cache keeps the answer to an authorized request only where the origin allows that (3.5)."""
        for policy in (
            RFC9111,
            evolve(RFC9111, override_origin=True),
            evolve(RFC9111, override_origin=True, default_ttl=9.0),
        ):
            self._check(
                policy,
                (
                    ("a lifetime", [AUTHORIZED], 200, [MINUTE], "authorization"),
                    ("public", [AUTHORIZED], 200, [MINUTE, "Cache-Control: public"], "stored"),
                    ("for shared caches", [AUTHORIZED], 200, ["Cache-Control: s-maxage=60"], "stored"),
                    ("must-revalidate", [AUTHORIZED], 200, [MINUTE, "Cache-Control: must-revalidate"], "stored"),
                    (
                        "proxy-revalidate",
                        [AUTHORIZED],
                        200,
                        [MINUTE, "Cache-Control: proxy-revalidate"],
                        "authorization",
                    ),
                    ("public, faulty", [AUTHORIZED], 200, [MINUTE, "Cache-Control: public; x"], "authorization"),
                    ("silence", [AUTHORIZED], 200, [], "authorization"),
                ),
            )
        self._check(
            evolve(BUDDY, partition=False),
            (("where callers share by choice", [AUTHORIZED], 200, [], "stored"),),
        )

    def test_in_buddy_mode(self) -> None:
        """In buddy mode silence allows, the origin's word counts, and errors are not kept."""
        self._check(
            BUDDY,
            (
                ("silence", [], 200, [], "stored"),
                ("silence to an authorized request", [AUTHORIZED], 200, [], "stored"),
                ("stale from the start", [], 200, ["Cache-Control: max-age=0"], "stale"),
                ("no-store", [], 200, ["Cache-Control: no-store"], "no-store"),
                ("private", [], 200, ["Cache-Control: private"], "private"),
                ("no-cache", [], 200, ["Cache-Control: no-cache"], "stale"),
                ("no-cache and a validator", [], 200, ["Cache-Control: no-cache", TAG], "stored"),
                ("a request for no-store", ["Cache-Control: no-store"], 200, [], "request-no-store"),
                ("a redirect that lasts", [], 301, [], "stored"),
                ("a redirect that does not", [], 302, [], "no-freshness"),
                ("the last that is no error", [], 399, [MINUTE], "stored"),
                ("the first error", [], 400, [MINUTE], "error"),
                ("not found", [], 404, [MINUTE], "error"),
                ("an error of the server", [], 503, [MINUTE], "error"),
                ("varying by anything", [], 200, ["Vary: *"], "vary-star"),
                ("a part", [], 206, [], "status"),
            ),
        )

    def test_errors_by_choice(self) -> None:
        """Errors are kept where all are, or where their status is named."""
        self._check(
            evolve(BUDDY, store_errors=True, error_lifetime=60.0),
            (("all", [], 503, [], "stored"), ("no-store", [], 503, ["Cache-Control: no-store"], "no-store")),
        )
        named = evolve(BUDDY, error_ttl={404: 60.0, 410: 0.0})
        self._check(
            named,
            (
                ("named", [], 404, [], "stored"),
                ("named, for no time", [], 410, [], "stale"),
                ("not named", [], 400, [MINUTE], "error"),
            ),
        )

    def test_what_holds_for_one_request_only(self) -> None:
        """An answer to a condition, a range or an expectation says nothing of the resource, whatever it claims."""
        for policy in (RFC9111, evolve(BUDDY, store_errors=True, error_lifetime=60.0)):
            for status in (206, 304, 412, 416, 417, 431):
                self._check(policy, ((str(status), [], status, [MINUTE], "status"),))

    def test_sizes_that_are_said(self) -> None:
        """What is said to be too large or too small is not stored."""
        policy = evolve(RFC9111, min_size=10, max_size=20)
        for length, expected in (("9", "too-small"), ("10", "stored"), ("20", "stored"), ("21", "too-large")):
            self._check(policy, ((length, [], 200, [MINUTE, f"Content-Length: {length}"], expected),))

    def test_override(self) -> None:
        """`override_origin` ignores the origin's no-store, private and no-cache, and nothing else."""
        self._check(
            OVERRIDING,
            (
                ("no-store", [], 200, ["Cache-Control: no-store"], "stored"),
                ("private", [], 200, ["Cache-Control: private"], "stored"),
                ("no-cache", [], 200, ["Cache-Control: no-cache"], "stored"),
                ("no lifetime", [], 200, ["Cache-Control: max-age=0"], "stored"),
                ("any status", [], 302, [], "stored"),
                ("a request for no-store", ["Cache-Control: no-store"], 200, [], "request-no-store"),
                ("varying by anything", [], 200, ["Vary: *"], "vary-star"),
                ("an error", [], 404, [], "error"),
                ("a part", [], 206, [], "status"),
            ),
        )

    def test_methods(self) -> None:
        """Answers are kept to the methods that the policy names; HEAD is none, for it brings no content."""
        for method, policy, expected in (
            (b"GET", RFC9111, "stored"),
            (b"HEAD", RFC9111, "method"),
            (b"POST", RFC9111, "method"),
            (b"PUT", RFC9111, "method"),
            (b"get", RFC9111, "method"),
            (b"POST", BUDDY, "stored"),
            (b"HEAD", BUDDY, "method"),
            (b"DELETE", BUDDY, "method"),
        ):
            self.assertEqual(_verdict(Request(method, b"/"), answer(MINUTE), policy), expected, (method, policy))

    def test_size(self) -> None:
        """What is declared to be too large is not gathered; what declares nothing may turn out to fit."""
        policy = evolve(BUDDY, max_size=100)
        for length, expected in (
            ("100", "stored"),
            ("101", "too-large"),
            ("0100", "stored"),
            ("9" * 19, "too-large"),
            ("9" * 5000, "too-large"),
            ("0" * 5000, "stored"),
            ("-101", "stored"),
            ("x", "stored"),
            ("", "stored"),
        ):
            self.assertEqual(_verdict(get(), answer(f"Content-Length: {length}"), policy), expected, length[:20])
        self.assertEqual(_verdict(get(), answer(), policy), "stored")
        self.assertEqual(_verdict(get(), answer("Content-Length: 0"), evolve(policy, max_size=0)), "stored")

    def test_content_that_ends_with_the_connection(self) -> None:
        """Content whose end is known from the close alone may be cut short, and is not stored (RFC 9112, 8)."""
        for policy in (RFC9111, BUDDY, OVERRIDING):
            arrival = evolve(_arrival(get(), answer(MINUTE)), framed=False)
            self.assertEqual(conclude(arrival, None, policy), Relay("unframed"))

    def test_what_the_connection_takes_away(self) -> None:
        """A response whose Connection names what tells how it may be reused is not what it seems (RFC 9110, 7.6.1)."""
        for policy in (RFC9111, BUDDY, OVERRIDING):
            for name in (b"cache-control", b"expires", b"age", b"vary", b"date", b"set-cookie", b"content-encoding"):
                arrival = evolve(_arrival(get(), answer(MINUTE, TAG)), connection=[b"close", name])
                self.assertEqual(conclude(arrival, None, policy), Relay("connection"), name)
                validation = evolve(arrival, response=answer(MINUTE, TAG, status=304))
                self.assertEqual(conclude(validation, kept(TAG, MINUTE), policy), Refetch(), name)
            arrival = evolve(_arrival(get(), answer(MINUTE)), connection=[b"close", b"keep-alive", b"x-private"])
            self.assertIsInstance(conclude(arrival, None, policy), Store)

    def test_first_reason_counts(self) -> None:
        """Where several things forbid it, the reason is always the same one."""
        part = answer("Cache-Control: private, no-store", "Content-Length: 999999999999", "Vary: *", status=206)
        for case, request, response, expected in (
            ("method", Request(b"PUT", b"/", fields("Cache-Control: no-store")), part, "method"),
            ("request", get("Cache-Control: no-store"), part, "request-no-store"),
            ("status", get(), part, "status"),
            ("no-store", get(), evolve(part, status=200), "no-store"),
            ("size", get(), answer("Content-Length: 999999999999", "Vary: *"), "too-large"),
            ("freshness", get(), answer("Vary: *"), "no-freshness"),
        ):
            self.assertEqual(_verdict(request, response, RFC9111), expected, case)


class DraftTests(SynchronousTestCase):
    """What is kept of a response that is stored (3.1)."""

    def _draft(
        self, request: Request, response: Response, policy: Policy = RFC9111, took: float = 0.0
    ) -> StoredResponse:
        conclusion = conclude(_arrival(request, response, took), None, policy)
        assert isinstance(conclusion, Store), conclusion
        return conclusion.draft

    def test_all_of_the_exchange(self) -> None:
        """Everything is there but the content."""
        response = Response(203, fields(MINUTE, "Vary: Accept", "X: 1", "x: 2"), b"Fine")
        self.assertEqual(
            self._draft(get("Accept: a"), response, took=3),
            StoredResponse(
                key=b"k" * 32,
                selecting=((b"accept", b"a"),),
                mapping="m",
                method=b"GET",
                uri=b"https://origin.example/thing",
                response=response,
                body=b"",
                request_time=NOW - 3,
                response_time=NOW,
                expires=NOW + 57,
                remove_after=NOW + 57,
            ),
        )

    def test_fields_of_the_connection_are_left_out(self) -> None:
        """What belongs to the connection or to a proxy is not stored; all else is, recognised or not."""
        response = answer(
            MINUTE, "Connection: x-hop", "X-Hop: 1", "Keep-Alive: 5", "Proxy-Authenticate: Basic", "X-New: 1"
        )
        self.assertEqual(self._draft(get(), response).headers, fields(MINUTE, "X-New: 1"))

    def test_cookies(self) -> None:
        """Set-Cookie is stored as received under RFC 9111, and never in buddy mode: it is for one caller."""
        response = answer(MINUTE, "Set-Cookie: a=b", "X: 1", "set-cookie: c=d", "Set-Cookie2: e=f")
        self.assertEqual(self._draft(get(), response, RFC9111).headers, response.headers)
        self.assertEqual(self._draft(get(), response, BUDDY).headers, fields(MINUTE, "X: 1"))

    def test_methods(self) -> None:
        """A response to POST is kept as one."""
        self.assertEqual(self._draft(post(b"a"), answer(), BUDDY).method, b"POST")

    def test_post_is_never_validated(self) -> None:
        """What answers a POST is kept while it is fresh, and no longer: its validator is of no use."""
        draft = self._draft(post(b"a"), answer(MINUTE, TAG), BUDDY)
        self.assertEqual(draft.remove_after, draft.expires)
        stale = conclude(_arrival(post(b"a"), answer("Cache-Control: no-cache", TAG)), None, BUDDY)
        self.assertEqual(stale, Relay("stale"))

    def test_times(self) -> None:
        """It expires when its lifetime is over, and is kept for a day more where it can be validated then."""
        self.assertEqual(KEEP_STALE, 86400)
        for case, lines, took, expires, keep in (
            ("a lifetime", [MINUTE], 0, 60, 0),
            ("slow", [MINUTE], 5, 55, 0),
            ("old", [MINUTE, "Age: 10"], 5, 45, 0),
            ("made before", [MINUTE, f"Date: {at(-20)}"], 5, 40, 0),
            ("an entity tag", [MINUTE, TAG], 0, 60, KEEP_STALE),
            ("a date of modification", [MINUTE, MODIFIED], 0, 60, KEEP_STALE),
            ("a heuristic", [MODIFIED], 0, 100, KEEP_STALE),
            ("nothing but a validator", [TAG], 0, 0, KEEP_STALE),
            ("stale already", ["Cache-Control: max-age=0", TAG, "Age: 10"], 0, -10, KEEP_STALE),
        ):
            draft = self._draft(get(), answer(*lines), took=took)
            self.assertEqual((draft.expires, draft.remove_after), (NOW + expires, NOW + expires + keep), case)


class ValidationTests(SynchronousTestCase):
    """What a validation comes to (4.3.3 and 4.3.4)."""

    def _conclude(
        self, stored: StoredResponse, *lines: str, request: Request | None = None, policy: Policy = RFC9111
    ) -> Conclusion:
        return conclude(_arrival(request or get(), answer(*lines, status=304), took=2), stored, policy)

    def test_304_freshens(self) -> None:
        """A 304 brings the stored response's fields up to date and starts its time anew; its content stays."""
        stored = kept(TAG, MINUTE, "X-Old: 1", "X-Both: 1", "X-Both: 2", age=500)
        freshened = self._conclude(stored, TAG, "Cache-Control: max-age=30", "X-Both: 3", "X-New: 4")
        self.assertEqual(
            freshened,
            Freshen(
                evolve(
                    stored,
                    response=answer("X-Old: 1", TAG, "Cache-Control: max-age=30", "X-Both: 3", "X-New: 4"),
                    request_time=NOW - 2,
                    response_time=NOW,
                    expires=NOW + 28,
                    remove_after=NOW + 28 + KEEP_STALE,
                )
            ),
        )
        assert isinstance(freshened, Freshen)
        self.assertEqual(choose(get(), [freshened.stored], RFC9111, NOW), Reuse(freshened.stored, 2, 28))
        self.assertEqual(freshened.stored.response.status, 200)

    def test_304_for_one_marked_as_stale(self) -> None:
        """What was purged softly is as good as before once the origin has confirmed it, and its content stays."""
        conclusion = self._conclude(kept(TAG, MINUTE).marked_outdated())
        assert isinstance(conclusion, Freshen)
        self.assertFalse(conclusion.stored.outdated)
        self.assertEqual(choose(get(), [conclusion.stored], RFC9111, NOW), Reuse(conclusion.stored, 2, 58))

    def test_304_that_says_nothing(self) -> None:
        """A bare 304 leaves the fields as they are, but for those that told how old the response was (4.2.3)."""
        stored = kept(TAG, MINUTE, f"Date: {at(-500)}", "Age: 50", "X: 1", age=400)
        conclusion = self._conclude(stored)
        assert isinstance(conclusion, Freshen)
        self.assertEqual(conclusion.stored.headers, fields(TAG, MINUTE, "X: 1"))
        self.assertEqual(conclusion.stored.expires, NOW + 58)
        dated = self._conclude(stored, f"Date: {at(-10)}", "Age: 20")
        assert isinstance(dated, Freshen)
        self.assertEqual(dated.stored.headers, fields(TAG, MINUTE, "X: 1", f"Date: {at(-10)}", "Age: 20"))
        self.assertEqual(dated.stored.expires, NOW + 38)

    def test_what_a_304_does_not_update(self) -> None:
        """Fields that describe the stored content, and those never stored, stay as they were (3.2)."""
        stored = kept(TAG, MINUTE, "Content-Length: 5", "Content-Type: a/b", "Content-Encoding: gzip", age=500)
        conclusion = self._conclude(
            stored,
            "Content-Length: 0",
            "Content-Encoding: br",
            "Content-Range: bytes 0-1/2",
            "Content-Type: c/d",
            "Connection: x-hop",
            "X-Hop: 1",
            "Keep-Alive: 5",
        )
        assert isinstance(conclusion, Freshen)
        self.assertEqual(
            conclusion.stored.headers,
            fields(TAG, MINUTE, "Content-Length: 5", "Content-Encoding: gzip", "Content-Type: c/d"),
        )

    def test_cookies(self) -> None:
        """Cookies that a 304 sets are kept by the same rule as any."""
        for policy, expected in ((RFC9111, True), (BUDDY, False)):
            conclusion = self._conclude(kept(TAG, MINUTE), "Set-Cookie: a=b", policy=policy)
            assert isinstance(conclusion, Freshen)
            self.assertEqual(b"set-cookie" in conclusion.stored.headers, expected)

    def test_304_for_another_response(self) -> None:
        """A 304 that names another entity tag is about another response: the origin is asked again (4.3.4)."""
        for case, held, named, confirmed in (
            ("the same", ['ETag: "a"'], ['ETag: "a"'], True),
            ("the same, weak", ['ETag: W/"a"'], ['ETag: W/"a"'], True),
            ("weak and strong", ['ETag: W/"a"'], ['ETag: "a"'], True),
            ("strong and weak", ['ETag: "a"'], ['ETag: W/"a"'], True),
            ("none named", ['ETag: "a"'], [], True),
            ("none named, validated by date", [MODIFIED], [MODIFIED], True),
            ("another", ['ETag: "a"'], ['ETag: "b"'], False),
            ("another, weak", ['ETag: W/"a"'], ['ETag: W/"b"'], False),
            ("another case", ['ETag: "a"'], ['ETag: "A"'], False),
            ("one named, none held", [MODIFIED], ['ETag: "a"'], False),
        ):
            conclusion = self._conclude(kept(MINUTE, *held, age=500), *named)
            self.assertEqual(isinstance(conclusion, Freshen), confirmed, case)
            self.assertEqual(conclusion == Refetch(), not confirmed, case)

    def test_304_that_forbids_to_keep(self) -> None:
        """A 304 whose fields forbid storing updates nothing: the origin is asked again (5.2.2.5, 5.2.2.7)."""
        for line in (
            "Cache-Control: no-store",
            "Cache-Control: private, max-age=60",
            "Vary: *",
            "Cache-Control: no-store; x",
        ):
            for policy in (RFC9111, BUDDY):
                self.assertEqual(self._conclude(kept(TAG, MINUTE, age=500), line, policy=policy), Refetch(), line)
        self.assertIsInstance(self._conclude(kept(TAG), "Cache-Control: no-store", policy=OVERRIDING), Freshen)
        self.assertEqual(self._conclude(kept(TAG), "Vary: *", policy=OVERRIDING), Refetch())
        self.assertIsInstance(self._conclude(kept(TAG), "Cache-Control: no-cache"), Freshen)

    def test_304_that_varies_otherwise(self) -> None:
        """Where a 304 says that the response varies by other fields, it is selected by these from then on (4.1)."""
        asked = get("Accept: a", "Origin: o")
        stored = kept(TAG, MINUTE, "Vary: Accept", selecting=((b"accept", b"a"),), age=500)
        for line, expected in (
            ("Vary: Accept, Origin", ((b"accept", b"a"), (b"origin", b"o"))),
            ("Vary: Accept", ((b"accept", b"a"),)),
            ("X: 1", ((b"accept", b"a"),)),
        ):
            conclusion = self._conclude(stored, line, request=asked)
            assert isinstance(conclusion, Freshen)
            self.assertEqual(conclusion.stored.selecting, expected, line)

    def test_head_freshens_too(self) -> None:
        """A 304 to HEAD tells of the stored response to GET."""
        self.assertIsInstance(self._conclude(kept(TAG, MINUTE), request=Request(b"HEAD", b"/thing")), Freshen)

    def test_an_authorized_304_freshens(self) -> None:
        """Who asked for the validation makes no difference to a response that is everybody's."""
        self.assertIsInstance(self._conclude(kept(TAG, MINUTE), request=get(AUTHORIZED)), Freshen)

    def test_a_full_response_takes_the_place_of_the_stored_one(self) -> None:
        """Any other answer to a validation is judged like an answer to a plain request (4.3.3)."""
        stored = kept(TAG, MINUTE, age=500)
        for case, response, policy in (
            ("another content", answer(MINUTE, 'ETag: "b"'), RFC9111),
            ("not to be stored", answer("Cache-Control: no-store"), RFC9111),
            ("an error", answer(status=503), BUDDY),
            ("gone", answer(MODIFIED, status=410), RFC9111),
        ):
            arrival = _arrival(get(), response)
            self.assertEqual(conclude(arrival, stored, policy), conclude(arrival, None, policy), case)

    def test_304_to_the_callers_own_conditions(self) -> None:
        """A 304 that nobody here asked for is the caller's, and relayed."""
        for policy in (RFC9111, BUDDY, OVERRIDING):
            self.assertEqual(
                _conclude(get('If-None-Match: "a"'), answer(TAG, MINUTE, status=304), policy), Relay("status")
            )


class InvalidationTests(SynchronousTestCase):
    """What makes stored responses void (4.4)."""

    def test_unsafe_methods(self) -> None:
        """Unsafe methods, and those nobody knows, invalidate; safe ones do not."""
        for method, expected in (
            (b"PUT", True),
            (b"DELETE", True),
            (b"PATCH", True),
            (b"POST", True),
            (b"MKCOL", True),
            (b"UNHEARD-OF", True),
            (b"get", True),
            (b"GET", False),
            (b"HEAD", False),
            (b"OPTIONS", False),
            (b"TRACE", False),
            (b"PROPFIND", False),
            (b"REPORT", False),
            (b"SEARCH", False),
            (b"QUERY", False),
        ):
            self.assertEqual(invalidates(Request(method, b"/thing"), answer(), RFC9111), expected, method)

    def test_errors_change_nothing(self) -> None:
        """Only an answer that is no error, 2xx or 3xx, shows that something may have changed."""
        for status, expected in (
            (199, False),
            (200, True),
            (204, True),
            (299, True),
            (303, True),
            (399, True),
            (400, False),
            (404, False),
            (500, False),
        ):
            self.assertEqual(invalidates(Request(b"PUT", b"/thing"), answer(status=status), RFC9111), expected, status)

    def test_what_is_cached_is_a_question(self) -> None:
        """Where the answers to POST are stored, it changes nothing."""
        self.assertFalse(invalidates(post(b"a"), answer(), BUDDY))
        self.assertTrue(invalidates(Request(b"PUT", b"/"), answer(), BUDDY))


_GOOD = (
    "max-age=60",
    "s-maxage=120",
    "max-age=0",
    "no-store",
    "no-cache",
    "private",
    'private="a, b"',
    "public",
    "must-revalidate",
    "x",
    'x="a, b"',
)
_FAULTS = (
    "{0}",
    "{0};",
    "{0}; x",
    "{0} x",
    "{0}/",
    '"{0}',
    '{0}"',
    '"{0}"',
    "\x00{0}\x7f",
    "{0}=",
    "={0}",
)
_FAULTS_OF_ARGUMENTS = (" =", "= ", "==", "=-", "=+", '="', "=0x", "=.", "='")


def _faulty(directive: str) -> st.SearchStrategy[str]:
    """Return `directive`, or `directive` misspelt in a way that still shows what was meant."""
    spelled = [fault.format(directive) for fault in _FAULTS]
    if "age=" in directive:
        spelled += [directive.replace("=", fault) for fault in _FAULTS_OF_ARGUMENTS] + [directive + "s"]
    return st.sampled_from(spelled)


@st.composite
def _misspelt(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a value of Cache-Control, and another that means it and is spelled wrong here and there."""
    directives = draw(st.lists(st.sampled_from(_GOOD), min_size=1, max_size=4))
    separators = st.sampled_from((", ", ";", "; ", " ", ",,", ",\t"))
    faulty = "".join(draw(_faulty(directive)) + draw(separators) for directive in directives)
    return ", ".join(directives), faulty


_MOMENTS = (0.0, 1.0, 59.0, 61.0, 119.0, 3600.0, 6 * 86400.0)
_REQUESTS = (get(), get(AUTHORIZED), get("Cache-Control: max-stale"))


class MalformedFieldsTests(SynchronousTestCase):
    """Faults never make a response more cacheable."""

    @properties
    @given(_misspelt(), st.sampled_from(([], [TAG], [MODIFIED, TAG])), st.sampled_from((200, 302, 404)))
    def test_misspelt_directives(self, spelled: tuple[str, str], others: list[str], status: int) -> None:
        """What a misspelt Cache-Control lets a cache reuse, the well-spelt one lets it reuse too."""
        good, faulty = (answer(f"Cache-Control: {line}", *others, status=status) for line in spelled)
        for request in _REQUESTS:
            for policy in (RFC9111, BUDDY):
                for later in _MOMENTS:
                    if _reused(request, faulty, policy, later):
                        self.assertTrue(_reused(request, good, policy, later), (spelled, request.headers, later))

    @properties
    @given(
        st.sampled_from((b"Cache-Control", b"Expires", b"Age", b"Date", b"Vary", b"Pragma", b"Content-Encoding")),
        st.binary(max_size=30) | st.text('=",; -maxstorevlidw*', max_size=30).map(str.encode),
        st.sampled_from(([], [MINUTE], [MODIFIED], [f"Expires: {at(60)}"], ["Cache-Control: no-cache", TAG])),
    )
    def test_rubbish(self, name: bytes, value: bytes, lines: list[str]) -> None:
        """A caching field with nothing of sense in it adds nothing to what may be reused, and never fails."""
        sensible = (b"max-age", b"s-maxage", b"public", b"must-revalidate")
        if any(word in value.lower() for word in sensible) or parse_date(value, NOW) is not None:
            return
        plain = answer(*lines)
        more = evolve(plain, headers=plain.headers.adding((name, value)))
        for request in _REQUESTS:
            for policy in (RFC9111, BUDDY):
                for later in _MOMENTS:
                    if _reused(request, more, policy, later):
                        self.assertTrue(_reused(request, plain, policy, later), (request.headers, later))

    @properties
    @given(
        st.lists(
            st.tuples(
                st.sampled_from((b"Cache-Control", b"Expires", b"Age", b"Date", b"Vary", b"ETag", b"Content-Length")),
                st.binary(max_size=20) | st.sampled_from((b"max-age=60", b"no-cache", at(60).encode(), b"*", b'"a"')),
            ),
            max_size=6,
        ).map(lambda pairs: Headers(tuple(pairs))),
        st.sampled_from((200, 204, 206, 301, 302, 304, 404, 500, 599)),
    )
    def test_every_response_has_a_conclusion(self, headers: Headers, status: int) -> None:
        """Whatever arrives, it is stored, relayed, a confirmation or a reason to ask again; nothing fails."""
        response = Response(status, headers)
        for policy in (RFC9111, BUDDY, OVERRIDING):
            for validated in (None, kept(TAG, MINUTE)):
                conclusion = conclude(_arrival(get(), response), validated, policy)
                if isinstance(conclusion, Store):
                    self.assertEqual(conclusion.draft.selecting, selecting_fields(get(), response, policy))
                    self.assertLessEqual(conclusion.draft.expires, conclusion.draft.remove_after)
                elif isinstance(conclusion, Freshen | Refetch):
                    self.assertEqual((status, validated is None), (304, False))
