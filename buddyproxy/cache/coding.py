"""Content codings: which ones a caller takes, and what a coded content is without its coding.

RFC 9110, 8.4 and 12.5.3. So that one stored response serves all who would get the same content from the origin, in
whichever coding.
"""

import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from attrs import evolve

from buddyproxy.cache.directives import response_cache_control
from buddyproxy.cache.ranges import DIGESTS
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.message import Headers, Request

LARGEST: Final = 2**20
"""A content of more bytes than this, coded or not, keeps its coding: everybody waits while it is undone."""

_MEMBER = re.compile(
    rb"[ \t]*(?P<coding>[!#$%&'*+.^_`|~0-9a-z-]+)[ \t]*(?:;[ \t]*q=(?P<weight>[01](?:\.\d{0,3})?))?[ \t]*"
)

# What is about the coded bytes, and not about what they stand for.
_OF_CODED: Final = DIGESTS | {b"content-encoding", b"content-length", b"accept-ranges"}


def coding_of(headers: Headers) -> bytes:
    """Return the content coding of a response, in lower case: `identity` where it has none."""
    codings = [coding for coding in headers.members(b"content-encoding") if coding != b"identity"]
    return b",".join(codings) if codings else b"identity"


def takes(request: Request, coding: bytes) -> bool:
    """Return whether the caller takes a content in `coding` (RFC 9110, 12.5.3).

    One who says nothing of codings is taken to want none: too many programs could not undo what they never asked for.
    """
    value = request.headers.combined(b"accept-encoding")
    weights = {} if value is None else _weights(value[:_READ])
    coding = _NAMES.get(coding, coding)
    if coding in weights:
        return weights[coding]
    return weights.get(b"*", coding == b"identity") if coding != b"identity" else weights.get(b"*", True)


def without_coding(stored: StoredResponse) -> StoredResponse | None:
    """Return `stored` with its content's coding undone; None where that is not known here, not right, or too much.

    What it was in its coding is another representation, so that a strong entity tag becomes a weak one (8.8.1).
    """
    undo = _UNDO.get(coding_of(stored.headers))
    forbidden = b"no-transform" in response_cache_control(stored.headers, ())
    if undo is None or forbidden or stored.partial or len(stored.body) > LARGEST:
        return None
    try:
        body = undo(stored.body)
    except Exception:  # noqa: BLE001 - each library has errors of its own, and all say the same
        return None
    if body is None or len(body) > LARGEST:
        return None
    headers = stored.headers.without(_OF_CODED)
    etag = headers.get(b"etag")
    if etag is not None and etag.startswith(b'"'):
        headers = headers.replacing((b"ETag", b"W/" + etag))
    if b"accept-encoding" not in headers.members(b"vary"):
        headers = headers.adding((b"Vary", b"Accept-Encoding"))
    return evolve(stored, response=evolve(stored.response, headers=headers), body=body)


# Longer values are cut: nobody names so many.
_READ: Final = 500
# RFC 9110, 8.4.1.3: a name from before.
_NAMES: Final = {b"x-gzip": b"gzip"}


@lru_cache(maxsize=256)
def _weights(value: bytes) -> dict[bytes, bool]:
    """Return the codings that an Accept-Encoding names, and whether each is taken: not where its weight is 0."""
    matches = [match for member in value.lower().split(b",") if (match := _MEMBER.fullmatch(member))]
    return {
        _NAMES.get(match["coding"], match["coding"]): match["weight"] is None or float(match["weight"]) > 0
        for match in matches
    }


def _unzip(body: bytes, window: int = 31) -> bytes | None:
    worker = zlib.decompressobj(window)
    content = worker.decompress(body, LARGEST + 1)
    return content if worker.eof and not worker.unused_data else None


def _inflate(body: bytes) -> bytes | None:
    return _unzip(body, 15)


def _optional(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


def _zstd(module: Any) -> Callable[[bytes], bytes | None]:
    def undo(body: bytes) -> bytes | None:
        content: bytes = module.ZstdDecompressor().stream_reader(body).read(LARGEST + 1)
        return content

    return undo


def _brotli(module: Any) -> Callable[[bytes], bytes | None]:
    def undo(body: bytes) -> bytes | None:
        worker = module.Decompressor()
        content: bytes = worker.process(body, output_buffer_limit=LARGEST + 1)
        return content if worker.is_finished() else None

    return undo


def _undoing() -> dict[bytes, Callable[[bytes], bytes | None]]:
    """Return how each coding is undone that can be here."""
    undo: dict[bytes, Callable[[bytes], bytes | None]] = {b"gzip": _unzip, b"x-gzip": _unzip, b"deflate": _inflate}
    if module := _optional("zstandard"):
        undo[b"zstd"] = _zstd(module)
    if module := _optional("brotli"):
        undo[b"br"] = _brotli(module)
    return undo


_UNDO: Final = _undoing()
