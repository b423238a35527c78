"""Tests of `buddyproxy.gate`."""

from urllib.parse import quote

from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.errors import NO_MAPPING, SecurityError, UnknownMapping
from buddyproxy.gate import KEY_POSITIONS, Admitted, Gate, Key
from buddyproxy.message import Headers, Request
from tests.support.values import fields, properties

SECRET = "correct-horse-battery"
OTHER = "another-horse-battery"
ALL = Key.of(SECRET)
SOME = Key.of(OTHER, ["openai", "files"])
GATE = Gate((ALL, SOME))

# Keys as the configuration allows them: at least 16 visible characters of ASCII.
_KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=16, max_size=24)
_WRONG = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=24)
_TARGETS = st.sampled_from(("/openai/v1?a=b&c", "/", "/openai", "/?", "//x", "/a%20b?proxy_key", "/x?&&=&proxy_keys=1"))
_CHOSEN = st.sets(st.sampled_from(sorted(KEY_POSITIONS)), min_size=1)


def _asking(target: str, *lines: str) -> Request:
    return Request(b"GET", target.encode("latin-1"), fields(*lines), b"content", client="192.0.2.1", secure=True)


def _showing(secret: str, positions: set[str], target: str, headers: Headers) -> Request:
    """Return a request for `target` that shows `secret` in each of `positions`, the way a client writes it there."""
    written = quote(secret, safe="").encode()
    wire = target.encode()
    if "query_param" in positions:
        wire += (b"&" if b"?" in wire else b"?") + b"proxy_key=" + written
    if "path_prefix" in positions:
        wire = b"/" + written + wire
    if "header" in positions:
        headers = headers.adding((b"X-Proxy-Key", secret.encode()))
    return Request(b"GET", wire, headers)


