"""Tests of `buddyproxy.message`."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.message import HOP_BY_HOP, Headers, Origin, Request, Response, held
from tests.support.values import Large, field_values, fields, properties, tokens

Pairs = list[tuple[bytes, bytes]]

# Names that often meet, so that repeated fields and different spellings of one name come up.
_NAMES = st.sampled_from([b"A", b"a", b"B", b"Via", b"VIA", b"Connection", b"connection", b"TE", b"Upgrade"]) | tokens
_PAIRS = st.lists(st.tuples(_NAMES, field_values | _NAMES), max_size=12)


class HeadersTests(SynchronousTestCase):
    """Header fields (RFC 9110, 5)."""

    some = fields("Via: 1", "Accept: a", "VIA: 2", "via:", "Via: 1")

    def test_names_match_without_regard_to_case(self) -> None:
        """A field is found by its name however either is spelled (RFC 9110, 5.1)."""
        for name in (b"via", b"Via", b"VIA"):
            self.assertIn(name, self.some)
            self.assertEqual(self.some.get(name), b"1")
            self.assertEqual(self.some.get_all(name), [b"1", b"2", b"", b"1"])
            self.assertEqual(self.some.combined(name), b"1, 2, , 1")
            self.assertEqual(self.some.members(name), [b"1", b"2", b"1"])

    def test_names(self) -> None:
        """Every name is told once and in lower case, and can be compared with others at once (RFC 9110, 5.1)."""
        self.assertEqual(self.some.names, {b"via", b"accept"})
        self.assertEqual(list(self.some.names), [b"via", b"accept"])
        self.assertEqual(fields().names, frozenset())
        self.assertTrue(self.some.names.isdisjoint({b"age", b"Via"}))
        self.assertFalse(self.some.names.isdisjoint({b"age", b"via"}))

    def test_changing(self) -> None:
        """Each value of one field is changed, in its place; without such a field, nothing is."""
        self.assertEqual(
            self.some.changing(b"via", lambda value: value + b"!"),
            fields("Via: 1!", "Accept: a", "VIA: 2!", "via: !", "Via: 1!"),
        )
        self.assertIs(self.some.changing(b"age", lambda value: value), self.some)

    def test_absent(self) -> None:
        """A field that is not there has no value, which is not the empty value."""
        self.assertNotIn(b"age", self.some)
        self.assertIsNone(self.some.get(b"age"))
        self.assertIsNone(self.some.combined(b"age"))
        self.assertEqual(self.some.get_all(b"age"), [])
        self.assertEqual(self.some.members(b"age"), [])
        empty = fields("Age:")
        self.assertIn(b"age", empty)
        self.assertEqual(empty.get(b"age"), b"")
        self.assertEqual(empty.combined(b"age"), b"")
        self.assertEqual(empty.get_all(b"age"), [b""])

    def test_keeps_what_was_received(self) -> None:
        """Order, spelling and repetitions stay."""
        self.assertEqual(
            list(self.some), [(b"Via", b"1"), (b"Accept", b"a"), (b"VIA", b"2"), (b"via", b""), (b"Via", b"1")]
        )
        self.assertEqual(len(self.some), 5)
        self.assertNotEqual(fields("A: 1", "B: 2"), fields("B: 2", "A: 1"))
        self.assertEqual(hash(fields("A: 1")), hash(fields("A: 1")))

    def test_what_is_returned_is_a_copy(self) -> None:
        """Nobody changes header fields by changing the list of their values."""
        self.some.get_all(b"via").clear()
        self.assertEqual(self.some.get_all(b"via"), [b"1", b"2", b"", b"1"])

    def test_members(self) -> None:
        """A simple list is split at commas over all its lines; white space and empty members do not count (5.6.1)."""
        for case, lines, expected in (
            ("one", ["Vary: Accept"], [b"accept"]),
            ("several", ["Vary: Accept,Accept-Language"], [b"accept", b"accept-language"]),
            ("white space", ["Vary: \t Accept \t,\tOrigin"], [b"accept", b"origin"]),
            ("empty members", ["Vary: , Accept,, ,Origin,"], [b"accept", b"origin"]),
            ("several lines", ["Vary: B", "vary: A, B"], [b"b", b"a", b"b"]),
            ("nothing", ["Vary:"], []),
        ):
            self.assertEqual(fields(*lines).members(b"vary"), expected, case)

    def test_end_to_end(self) -> None:
        """Fields of the connection go no further: those known, and those Connection names (RFC 9110, 7.6.1)."""
        for case, lines, expected in (
            ("nothing to remove", ["Age: 1", "Via: x"], ["Age: 1", "Via: x"]),
            ("Connection itself", ["Connection: close", "Age: 1"], ["Age: 1"]),
            ("named by Connection", ["X-Hop: 1", "Connection: X-HOP", "Age: 1", "x-hop: 2"], ["Age: 1"]),
            ("named on two lines", ["Connection: a", "A: 1", "B: 2", "connection: ,b"], []),
            ("named and absent", ["Connection: a, keep-alive", "B: 2"], ["B: 2"]),
            ("by any spelling", ["KEEP-ALIVE: 5", "Transfer-encoding: chunked", "tE: trailers"], []),
            (
                "what Proxy- fields are the next hop's",
                ["Proxy-Authorization: x", "Proxy-Status: y"],
                ["Proxy-Status: y"],
            ),
            ("what begins alike", ["Upgrade-Insecure-Requests: 1"], ["Upgrade-Insecure-Requests: 1"]),
        ):
            self.assertEqual(fields(*lines).end_to_end(), fields(*expected), case)

    def test_every_field_of_the_connection_is_known(self) -> None:
        """Each field that RFC 9110, 7.6.1 and 11.7 and RFC 9112 define for one connection is removed."""
        for name in (
            "Connection",
            "Keep-Alive",
            "Proxy-Authenticate",
            "Proxy-Authentication-Info",
            "Proxy-Authorization",
            "Proxy-Connection",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
        ):
            self.assertEqual(fields(f"{name}: x", "Age: 1").end_to_end(), fields("Age: 1"), name)

    def test_repr_tells_names_only(self) -> None:
        """No value is ever shown: it may be a credential."""
        self.assertEqual(repr(fields("Authorization: Bearer hush", "Via: hush")), "Headers(Authorization, Via)")
        self.assertEqual(repr(Headers(((b"\xff", b"hush"),))), "Headers(ÿ)")

    @properties
    @given(_PAIRS, tokens)
    def test_looking_up_finds_all_in_order(self, pairs: Pairs, name: bytes) -> None:
        """The values of a name are those of the pairs with that name, in their order."""
        headers = Headers(tuple(pairs))
        for wanted in {name, *(found for found, _ in pairs)}:
            values = [value for found, value in pairs if found.lower() == wanted.lower()]
            self.assertEqual(headers.get_all(wanted), values)
            self.assertEqual(headers.get(wanted), values[0] if values else None)
            self.assertEqual(headers.combined(wanted), b", ".join(values) if values else None)
            self.assertEqual(wanted in headers, bool(values))
            self.assertEqual(wanted.lower() in headers.names, bool(values))

    @properties
    @given(_PAIRS, _PAIRS)
    def test_changing_keeps_the_order(self, pairs: Pairs, others: Pairs) -> None:
        """Adding puts behind, replacing removes by name and puts behind, and all else stays where it was."""
        headers = Headers(tuple(pairs))
        names = {name.lower() for name, _ in others}
        left = [pair for pair in pairs if pair[0].lower() not in names]
        self.assertEqual(list(headers.adding(*others)), pairs + others)
        self.assertEqual(list(headers.without(names)), left)
        self.assertEqual(list(headers.replacing(*others)), left + others)
        self.assertEqual(list(headers), pairs)

    @properties
    @given(_PAIRS)
    def test_end_to_end_removes_and_does_nothing_else(self, pairs: Pairs) -> None:
        """What is left stands in its order, and none of it belongs to the connection."""
        headers = Headers(tuple(pairs))
        banned = HOP_BY_HOP | set(headers.members(b"connection"))
        self.assertEqual(list(headers.end_to_end()), [pair for pair in pairs if pair[0].lower() not in banned])


class MessageTests(SynchronousTestCase):
    """Requests and the heads of responses."""

    def test_repr_keeps_secrets(self) -> None:
        """A request shows itself without its target, header fields and content, any of which may be secret."""
        request = Request(b"POST", b"/a/b?key=hush&x", fields("Cookie: hush"), b"hush", client="192.0.2.1")
        self.assertEqual(repr(request), "<Request POST 4 bytes>")
        self.assertEqual(repr(Request(b"PUT", b"/hush", body=Large(b"hushhush"))), "<Request PUT 8 bytes>")

    def test_held(self) -> None:
        """Content is there while somebody holds it, however he comes to let go; what is in memory is there anyway."""
        content = Large(b"x")
        with held(content):
            with self.assertRaises(ValueError), held(content):
                self.assertEqual(content.holders, 2)
                raise ValueError
            self.assertEqual(content.holders, 1)
        self.assertEqual(content.holders, -1)
        with held(b"x"):
            pass

    def test_plain(self) -> None:
        """What is not given is empty."""
        self.assertEqual(Request(b"GET", b"/"), Request(b"GET", b"/", Headers(), b"", client="", secure=False))
        self.assertEqual(Response(204), Response(204, Headers(), b""))


class OriginTests(SynchronousTestCase):
    """An origin server."""

    def test_authority(self) -> None:
        """`Host` has a port only where it is not the scheme's own, and brackets around IPv6 (RFC 9110, 7.2)."""
        for origin, authority, root in (
            (Origin("https", "a.example", 443), b"a.example", "https://a.example"),
            (Origin("http", "a.example", 80), b"a.example", "http://a.example"),
            (Origin("http", "a.example", 443), b"a.example:443", "http://a.example:443"),
            (Origin("https", "a.example", 80), b"a.example:80", "https://a.example:80"),
            (Origin("https", "::1", 443), b"[::1]", "https://[::1]"),
            (Origin("https", "::1", 8443, "/ca.pem"), b"[::1]:8443", "https://[::1]:8443"),
        ):
            self.assertEqual((origin.authority, origin.root, str(origin)), (authority, root.encode(), root))

    def test_whom_to_believe_tells_origins_apart(self) -> None:
        """A connection made under one authority is not the other origin's."""
        plain, private = Origin("https", "a.example", 443), Origin("https", "a.example", 443, "/ca.pem")
        self.assertEqual(len({plain, private, Origin("https", "a.example", 443)}), 2)
