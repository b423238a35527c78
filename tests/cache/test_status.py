"""Tests of `buddyproxy.cache.status`: RFC 9211."""

from itertools import product
from typing import get_args

from http_sf import Token, parse
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.status import CacheStatus, Reason


class CacheStatusTests(SynchronousTestCase):
    """One cache's member of Cache-Status."""

    def test_member(self) -> None:
        """Each parameter is written where it has something to say, and not otherwise (2.1 to 2.8)."""
        for status, expected in (
            (CacheStatus(), b"buddyproxy"),
            (CacheStatus(hit=True), b"buddyproxy; hit"),
            (CacheStatus(hit=True, ttl=376), b"buddyproxy; hit; ttl=376"),
            (CacheStatus(hit=True, ttl=0), b"buddyproxy; hit; ttl=0"),
            (CacheStatus(hit=True, ttl=-412), b"buddyproxy; hit; ttl=-412"),
            (CacheStatus(fwd="uri-miss"), b"buddyproxy; fwd=uri-miss"),
            (CacheStatus(fwd="stale", fwd_status=304), b"buddyproxy; fwd=stale; fwd-status=304"),
            (CacheStatus(fwd="uri-miss", stored=True, ttl=60), b"buddyproxy; fwd=uri-miss; ttl=60; stored"),
            (CacheStatus(fwd="method", detail="no-store"), b"buddyproxy; fwd=method; detail=no-store"),
            (CacheStatus(hit=True, ttl=1, key=b"\x00\xff"), b'buddyproxy; hit; ttl=1; key="00ff"'),
            (CacheStatus(detail="not-cached"), b"buddyproxy; detail=not-cached"),
            (CacheStatus(hit=True, key=b"\x00\xff"), b'buddyproxy; hit; key="00ff"'),
            (CacheStatus(fwd="bypass", key=b""), b'buddyproxy; fwd=bypass; key=""'),
            (
                CacheStatus(fwd="request", fwd_status=200, stored=True, ttl=5, detail="x", key=b"k"),
                b'buddyproxy; fwd=request; fwd-status=200; ttl=5; stored; key="6b"; detail=x',
            ),
        ):
            self.assertEqual(status.member(), expected)

    def test_every_member_is_a_structured_item(self) -> None:
        """Whatever came together, it is a token with parameters of the right types (RFC 9211, 2; RFC 9651, 3.3)."""
        reasons: tuple[Reason | None, ...] = (None, *get_args(Reason))
        values = product(
            (True, False), reasons, (None, 304), (True, False), (None, -1, 5), (None, "x"), (None, b"k" * 32)
        )
        for hit, fwd, code, stored, ttl, detail, key in values:
            expected = {
                "hit": hit or None,
                "fwd": Token(fwd) if fwd else None,
                "fwd-status": code,
                "ttl": ttl,
                "stored": stored or None,
                "key": None if key is None else "6b" * 32,
                "detail": Token(detail) if detail else None,
            }
            member = CacheStatus(hit, fwd, code, stored, ttl=ttl, detail=detail, key=key).member()
            parameters = {name: value for name, value in expected.items() if value is not None}
            self.assertEqual(parse(member, tltype="list"), [(Token("buddyproxy"), parameters)])

    def test_reasons_are_those_of_the_standard(self) -> None:
        """A request goes forward for a reason that RFC 9211, 2.2 knows, and all it knows can be said."""
        self.assertEqual(
            set(get_args(Reason)),
            {"bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"},
        )

    def test_word(self) -> None:
        """One word tells the outcome: a hit, why it went forward, or why there was no answer."""
        for status, expected in (
            (CacheStatus(hit=True, ttl=1), "hit"),
            (CacheStatus(hit=True, detail="x"), "hit"),
            (CacheStatus(fwd="stale", detail="no-store"), "stale"),
            (CacheStatus(detail="not-cached"), "not-cached"),
            (CacheStatus(), "none"),
        ):
            self.assertEqual(status.word, expected)
