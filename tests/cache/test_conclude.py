"""Tests of `buddyproxy.cache.conclude`: RFC 9111, 3 and 4.3; RFC 5861, 4."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.choose import Distinguish, Forward, Question, Reuse, Validate, choose, conditions
from buddyproxy.cache.conclude import (
    KEEP_STALE,
    Conclusion,
    Freshen,
    Refetch,
    Relay,
    Store,
    conclude,
)
from buddyproxy.cache.dates import parse_date
from buddyproxy.cache.policy import Policy
from buddyproxy.cache.staleness import Stale
from buddyproxy.cache.status import Reason
from buddyproxy.cache.stored import Selecting, StoredResponse
from buddyproxy.cache.vary import selecting_fields
from buddyproxy.config import Condition
from buddyproxy.message import Headers, Request, Response
from tests.support.values import BUDDY, NOW, RFC9111, URI, answer, arriving, at, fields, get, kept, post, properties

MINUTE = "Cache-Control: max-age=60"
TAG = 'ETag: "a"'
MODIFIED = f"Last-Modified: {at(-1000)}"
GERMAN: Selecting = ((b"accept-language", b"de"),)
ENGLISH: Selecting = ((b"accept-language", b"en"),)
AUTHORIZED = "Authorization: Bearer a"
PART = "Content-Range: bytes 0-4/20"

OVERRIDING = evolve(BUDDY, override_origin=True)
MISS = Forward("uri-miss")


def _validation(stored: StoredResponse, reason: Reason = "stale") -> Question:
    return Validate(stored, conditions(stored), reason)


def _conclude(request: Request, response: Response, policy: Policy = RFC9111) -> Conclusion:
    return conclude(arriving(request, response), MISS, policy)


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
                ("private", [], 200, ["Cache-Control: private, max-age=60"], "private"),
                ("private, some fields", [], 200, ['Cache-Control: private="Set-Cookie", max-age=60'], "stored"),
                ("private, such and all", [], 200, ['Cache-Control: private="a", private, max-age=60'], "private"),
                ("private, no fields", [], 200, ['Cache-Control: private="", max-age=60'], "private"),
                ("private, faulty", [], 200, ['Cache-Control: private="a" b, max-age=60'], "private"),
                ("private, and public", [], 200, ["Cache-Control: private, public, max-age=60"], "private"),
                ("no-cache, some fields, no validator", [], 200, ['Cache-Control: no-cache="a", max-age=60'], "stored"),
                ("immutable", [], 200, ["Cache-Control: max-age=60, immutable"], "stored"),
                ("immutable, and no lifetime", [], 200, ["Cache-Control: immutable"], "no-freshness"),
                ("a request for no-store", ["Cache-Control: no-store"], 200, [MINUTE], "request-no-store"),
                ("a request for no-cache", ["Cache-Control: no-cache"], 200, [MINUTE], "stored"),
                ("varying by anything", [], 200, [MINUTE, "Vary: *"], "vary-star"),
                ("varying by something", [], 200, [MINUTE, "Vary: Accept"], "stored"),
                ("not final", [], 199, [MINUTE], "status"),
                ("a part that nobody asked for", [], 206, [MINUTE, PART], "partial"),
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
                ("a part that nobody asked for", [], 206, [PART], "partial"),
                ("a part", ["Range: bytes=0-4"], 206, [PART], "stored"),
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
            for status in (304, 412, 416, 417, 431):
                self._check(policy, ((str(status), [], status, [MINUTE], "status"),))

    def test_sizes_that_are_said(self) -> None:
        """What is said to be too large or too small is not stored."""
        policy = evolve(RFC9111, min_size=10, max_size=20)
        for length, expected in (("9", "too-small"), ("10", "stored"), ("20", "stored"), ("21", "too-large")):
            self._check(policy, ((length, [], 200, [MINUTE, f"Content-Length: {length}"], expected),))

    def test_conditions_that_cannot_be_asked(self) -> None:
        """Where its JSON decides whether a response is worth keeping, one that cannot be read is not kept."""
        policy = evolve(RFC9111, store_unless=(Condition(("error",)),))
        json = "Content-Type: application/json"
        for case, lines, expected in (
            ("plain", [json], "stored"),
            ("gzip", [json, "Content-Encoding: gzip"], "stored"),
            ("br", [json, "Content-Encoding: br"], "unreadable"),
            ("no JSON", ["Content-Type: text/html", "Content-Encoding: br"], "stored"),
        ):
            self._check(policy, ((case, [], 200, [MINUTE, *lines], expected),))

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
                ("must-understand", [], 299, ["Cache-Control: must-understand"], "stored"),
                ("a part that nobody asked for", [], 206, [PART], "partial"),
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
            arrival = evolve(arriving(get(), answer(MINUTE)), framed=False)
            self.assertEqual(conclude(arrival, MISS, policy), Relay("unframed"))

    def test_what_the_connection_takes_away(self) -> None:
        """A response whose Connection names what tells how it may be reused is not what it seems (RFC 9110, 7.6.1)."""
        for policy in (RFC9111, BUDDY, OVERRIDING):
            for name in (b"cache-control", b"expires", b"age", b"vary", b"date", b"set-cookie", b"content-encoding"):
                arrival = evolve(arriving(get(), answer(MINUTE, TAG)), connection=[b"close", name])
                self.assertEqual(conclude(arrival, Forward("uri-miss"), policy), Relay("connection"), name)
                validation = evolve(arrival, response=answer(MINUTE, TAG, status=304))
                question = Validate(kept(TAG, MINUTE), (), "stale")
                self.assertEqual(conclude(validation, question, policy), Refetch(), name)
            arrival = evolve(arriving(get(), answer(MINUTE)), connection=[b"close", b"keep-alive", b"x-private"])
            self.assertIsInstance(conclude(arrival, Forward("uri-miss"), policy), Store)

    def test_first_reason_counts(self) -> None:
        """Where several things forbid it, the reason is always the same one."""
        part = answer("Cache-Control: private, no-store", "Content-Length: 999999999999", "Vary: *", status=304)
        for case, request, response, expected in (
            ("method", Request(b"PUT", b"/", fields("Cache-Control: no-store")), part, "method"),
            ("request", get("Cache-Control: no-store"), part, "request-no-store"),
            ("status", get(), part, "status"),
            ("no-store", get(), evolve(part, status=200), "no-store"),
            ("size", get(), answer("Content-Length: 999999999999", "Vary: *"), "too-large"),
            ("variance", get(), answer("Vary: *"), "vary-star"),
        ):
            self.assertEqual(_verdict(request, response, RFC9111), expected, case)

    def test_of_use_while_revalidating(self) -> None:
        """What is stale from the start, and without a validator, is stored where it may serve stale (RFC 5861, 3)."""
        grace = "Cache-Control: max-age=0, stale-while-revalidate=30"
        granting = evolve(RFC9111, stale_while_revalidate=30.0)
        for lines, policy, expected in (
            ([grace], RFC9111, "stored"),
            ([grace, "Age: 30"], RFC9111, "stale"),
            ([grace, "Cache-Control: no-cache"], RFC9111, "stale"),
            (["Cache-Control: max-age=0"], granting, "stored"),
            (["Cache-Control: max-age=0, stale-while-revalidate=0"], granting, "stale"),
        ):
            self.assertEqual(_verdict(get(), answer(*lines), policy), expected, lines)

    def test_must_understand(self) -> None:
        """Beside `must-understand`, only a status that is known may be stored, and `no-store` has no say (5.2.2.3)."""
        both, alone = "Cache-Control: must-understand, no-store", "Cache-Control: must-understand"
        self._check(
            RFC9111,
            (
                ("a known status", [], 200, [MINUTE, both], "stored"),
                ("the other way round", [], 200, [MINUTE, "Cache-Control: no-store, must-understand"], "stored"),
                ("a known error", [], 404, [MINUTE, both], "stored"),
                ("an unknown status", [], 299, [MINUTE, both], "must-understand"),
                ("an unknown status, without no-store", [], 299, [MINUTE, alone], "must-understand"),
                ("an unknown error", [], 499, [MINUTE, alone], "must-understand"),
                ("no lifetime", [], 200, [both], "no-freshness"),
                ("private", [], 200, [MINUTE, both, "Cache-Control: private"], "private"),
                ("faulty", [], 200, [MINUTE, "Cache-Control: no-store, must-understand; x"], "no-store"),
                ("with an empty argument", [], 200, [MINUTE, "Cache-Control: no-store, must-understand="], "no-store"),
                ("an unknown status, faulty", [], 299, [MINUTE, f"{alone}; x"], "must-understand"),
                ("in quotes", [], 200, [MINUTE, 'Cache-Control: no-store, x="must-understand"'], "no-store"),
                ("in a request", [alone], 299, [MINUTE], "stored"),
                ("a request for no-store", ["Cache-Control: no-store"], 200, [MINUTE, both], "request-no-store"),
            ),
        )

    def test_targeted(self) -> None:
        """A usable targeted field decides alone, for better or worse; any other is passed by (RFC 9213, 2.2)."""
        self._check(
            RFC9111,
            (
                ("it allows", [], 200, ["CDN-Cache-Control: max-age=60", "Cache-Control: no-store"], "stored"),
                ("it allows sharing", [AUTHORIZED], 200, ["CDN-Cache-Control: max-age=60, public", MINUTE], "stored"),
                ("it forbids", [], 200, ["CDN-Cache-Control: no-store, max-age=60", MINUTE], "no-store"),
                ("it forbids, in another type", [], 200, ["CDN-Cache-Control: no-store=?0", MINUTE], "no-store"),
                ("private", [], 200, ["CDN-Cache-Control: private, max-age=60", MINUTE], "private"),
                ("private, some fields", [], 200, ['CDN-Cache-Control: private="a", max-age=60'], "stored"),
                ("private, a list of another type", [], 200, ["CDN-Cache-Control: private=(a), max-age=60"], "private"),
                ("no lifetime, beside one", [], 200, ["CDN-Cache-Control: x", MINUTE], "no-freshness"),
                ("no lifetime, beside Expires", [], 200, ["CDN-Cache-Control: x", f"Expires: {at(9)}"], "no-freshness"),
                ("a wrong lifetime", [], 200, ["CDN-Cache-Control: max-age=6.5", MINUTE], "stale"),
                (
                    "it says nothing of sharing",
                    [AUTHORIZED],
                    200,
                    ["CDN-Cache-Control: max-age=60", "Cache-Control: public"],
                    "authorization",
                ),
                ("invalid", [], 200, ["CDN-Cache-Control: max-age=60;", "Cache-Control: no-store"], "no-store"),
                ("empty", [], 200, ["CDN-Cache-Control:", MINUTE], "stored"),
                ("for another cache", [], 200, ["Other-Cache-Control: no-store", MINUTE], "stored"),
            ),
        )
        self._check(
            evolve(RFC9111, targeted=()),
            (("for nobody here", [], 200, ["CDN-Cache-Control: max-age=60", "Cache-Control: no-store"], "no-store"),),
        )

    def test_parts(self) -> None:
        """A part is stored where it is what a GET asked for, and says which part of how much it is (3.3)."""
        asked = "Range: bytes=0-4"
        self._check(
            RFC9111,
            (
                ("asked for", [asked], 206, [MINUTE, PART], "stored"),
                ("asked for in vain", [asked], 200, [MINUTE], "stored"),
                ("not asked for", [], 206, [MINUTE, PART], "partial"),
                ("of an unknown length", [asked], 206, [MINUTE, "Content-Range: bytes 0-4/*"], "partial"),
                ("of another unit", [asked], 206, [MINUTE, "Content-Range: items 0-4/20"], "partial"),
                ("longer than the whole", [asked], 206, [MINUTE, "Content-Range: bytes 0-4/4"], "partial"),
                ("several", [asked], 206, [MINUTE, "Content-Type: multipart/byteranges; boundary=a"], "partial"),
                ("two at once", [asked], 206, [MINUTE, PART, PART], "partial"),
                ("a validator alone", [asked], 206, [TAG, PART], "stored"),
                ("neither lifetime nor validator", [asked], 206, [PART], "no-freshness"),
                ("no-store", [asked], 206, [MINUTE, PART, "Cache-Control: no-store"], "no-store"),
                ("of a content that the caller holds", [asked, 'If-Range: "a"'], 206, [MINUTE, TAG, PART], "partial"),
                ("the whole after all", [asked, 'If-Range: "a"'], 200, [MINUTE, TAG], "stored"),
            ),
        )
        head = Request(b"HEAD", b"/thing", fields(asked))
        self.assertEqual(_verdict(head, answer(MINUTE, PART, status=206), RFC9111), "method")
        query = Request(b"QUERY", b"/thing", fields(asked))
        self.assertEqual(_verdict(query, answer(MINUTE, PART, status=206), RFC9111), "partial")


class DraftTests(SynchronousTestCase):
    """What is kept of a response that is stored (3.1)."""

    def _draft(
        self, request: Request, response: Response, policy: Policy = RFC9111, took: float = 0.0
    ) -> StoredResponse:
        conclusion = conclude(arriving(request, response, took), MISS, policy)
        assert isinstance(conclusion, Store), conclusion
        self.assertIsNone(conclusion.onto)
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
                uri=URI,
                response=response,
                body=b"",
                request_time=NOW - 3,
                response_time=NOW,
                expires=NOW + 57,
                remove_after=NOW + 57 + KEEP_STALE,
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

    def test_fields_for_one_caller_or_one_time(self) -> None:
        """Fields that `no-cache` or `private` lists are not stored; the rest is (3.1, 5.2.2.4 and 5.2.2.7)."""
        plain = ["ETag: b", "A: 1", "B: 2", "C: 3"]
        for case, value, expected in (
            ("private", 'private="A"', ["ETag: b", "B: 2", "C: 3"]),
            ("private, in any case", 'private="a, c"', ["ETag: b", "B: 2"]),
            ("no-cache", 'no-cache="b"', ["ETag: b", "A: 1", "C: 3"]),
            ("both", 'no-cache="b", private="A"', ["ETag: b", "C: 3"]),
            ("twice", 'private="A", private="B"', ["ETag: b", "C: 3"]),
            ("a token", "private=A", ["ETag: b", "B: 2", "C: 3"]),
            ("a validator", 'private="etag"', ["A: 1", "B: 2", "C: 3"]),
            ("an absent one", 'private="d"', plain),
            ("in another directive", 'x="A"', plain),
        ):
            line = f"Cache-Control: max-age=60, {value}"
            for policy in (RFC9111, BUDDY, OVERRIDING):
                draft = self._draft(get(), answer(line, *plain), policy)
                self.assertEqual(draft.headers, fields(line, *expected), case)
        targeted, other = 'CDN-Cache-Control: max-age=60, private="A"', 'Cache-Control: private="B"'
        self.assertEqual(
            self._draft(get(), answer(targeted, other, *plain)).headers,
            fields(targeted, other, "ETag: b", "B: 2", "C: 3"),
        )

    def test_no_cache_for_all_keeps_the_fields(self) -> None:
        """Given for the whole response as well, all of it is stored, to be validated."""
        response = answer('Cache-Control: no-cache, no-cache="A"', TAG, "A: 1")
        self.assertEqual(self._draft(get(), response).headers, response.headers)

    def test_post_is_never_validated(self) -> None:
        """The validator of what answers a POST is of no use: without freshness, nothing is stored."""
        stale = _conclude(post(b"a"), answer("Cache-Control: no-cache", TAG), BUDDY)
        self.assertEqual(stale, Relay("stale"))

    def test_times(self) -> None:
        """It expires when its lifetime is over, and is kept for a day more, to be validated or to stand in."""
        self.assertEqual(KEEP_STALE, 86400)
        for case, lines, took, expires in (
            ("a lifetime", [MINUTE], 0, 60),
            ("slow", [MINUTE], 5, 55),
            ("old", [MINUTE, "Age: 10"], 5, 45),
            ("made before", [MINUTE, f"Date: {at(-20)}"], 5, 40),
            ("an entity tag", [MINUTE, TAG], 0, 60),
            ("a date of modification", [MINUTE, MODIFIED], 0, 60),
            ("a heuristic", [MODIFIED], 0, 100),
            ("nothing but a validator", [TAG], 0, 0),
            ("stale already", ["Cache-Control: max-age=0", TAG, "Age: 10"], 0, -10),
            ("a lifetime for this cache", ["CDN-Cache-Control: max-age=30", MINUTE], 0, 30),
        ):
            draft = self._draft(get(), answer(*lines), took=took)
            self.assertEqual((draft.expires, draft.remove_after), (NOW + expires, NOW + expires + KEEP_STALE), case)

    def test_parts_that_go_together(self) -> None:
        """A part goes onto the stored one where both have one strong validator, and is kept alone otherwise (3.4)."""
        weak = 'ETag: W/"a"'
        for case, held, brought, status, expected in (
            ("one strong tag", TAG, TAG, 206, True),
            ("another tag", TAG, 'ETag: "b"', 206, False),
            ("weak tags", weak, weak, 206, False),
            ("a weak one comes", TAG, weak, 206, False),
            ("a weak one is there", weak, TAG, 206, False),
            ("dates alone", MODIFIED, MODIFIED, 206, False),
            ("the stored one is whole", TAG, TAG, 200, False),
        ):
            stored = kept(MINUTE, held, PART, status=status)
            response = answer(MINUTE, brought, "Content-Range: bytes 5-9/20", status=206)
            arrival = arriving(get("Range: bytes=5-9"), response)
            for question in (Forward("partial", stored), _validation(stored)):
                conclusion = conclude(arrival, question, RFC9111)
                assert isinstance(conclusion, Store), case
                self.assertEqual(conclusion.onto, stored if expected else None, case)
                self.assertTrue(conclusion.draft.partial, case)
            alone = conclude(arrival, MISS, RFC9111)
            assert isinstance(alone, Store), case
            self.assertIsNone(alone.onto, case)

    def test_a_part_that_lacks_fields(self) -> None:
        """The answer to If-Range may lack what the caller has: it goes onto what we have, or is not kept (15.3.7)."""
        asked = get("Range: bytes=5-9", 'If-Range: "a"')
        response = answer(MINUTE, TAG, "Content-Range: bytes 5-9/20", status=206)
        held = kept(MINUTE, TAG, PART, status=206)
        conclusion = conclude(arriving(asked, response), Forward("partial", held), RFC9111)
        assert isinstance(conclusion, Store), conclusion
        self.assertEqual(conclusion.onto, held)
        other = kept(MINUTE, 'ETag: "b"', PART, status=206)
        self.assertEqual(conclude(arriving(asked, response), Forward("partial", other), RFC9111), Relay("partial"))

    def test_a_whole_takes_the_place_of_a_part(self) -> None:
        """What comes whole is stored on its own, whatever part there was."""
        held = kept(MINUTE, TAG, PART, status=206)
        conclusion = conclude(arriving(get(), answer(MINUTE, TAG)), Forward("partial", held), RFC9111)
        assert isinstance(conclusion, Store), conclusion
        self.assertIsNone(conclusion.onto)


class ValidationTests(SynchronousTestCase):
    """What a validation comes to (4.3.3 and 4.3.4)."""

    def _conclude(
        self, stored: StoredResponse, *lines: str, request: Request | None = None, policy: Policy = RFC9111
    ) -> Conclusion:
        return conclude(arriving(request or get(), answer(*lines, status=304), took=2), _validation(stored), policy)

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
            ("none named, none given but a date", [MODIFIED], [], True),
            ("another date", [MODIFIED], [f"Last-Modified: {at(-999)}"], False),
            ("another date, beside a tag held", ['ETag: "a"', MODIFIED], [f"Last-Modified: {at(-999)}"], False),
            ("another date, and the tag", ['ETag: "a"', MODIFIED], ['ETag: "a"', f"Last-Modified: {at(-999)}"], True),
            ("the date, and another tag", ['ETag: "a"', MODIFIED], ['ETag: "b"', MODIFIED], False),
            ("a date, none held", ['ETag: "a"'], [MODIFIED], False),
        ):
            conclusion = self._conclude(kept(MINUTE, *held, age=500), *named)
            self.assertEqual(isinstance(conclusion, Freshen), confirmed, case)
            self.assertEqual(conclusion == Refetch(), not confirmed, case)

    def test_304_that_forbids_to_keep(self) -> None:
        """A 304 whose fields forbid storing updates nothing: the origin is asked again (5.2.2.5, 5.2.2.7)."""
        for line in (
            "Cache-Control: no-store",
            "Cache-Control: private, max-age=60",
            "CDN-Cache-Control: no-store",
            'Cache-Control: private=""',
            "Vary: *",
            "Cache-Control: no-store; x",
            "Cache-Control: no-store, must-understand; x",
        ):
            for policy in (RFC9111, BUDDY):
                self.assertEqual(self._conclude(kept(TAG, MINUTE, age=500), line, policy=policy), Refetch(), line)
        self.assertIsInstance(self._conclude(kept(TAG), "Cache-Control: no-store", policy=OVERRIDING), Freshen)
        self.assertEqual(self._conclude(kept(TAG), "Vary: *", policy=OVERRIDING), Refetch())
        for line in (
            "Cache-Control: no-cache",
            "Cache-Control: no-store, must-understand",
            'Cache-Control: private="a"',
            "Other-Cache-Control: no-store",
        ):
            self.assertIsInstance(self._conclude(kept(TAG), line), Freshen, line)

    def test_304_that_takes_back_the_leave_to_share(self) -> None:
        """Where the leave to share is gone, a shared cache asks again: the response may have rested on it (3.5)."""
        for case, held, brought, expected in (
            ("taken back", "public, max-age=60", "max-age=60", False),
            ("taken back, by a fault", "public, max-age=60", "public; x", False),
            ("another leave", "public, max-age=60", "s-maxage=60", True),
            ("not mentioned", "public, max-age=60", "", True),
            ("never given", "max-age=60", "max-age=30", True),
        ):
            lines = [f"Cache-Control: {brought}"] if brought else []
            stored = kept(f"Cache-Control: {held}", TAG)
            self.assertEqual(isinstance(self._conclude(stored, *lines), Freshen), expected, case)
            self.assertIsInstance(self._conclude(stored, *lines, policy=BUDDY), Freshen, case)

    def test_304_with_fields_for_one_caller_or_one_time(self) -> None:
        """Fields that are not to be stored are not updated either, and go where they are such from now on (3.2)."""
        held = kept('Cache-Control: max-age=60, no-cache="A"', TAG, "B: 1")
        conclusion = self._conclude(held, "A: 2", "B: 3")
        assert isinstance(conclusion, Freshen)
        self.assertEqual(conclusion.stored.headers, fields('Cache-Control: max-age=60, no-cache="A"', TAG, "B: 3"))
        conclusion = self._conclude(held, 'Cache-Control: max-age=60, private="B"', "B: 3")
        assert isinstance(conclusion, Freshen)
        self.assertEqual(conclusion.stored.headers, fields(TAG, 'Cache-Control: max-age=60, private="B"'))

    def test_304_for_a_part(self) -> None:
        """A part that is confirmed stays the part it is."""
        held = kept(MINUTE, TAG, PART, "Content-Length: 5", status=206)
        conclusion = self._conclude(held, TAG, "Content-Range: bytes 0-1/2", request=get("Range: bytes=0-4"))
        assert isinstance(conclusion, Freshen)
        self.assertEqual(conclusion.stored.headers, fields(MINUTE, PART, "Content-Length: 5", TAG))
        self.assertTrue(conclusion.stored.partial)

    def test_304_to_a_question_about_several(self) -> None:
        """The variant whose tag a 304 names is what this request selects from then on; without a tag, none is known."""
        german = evolve(kept(MINUTE, TAG, selecting=GERMAN), body=b"hallo")
        english = kept(MINUTE, 'ETag: "b"', selecting=ENGLISH)
        asked = get("Accept-Language: fr")
        cases: tuple[tuple[str, tuple[StoredResponse, ...], list[str], StoredResponse | None], ...] = (
            ("the first", (german, english), [TAG], german),
            ("the second", (german, english), ['ETag: "b"'], english),
            ("weakly", (german, english), ['ETag: W/"b"'], english),
            ("neither", (german, english), ['ETag: "c"'], None),
            ("none named of several", (german, english), [], None),
            ("none named of one", (german,), [], german),
            ("one tag for both: the last stored", (german, evolve(english, response=german.response)), [TAG], german),
        )
        for case, nominated, lines, expected in cases:
            arrival = arriving(asked, answer(*lines, "Vary: Accept-Language", status=304))
            conclusion = conclude(arrival, Distinguish(nominated), RFC9111)
            if expected is None:
                self.assertEqual(conclusion, Refetch(), case)
            else:
                assert isinstance(conclusion, Freshen), case
                stored = conclusion.stored
                self.assertEqual((stored.body, stored.selecting), (expected.body, ((b"accept-language", b"fr"),)), case)
                self.assertEqual(choose(asked, [stored], RFC9111, NOW), Reuse(stored, 0, 60), case)

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
            ("the same content", answer(MINUTE, TAG), RFC9111),
            ("an error", answer(status=503), BUDDY),
            ("gone", answer(MODIFIED, status=410), RFC9111),
        ):
            arrival = arriving(get(), response)
            self.assertEqual(conclude(arrival, _validation(stored), policy), conclude(arrival, MISS, policy), case)

    def test_what_an_answer_that_is_not_kept_shows(self) -> None:
        """A newer answer that may not be stored shows the stored one to be out of date; one about the request not."""
        stored = kept(TAG, MINUTE)
        marked = stored.marked_outdated()
        cases: tuple[tuple[str, Question, Response, Conclusion], ...] = (
            ("no-store", _validation(stored), answer("Cache-Control: no-store"), Relay("no-store", marked)),
            ("asked for", _validation(stored, "request"), answer("Vary: *", MINUTE), Relay("vary-star", marked)),
            ("not validated", Forward("stale", stored), answer(), Relay("no-freshness", marked)),
            ("moved", _validation(stored), answer(status=302), Relay("no-freshness", marked)),
            ("not found", _validation(stored), answer(status=404), Relay("no-freshness", marked)),
            ("gone", _validation(stored), answer(status=410), Relay("no-freshness", marked)),
            ("forbidden, to this caller", _validation(stored), answer(status=403), Relay("no-freshness")),
            ("a failure", _validation(stored), answer(status=500), Relay("no-freshness")),
            ("a condition that failed", _validation(stored), answer(status=412), Relay("status")),
            ("the caller's copy holds", Forward("request", stored), answer(TAG, status=304), Relay("status")),
            ("more than a part", Forward("partial", stored), answer("Cache-Control: no-store"), Relay("no-store")),
            ("of other variants", Distinguish((stored,)), answer("Cache-Control: no-store"), Relay("no-store")),
        )
        for case, question, response, expected in cases:
            conclusion = conclude(arriving(get(), response), question, RFC9111)
            self.assertEqual(conclusion, expected, case)

    def test_304_to_the_callers_own_conditions(self) -> None:
        """A 304 that nobody here asked for is the caller's, and relayed."""
        for policy in (RFC9111, BUDDY, OVERRIDING):
            self.assertEqual(
                _conclude(get('If-None-Match: "a"'), answer(TAG, MINUTE, status=304), policy), Relay("status")
            )

    def test_a_weak_tag_is_not_made_strong(self) -> None:
        """A 304 with the strong form of a weak tag confirms; the content goes on with the weak one (9110, 8.8.1)."""
        for held, brought, expected in (('W/"a"', '"a"', b'W/"a"'), ('"a"', 'W/"a"', b'W/"a"'), ('"a"', '"a"', b'"a"')):
            conclusion = self._conclude(kept(f"ETag: {held}", MINUTE, age=500), f"ETag: {brought}")
            assert isinstance(conclusion, Freshen), held
            self.assertEqual(conclusion.stored.headers.get(b"etag"), expected, held)