class AdmissionTests(SynchronousTestCase):
    """Who may come in."""

    def test_without_keys_everyone_may(self) -> None:
        """A gate without keys lets everyone in, and keeps a key shown to it needlessly from the origin."""
        request = _asking("/k/openai?proxy_key=a", "X-Proxy-Key: b", "Referer: c")
        self.assertEqual(Gate().admit(request), Admitted(_asking("/k/openai", "Referer: c")))

    def test_each_position(self) -> None:
        """A key opens from the header, the path and the query, and is gone behind the gate; all else is as it was."""
        cases: tuple[tuple[str, str, list[str], str, list[str], str], ...] = (
            ("header", "/openai/x?a=b", [f"X-Proxy-Key: {SECRET}", "A: 1"], "/openai/x?a=b", ["A: 1"], ""),
            ("header in another case", "/x", ["A: 1", f"x-proxy-key: {SECRET}"], "/x", ["A: 1"], ""),
            ("header, twice", "/x", ["X-Proxy-Key: no", f"X-Proxy-Key: {SECRET}"], "/x", [], ""),
            ("path", f"/{SECRET}/openai/x?a=b", [], "/openai/x?a=b", [], f"/{SECRET}"),
            ("path and nothing else", f"/{SECRET}", [], "/", [], f"/{SECRET}"),
            ("path and a slash", f"/{SECRET}/", [], "/", [], f"/{SECRET}"),
            ("path and a query", f"/{SECRET}?a=/b", [], "/?a=/b", [], f"/{SECRET}"),
            ("path and two slashes", f"/{SECRET}//x", [], "//x", [], f"/{SECRET}"),
            ("path, encoded", "/correct%2Dhorse-battery/x", [], "/x", [], "/correct%2Dhorse-battery"),
            ("query", f"/x?proxy_key={SECRET}", [], "/x", [], ""),
            ("query, first", f"/x?proxy_key={SECRET}&a=b&c", [], "/x?a=b&c", [], ""),
            ("query, last", f"/x?a=b&proxy_key={SECRET}", [], "/x?a=b", [], ""),
            ("query, between", f"/x?a=b&proxy_key={SECRET}&c=?d", [], "/x?a=b&c=?d", [], ""),
            ("query, with empty parts", f"/x?&proxy_key={SECRET}&", [], "/x?&", [], ""),
            ("query, twice", f"/x?proxy_key=no&proxy_key={SECRET}", [], "/x", [], ""),
            ("query, encoded", "/x?proxy_key=correct%2dhorse-battery", [], "/x", [], ""),
            ("header and path", f"/{SECRET}/x", [f"X-Proxy-Key: {SECRET}"], "/x", [], f"/{SECRET}"),
            ("header and query", f"/x?proxy_key={SECRET}", [f"X-Proxy-Key: {SECRET}"], "/x", [], ""),
            ("path and query", f"/{SECRET}/x?proxy_key={SECRET}", [], "/x", [], f"/{SECRET}"),
            ("header, asking of the server as a whole", "*", [f"X-Proxy-Key: {SECRET}"], "*", [], ""),
            ("header, in absolute-form", "http://a/", [f"X-Proxy-Key: {SECRET}"], "http://a/", [], ""),
            ("one right and one wrong", "/x?proxy_key=no", [f"X-Proxy-Key: {SECRET}"], "/x", [], ""),
            ("what is alike", f"/x?xproxy_key=1&proxy_key={SECRET}&proxy_key", [], "/x?xproxy_key=1&proxy_key", [], ""),
        )
        for case, target, lines, left, kept, prefix in cases:
            request = _asking(target, *lines)
            expected = evolve(request, target=left.encode(), headers=fields(*kept))
            self.assertEqual(GATE.admit(request), Admitted(expected, prefix.encode()), case)

    def test_wrong_keys(self) -> None:
        """Without a key, with a wrong one, or with the right one in the wrong place, nobody comes in."""
        for case, target, lines in (
            ("none", "/openai/x", []),
            ("a wrong one in the header", "/openai/x", ["X-Proxy-Key: wrong"]),
            ("an empty one", "/?proxy_key=", ["X-Proxy-Key:"]),
            ("the beginning", "/x", [f"X-Proxy-Key: {SECRET[:-1]}"]),
            ("more than all", "/x", [f"X-Proxy-Key: {SECRET}x"]),
            ("another case", "/x", [f"X-Proxy-Key: {SECRET.upper()}"]),
            ("white space", f"/x?proxy_key={SECRET}%20", []),
            ("two in one line", "/x", [f"X-Proxy-Key: {SECRET}, {OTHER}"]),
            ("the header of another scheme", "/x", [f"Authorization: Bearer {SECRET}"]),
            ("the second segment", f"/x/{SECRET}", []),
            ("behind two slashes", f"//{SECRET}/x", []),
            ("in the middle of a segment", f"/{SECRET}x/x", []),
            ("another parameter", f"/x?key={SECRET}", []),
            ("another case of the parameter", f"/x?PROXY_KEY={SECRET}", []),
            ("no parameter", f"/x?{SECRET}", []),
            ("a fragment of the path", f"/x#proxy_key={SECRET}", []),
            ("a referring page", "/x", [f"Referer: http://proxy/{SECRET}/"]),
            ("encoded twice", f"/{SECRET.replace('-', '%252D')}/x", []),
            ("the digest", "/x", [f"X-Proxy-Key: {ALL.digest.hex()}"]),
        ):
            with self.assertRaises(SecurityError, msg=case) as raised:
                GATE.admit(_asking(target, *lines))
            self.assertNotIn("wrong", str(raised.exception), case)
            self.assertNotIn(SECRET, str(raised.exception), case)

    def test_positions(self) -> None:
        """Where only one position is allowed, a key in another opens nothing."""
        shown = {
            "header": _asking("/x", f"X-Proxy-Key: {SECRET}"),
            "path_prefix": _asking(f"/{SECRET}/x"),
            "query_param": _asking(f"/x?proxy_key={SECRET}"),
        }
        self.assertEqual(KEY_POSITIONS, set(shown))
        for allowed in shown:
            gate = Gate((ALL,), positions=frozenset({allowed}))
            for position, request in shown.items():
                if position == allowed:
                    admitted = gate.admit(request).request
                    self.assertEqual((admitted.target, admitted.headers), (b"/x", Headers()), position)
                else:
                    self.assertRaises(SecurityError, gate.admit, request)

    def test_a_key_in_the_wrong_place(self) -> None:
        """Where one position counts, a key in another opens nothing, and goes no further all the same."""
        wrong = {
            "header": _asking(f"/x?proxy_key={SECRET}"),
            "query_param": _asking("/x", f"X-Proxy-Key: {SECRET}"),
            "path_prefix": _asking(f"/x?proxy_key={SECRET}", f"X-Proxy-Key: {SECRET}"),
        }
        for position, request in wrong.items():
            self.assertRaises(SecurityError, Gate((ALL,), positions=frozenset({position})).admit, request)
        gate = Gate((ALL,), positions=frozenset({"header"}))
        admitted = gate.admit(_asking(f"/k/x?proxy_key={SECRET}&b", f"X-Proxy-Key: {SECRET}"))
        self.assertEqual(admitted.request.target, b"/k/x?b")
        gate = Gate((ALL,), positions=frozenset({"query_param"}))
        admitted = gate.admit(_asking(f"/k/x?proxy_key={SECRET}", f"X-Proxy-Key: {SECRET}"))
        self.assertEqual((admitted.request.target, admitted.request.headers), (b"/k/x", fields()))

    def test_names_of_ones_own(self) -> None:
        """Header and parameter have the names that the configuration gives them."""
        gate = Gate((ALL,), header=b"X-Door", parameter=b"door.key")
        for request in (_asking("/x", f"X-Door: {SECRET}"), _asking(f"/x?door.key={SECRET}")):
            self.assertEqual(gate.admit(request).request, _asking("/x"))
        for request in (_asking("/x", f"X-Proxy-Key: {SECRET}"), _asking(f"/x?proxy_key={SECRET}")):
            self.assertRaises(SecurityError, gate.admit, request)

    def test_a_key_with_reserved_characters(self) -> None:
        """A key opens from the target as clients write it there: encoded, or as it is where it can be."""
        secret = "a/b?c&d=e%f#g+h;i~"
        gate = Gate((Key.of(secret),))
        for target in (f"/{quote(secret, safe='')}/x", f"/x?proxy_key={quote(secret, safe='')}"):
            self.assertEqual(gate.admit(_asking(target)).request, _asking("/x"), target)
        plain = "100%25-and-more%"
        self.assertEqual(Gate((Key.of(plain),)).admit(_asking(f"/{plain}/x")).request, _asking("/x"))

    def test_fields_that_repeat_the_key(self) -> None:
        """No field brings the key to the origin: not the referring page, nor what a gateway in front noted."""
        for case, line, kept in (
            ("a referring page, by path", f"Referer: http://proxy/{SECRET}/openai/", False),
            ("a referring page, by query", f"Referer: http://proxy/?proxy_key={SECRET}", False),
            ("a referring page, encoded", "Referer: http://proxy/correct%2dhorse%2Dbattery/", False),
            ("the key alone", f"referer: {SECRET}", False),
            ("what a gateway noted", f"X-Original-URI: /{SECRET}/openai/", False),
            ("another page", "Referer: http://proxy/openai/x", True),
            ("a page beside a wrong key", "Referer: http://proxy/wrong/", True),
            ("another caller's key", f"Referer: http://proxy/{OTHER}/", True),
        ):
            request = _asking("/openai/x?proxy_key=wrong", "A: 1", line, f"X-Proxy-Key: {SECRET}", "Referer: x")
            expected = fields("A: 1", line, "Referer: x") if kept else fields("A: 1", "Referer: x")
            self.assertEqual(GATE.admit(request).request.headers, expected, case)

    @properties
    @given(_KEYS, _CHOSEN, _TARGETS, st.lists(_KEYS, max_size=2))
    def test_no_trace_of_the_key(self, secret: str, positions: set[str], target: str, others: list[str]) -> None:
        """Whichever way a key is shown, the admitted request is the one that would have come without it."""
        pages = ("http://proxy/{}/x", "http://proxy/x?proxy_key={}", "{}")
        written = {secret, quote(secret), quote(secret, safe="")}
        assume(not any(text in target for text in written))
        leaking = [(b"Referer", page.format(text).encode()) for page in pages for text in sorted(written)]
        innocent = Headers(((b"Host", b"proxy"), (b"Referer", b"http://proxy/x")))
        gate = Gate(tuple(Key.of(text) for text in {*others, secret}))
        admitted = gate.admit(_showing(secret, positions, target, innocent.adding(*leaking)))
        self.assertEqual(admitted.request.headers, innocent)
        wire = b"".join((admitted.request.target, *(name + value for name, value in admitted.request.headers)))
        for text in written:
            self.assertNotIn(text.encode(), wire)
            self.assertNotIn(text, repr(admitted))
        self.assertEqual(admitted.request.target, target.encode())

    @properties
    @given(_KEYS, _WRONG, _CHOSEN, _TARGETS)
    def test_a_wrong_key_is_never_admitted(self, secret: str, shown: str, positions: set[str], target: str) -> None:
        """However close it comes, what is not the key opens nothing."""
        for wrong in (
            shown,
            secret[:-1],
            secret + "x",
            secret.swapcase() + "x",
            secret[::-1] + "x",
            quote(secret) + "%",
        ):
            if secret not in (wrong, quote(wrong, safe="")):
                request = _showing(wrong, positions, target, Headers())
                with self.assertRaises(SecurityError) as raised:
                    Gate((Key.of(secret),)).admit(request)
                self.assertNotIn(secret, str(raised.exception))

    @properties
    @given(st.binary(max_size=40), st.lists(st.tuples(st.just(b"X-Proxy-Key"), st.binary(max_size=20)), max_size=2))
    def test_never_fails_otherwise(self, target: bytes, pairs: list[tuple[bytes, bytes]]) -> None:
        """Whatever is sent for a target or a key, it is refused and nothing else."""
        self.assertRaises(SecurityError, GATE.admit, Request(b"GET", target, Headers(tuple(pairs))))


