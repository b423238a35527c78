"""Tests of `buddyproxy.cache.invalidation`: RFC 9111, 4.4; RFC 9875, 3; RFC 9110, 9.3.3."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.choose import Forward, Reuse, choose
from buddyproxy.cache.conclude import Relay, Store, conclude
from buddyproxy.cache.invalidation import as_get, invalidated, invalidated_groups
from buddyproxy.cache.policy import Policy
from buddyproxy.message import Headers, Request, Response
from tests.support.values import BUDDY, NOW, RFC9111, URI, answer, arriving, at, get, post, properties

MINUTE = "Cache-Control: max-age=60"
MODIFIED = f"Last-Modified: {at(-1000)}"
MISS = Forward("uri-miss")


class InvalidationTests(SynchronousTestCase):
    """What makes stored responses void (4.4)."""

    def _invalidated(self, method: bytes, response: Response, policy: Policy = RFC9111) -> tuple[bytes, ...]:
        return invalidated(arriving(Request(method, b"/thing"), response), policy)

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
            self.assertEqual(self._invalidated(method, answer()), (URI,) if expected else (), method)

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
            self.assertEqual(self._invalidated(b"PUT", answer(status=status)), (URI,) if expected else (), status)

    def test_what_is_cached_is_a_question(self) -> None:
        """Where the answers to POST are stored, it changes nothing."""
        self.assertEqual(self._invalidated(b"POST", answer("Location: /other"), BUDDY), ())
        self.assertEqual(self._invalidated(b"PUT", answer(), BUDDY), (URI,))

    def test_uris_beside_the_target(self) -> None:
        """Location and Content-Location name more of the same origin; what they name of another's is its own affair."""
        root = b"https://origin.example"
        cases: tuple[tuple[str, list[str], list[bytes]], ...] = (
            ("absolute", ["Location: https://origin.example/other"], [root + b"/other"]),
            ("a path", ["Content-Location: /other?a=b"], [root + b"/other?a=b"]),
            ("a relative path", ["Location: other/../more"], [root + b"/more"]),
            ("a query", ["Location: ?a=b"], [URI + b"?a=b"]),
            ("without the scheme", ["Location: //origin.example/other"], [root + b"/other"]),
            ("a fragment", ["Location: /other#part"], [root + b"/other"]),
            ("both fields", ["Location: /a", "Content-Location: /b"], [root + b"/a", root + b"/b"]),
            ("several lines", ["Location: /a", "location: /b"], [root + b"/a", root + b"/b"]),
            ("twice the same", ["Location: /a", "Content-Location: /a"], [root + b"/a"]),
            ("the target itself", ["Content-Location: /thing", "Location: #part"], []),
            ("another host", ["Location: https://other.example/thing"], []),
            ("another host, without the scheme", ["Location: //other.example/thing"], []),
            ("a host below", ["Location: https://a.origin.example/thing"], []),
            ("another scheme", ["Location: http://origin.example/other"], []),
            ("another port", ["Location: https://origin.example:8443/other"], []),
            ("as a user", ["Location: https://a@origin.example/other"], []),
            ("another kind of URI", ["Location: mailto:a@origin.example"], []),
            ("no URI", ["Location: https://[origin.example/other"], []),
            ("no ASCII", ["Location: /\xe4"], []),
            ("another field", ["Link: </other>"], []),
        )
        for case, lines, expected in cases:
            self.assertEqual(self._invalidated(b"POST", answer(*lines, status=201)), (URI, *expected), case)
            self.assertEqual(self._invalidated(b"GET", answer(*lines)), (), case)
            self.assertEqual(self._invalidated(b"POST", answer(*lines, status=400)), (), case)

    @properties
    @given(st.binary(max_size=40) | st.text("htps:/@[]#?.%\\originexample", max_size=30).map(str.encode))
    def test_never_another_origins(self, reference: bytes) -> None:
        """Whatever is named, it is no failure, and nothing of another origin is invalidated."""
        response = evolve(answer(), headers=Headers(((b"Location", reference), (b"Content-Location", reference))))
        target, *others = self._invalidated(b"PUT", response)
        self.assertEqual(target, URI)
        for uri in others:
            self.assertEqual(uri.lower()[:22], b"https://origin.example")
            self.assertIn(uri[22:23], (b"", b"/", b"?"))
            self.assertNotIn(b"#", uri)

    def test_groups(self) -> None:
        """A response to an unsafe request names groups that are void; one to a safe request cannot (RFC 9875, 3)."""
        many = [f"a group of thirty-two letters {n:02}" for n in range(40)]
        for case, lines, expected in (
            ("one", ['Cache-Group-Invalidation: "a"'], [b"a"]),
            ("several", ['Cache-Group-Invalidation: "b", "a b"'], [b"b", b"a b"]),
            ("on several lines", ['Cache-Group-Invalidation: "a"', 'cache-group-invalidation: "B"'], [b"a", b"B"]),
            ("parameters", ['Cache-Group-Invalidation: "a";x=1, "b";y'], [b"a", b"b"]),
            ("many long ones", ["Cache-Group-Invalidation: " + ", ".join(f'"{name}"' for name in many)], many),
            ("a token", ["Cache-Group-Invalidation: a"], []),
            ("a token among strings", ['Cache-Group-Invalidation: "a", b'], []),
            ("a list within", ['Cache-Group-Invalidation: ("a" "b")'], []),
            ("no list", ['Cache-Group-Invalidation: "a'], []),
            ("empty", ["Cache-Group-Invalidation:"], []),
            ("the other field", ['Cache-Groups: "a"'], []),
        ):
            names = tuple(name if isinstance(name, bytes) else name.encode() for name in expected)
            for method, status, policy, void in (
                (b"POST", 200, RFC9111, True),
                (b"DELETE", 204, BUDDY, True),
                (b"GET", 200, RFC9111, False),
                (b"QUERY", 200, RFC9111, False),
                (b"POST", 200, BUDDY, False),
                (b"POST", 500, RFC9111, False),
            ):
                arrival = arriving(Request(method, b"/thing"), answer(*lines, status=status))
                self.assertEqual(invalidated_groups(arrival, policy), names if void else (), (case, method, status))


