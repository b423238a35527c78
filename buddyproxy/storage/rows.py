"""Stored responses as rows: how a value is written down in SQLite, and read back exactly or not at all.

Pure but for the cursor it is given, whose thread it runs in. It knows no pools, queues or files.

Header fields and selecting fields are written as a count, the lengths, and the bytes: exact for any bytes, repeated
names, order and empty values, and quicker to take apart than text. Method, URI and reason are Latin-1 text, which holds
any bytes exactly and reads well in a query. A compressed body is told by one part more, after the header fields: a mark
(see `compression.py`). A row without one holds the body as it is, and so does one whose mark is zeros, which keeps the
place where a timeline follows.

The checksum covers everything a reused response is made of: BLAKE2b with 16 bytes. CRC-32 would cost a fifth of it
(21 against 110 microseconds for 100 kB, in a reader's thread), but lets one in four thousand million random damages
pass, and a damaged body must never be served. It is made of the body as received, so that it proves what was undone
too.
"""

from collections.abc import Sequence
from hashlib import blake2b
from sqlite3 import Cursor
from struct import Struct, pack, unpack_from
from struct import error as StructError
from typing import Any

from attrs import frozen

from buddyproxy.cache.stored import Selecting, StoredResponse
from buddyproxy.cache.timeline import Timeline
from buddyproxy.message import Headers, Response
from buddyproxy.storage.compression import INSTALLED, MARK_LENGTH, CodecMissingError, Coded, Compression

Row = Sequence[Any]
"""Values as SQLite gives them, of whatever type a damaged file may hold."""

_NUMBERS = Struct("<q2d")
INSERT = (
    # In place of one of the same key and variant, if there is one.
    "INSERT OR REPLACE INTO cache_entries (key, variant, mapping, method, uri, status, reason, size, "
    "request_time, response_time, expires, remove_after, stored_at, last_access, checksum, selecting, headers, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SELECT = (
    "SELECT id, checksum, key, mapping, method, uri, status, reason, request_time, response_time, expires, "
    "remove_after, selecting, headers, body FROM cache_entries WHERE key = ? ORDER BY id DESC"
)


@frozen
class Found:
    """What a reader found under a key: whole stored responses, and rows that no longer match their checksum."""

    responses: tuple[StoredResponse, ...]
    damaged: tuple[tuple[int, object], ...]
    """Row id and checksum, as read."""


def find(cursor: Cursor, key: bytes, compression: Compression = INSTALLED) -> Found:
    """Read the stored responses of `key`, the one last stored first; text must come as bytes.

    Those that were compressed by what is not installed are left out.
    """
    responses, damaged = [], []
    for row in cursor.execute(_SELECT, (key,)).fetchall():
        try:
            stored = decode(row[2:], checksum=row[1], compression=compression)
        except CodecMissingError:
            continue
        if stored is None:
            damaged.append((row[0], row[1]))
        else:
            responses.append(stored)
    return Found(tuple(responses), tuple(damaged))


def encode(stored: StoredResponse, now: float, compression: Compression | None = None) -> Row:
    """Return the values `INSERT` takes, the body last, for a response stored at `now`, compressed if that is to be.

    Raises `ValueError` or `struct.error` where it holds what no row can.
    """
    coded = compression.code(stored) if compression else Coded(b"", stored.body)
    selecting = pack_parts([part for name, value in stored.selecting for part in (name, _optional(value))])
    headers = pack_parts([part for pair in stored.headers for part in pair] + _trailer(coded.mark, stored.timeline))
    return (
        stored.key,
        stored.variant,
        stored.mapping,
        stored.method.decode("latin-1"),
        stored.uri.decode("latin-1"),
        stored.response.status,
        stored.response.reason.decode("latin-1"),
        stored.size,
        stored.request_time,
        stored.response_time,
        stored.expires,
        stored.remove_after,
        now,
        now,
        _checksum(stored, selecting, headers),
        selecting,
        headers,
        coded.body,
    )


def decode(row: Row, checksum: object, compression: Compression = INSTALLED) -> StoredResponse | None:
    """Return the stored response that `row` holds, or None where it is not what was written.

    Raises `CodecMissingError`.
    """
    try:
        stored = _decode(row, compression)
        *_, selecting, headers, _body = row
        return stored if _checksum(stored, selecting, headers) == checksum else None
    except (AttributeError, StructError, TypeError, ValueError):
        # A flipped bit may make text of a number, or lengths of anything.
        return None


def _decode(row: Row, compression: Compression) -> StoredResponse:
    key, mapping, method, uri, status, reason, request_time, response_time, expires, remove_after, *rest = row
    selecting, headers, body = rest
    fields = unpack_parts(headers)
    timeline = Timeline()
    if len(fields) % 2:
        trailer = fields.pop()
        mark, timeline = trailer[:MARK_LENGTH], Timeline(trailer[MARK_LENGTH:])
        body = compression.restore(Coded(mark if any(mark) else b"", body))
    return StoredResponse(
        key=key,
        selecting=_selecting(unpack_parts(selecting)),
        mapping=mapping.decode(),
        method=_wire(method),
        uri=_wire(uri),
        response=Response(status, Headers(_pairs(fields)), _wire(reason)),
        body=body,
        request_time=request_time,
        response_time=response_time,
        expires=float(expires),
        remove_after=float(remove_after),
        timeline=timeline,
    )


def _trailer(mark: bytes, timeline: Timeline) -> list[bytes]:
    """Return what stands behind the header fields, where anything has to."""
    return [mark.ljust(MARK_LENGTH, b"\0") + timeline.packed] if mark or timeline else []


def _checksum(stored: StoredResponse, selecting: bytes, headers: bytes) -> bytes:
    response = stored.response
    digest = blake2b(digest_size=16)
    digest.update(_NUMBERS.pack(response.status, stored.request_time, stored.response_time))
    for part in (stored.key, stored.mapping.encode(), stored.method, stored.uri, response.reason, selecting, headers):
        digest.update(pack("<q", len(part)) + part)
    digest.update(stored.body)
    return digest.digest()


def pack_parts(parts: Sequence[bytes]) -> bytes:
    """Return `parts` as one: how many there are, how long each is, and all of them in a row."""
    return pack(f"<{len(parts) + 1}I", len(parts), *map(len, parts)) + b"".join(parts)


def unpack_parts(packed: bytes) -> list[bytes]:
    """Return what `pack_parts` was given; raises `struct.error` or `ValueError` where it was given nothing such."""
    (count,) = unpack_from("<I", packed)
    lengths = unpack_from(f"<{count}I", packed, 4)
    start = 4 * (count + 1)
    parts = []
    for length in lengths:
        parts.append(packed[start : start + length])
        start += length
    if start != len(packed):
        raise ValueError("lengths that do not add up")
    return parts


def _pairs(parts: Sequence[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(zip(parts[::2], parts[1::2], strict=True))


def _selecting(parts: Sequence[bytes]) -> Selecting:
    return tuple((name, value[1:] if value[:1] == b"+" else None) for name, value in _pairs(parts))


def _optional(value: bytes | None) -> bytes:
    return b"-" if value is None else b"+" + value


def _wire(text: bytes) -> bytes:
    """Return the wire bytes of Latin-1 text, which SQLite hands out as UTF-8."""
    return text if text.isascii() else text.decode().encode("latin-1")
