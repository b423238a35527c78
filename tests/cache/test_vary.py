"""Tests of `buddyproxy.cache.vary`: RFC 9111, 4.1."""

from hashlib import sha256

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.policy import Credentials
from buddyproxy.cache.stored import Selecting
from buddyproxy.cache.vary import decodable, selecting_fields, selects
from buddyproxy.message import Headers, Request, Response
from tests.support.values import BUDDY, RFC9111, answer, field_values, get, kept, properties

SHARED = evolve(BUDDY, partition=False, implied=frozenset())

_FIELDS = st.lists(
    st.tuples(
        st.sampled_from((b"Vary", b"A", b"a", b"Cookie", b"Accept-Encoding", b"Content-Encoding")),
        st.sampled_from((b"a", b"A, Cookie", b"*", b"accept-encoding", b"gzip", b"identity", b"x,  y")) | field_values,
    ),
    max_size=6,
).map(lambda pairs: Headers(tuple(pairs)))

_PREFERRED = st.sampled_from(("a/b", "a/*", "*/*", "c/d", "c/d;e=f", "c/d;e=F"))
_WEIGHTS = st.sampled_from(("", ";q=1", ";q=1.0", ";q=0", ";q=0.5"))


def _preferring(name: str, value: str | tuple[str, ...] | None) -> Request:
    """Return a request with the field `name` on as many lines as there are values."""
    values = value if isinstance(value, tuple) else () if value is None else (value,)
    return get(*(f"{name}: {value}" for value in values))


class SelectingFieldsTests(SynchronousTestCase):
    """What of a request is kept with the response it selected."""

    def test_selecting_fields(self) -> None:
        """The fields that Vary names, in lower case and in order, with their values; absent ones known as absent."""
        asked = get("Accept: a", "Origin: o", "Accept-Language: de", "Accept-Encoding: gzip", "accept: b")
        cases: tuple[tuple[str, list[str], Selecting | None], ...] = (
            ("no Vary", [], ()),
            ("an empty Vary", ["Vary:"], ()),
            ("one", ["Vary: Origin"], ((b"origin", b"o"),)),
            ("several lines of the field", ["Vary: Accept"], ((b"accept", b"a,b"),)),
            ("an absent one", ["Vary: X"], ((b"x", None),)),
            ("several, in order", ["Vary: X, origin"], ((b"origin", b"o"), (b"x", None))),
            ("several lines of Vary", ["Vary: X", "Vary: Origin"], ((b"origin", b"o"), (b"x", None))),
            ("twice the same", ["Vary: Origin, ORIGIN"], ((b"origin", b"o"),)),
            ("any", ["Vary: *"], None),
            ("any, among others", ["Vary: Origin, *"], None),
            ("any, on another line", ["Vary: Origin", "Vary: *"], None),
            ("a name with an asterisk", ["Vary: X-*"], ((b"x-*", None),)),
        )
        for case, lines, expected in cases:
            self.assertEqual(selecting_fields(asked, answer(*lines), RFC9111), expected, case)

    def test_encoded(self) -> None:
        """An encoded response is for those who accept the encoding, also where it does not say that it varies."""
        gzip = ((b"accept-encoding", b"gzip"),)
        cases: tuple[tuple[str, list[str], Selecting], ...] = (
            ("encoded", ["Content-Encoding: gzip"], gzip),
            ("encoded, and says so", ["Content-Encoding: gzip", "Vary: Accept-Encoding"], gzip),
            ("encoded twice", ["Content-Encoding: identity, br"], gzip),
            ("not encoded", [], ()),
            ("not encoded, in so many words", ["Content-Encoding: Identity"], ()),
            ("not encoded, but says it varies", ["Vary: Accept-Encoding"], gzip),
        )
        for case, lines, expected in cases:
            self.assertEqual(selecting_fields(get("Accept-Encoding: gzip"), answer(*lines), RFC9111), expected, case)

    def test_implied(self) -> None:
        """Fields that a policy implies select a response that names none."""
        policy = evolve(RFC9111, implied=frozenset({b"accept"}))
        self.assertEqual(selecting_fields(get("Accept: a/b"), answer(), policy), ((b"accept", b"a/b"),))
        self.assertIsNone(selecting_fields(get(), answer("Vary: *"), policy))

    def test_credentials(self) -> None:
        """Credentials are told apart by the key where callers are kept apart, and stand as digests elsewhere."""
        asked = get("Authorization: Bearer hush", "Origin: o")
        response = answer("Vary: Authorization, Origin, X-Api-Key")
        apart = evolve(BUDDY, implied=frozenset())
        self.assertEqual(selecting_fields(asked, response, apart), ((b"origin", b"o"),))
        for policy in (SHARED, RFC9111):
            self.assertEqual(
                selecting_fields(asked, response, policy),
                ((b"authorization", sha256(b"Bearer hush").digest()), (b"origin", b"o"), (b"x-api-key", None)),
            )
        named = evolve(RFC9111, credentials=Credentials(frozenset({b"origin"})))
        self.assertEqual(selecting_fields(asked, answer("Vary: Origin"), named), ((b"origin", sha256(b"o").digest()),))