class PostTests(SynchronousTestCase):
    """A response to POST that answers GET as well (RFC 9110, 9.3.3)."""

    def test_what_it_answers(self) -> None:
        """It is the GET of the same target by the same caller, without what was posted."""
        asked = post(b"a", "Accept: b", "Content-Type: c", "Content-Length: 1", "Content-Encoding: d", "Cookie: e")
        arrival = arriving(asked, answer(MINUTE, "Content-Location: /thing"))
        self.assertEqual(as_get(arrival, RFC9111), get("Accept: b", "Cookie: e"))

    def test_conditions(self) -> None:
        """It must be a 200, say how long it holds, and name the target as what its content is."""
        location = "Content-Location: https://origin.example/thing"
        for case, method, status, lines, expected in (
            ("all of them", b"POST", 200, [MINUTE, location], True),
            ("a relative URI", b"POST", 200, [MINUTE, "Content-Location: thing"], True),
            ("by an expiration", b"POST", 200, [f"Expires: {at(60)}", location], True),
            ("for this cache", b"POST", 200, ["CDN-Cache-Control: max-age=60", location], True),
            ("for no time", b"POST", 200, ["Cache-Control: max-age=0", location], True),
            ("no word of how long", b"POST", 200, [location], False),
            ("a heuristic alone", b"POST", 200, [MODIFIED, location], False),
            ("public alone", b"POST", 200, ["Cache-Control: public", location], False),
            ("not for this cache", b"POST", 200, ["CDN-Cache-Control: public", MINUTE, location], False),
            ("no Content-Location", b"POST", 200, [MINUTE], False),
            ("Location", b"POST", 200, [MINUTE, "Location: /thing"], False),
            ("another URI", b"POST", 200, [MINUTE, "Content-Location: /other"], False),
            ("another query", b"POST", 200, [MINUTE, "Content-Location: /thing?a"], False),
            ("another origin", b"POST", 200, [MINUTE, "Content-Location: https://other.example/thing"], False),
            ("no URI", b"POST", 200, [MINUTE, "Content-Location: https://["], False),
            ("another status", b"POST", 201, [MINUTE, location], False),
            ("an error", b"POST", 404, [MINUTE, location], False),
            ("another method", b"PUT", 200, [MINUTE, location], False),
            ("an unknown method", b"post", 200, [MINUTE, location], False),
            ("GET", b"GET", 200, [MINUTE, location], False),
        ):
            arrival = arriving(Request(method, b"/thing"), answer(*lines, status=status))
            self.assertEqual(as_get(arrival, RFC9111) is not None, expected, case)

    def test_stored_as_such(self) -> None:
        """It is judged and stored like any response to GET."""
        for line, reason in ((MINUTE, None), ("Cache-Control: max-age=60, no-store", "no-store")):
            arrival = arriving(post(b"a"), answer(line, "Content-Location: /thing"))
            asked = as_get(arrival, RFC9111)
            assert asked is not None
            conclusion = conclude(evolve(arrival, request=asked), Forward("method"), RFC9111)
            if reason is None:
                assert isinstance(conclusion, Store), conclusion
                self.assertEqual(choose(get(), [conclusion.draft], RFC9111, NOW), Reuse(conclusion.draft, 0, 60))
            else:
                self.assertEqual(conclusion, Relay(reason))

    def test_where_post_is_a_question(self) -> None:
        """Where the responses to POST are stored for POST, they stay apart."""
        arrival = arriving(post(b"a"), answer(MINUTE, "Content-Location: /thing"))
        self.assertIsNone(as_get(arrival, BUDDY))