class HeadTests(SynchronousTestCase):
    """What the response to a HEAD tells of the stored response to GET (4.3.5)."""

    def _conclude(self, stored: StoredResponse, *lines: str, status: int = 200, policy: Policy = RFC9111) -> Conclusion:
        arrival = arriving(Request(b"HEAD", b"/thing"), answer(*lines, status=status), took=2)
        return conclude(arrival, Forward("request", stored), policy)

    def test_freshens(self) -> None:
        """Where validators and length are the same, the stored fields are brought up to date; the content stays."""
        stored = kept(TAG, MINUTE, "A: 1", "Content-Length: 5", age=500)
        self.assertEqual(
            self._conclude(stored, TAG, "Cache-Control: max-age=30", "Content-Length: 5"),
            Freshen(
                evolve(
                    stored,
                    response=answer("A: 1", "Content-Length: 5", TAG, "Cache-Control: max-age=30"),
                    request_time=NOW - 2,
                    response_time=NOW,
                    expires=NOW + 28,
                    remove_after=NOW + 28 + KEEP_STALE,
                )
            ),
        )

    def test_compares(self) -> None:
        """Every validator that comes must be the stored one's, and so must the length; else it is out of date."""
        for case, held, brought, same in (
            ("no validators", [], [], True),
            ("one tag", [TAG], [TAG], True),
            ("no tag comes", [TAG], [], True),
            ("another tag", [TAG], ['ETag: "b"'], False),
            ("the tag, weak", [TAG], ['ETag: W/"a"'], False),
            ("a tag where there was none", [], [TAG], False),
            ("one date", [MODIFIED], [MODIFIED], True),
            ("another date", [MODIFIED], [f"Last-Modified: {at(-999)}"], False),
            ("one tag, another date", [TAG, MODIFIED], [TAG, f"Last-Modified: {at(-999)}"], False),
            ("one date, another tag", [TAG, MODIFIED], ['ETag: "b"', MODIFIED], False),
            ("one length", [TAG], [TAG, "Content-Length: 5"], True),
            ("another length", [TAG], [TAG, "Content-Length: 6"], False),
            ("a length that is none", [TAG], [TAG, "Content-Length: x"], False),
        ):
            stored = kept(MINUTE, *held, age=500)
            conclusion = self._conclude(stored, *brought)
            self.assertEqual(isinstance(conclusion, Freshen), same, case)
            self.assertEqual(conclusion == Relay("method", stored.marked_outdated()), not same, case)

    def test_what_cannot_be_compared(self) -> None:
        """A part holds as long as its validators do; what was no 200, or may not be kept any more, is out of date."""
        part = kept(MINUTE, TAG, PART, status=206)
        self.assertEqual(self._conclude(part, TAG), Relay("method"))
        for stored, lines in (
            (part, ['ETag: "b"']),
            (part, [TAG, "Content-Length: 5"]),
            (kept(MINUTE, TAG, status=404), [TAG]),
            (kept(MINUTE, TAG), [TAG, "Cache-Control: no-store"]),
            (kept(MINUTE, TAG), [TAG, "Vary: *"]),
        ):
            self.assertEqual(self._conclude(stored, *lines), Relay("method", stored.marked_outdated()), lines)

    def test_other_statuses(self) -> None:
        """Only a 200 tells of a content that may be the stored one; no response to HEAD is stored itself."""
        stored = kept(MINUTE, TAG)
        for status, marked in ((204, True), (404, True), (410, True), (304, False), (403, False), (503, False)):
            expected = Relay("method", stored.marked_outdated() if marked else None)
            self.assertEqual(self._conclude(stored, TAG, MINUTE, status=status), expected, status)
        self.assertEqual(conclude(arriving(Request(b"HEAD", b"/"), answer(MINUTE)), MISS, RFC9111), Relay("method"))


