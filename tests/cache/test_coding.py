"""Tests of `buddyproxy.cache.coding`: RFC 9110, 8.4 and 12.5.3."""

import gzip
import zlib

import brotli
import zstandard
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache import coding
from buddyproxy.cache.choose import Distinguish, Forward, Reuse, choose
from buddyproxy.cache.coding import LARGEST, coding_of, takes, without_coding
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.cache.vary import field_value
from tests.support.values import BUDDY, NOW, RFC9111, field_values, fields, get, kept, properties

MINUTE = "Cache-Control: max-age=60"
CODERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "br": brotli.compress,
}


def coded(name: str, *lines: str, accepting: str = "gzip, br", body: bytes = b"hello") -> StoredResponse:
    """Return a response that was stored in the coding `name`, for a caller who accepts what `accepting` says."""
    selecting = ((b"accept-encoding", field_value(fields(f"Accept-Encoding: {accepting}"), b"accept-encoding")),)
    stored = kept(f"Content-Encoding: {name}", "Vary: Accept-Encoding", *lines, selecting=selecting)
    return evolve(stored, body=CODERS[name](body) if name in CODERS else body)


class TakesTests(SynchronousTestCase):
    """Which codings a caller takes."""

    def test_weights(self) -> None:
        """What is named is taken unless its weight is 0; `*` stands for all that is not named, identity included."""
        for value, expected in (
            ("gzip", "gzip identity"),
            ("GZIP, br;q=0.5", "br gzip identity"),
            ("x-gzip", "gzip identity"),
            ("gzip;q=0", "identity"),
            ("gzip; q=0.000", "identity"),
            ("*", "br gzip identity"),
            ("*;q=0", ""),
            ("*;q=0, gzip", "gzip"),
            ("*;q=0, identity", "identity"),
            ("identity;q=0", ""),
            ("identity;q=0, br", "br"),
            ("br, *;q=0.1", "br gzip identity"),
            ("", "identity"),
            ("gzip;level=1", "identity"),
            ("gzip;q=2", "identity"),
            ("g zip, br", "br identity"),
        ):
            request = get(f"Accept-Encoding: {value}")
            found = " ".join(name for name in ("br", "gzip", "identity") if takes(request, name.encode()))
            self.assertEqual(found, expected, value)

    def test_silence(self) -> None:
        """Who says nothing gets no coding."""
        self.assertTrue(takes(get(), b"identity"))
        self.assertFalse(takes(get(), b"gzip"))
        self.assertTrue(takes(get("Accept-Encoding: gzip"), b"x-gzip"))

    def test_coding_of(self) -> None:
        """The codings of a response, in the order in which they were applied."""
        for lines, expected in (
            ([], b"identity"),
            (["Content-Encoding: Identity"], b"identity"),
            (["Content-Encoding: GZip"], b"gzip"),
            (["Content-Encoding: gzip, identity", "Content-Encoding: br"], b"gzip,br"),
        ):
            self.assertEqual(coding_of(fields(*lines)), expected, lines)


class WithoutCodingTests(SynchronousTestCase):
    """A stored response without its coding."""

    def test_each_coding(self) -> None:
        """The content is what it was; what was about the coded bytes is gone, and a strong entity tag is weak."""
        for name in CODERS:
            stored = coded(name, 'ETag: "a"', "Content-Length: 9", "Content-Digest: x", "Accept-Ranges: bytes", "A: 1")
            bare = without_coding(stored)
            assert bare is not None, name
            self.assertEqual(bare.body, b"hello", name)
            self.assertEqual(bare.headers, fields("Vary: Accept-Encoding", "A: 1", 'ETag: W/"a"'), name)

    def test_fields(self) -> None:
        """A weak entity tag stays as it is; that the answer depends on the codings asked for is said."""
        stored = kept("Content-Encoding: gzip", 'ETag: W/"a"', "Vary: A")
        bare = without_coding(evolve(stored, body=gzip.compress(b"x")))
        assert bare is not None
        self.assertEqual(bare.headers, fields('ETag: W/"a"', "Vary: A", "Vary: Accept-Encoding"))

    def test_what_cannot_be_undone(self) -> None:
        """What is unknown, damaged, cut short, followed by more, a part, too large, or not to be transformed stays."""
        whole = gzip.compress(b"hello")
        stored = coded("gzip")
        for case, one in (
            ("unknown", coded("compress")),
            ("several", coded("gzip, br")),
            ("none", kept()),
            ("damaged", evolve(stored, body=whole[:10] + b"x" + whole[11:])),
            ("cut short", evolve(stored, body=whole[:-1])),
            ("brotli, cut short", evolve(coded("br"), body=brotli.compress(b"hello" * 100)[:-3])),
            ("zstd, damaged", evolve(coded("zstd"), body=b"x" * 20)),
            ("followed by more", evolve(stored, body=whole + b"x")),
            ("too large", evolve(stored, body=bytes(LARGEST + 1))),
            ("too large once undone", coded("gzip", body=bytes(LARGEST + 1))),
            ("not to be transformed", coded("gzip", "Cache-Control: no-transform")),
            ("a part", evolve(stored, response=evolve(stored.response, status=206))),
        ):
            self.assertIsNone(without_coding(one), case)
        for name in ("br", "zstd"):
            self.assertIsNone(without_coding(coded(name, body=bytes(LARGEST + 1))), name)
        largest = without_coding(coded("br", body=bytes(LARGEST)))
        assert largest is not None
        self.assertEqual(len(largest.body), LARGEST)

    def test_what_is_not_installed(self) -> None:
        """Without the packages for them, zstd and br stay as they are."""
        self.patch(coding, "import_module", _missing)
        self.assertEqual(set(coding._undoing()), {b"gzip", b"x-gzip", b"deflate"})

    @properties
    @given(st.sampled_from(sorted(CODERS)), st.binary(max_size=100), field_values)
    def test_never_fails(self, name: str, body: bytes, value: bytes) -> None:
        """Whatever a body holds, and whatever a caller says, nothing fails; what was coded is what comes out."""
        without_coding(evolve(coded(name), body=body))
        bare = without_coding(coded(name, body=body))
        self.assertEqual(None if bare is None else bare.body, body)
        takes(get("Accept-Encoding: " + value.decode("latin-1")), b"gzip")


