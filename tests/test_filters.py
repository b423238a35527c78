"""Tests of `buddyproxy.filters`."""

from ipaddress import ip_network

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.errors import BadRequest, LoopDetected
from buddyproxy.filters import MOST_PASSES, VIA, FieldChanges, Outward
from buddyproxy.message import Headers, Request
from tests.support.values import fields

TOLD = (
    "Forwarded: for=10.0.0.1",
    "X-Forwarded-For: 10.0.0.1",
    "x-forwarded-proto: https",
    "X-Forwarded-Anything: 1",
    "X-Real-IP: 10.0.0.1",
)


def _asking(*lines: str, client: str = "192.0.2.1", secure: bool = False) -> Request:
    return Request(b"POST", b"/m/thing?a", fields(*lines), b"content", client=client, secure=secure)


def _sent(outward: Outward, request: Request) -> Headers:
    return outward.apply(request, b"origin.example", b"/thing?a").headers


class FieldChangesTests(SynchronousTestCase):
    """Fields set and removed."""

    def test_apply(self) -> None:
        """A field set replaces all of its name, a field removed is gone, and all else stays in its order."""
        for case, changes, expected in (
            ("nothing", FieldChanges(), ["A: 1", "B: 2", "a: 3", "C: 4"]),
            ("removed", FieldChanges(remove=frozenset({b"a"})), ["B: 2", "C: 4"]),
            ("removed, being absent", FieldChanges(remove=frozenset({b"x"})), ["A: 1", "B: 2", "a: 3", "C: 4"]),
            ("set", FieldChanges(set=((b"B", b"5"),)), ["A: 1", "a: 3", "C: 4", "B: 5"]),
            ("set, being absent", FieldChanges(set=((b"X", b"5"),)), ["A: 1", "B: 2", "a: 3", "C: 4", "X: 5"]),
            ("set, several lines", FieldChanges(set=((b"A", b"5"), (b"a", b"6"))), ["B: 2", "C: 4", "A: 5", "a: 6"]),
            ("both", FieldChanges(((b"A", b"5"),), frozenset({b"a", b"b"})), ["C: 4", "A: 5"]),
        ):
            self.assertEqual(changes.apply(fields("A: 1", "B: 2", "a: 3", "C: 4")), fields(*expected), case)

    def test_apply_to_switch(self) -> None:
        """A 101's fields are changed like any, but for those that the other protocol rests on."""
        received = fields("A: 1", "Connection: Upgrade, X-Hop", "Upgrade: a/1", "Content-Length: 1", "X-Hop: 1")
        changes = FieldChanges(((b"B", b"2"), (b"Sec-WebSocket-Accept", b"y")), frozenset({b"a", b"upgrade"}))
        expected = fields("Connection: upgrade", "Upgrade: a/1", "B: 2")
        self.assertEqual(changes.apply_to_switch(received), expected.adding((b"Sec-WebSocket-Accept", b"y")))
        kept = (b"sec-websocket-accept", b"x")
        self.assertEqual(changes.apply_to_switch(received.adding(kept)), expected.adding(kept))


class UpgradeTests(SynchronousTestCase):
    """Which protocols an origin is asked for (RFC 9110, 7.8)."""

    def asked(self, *lines: str, body: bytes = b"", outward: Outward | None = None) -> Request | None:
        return (outward or Outward()).upgrade(_asking(*lines), Request(b"GET", b"/", fields("A: 1"), body))

    def test_relayed(self) -> None:
        """They are named as the caller named them, behind all other fields."""
        for lines, expected in (
            (("Connection: Upgrade", "Upgrade: WebSocket"), "WebSocket"),
            (("Connection: keep-alive", "connection: upgrade, x", "Upgrade: a/1.0 ,b", "UPGRADE: c"), "a/1.0, b, c"),
            (("Connection: upgrade", "Upgrade: h2c,, websocket, TLS/1.3, , a/, /a, a b, a/b/c"), "websocket"),
        ):
            asked = self.asked(*lines)
            assert asked is not None
            self.assertEqual(asked.headers, fields("A: 1", "Connection: upgrade", f"Upgrade: {expected}"))
            self.assertEqual((asked.method, asked.target), (b"GET", b"/"))

    def test_not_relayed(self) -> None:
        """None is asked for that carries requests, or comes with content, or is not wanted here."""
        upgrade = ("Connection: Upgrade", "Upgrade: websocket")
        removing = Outward(FieldChanges(remove=frozenset({b"upgrade"})))
        for case, asked in (
            ("none", self.asked()),
            ("not of the connection", self.asked("Upgrade: websocket")),
            ("not named", self.asked("Connection: Upgrade")),
            ("empty", self.asked("Connection: Upgrade", "Upgrade: ")),
            ("no protocol", self.asked("Connection: Upgrade", "Upgrade: a b")),
            *((name, self.asked("Connection: Upgrade", f"Upgrade: {name}")) for name in ("h2c", "H2", "HTTP/2", "TLS")),
            ("content", self.asked(*upgrade, body=b"x")),
            ("chunks", self.asked(*upgrade, "Transfer-Encoding: chunked")),
            ("removed", self.asked(*upgrade, outward=removing)),
        ):
            self.assertIsNone(asked, case)


