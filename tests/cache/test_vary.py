"""Tests of `buddyproxy.cache.vary`: RFC 9111, 4.1."""

from hashlib import sha256

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.stored import Selecting
from buddyproxy.cache.vary import selecting_fields, selects
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
        named = evolve(RFC9111, credentials=frozenset({b"origin"}))
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