class FailureTests(SynchronousTestCase):
    """What serves where the origin answers by an error (RFC 5861, 4; RFC 9111, 4.3.3)."""

    def test_stale_if_error(self) -> None:
        """Within the grace, a stale response serves in the error's place; without, the error is handed on."""
        granted = kept("Cache-Control: max-age=60, stale-if-error=30", TAG, age=80)
        bare = kept(MINUTE, TAG, age=80)
        served: Conclusion = Stale(granted, 80, -20)
        error: Conclusion = Relay("no-freshness")
        cases: tuple[tuple[str, Request, Question, int, Conclusion], ...] = (
            ("validated", get(), _validation(granted), 503, served),
            ("not to be validated", get(), Forward("stale", granted), 500, served),
            ("a bad gateway", get(), _validation(granted), 502, served),
            ("a gateway timed out", get(), _validation(granted), 504, served),
            ("HEAD", Request(b"HEAD", b"/thing"), _validation(granted), 503, served),
            ("another status", get(), _validation(granted), 501, error),
            ("another status of the server's", get(), _validation(granted), 505, error),
            ("an error of the caller's", get(), _validation(granted), 403, error),
            ("not granted", get(), _validation(bare), 503, error),
            ("by the caller", get("Cache-Control: stale-if-error=30"), _validation(bare), 503, Stale(bare, 80, -20)),
            ("the caller wants it fresh", get("Cache-Control: no-cache"), _validation(granted), 503, error),
            ("asked about at the caller's wish", get(), _validation(granted, "request"), 503, error),
            ("nothing stored", get(), MISS, 503, error),
            ("other variants", get(), Distinguish((granted,)), 503, error),
            ("a part", get(), Forward("partial", granted), 503, error),
        )
        for case, request, question, status, expected in cases:
            arrival = arriving(request, answer(status=status))
            self.assertEqual(conclude(arrival, question, RFC9111), expected, case)

    def test_the_operators_grace(self) -> None:
        """The operator may grant it for all, but not what the origin forbids."""
        policy = evolve(BUDDY, stale_if_error=30.0)
        for line, served in (("max-age=60", True), ("max-age=60, must-revalidate", False)):
            stored = kept(f"Cache-Control: {line}", age=80)
            conclusion = conclude(arriving(get(), answer(status=503)), Forward("stale", stored), policy)
            self.assertEqual(conclusion, Stale(stored, 80, -20) if served else Relay("error"), line)

    def test_errors_that_may_be_stored(self) -> None:
        """An error with a lifetime of its own does not take the place of what may serve still."""
        stored = kept("Cache-Control: max-age=60, stale-if-error=30", TAG, age=80)
        arrival = arriving(get(), answer(MINUTE, status=503))
        self.assertEqual(conclude(arrival, _validation(stored), RFC9111), Stale(stored, 80, -20))
        self.assertIsInstance(conclude(arrival, _validation(kept(MINUTE, TAG, age=80)), RFC9111), Store)


