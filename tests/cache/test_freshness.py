"""Tests of `buddyproxy.cache.freshness`: RFC 9111, 4.2."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.directives import response_cache_control
from buddyproxy.cache.freshness import (
    HEURISTIC_LIMIT,
    HEURISTICALLY_CACHEABLE,
    explicit_lifetime,
    freshness_lifetime,
    heuristically_cacheable,
)
from buddyproxy.cache.policy import Policy
from buddyproxy.message import Headers, Response
from tests.support.values import BUDDY, NOW, RFC9111, answer, at, field_values, fields, properties

DAY = 86400.0
MINUTE = "Cache-Control: max-age=60"
TARGETED = (b"cdn-cache-control",)


def _cacheable(response: Response) -> bool:
    return heuristically_cacheable(response, response_cache_control(response.headers, TARGETED))


class ExplicitLifetimeTests(SynchronousTestCase):
    """The lifetime the origin gives (4.2.1)."""

    def _lifetime(self, *lines: str) -> float | None:
        headers = fields(*lines)
        return explicit_lifetime(headers, response_cache_control(headers, TARGETED), NOW)

    def test_first_match_counts(self) -> None:
        """s-maxage goes before max-age, and max-age before Expires, whatever order they come in."""
        s_maxage, max_age, expires = "Cache-Control: s-maxage=30", "Cache-Control: max-age=20", f"Expires: {at(10)}"
        for case, lines, expected in (
            ("all three", [expires, max_age, s_maxage], 30),
            ("s-maxage, smaller than max-age", ["Cache-Control: max-age=20, s-maxage=5"], 5),
            ("s-maxage of nothing", ["Cache-Control: max-age=20, s-maxage=0"], 0),
            ("s-maxage and Expires", [s_maxage, expires], 30),
            ("max-age and Expires", [expires, max_age], 20),
            ("max-age of nothing and Expires", ["Cache-Control: max-age=0", expires], 0),
            ("Expires alone", [expires], 10),
            ("Expires beside other directives", [expires, "Cache-Control: public"], 10),
            ("none", ["Cache-Control: public"], None),
            ("unknown directives", ["Cache-Control: maxage=5, x-max-age=6, immutable"], None),
            ("nothing at all", [], None),
        ):
            self.assertEqual(self._lifetime(*lines), expected, case)

    def test_invalid_information_makes_stale(self) -> None:
        """A directive with no number for an argument gives no lifetime, and hides what would have come after it."""
        for case, line in (
            ("words", "Cache-Control: max-age=long"),
            ("a fraction", "Cache-Control: max-age=20.5"),
            ("negative", "Cache-Control: max-age=-20"),
            ("no argument", "Cache-Control: max-age"),
            ("white space", "Cache-Control: max-age = 20"),
            ("semicolons", "Cache-Control: public; max-age=20"),
            ("s-maxage in words", "Cache-Control: max-age=20, s-maxage=x"),
            ("one of two", "Cache-Control: max-age=20, max-age=x"),
            ("one of two without an argument", "Cache-Control: max-age, max-age=20"),
        ):
            self.assertEqual(self._lifetime(line, f"Expires: {at(10)}"), 0, case)

    def test_the_smallest_of_several(self) -> None:
        """Where a directive is given several times with different values, the shortest lifetime counts."""
        for case, lines, expected in (
            ("on a line", ["Cache-Control: max-age=30, max-age=20"], 20),
            ("on lines", ["Cache-Control: max-age=20", "Cache-Control: max-age=30"], 20),
            ("s-maxage", ["Cache-Control: s-maxage=40, s-maxage=30, max-age=5"], 30),
        ):
            self.assertEqual(self._lifetime(*lines), expected, case)

    def test_targeted(self) -> None:
        """A targeted field puts aside Cache-Control and Expires, whether or not it names a lifetime (RFC 9213, 2.2)."""
        others = ["Cache-Control: max-age=20, s-maxage=30", f"Expires: {at(10)}"]
        for case, line, expected in (
            ("a lifetime", "CDN-Cache-Control: max-age=5", 5),
            ("for shared caches", "CDN-Cache-Control: max-age=5, s-maxage=6", 6),
            ("of nothing", "CDN-Cache-Control: max-age=0", 0),
            ("a fraction", "CDN-Cache-Control: max-age=5.5", 0),
            ("a string", 'CDN-Cache-Control: max-age="5"', 0),
            ("no lifetime", "CDN-Cache-Control: public", None),
            ("nothing that is known", "CDN-Cache-Control: x", None),
            ("invalid", "CDN-Cache-Control: max-age=5;", 30),
            ("empty", "CDN-Cache-Control:", 30),
            ("another cache's", "Other-Cache-Control: max-age=5", 30),
        ):
            self.assertEqual(self._lifetime(line, *others), expected, case)

    def test_expires(self) -> None:
        """Expires counts from Date, or from the arrival where there is none; no date has passed long ago (5.3)."""
        for case, lines, expected in (
            ("from Date", [f"Expires: {at(60)}", f"Date: {at(-40)}"], 100),
            ("from a Date ahead of our clock", [f"Expires: {at(100)}", f"Date: {at(40)}"], 60),
            ("from the arrival", [f"Expires: {at(60)}"], 60),
            ("from the arrival, Date being none", [f"Expires: {at(60)}", "Date: yesterday"], 60),
            ("before Date", [f"Expires: {at(60)}", f"Date: {at(70)}"], -10),
            ("at Date", [f"Expires: {at(0)}", f"Date: {at(0)}"], 0),
            ("zero", ["Expires: 0"], 0),
            ("minus one", ["Expires: -1"], 0),
            ("empty", ["Expires:"], 0),
            ("another zone", ["Expires: Fri, 15 Jan 2027 09:00:00 EST"], 0),
            ("in lower case", [f"Expires: {at(60).lower()}"], 60),
            ("the form of RFC 850", ["Expires: Friday, 15-Jan-27 08:01:00 GMT"], 60),
            ("the form of asctime", ["Expires: Fri Jan 15 08:01:00 2027"], 60),
            ("two of them", [f"Expires: {at(60)}", f"Expires: {at(20)}"], 20),
            ("two of them, the later last", [f"Expires: {at(20)}", f"Expires: {at(60)}"], 20),
            ("one of two no date", [f"Expires: {at(60)}", "Expires: 0"], 0),
            ("farther than times go", ["Expires: Fri, 31 Dec 9999 23:59:59 GMT"], 2**31),
        ):
            self.assertEqual(self._lifetime(*lines), expected, case)

    @properties
    @given(st.lists(st.tuples(st.sampled_from((b"Cache-Control", b"Expires", b"Date", b"Age")), field_values)))
    def test_never_raises(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """Whatever the fields say, there is a lifetime from none to the longest, or no word of it."""
        headers = Headers(tuple(pairs))
        lifetime = explicit_lifetime(headers, response_cache_control(headers, TARGETED), NOW)
        self.assertTrue(lifetime is None or 0 <= lifetime <= 2**31)

    @properties
    @given(
        st.sampled_from(("max-age=60", "s-maxage=60, max-age=90", "public")),
        st.sampled_from(("max-age", "s-maxage")),
        st.text(" =-.\"'x/;e+", max_size=5),
        st.booleans(),
    )
    def test_faults_never_lengthen(self, said: str, name: str, fault: str, before: bool) -> None:
        """A directive without a number beside those that have one leaves at most their lifetime."""
        lines = [f"Cache-Control: {said}", f"Cache-Control: {name}{fault}", f"Expires: {at(30)}"]
        plain = self._lifetime(lines[0], lines[2])
        more = self._lifetime(*(reversed(lines) if before else lines))
        assert plain is not None
        self.assertIn(more, (0, plain), fault)

    @properties
    @given(st.permutations(["max-age=60", "max-age=20", "s-maxage=40", "s-maxage=30", "x"]), st.integers(1, 5))
    def test_order_means_nothing(self, directives: list[str], split: int) -> None:
        """In whatever order directives come, and on however many lines, they give one lifetime."""
        lines = (", ".join(part) for part in (directives[:split], directives[split:]))
        self.assertEqual(self._lifetime(*(f"Cache-Control: {line}" for line in lines)), 30)


class LifetimeTests(SynchronousTestCase):
    """The lifetime a response has under a policy."""

    def test_heuristic(self) -> None:
        """Under RFC 9111, silence gives a tenth of the time since the last modification, and no more than a day."""
        modified = f"Last-Modified: {at(-1000)}"
        for case, status, lines, expected in (
            ("since it arrived", 200, [modified], 100),
            ("since it was made", 200, [modified, f"Date: {at(-500)}"], 50),
            ("modified after it was made", 200, [modified, f"Date: {at(-2000)}"], 0),
            ("modified long ago", 200, [f"Last-Modified: {at(-1000 * DAY)}"], HEURISTIC_LIMIT),
            ("modified never", 200, [], None),
            ("modified at no date", 200, ["Last-Modified: long ago"], None),
            ("explicitly short", 200, [modified, "Cache-Control: max-age=1"], 1),
            ("explicitly none", 200, [modified, "Cache-Control: max-age=0"], 0),
            ("explicitly invalid", 200, [modified, "Expires: 0"], 0),
            ("explicitly none by one of two", 200, [modified, "Cache-Control: max-age=9, max-age"], 0),
            ("by a targeted field that says nothing of it", 200, [modified, "CDN-Cache-Control: x", MINUTE], 100),
            ("another status", 404, [modified], 100),
            ("a part", 206, [modified], 100),
            ("a status not cacheable by itself", 302, [modified], None),
            ("the same, and public", 302, [modified, "Cache-Control: public"], 100),
            ("the same, and public for this cache", 302, [modified, "CDN-Cache-Control: public"], 100),
            ("the same, and public for others", 302, [modified, "CDN-Cache-Control: x", "Cache-Control: public"], None),
            ("the same, and public with a fault", 302, [modified, "Cache-Control: public; x"], None),
            ("the same, with a lifetime", 302, [modified, "Cache-Control: max-age=5"], 5),
            ("an error with a lifetime", 500, ["Cache-Control: max-age=5"], 5),
        ):
            self.assertEqual(freshness_lifetime(answer(*lines, status=status), RFC9111, NOW), expected, case)

    def test_statuses_cacheable_by_themselves(self) -> None:
        """Those of RFC 9110, 15.1 are; any other where it is marked `public`."""
        self.assertEqual(HEURISTICALLY_CACHEABLE, {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
        for status in (200, 206, 301, 404, 501):
            self.assertTrue(_cacheable(answer(status=status)), status)
        for status in (201, 302, 307, 400, 403, 500, 503, 599):
            self.assertFalse(_cacheable(answer(status=status)), status)
            self.assertTrue(_cacheable(answer("Cache-Control: public", status=status)), status)
            self.assertTrue(_cacheable(answer("CDN-Cache-Control: public", status=status)), status)
            self.assertFalse(_cacheable(answer("Cache-Control: public=", status=status)), status)

    def test_default(self) -> None:
        """In buddy mode, silence gives the default; what the origin says counts before it, and 0 is a word too."""
        minute = evolve(BUDDY, default_ttl=60.0)
        errors = evolve(BUDDY, error_lifetime=60.0)
        cases: tuple[tuple[str, Policy, int, list[str], float | None], ...] = (
            ("silence", BUDDY, 200, [], 7 * DAY),
            ("silence, another default", minute, 200, [], 60),
            ("a default of nothing", evolve(BUDDY, default_ttl=0.0), 200, [], 0),
            ("no heuristics", minute, 200, [f"Last-Modified: {at(-DAY)}"], 60),
            ("max-age", minute, 200, ["Cache-Control: max-age=3600"], 3600),
            ("max-age of nothing", minute, 200, ["Cache-Control: max-age=0"], 0),
            ("s-maxage", minute, 200, ["Cache-Control: s-maxage=10"], 10),
            ("Expires in the past", minute, 200, [f"Expires: {at(-10)}"], -10),
            ("a redirect that lasts", minute, 301, [], 60),
            ("a redirect that does not", minute, 302, [], None),
            ("a redirect with a lifetime", minute, 302, ["Cache-Control: max-age=5"], 5),
            ("created", minute, 201, [], None),
            ("an error", BUDDY, 404, [], None),
            ("an error where they are kept", errors, 404, [], 60),
            ("an error of the server where they are kept", errors, 503, [], 60),
            ("an error in the strict mode, with a default", evolve(RFC9111, default_ttl=60.0), 503, [], None),
            ("an error with a lifetime", BUDDY, 503, ["Cache-Control: max-age=5"], 5),
            ("a part", minute, 206, [], 60),
            ("the origin's word for this cache", minute, 200, ["CDN-Cache-Control: max-age=5", MINUTE], 5),
            ("silence for this cache", minute, 200, ["CDN-Cache-Control: x", "Cache-Control: max-age=5"], 60),
        )
        for case, policy, status, lines, expected in cases:
            self.assertEqual(freshness_lifetime(answer(*lines, status=status), policy, NOW), expected, case)

    def test_errors_have_their_own(self) -> None:
        """A time named for a status counts where the origin is silent, before any default."""
        for policy in (
            evolve(RFC9111, error_ttl={404: 30.0, 500: 0.0}),
            evolve(BUDDY, error_ttl={404: 30.0, 500: 0.0}),
        ):
            for case, status, lines, expected in (
                ("named", 404, [], 30),
                ("named, and 0", 500, [], 0),
                ("named, with a lifetime", 404, ["Cache-Control: max-age=5"], 5),
                ("named, with heuristics", 404, [f"Last-Modified: {at(-DAY)}"], 30),
            ):
                self.assertEqual(freshness_lifetime(answer(*lines, status=status), policy, NOW), expected, case)

    def test_override(self) -> None:
        """`override_origin` puts the default in the place of the origin's word, for errors not."""
        overriding = evolve(BUDDY, override_origin=True, default_ttl=60.0)
        for case, policy, status, lines, expected in (
            ("a lifetime", overriding, 200, ["Cache-Control: max-age=5"], 60),
            ("no lifetime", overriding, 200, ["Expires: 0"], 60),
            ("no caching", overriding, 200, ["Cache-Control: no-store"], 60),
            ("a lifetime for this cache", overriding, 200, ["CDN-Cache-Control: max-age=5"], 60),
            ("any redirect", overriding, 302, [], 60),
            ("an error's lifetime", overriding, 400, ["Cache-Control: max-age=5"], 5),
            ("nothing to put there", evolve(overriding, default_ttl=None), 200, ["Cache-Control: max-age=5"], 5),
        ):
            self.assertEqual(freshness_lifetime(answer(*lines, status=status), policy, NOW), expected, case)