class OutwardTests(SynchronousTestCase):
    """A request on its way to the origin."""

    def test_the_origin_is_named(self) -> None:
        """Host is the origin's and leads, Via is added behind, the target is the origin's; the rest is as it was."""
        request = _asking("A: 1", "Host: proxy", "B: 2", "a: 3", "HOST: again")
        self.assertEqual(
            Outward().apply(request, b"origin.example:8443", b"/v1/thing?a"),
            evolve(
                request,
                target=b"/v1/thing?a",
                headers=fields("Host: origin.example:8443", "A: 1", "B: 2", "a: 3", "Via: 1.1 buddyproxy"),
            ),
        )
        self.assertEqual(_sent(Outward(), _asking()), fields("Host: origin.example", "Via: 1.1 buddyproxy"))

    def test_fields_of_the_connection_end_here(self) -> None:
        """What belongs to the caller's connection goes no further (RFC 9110, 7.6.1)."""
        request = _asking("Connection: x-hop, close", "X-Hop: 1", "TE: trailers", "Upgrade: h2c", "A: 1")
        self.assertEqual(_sent(Outward(), request), fields("Host: origin.example", "A: 1", "Via: 1.1 buddyproxy"))

    def test_fields_that_are_not_the_connections(self) -> None:
        """Connection takes nothing away that decides the answer: a request where it would is refused."""
        for name in ("Authorization", "COOKIE", "x-api-key", "Cache-Control", "Pragma", "Range", "If-Match"):
            with self.assertRaises(BadRequest, msg=name):
                _sent(Outward(), _asking(f"Connection: close, {name.lower()}", f"{name}: 1"))
            with self.assertRaises(BadRequest, msg=name):
                _sent(Outward(), _asking("Connection: close", f"connection: a,{name}", f"{name}: 1"))
            self.assertEqual(
                _sent(Outward(), _asking(f"Connection: {name}")),
                fields("Host: origin.example", "Via: 1.1 buddyproxy"),
                name,
            )
        request = _asking("Connection: Proxy-Authorization", "Proxy-Authorization: 1")
        self.assertEqual(_sent(Outward(), request), fields("Host: origin.example", "Via: 1.1 buddyproxy"))

    def test_via_is_appended(self) -> None:
        """Whom the request passed before stays known, in order (RFC 9110, 7.6.3)."""
        self.assertEqual(
            _sent(Outward(), _asking("Via: 1.0 fred", "A: 1", "Via: 1.1 p")).get_all(b"via"),
            [b"1.0 fred", b"1.1 p", b"1.1 buddyproxy"],
        )
        self.assertEqual(VIA, b"1.1 buddyproxy")

    def test_loops_end(self) -> None:
        """A request that has come this way too often is going round in a ring, however its passes are written."""
        for case, lines, ring in (
            ("one less", ["Via: 1.1 buddyproxy"] * (MOST_PASSES - 1), False),
            ("enough", ["Via: 1.1 buddyproxy"] * MOST_PASSES, True),
            ("more", ["Via: 1.1 buddyproxy"] * 20, True),
            ("on one line", ["Via: " + ", ".join(["1.1 buddyproxy"] * MOST_PASSES)], True),
            ("on one line, one less", ["Via: " + ", ".join(["1.1 buddyproxy"] * (MOST_PASSES - 1))], False),
            ("among others", ["Via: 1.1 buddyproxy, 1.0 other"] * MOST_PASSES, True),
            ("others", ["Via: 1.0 other"] * 20, False),
            ("others of a name alike", ["Via: 1.1 buddyproxy2, 1.1 my-buddyproxy, 1.1 buddyproxy:80"] * 20, False),
            ("another field", ["X-Via: 1.1 buddyproxy"] * 20, False),
        ):
            if ring:
                with self.assertRaises(LoopDetected, msg=case):
                    _sent(Outward(), _asking(*lines))
            else:
                self.assertIn(VIA, _sent(Outward(), _asking(*lines)).get_all(b"via"), case)
        self.assertEqual(MOST_PASSES, 8)

    def test_changes(self) -> None:
        """A mapping's own fields are set last, over the caller's and ours; Host too, where it names another."""
        for case, changes, expected in (
            ("set", FieldChanges(set=((b"A", b"2"),)), ["Host: origin.example", "Via: 1.1 buddyproxy", "A: 2"]),
            ("removed", FieldChanges(remove=frozenset({b"a"})), ["Host: origin.example", "Via: 1.1 buddyproxy"]),
            ("another Host", FieldChanges(set=((b"Host", b"h"),)), ["A: 1", "Via: 1.1 buddyproxy", "Host: h"]),
            ("no Via", FieldChanges(remove=frozenset({b"via"})), ["Host: origin.example", "A: 1"]),
            (
                "no Host, which cannot be",
                FieldChanges(remove=frozenset({b"host"})),
                ["Host: origin.example", "A: 1", "Via: 1.1 buddyproxy"],
            ),
        ):
            self.assertEqual(_sent(Outward(changes), _asking("A: 1", "Host: proxy")), fields(*expected), case)

    def test_what_callers_say_of_themselves_is_dropped(self) -> None:
        """Anybody can claim to come from anywhere: such fields go no further, in whichever case they are written."""
        plain = fields("Host: origin.example", "A: 1", "X-Forwarded: 2", "Via: 1.1 buddyproxy")
        for client in ("192.0.2.1", "", "2001:db8::1", "not an address"):
            request = _asking("A: 1", *TOLD, "X-Forwarded: 2", client=client)
            self.assertEqual(_sent(Outward(), request), plain, client)

    def test_who_is_trusted_is_believed(self) -> None:
        """What a trusted proxy says of its caller is passed on as it is."""
        trusted = Outward(trusted=(ip_network("10.0.0.0/8"), ip_network("192.0.2.7"), ip_network("2001:db8::/32")))
        for client, believed in (
            ("10.1.2.3", True),
            ("192.0.2.7", True),
            ("2001:db8::5", True),
            ("::ffff:10.1.2.3", True),
            ("::ffff:11.1.2.3", False),
            ("11.1.2.3", False),
            ("192.0.2.8", False),
            ("2001:db9::5", False),
            ("::1", False),
            ("", False),
            ("/run/socket", False),
        ):
            expected = fields("Host: origin.example", *(TOLD if believed else ()), "Via: 1.1 buddyproxy")
            self.assertEqual(_sent(trusted, _asking(*TOLD, client=client)), expected, client)

    def test_introduction(self) -> None:
        """Where the mapping says so, the origin is told who is asking, in the new way and the old (RFC 7239)."""
        for case, request, expected in (
            (
                "plain",
                _asking("Host: proxy:8080"),
                [
                    'Forwarded: for=192.0.2.1;host="proxy:8080";proto=http',
                    "X-Forwarded-For: 192.0.2.1",
                    "X-Forwarded-Host: proxy:8080",
                    "X-Forwarded-Proto: http",
                ],
            ),
            (
                "IPv6 and TLS",
                _asking("Host: [::1]:8443", client="2001:db8::1", secure=True),
                [
                    'Forwarded: for="[2001:db8::1]";host="[::1]:8443";proto=https',
                    "X-Forwarded-For: 2001:db8::1",
                    "X-Forwarded-Host: [::1]:8443",
                    "X-Forwarded-Proto: https",
                ],
            ),
            (
                "no Host",
                _asking(),
                [
                    'Forwarded: for=192.0.2.1;host="";proto=http',
                    "X-Forwarded-For: 192.0.2.1",
                    "X-Forwarded-Host:",
                    "X-Forwarded-Proto: http",
                ],
            ),
            (
                "a Host that would break out of its quotes",
                _asking('Host: a";for=evil;x="\\'),
                [
                    'Forwarded: for=192.0.2.1;host="a;for=evil;x=";proto=http',
                    "X-Forwarded-For: 192.0.2.1",
                    "X-Forwarded-Host: a;for=evil;x=",
                    "X-Forwarded-Proto: http",
                ],
            ),
            ("nobody to tell of", _asking("Host: proxy", client=""), []),
        ):
            told = fields("Host: origin.example", *expected, "Via: 1.1 buddyproxy")
            self.assertEqual(_sent(Outward(forwarded=True), request), told, case)
            lying = evolve(request, headers=request.headers.adding(*fields(*TOLD)))
            self.assertEqual(_sent(Outward(forwarded=True), lying), told, f"{case}, and claims")

    def test_introduction_of_who_is_trusted(self) -> None:
        """Ours is put behind what a trusted proxy said."""
        outward = Outward(forwarded=True, trusted=(ip_network("192.0.2.1"),))
        told = _sent(outward, _asking(*TOLD, "Host: proxy"))
        self.assertEqual(told.get_all(b"x-forwarded-for"), [b"10.0.0.1", b"192.0.2.1"])
        self.assertEqual(told.get_all(b"forwarded"), [b"for=10.0.0.1", b'for=192.0.2.1;host="proxy";proto=http'])