_GOOD = (
    "max-age=60",
    "s-maxage=120",
    "max-age=0",
    "no-store",
    "no-cache",
    "private",
    'private="a, b"',
    'no-cache="a"',
    "public",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand",
    "stale-while-revalidate=60",
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
    if "=6" in directive or "=0" in directive or "=1" in directive:
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
        held = kept(TAG, "Cache-Control: max-age=0, stale-if-error=60")
        for policy in (RFC9111, BUDDY, OVERRIDING):
            for question in (MISS, Forward("request", held), _validation(held), Distinguish((held,))):
                for request in (get(), get("Range: bytes=0-4"), Request(b"HEAD", b"/thing"), post(b"a")):
                    self._check(request, response, question, policy)

    def _check(self, request: Request, response: Response, question: Question, policy: Policy) -> None:
        conclusion = conclude(arriving(request, response), question, policy)
        match conclusion:
            case Store(draft):
                self.assertEqual(draft.selecting, selecting_fields(request, response, policy))
                self.assertLessEqual(draft.expires, draft.remove_after)
                self.assertEqual(draft.partial, response.status == 206)
                self.assertTrue(policy.override_origin or b"no-store" not in response.headers.members(b"cache-control"))
            case Freshen(stored):
                self.assertEqual((stored.body, stored.outdated), (b"hello", False))
                self.assertTrue(response.status == 304 or request.method == b"HEAD")
            case Refetch():
                self.assertEqual((response.status, question == MISS), (304, False))
            case Relay(_, outdated):
                self.assertTrue(outdated is None or outdated.outdated)
            case Stale():
                self.assertIn(response.status, (500, 504))