def _missing(name: str) -> object:
    raise ImportError(name)


class ChooseTests(SynchronousTestCase):
    """How one stored response serves callers who take different codings."""

    def test_who_takes_what_is_stored(self) -> None:
        """In buddy mode a fresh response serves whoever takes its coding, or none; to the letter, only the like."""
        stored = coded("gzip", MINUTE, 'ETag: "a"')
        for accepting, expected in (
            ("Accept-Encoding: gzip, br", stored),
            ("Accept-Encoding: gzip", stored),
            ("Accept-Encoding: deflate, gzip;q=0.1", stored),
            ("Accept-Encoding: br", without_coding(stored)),
            ("Accept-Encoding: identity", without_coding(stored)),
            ("A: 1", without_coding(stored)),
        ):
            self.assertEqual(choose(get(accepting), [stored], BUDDY, NOW), Reuse(expected, 0, 60), accepting)
            strict = choose(get(accepting), [stored], RFC9111, NOW)
            self.assertEqual(isinstance(strict, Reuse), accepting == "Accept-Encoding: gzip, br", accepting)

    def test_who_takes_nothing_there_is(self) -> None:
        """Who takes neither what is stored nor what could be made of it gets an answer of its own."""
        for stored, accepting in (
            (coded("gzip", MINUTE), "br, identity;q=0"),
            (coded("compress", MINUTE), "gzip"),
            (kept(MINUTE, selecting=((b"accept-encoding", b"gzip"),)), "br, identity;q=0"),
            (evolve(coded("gzip", MINUTE), body=b"x"), "br"),
        ):
            choice = choose(get(f"Accept-Encoding: {accepting}"), [stored], BUDDY, NOW)
            self.assertEqual(choice, Forward("vary-miss"), accepting)

    def test_without_coding_for_all(self) -> None:
        """What is stored without a coding serves all who take that, although the origin might have coded it."""
        stored = kept(MINUTE, "Vary: Accept-Encoding", selecting=((b"accept-encoding", None),))
        self.assertEqual(choose(get("Accept-Encoding: gzip"), [stored], BUDDY, NOW), Reuse(stored, 0, 60))

    def test_the_stored_coding_first(self) -> None:
        """Of several, what need not be undone is given."""
        one, two = coded("br", MINUTE, accepting="br"), coded("gzip", MINUTE, accepting="gzip")
        choice = choose(get("Accept-Encoding: gzip, deflate"), [one, two], BUDDY, NOW)
        self.assertEqual(choice, Reuse(two, 0, 60))

    def test_other_fields_still_select(self) -> None:
        """A variant in another respect stays another variant."""
        stored = evolve(coded("gzip", MINUTE), selecting=((b"accept-encoding", b"gzip"), (b"accept-language", b"de")))
        self.assertEqual(choose(get("Accept-Language: en"), [stored], BUDDY, NOW), Forward("vary-miss"))

    def test_stale(self) -> None:
        """What is stale is asked for in the caller's own coding, also where it could serve while that is done."""
        for line in (MINUTE, "Cache-Control: max-age=60, stale-while-revalidate=100"):
            stored = evolve(coded("gzip", line, 'ETag: "a"'), request_time=NOW - 80, response_time=NOW - 80)
            self.assertEqual(choose(get(), [stored], BUDDY, NOW), Forward("vary-miss"))
            self.assertNotIsInstance(choose(get("Accept-Encoding: br"), [stored], BUDDY, NOW), Distinguish)

    def test_part(self) -> None:
        """A part that is not enough is not undone."""
        part = coded("gzip", MINUTE, "Content-Range: bytes 0-4/20")
        part = evolve(part, response=evolve(part.response, status=206))
        self.assertEqual(choose(get(), [part], BUDDY, NOW), Forward("vary-miss"))
