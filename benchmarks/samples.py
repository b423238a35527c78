"""Stored responses to measure with: numbered, so that whoever has a number can tell what there should be."""

import random
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from hashlib import sha256
from itertools import islice
from pathlib import Path

from benchmarks.report import progress
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.message import Headers, Response
from buddyproxy.storage.files import prepare
from buddyproxy.storage.rows import INSERT, encode

NOW = 1_800_000_000.0
_FIELDS = Headers(
    (
        (b"Content-Type", b"application/json"),
        (b"Date", b"Fri, 15 Jan 2027 08:00:00 GMT"),
        (b"Cache-Control", b"max-age=3600"),
        (b"X-Request-Id", b"0123456789abcdef0123456789abcdef"),
    )
)


def key_of(number: int) -> bytes:
    """Return the key of the response with `number`."""
    return sha256(b"%d" % number).digest()


def expiry_of(number: int) -> float:
    """Return when the response with `number` is of no more use: one after the other."""
    return NOW + 7200 + number


def sample(number: int, size: int = 1024) -> StoredResponse:
    """Return the response with `number`, its body of `size` bytes."""
    body = random.Random(number).randbytes(size // 2).hex().encode()
    return StoredResponse(
        key=key_of(number),
        selecting=(),
        mapping="openai",
        method=b"GET",
        uri=b"https://api.example.com/v1/things/%d" % number,
        response=Response(200, _FIELDS, b"OK"),
        body=body,
        request_time=NOW - 1,
        response_time=NOW,
        expires=NOW + 3600,
        remove_after=expiry_of(number),
    )


def fill(path: Path, count: int) -> None:
    """Make a store at `path` with `count` responses of 1 KB."""
    prepare(path, 5.0)
    numbers: Iterator[int] = iter(range(count))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -200000")
        while slice_of := list(islice(numbers, 20_000)):
            connection.execute("BEGIN")
            connection.executemany(INSERT, rows(slice_of))
            connection.execute("COMMIT")
            if slice_of[-1] % 100_000 > 79_999:
                progress(f"{slice_of[-1] + 1:,} of {count:,} responses stored")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def rows(numbers: Iterable[int]) -> Iterator[tuple[object, ...]]:
    """Yield the rows of the responses with `numbers`."""
    for number in numbers:
        yield tuple(encode(sample(number), NOW))
