"""Bodies made smaller for the disk, and made what they were again: which ones, by what, and when it is not worth it.

Pure functions, run in the writer's and the readers' threads; nothing above `rows.py` knows that there is such a thing.

The figures behind the choices, for JSON as APIs send it (how much is left; megabytes a second in, and out again), on
one core, Python 3.11:

    body               zlib 1            zlib 6            zstd 3
    2 kB               50 %,  93, 245    48 %,  76, 249    50 %, 222,  597
    20 kB              39 %, 143, 296    36 %,  73, 295    35 %, 341, 1510
    500 kB             35 %, 140, 308    31 %,  51, 331    28 %, 331, 1939
    30 kB of numbers   47 %, 124, 305    45 %,  31, 277    41 %, 257, 1402

So zlib is asked for its lowest level, which leaves a tenth more at two to four times the speed: there is one writer.
zstd, where the package `zstandard` is installed, is better in every respect.
"""

import zlib
from importlib import import_module
from struct import Struct
from typing import Any

from attrs import frozen

from buddyproxy.cache.stored import StoredResponse

LEAST = 1024
"""Bytes above which a body is compressed; below, it fits a page of the file anyhow."""
WORTH = 0.9
"""A compressed body larger than this part of the original is not worth the time to undo it."""
ZLIB_LEVEL = 1
ZSTD_LEVEL = 3

_MARK = Struct("<cQ")
MARK_LENGTH = _MARK.size
"""Bytes that every mark has; the first of them is never zero."""

_ZLIB, _ZSTD = b"z", b"s"

_SUBTYPES = {
    b"ecmascript",
    b"graphql",
    b"javascript",
    b"json",
    b"json-seq",
    b"jsonl",
    b"ndjson",
    b"sql",
    b"toml",
    b"wasm",
    b"x-javascript",
    b"x-json",
    b"x-ndjson",
    b"x-www-form-urlencoded",
    b"x-yaml",
    b"xml",
    b"xml-dtd",
    b"yaml",
}
_SUFFIXES = (b"+json", b"+json-seq", b"+text", b"+xml", b"+yaml")


class CodecMissingError(Exception):
    """A body was written by what is not installed here; it is as good as not there, and not damaged."""


@frozen
class Coded:
    """A body as it is written down, and the mark that tells what was done to it: none where it is as it was."""

    mark: bytes
    body: bytes


@frozen
class Compression:
    """Compresses by zstd where `zstandard`, the package of that name, is given, else by zlib."""

    zstandard: Any = None

    @classmethod
    def installed(cls) -> "Compression":
        """Return the best there is here."""
        try:
            return cls(import_module("zstandard"))
        except ImportError:
            return cls()

    def code(self, stored: StoredResponse) -> Coded:
        """Return how to write down the body of `stored`: compressed, where that may be and is worth it."""
        body = stored.body
        if len(body) <= LEAST or not compressible(stored):
            return Coded(b"", body)
        if self.zstandard is None:
            name, small = _ZLIB, zlib.compress(body, ZLIB_LEVEL)
        else:
            # Made each time: they must not be shared between threads.
            name, small = _ZSTD, self.zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(body)
        if len(small) > len(body) * WORTH:
            return Coded(b"", body)
        return Coded(_MARK.pack(name, len(body)), small)

    def restore(self, coded: Coded) -> bytes:
        """Return the body that `coded` was made of; whoever made it.

        Raises `CodecMissingError`, and ValueError or `struct.error` where it is damaged; it is never made larger than
        the mark says.
        """
        if not coded.mark:
            return coded.body
        name, length = _MARK.unpack(coded.mark)
        if name == _ZLIB:
            return _inflated(coded.body, length)
        if name != _ZSTD:
            raise ValueError("an unknown codec")
        if self.zstandard is None:
            raise CodecMissingError
        return self._unpacked(coded.body, length)

    def _unpacked(self, body: bytes, length: int) -> bytes:
        try:
            if self.zstandard.frame_content_size(body) != length:
                raise ValueError("not the length it had")
            whole: bytes = self.zstandard.ZstdDecompressor().decompress(body)
        except self.zstandard.ZstdError as error:
            raise ValueError("damaged") from error
        return whole


INSTALLED = Compression.installed()


def _inflated(body: bytes, length: int) -> bytes:
    inflating = zlib.decompressobj()
    try:
        # One more than there should be, so that too much is noticed; nought would mean no limit.
        whole = inflating.decompress(body, length + 1)
    except (zlib.error, OverflowError) as error:
        raise ValueError("damaged") from error
    if len(whole) != length or not inflating.eof:
        raise ValueError("not the length it had")
    return whole


def compressible(stored: StoredResponse) -> bool:
    """Return whether the body of `stored` is of a kind that shrinks, and was not made smaller by the origin."""
    if any(coding != b"identity" for coding in stored.headers.members(b"content-encoding")):
        return False
    media_type = (stored.headers.get(b"content-type") or b"").partition(b";")[0].strip().lower()
    kind, _, subtype = media_type.partition(b"/")
    return kind == b"text" or subtype in _SUBTYPES or subtype.endswith(_SUFFIXES)
