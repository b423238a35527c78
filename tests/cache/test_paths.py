"""Tests of `buddyproxy.cache.paths`: which paths a pattern is for, however they are spelt."""

import re
from fnmatch import translate
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.paths import glob, normal_path
from tests.support.values import properties

_PATHS = st.text("/ab.%~ é", max_size=12).map(lambda text: "/" + text)


def _matches(pattern: str, path: str) -> bool:
    return glob(pattern).fullmatch(normal_path(path.encode())) is not None


class NormalPathTests(SynchronousTestCase):
    """One spelling for all equivalent ones (RFC 3986, 6.2.2)."""

    def test_table(self) -> None:
        """Percent-encoding and dot segments say nothing; all else stays."""
        for case, path, expected in (
            ("the root", b"/", b"/"),
            ("a plain path", b"/v1/models", b"/v1/models"),
            ("an encoded letter", b"/v1/%6Dodel%73", b"/v1/models"),
            ("an encoded tilde", b"/%7euser", b"/~user"),
            ("an encoded slash", b"/a%2fb", b"/a%2Fb"),
            ("an encoded percent sign", b"/%2541", b"/%2541"),
            ("a percent sign alone", b"/100%/a%4", b"/100%/a%4"),
            ("bytes that should be encoded", b"/\xc3\xa9 \n", b"/%C3%A9%20%0A"),
            ("reserved characters", b"/a:b;c=d,e@!$&'()*+", b"/a:b;c=d,e@!$&'()*+"),
            ("a slash at the end", b"/a/", b"/a/"),
            ("two slashes", b"/a//b", b"/a//b"),
            ("a dot segment", b"/a/./b", b"/a/b"),
            ("a dot segment up", b"/a/../b", b"/b"),
            ("encoded dots", b"/a/%2E%2e/b", b"/b"),
            ("one at the end", b"/a/b/..", b"/a/"),
            ("the other at the end", b"/a/.", b"/a/"),
            ("above the root", b"/../../a", b"/a"),
            ("nothing but up", b"/..", b"/"),
            ("dots in a name", b"/.well-known/...", b"/.well-known/..."),
        ):
            self.assertEqual(normal_path(path), expected, case)

    @properties
    @given(st.binary(max_size=20).map(lambda path: b"/" + path))
    def test_once_is_enough(self, path: bytes) -> None:
        """The normal form is its own normal form, but for percent signs that encode nothing; it is clean ASCII."""
        made = normal_path(path.replace(b"%", b""))
        self.assertEqual(normal_path(made), made)
        self.assertTrue(re.fullmatch(rb"/[!-~]*", made), made)

    @properties
    @given(st.text("/abé .~", max_size=12))
    def test_all_spellings_are_one(self, text: str) -> None:
        """A path encoded as far as possible has the normal form of the one encoded as little as possible."""
        everything = "".join("/" if letter == "/" else f"%{octet:02x}" for letter in text for octet in letter.encode())
        plain = normal_path(("/" + text).encode())
        self.assertEqual(normal_path(("/" + everything).encode()), plain)
        self.assertEqual(normal_path(("/" + quote(text)).encode()), plain)


class GlobTests(SynchronousTestCase):
    """Patterns with `*` and `?`."""

    def test_table(self) -> None:
        """`*` is any characters, slashes included, `?` any one byte; all else is itself, and the whole path counts."""
        for pattern, matching, others in (
            ("/models", ["/models", "/%6Dodels", "/x/../models"], ["/models/", "/models/a", "/Models", "/model", "/"]),
            ("/models*", ["/models", "/models/a/b", "/modelsx"], ["/model", "/v1/models"]),
            ("/models/*", ["/models/", "/models/a"], ["/models"]),
            ("*", ["/", "/a/b", "/é"], []),
            ("*.json", ["/a.json", "/a/b.json", "/.json"], ["/a.json/b", "/ajson"]),
            ("/a/*/c", ["/a/b/c", "/a/b/b/c", "/a//c"], ["/a/c", "/a/b/c/d"]),
            ("/a*b*c", ["/abc", "/a-b-b-c", "/abcbc"], ["/acb", "/ab"]),
            ("/a*a", ["/aa", "/aba"], ["/a"]),
            ("/**", ["/", "/a"], []),
            ("/?", ["/a", "/%c3", "/%2F", "/%"], ["/", "/ab", "/é"]),
            ("/v?/*", ["/v1/a", "/v2/"], ["/v10/a", "/v/a"]),
            ("/a?b*c?", ["/axbcx", "/a/b/c/"], ["/axbc"]),
            ("/é a", ["/é a", "/%c3%a9%20a"], ["/e a"]),
            ("/%c3%a9", ["/é"], []),
            ("/a%2Fb", ["/a%2fb"], ["/a/b"]),
            ("/[ab].{1}+(c)|$", ["/[ab].{1}+(c)|$"], ["/a.{1}+(c)|$", "/[ab]x{1}+(c)|$"]),
        ):
            for path in matching:
                self.assertTrue(_matches(pattern, path), (pattern, path))
            for path in others:
                self.assertFalse(_matches(pattern, path), (pattern, path))

    @properties
    @given(st.text("/ab*?", max_size=10), st.text("/ab", max_size=14))
    def test_as_in_a_shell(self, pattern: str, path: str) -> None:
        """Where nothing is encoded, a pattern matches what it matches in Python's `fnmatch`."""
        expected = re.fullmatch(translate(pattern), path) is not None
        self.assertEqual(glob(pattern).fullmatch(path.encode()) is not None, expected)

    @properties
    @given(_PATHS)
    def test_a_path_matches_itself(self, path: str) -> None:
        """A path without dot segments, taken as a pattern, matches that path."""
        self.assertTrue(_matches(path.replace(".", ""), path.replace(".", "")))

    def test_many_stars(self) -> None:
        """A pattern never takes long, however often it could match in part: nothing is tried twice."""
        self.assertFalse(_matches("/" + "*a" * 200 + "*b", "/" + "a" * 2000))
