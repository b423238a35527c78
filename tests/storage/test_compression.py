"""Compressed bodies: smaller on the disk, and the same bytes again, or nothing."""

import random
from contextlib import closing
from importlib import import_module
from struct import error as StructError
from struct import pack
from unittest import SkipTest

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.cache.timeline import Timeline
from buddyproxy.message import Headers
from buddyproxy.storage.compression import LEAST, Coded, Compression
from buddyproxy.storage.rows import Found, decode, encode, find
from buddyproxy.storage.sqlite import SqliteStorage
from tests.storage.open import SqliteCase
from tests.storage.samples import NOW, key, stored

TEXT = b'{"object": "thing", "number": 5}, ' * 100
ZLIB = Compression()


def typed(media_type: bytes | None, body: bytes = TEXT, coding: bytes | None = None) -> StoredResponse:
    """Return a stored response of a media type."""
    fields = ((b"Content-Type", media_type), (b"content-encoding", coding))
    response = evolve(stored().response, headers=Headers(tuple((n, v) for n, v in fields if v is not None)))
    return evolve(stored(body=body), response=response)


def noise(size: int) -> bytes:
    """Return bytes that nothing makes smaller."""
    return random.Random(5).randbytes(size)


class CompressionTests(SynchronousTestCase):
    compression = ZLIB

    def test_which(self) -> None:
        """What shrinks is compressed, unless it is small or encoded already."""
        cases = (
            (b"text/plain", True),
            (b"Text/HTML; charset=utf-8", True),
            (b"text/event-stream", True),
            (b"application/json", True),
            (b"application/problem+json ; x=y", True),
            (b"application/xml", True),
            (b"image/svg+xml", True),
            (b"application/javascript", True),
            (b"application/x-www-form-urlencoded", True),
            (b"application/octet-stream", False),
            (b"image/png", False),
            (b"application/zip", False),
            (b"json", False),
            (b"", False),
            (None, False),
        )
        for media_type, expected in cases:
            self.assertEqual(bool(self.compression.code(typed(media_type)).mark), expected, media_type)
        codings = ((b"gzip", False), (b"br", False), (b"identity", True), (b"", True), (b"gzip, identity", False))
        for coding, expected in codings:
            self.assertEqual(bool(self.compression.code(typed(b"text/plain", TEXT, coding)).mark), expected, coding)

    def test_not_worth_it(self) -> None:
        """What is small, or hardly shrinks, stays as it is."""
        for body in (b"", TEXT[:LEAST], noise(5000), noise(5000) + bytes(500)):
            self.assertEqual(self.compression.code(typed(b"text/plain", body)), Coded(b"", body))
            self.assertEqual(self.compression.restore(Coded(b"", body)), body)

    def test_round_trip(self) -> None:
        """The same bytes come back, and take less room meanwhile."""
        for body in (TEXT, TEXT[: LEAST + 1], bytes(1_000_000), noise(3000) * 3, noise(1000) + bytes(1000)):
            coded = self.compression.code(typed(b"text/plain", body))
            self.assertLess(len(coded.body), len(body) * 0.91)
            self.assertEqual(self.compression.restore(coded), body)

    def test_damaged(self) -> None:
        """What is damaged is noticed, and never made larger than it was."""
        coded = self.compression.code(typed(b"text/plain"))
        size = len(coded.body)
        cases = [
            Coded(coded.mark[:-1], coded.body),
            Coded(coded.mark[:1] + pack("<Q", len(TEXT) - 1), coded.body),
            Coded(coded.mark[:1] + pack("<Q", len(TEXT) + 1), coded.body),
            Coded(coded.mark[:1] + b"\xff" * 8, coded.body),
            Coded(b"?" + coded.mark[1:], coded.body),
            Coded(coded.mark, b""),
            Coded(coded.mark, coded.body[: size // 2]),
            Coded(coded.mark, coded.body[:1] + b"\xff" + coded.body[2:]),
            Coded(coded.mark, self.compression.code(typed(b"text/plain", bytes(10_000_000))).body),
        ]
        for case in cases:
            with self.assertRaises((ValueError, StructError)):
                self.compression.restore(case)

    def test_row(self) -> None:
        """A row holds the smaller body; the response read back is the same, header fields included."""
        response = typed(b"application/json")
        row = encode(response, NOW, self.compression)
        self.assertLess(len(row[-1]), len(TEXT) // 4)
        self.assertEqual(decode(read(row), row[14], self.compression), response)
        self.assertEqual(decode(read(encode(response, NOW)), row[14]) is None, True)

    def test_timeline(self) -> None:
        """A stream is read with its times, whether its body was compressed or not."""
        for media_type in (b"text/event-stream", b"application/octet-stream"):
            response = evolve(typed(media_type), timeline=Timeline.of((TEXT[:5], TEXT[5:]), (0, 1)))
            row = encode(response, NOW, self.compression)
            self.assertEqual(decode(read(row), row[14], self.compression), response)

    def test_any_bit(self) -> None:
        """Whichever bit of body or mark is wrong, nothing is read, or what was written: some bits only fill up."""
        response = typed(b"text/plain")
        row = encode(response, NOW, self.compression)
        for column in (-1, -2):
            for bit in range(0, len(row[column]) * 8, 3):
                damaged = list(row)
                whole = bytearray(row[column])
                whole[bit // 8] ^= 1 << bit % 8
                damaged[column] = bytes(whole)
                found = decode(read(damaged), row[14], self.compression)
                self.assertIn(found, (None, response), (column, bit))


def read(row) -> list:
    """Return the values of `row` as a reader gets them."""
    names = "key variant mapping method uri status reason size request_time response_time expires remove_after"
    given = dict(zip(names.split(), row, strict=False))
    for name in ("variant", "size"):
        del given[name]
    values = [value.encode() if isinstance(value, str) else value for value in given.values()]
    return [*values, *row[-3:]]


class ZstdTests(CompressionTests):
    """The same, where the package is installed."""

    def setUp(self) -> None:
        try:
            self.compression = Compression(import_module("zstandard"))
        except ImportError:
            raise SkipTest("zstandard is not installed") from None

    def test_by_whom(self) -> None:
        """What zlib made is read with zstd installed too."""
        self.assertEqual(self.compression.restore(ZLIB.code(typed(b"text/plain"))), TEXT)


class CompressedTests(SqliteCase):
    compression = ZLIB

    async def test_smaller_on_the_disk(self) -> None:
        """What is stored compressed is smaller in the file, the same for whoever asks, and counted as it was."""
        self.storage.store(stored(body=TEXT))
        await self.storage.flush()
        ((length, size),) = self.rows("SELECT length(body), size FROM cache_entries")
        self.assertLess(length, len(TEXT) // 4)
        self.assertEqual(size, stored(body=TEXT).size)
        self.assertEqual(await self.storage.lookup(key("a")), (stored(body=TEXT),))

    async def test_turned_off(self) -> None:
        """A store that does not compress reads what was compressed, and writes what it is given."""
        self.storage.store(stored(body=TEXT))
        await self.storage.close()
        self.storage = SqliteStorage.open(self.path, self.reactor, max_entries=10, max_bytes=2**30, compress=False)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.storage.close()))
        self.storage.store(stored("b", body=TEXT))
        await self.storage.flush()
        self.assertEqual((await self.bodies("a"), await self.bodies("b")), ([TEXT], [TEXT]))
        lengths = self.rows("SELECT length(body) FROM cache_entries ORDER BY id")
        self.assertEqual([length == len(TEXT) for (length,) in lengths], [False, True])

    async def test_codec_missing(self) -> None:
        """What was compressed by what is not installed is a miss; it is neither damaged nor removed."""
        self.storage.store(stored(body=TEXT))
        await self.storage.flush()
        ((headers,),) = self.rows("SELECT headers FROM cache_entries")
        with closing(self.connect()) as connection:
            elsewhere = headers.replace(b"z" + pack("<Q", len(TEXT)), b"s" + pack("<Q", len(TEXT)))
            connection.execute("UPDATE cache_entries SET headers = ?", (elsewhere,))
        self.assertEqual(await self.database.read(find, key("a"), Compression()), Found((), ()))