class KeyTests(SynchronousTestCase):
    """Keys, and what they are for."""

    def test_keys_are_for_mappings(self) -> None:
        """A key opens the mappings it is for, and one without any opens all."""
        some = GATE.admit(_asking("/x", f"X-Proxy-Key: {OTHER}"))
        self.assertEqual(some.mappings, {"openai", "files"})
        for mapping in ("openai", "files"):
            some.check(mapping)
        for mapping in ("plain", "OpenAI", ""):
            with self.assertRaises(UnknownMapping) as raised:
                some.check(mapping)
            self.assertEqual(str(raised.exception), NO_MAPPING)
        for admitted in (GATE.admit(_asking("/x", f"X-Proxy-Key: {SECRET}")), Gate().admit(_asking("/x"))):
            self.assertIsNone(admitted.mappings)
            admitted.check("plain")

    def test_a_key_for_nothing(self) -> None:
        """A key for no mapping opens none."""
        admitted = Gate((Key.of(SECRET, []),)).admit(_asking("/x", f"X-Proxy-Key: {SECRET}"))
        self.assertRaises(UnknownMapping, admitted.check, "openai")

    def test_keys_are_held_as_digests(self) -> None:
        """Neither a key nor what it came in can be read off the gate or what it admitted."""
        self.assertNotIn(SECRET.encode(), ALL.digest)
        self.assertEqual(len(ALL.digest), 32)
        admitted = GATE.admit(_asking(f"/{SECRET}/x"))
        for shown in (repr(ALL), repr(GATE), repr(admitted)):
            self.assertNotIn(SECRET, shown)
            self.assertNotIn(repr(ALL.digest), shown)

    def test_keys_beyond_ascii(self) -> None:
        """A key is compared as UTF-8."""
        gate = Gate((Key.of("schlüssel-des-hauses"),))
        request = Request(b"GET", b"/x", Headers(((b"X-Proxy-Key", "schlüssel-des-hauses".encode()),)))
        self.assertEqual(gate.admit(request).request.headers, Headers())