class SelectsTests(SynchronousTestCase):
    """Whether a request may be given a stored response."""

    def test_matches(self) -> None:
        """Fields match where they differ at most in white space between members and in how many lines they take."""
        for case, vary, first, second, expected in (
            ("the same", "A", ["A: x"], ["A: x"], True),
            ("another value", "A", ["A: x"], ["A: y"], False),
            ("another case", "A", ["A: x"], ["A: X"], False),
            ("another case of the name", "a", ["A: x"], ["a: x"], True),
            ("a field not named", "A", ["B: x"], ["B: y"], True),
            ("absent from both", "A", [], [], True),
            ("absent then, present now", "A", [], ["A: x"], False),
            ("present then, absent now", "A", ["A: x"], [], False),
            ("absent then, empty now", "A", [], ["A:"], False),
            ("white space around members", "A", ["A: x, y"], ["A: x \t,y"], True),
            ("white space inside a member", "A", ["A: x y"], ["A: x  y"], False),
            ("white space inside quotes", "A", ['A: "x, y"'], ['A: "x,y"'], False),
            ("several lines", "A", ["A: x", "A: y"], ["A: x, y"], True),
            ("several lines, another order", "A", ["A: x", "A: y"], ["A: y", "A: x"], False),
            ("more of them", "A", ["A: x"], ["A: x", "A: x"], False),
            ("two fields, one differs", "A, B", ["A: x", "B: x"], ["A: x", "B: y"], False),
            ("two fields, values exchanged", "A, B", ["A: x", "B: y"], ["A: y", "B: x"], False),
            ("a credential", "Cookie", ["Cookie: x"], ["Cookie: x"], True),
            ("another's credential", "Cookie", ["Cookie: x"], ["Cookie: y"], False),
            ("no credential", "Cookie", ["Cookie: x"], [], False),
            ("no Vary", "", ["A: x"], ["A: y"], True),
        ):
            for policy in (RFC9111, SHARED):
                selecting = selecting_fields(get(*first), answer(f"Vary: {vary}"), policy)
                assert selecting is not None, case
                self.assertEqual(selects(get(*second), kept(selecting=selecting), policy), expected, case)

    def test_preferences(self) -> None:
        """Preferences match however they are spelled, and only where they are surely the same (RFC 9110, 12.5)."""
        accept, charset, coding, language = "Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language"
        for case, name, first, second, expected in (
            ("another order of types", accept, "a/b, c/d;q=0.5", "c/d;q=0.5, a/b", True),
            ("another order of charsets", charset, "utf-8, utf-16", "utf-16, utf-8", True),
            ("another order of codings", coding, "br, gzip", "gzip, br", True),
            ("another order of languages", language, "en, de", "de, en", True),
            ("another case of the type", accept, "Text/HTML", "text/html", True),
            ("another case of the charset", charset, "UTF-8", "utf-8", True),
            ("another case of the coding", coding, "GZip", "gzip", True),
            ("another case of the language", language, "en-GB", "EN-gb", True),
            ("another case of q", language, "en;q=0.5", "en;Q=0.5", True),
            ("white space around members", coding, "gzip,br", " gzip \t,  br ", True),
            ("white space around semicolons", accept, "a/b;c=d;q=0.5", "a/b ; c=d\t;  q=0.5", True),
            ("empty members", coding, "gzip,br", ", gzip,, br,", True),
            ("nothing but empty members", coding, "", ", ,", True),
            ("a weight of 1", coding, "gzip;q=1, br", "gzip, br;q=1.000", True),
            ("a weight of 1, with a parameter", accept, "a/b;c=d;q=1.", "a/b;c=d", True),
            ("any type", accept, None, "*/*", True),
            ("any type, in so many words", accept, " */* ; q=1.0", None, True),
            ("several lines", language, "en, de", ("de", "en"), True),
            ("one fewer", coding, "gzip, br", "gzip", False),
            ("another weight", coding, "gzip;q=0.5, br", "gzip, br;q=0.5", False),
            ("not acceptable", coding, "gzip;q=0", "gzip", False),
            ("another case of a parameter's value", accept, "a/b;c=d", "a/b;c=D", False),
            ("a parameter more", accept, "a/b;c=d", "a/b", False),
            ("white space inside a member", coding, "g zip", "gzip", False),
            ("any coding", coding, None, "*", False),
            ("any language", language, None, "*", False),
            ("a media range that is no coding", coding, None, "*/*", False),
            ("a media range that is no language", language, None, "*/*", False),
            ("no coding at all", coding, None, "", False),
            ("no type at all", accept, None, "", False),
            ("any type, and one more so", accept, None, "*/*, a/b", False),
            ("any type, but less than nothing", accept, None, "*/*;q=0", False),
            ("the same thing twice, in another order", coding, "gzip, gzip;q=0", "gzip;q=0, gzip", False),
            ("two weights", coding, "gzip;q=0.5;q=1", "gzip;q=0.5", False),
            ("a weight above 1", coding, "gzip;q=1.5", "gzip", False),
            ("a weight with too many digits", coding, "gzip;q=1.0000", "gzip", False),
            ("no weight where one begins", coding, "gzip;q=", "gzip", False),
            ("quotes, alike", accept, 'a/b;c="d, e", f/g', 'a/b;c="d, e", f/g', True),
            ("quotes, in another order", accept, 'a/b;c="d, e", f/g', 'f/g, a/b;c="d, e"', False),
            ("quotes, in another case", accept, 'a/b;c="d"', 'a/b;c="D"', False),
            ("quotes, with other white space inside", accept, 'a/b;c="d, e"', 'a/b;c="d,e"', False),
            ("quotes, with a weight inside", accept, 'a/b;c=";q=1', 'a/b;c="', False),
            ("of great length", language, ",".join(f"x-{n}" for n in range(200)), "X-0", False),
            ("of great length, alike", language, "en" + ",de" * 200, "en" + " , de" * 200, True),
            (
                "of great length, in another order",
                language,
                ",".join(f"x-{n}" for n in range(200)),
                ",".join(f"X-{n}" for n in reversed(range(200))),
                True,
            ),
        ):
            for one, other in ((first, second), (second, first)):
                selecting = selecting_fields(_preferring(name, one), answer(f"Vary: {name}"), RFC9111)
                assert selecting is not None, case
                asked = _preferring(name, other)
                self.assertEqual(selects(asked, kept(selecting=selecting), RFC9111), expected, case)

    def test_decodable(self) -> None:
        """Who accepts the same codings can decode it, whatever else tells the requests apart."""
        for case, lines, asked, expected in (
            ("the same", ["Content-Encoding: gzip", "Vary: Origin"], ["Accept-Encoding: gzip, br", "Origin: b"], True),
            ("another spelling", ["Content-Encoding: gzip"], ["Accept-Encoding: BR,gzip;q=1"], True),
            ("others", ["Content-Encoding: gzip"], ["Accept-Encoding: gzip"], False),
            ("none named", ["Content-Encoding: gzip"], [], False),
            ("not encoded, but it varies by that", ["Vary: Accept-Encoding"], ["Accept-Encoding: gzip"], False),
            ("not encoded", ["Vary: Origin"], ["Origin: b"], True),
        ):
            selecting = selecting_fields(get("Accept-Encoding: gzip, br", "Origin: a"), answer(*lines), RFC9111)
            assert selecting is not None, case
            self.assertEqual(decodable(get(*asked), kept(selecting=selecting), RFC9111), expected, case)

    @properties
    @given(st.lists(st.tuples(_PREFERRED, _WEIGHTS), min_size=1, max_size=4, unique_by=lambda pair: pair[0]), st.data())
    def test_preferences_are_told_apart(self, preferences: list[tuple[str, str]], data: st.DataObject) -> None:
        """Two lists match exactly where they give the same weight to the same things."""
        others = data.draw(st.permutations(preferences))
        if data.draw(st.booleans()):
            others = [*others[1:], (others[0][0], data.draw(_WEIGHTS))]
        values = [", ".join(what + weight for what, weight in pairs) for pairs in (preferences, others)]
        weighed = [{(what, float(weight[3:] or 1)) for what, weight in pairs} for pairs in (preferences, others)]
        selecting = selecting_fields(get(f"Accept: {values[0]}"), answer("Vary: Accept"), RFC9111)
        assert selecting is not None
        matches = selects(get(f"Accept: {values[1]}"), kept(selecting=selecting), RFC9111)
        self.assertEqual(matches, weighed[0] == weighed[1])

    @properties
    @given(_FIELDS, _FIELDS)
    def test_a_request_selects_what_it_fetched(self, asked: Headers, answered: Headers) -> None:
        """Whatever the fields, the request that fetched a response matches it, unless it varies by everything."""
        request = Request(b"GET", b"/", asked)
        for policy in (RFC9111, BUDDY, SHARED):
            selecting = selecting_fields(request, Response(200, answered), policy)
            self.assertEqual(selecting is None, b"*" in answered.members(b"vary"))
            if selecting is not None:
                self.assertTrue(selects(request, kept(selecting=selecting), policy))
                self.assertEqual([name for name, _ in selecting], sorted({name for name, _ in selecting}))
