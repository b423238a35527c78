"""Stored responses to test with."""

from hashlib import sha256

from buddyproxy.cache.stored import Selecting, StoredResponse
from buddyproxy.message import Headers, Response
from buddyproxy.storage.changes import Changes, Part

NOW = 1_800_000_000.0


def key(name: str) -> bytes:
    """Return a cache key that stands for `name`."""
    return sha256(name.encode()).digest()


def stored(
    name: str = "a",
    body: bytes = b"hello",
    *,
    selecting: Selecting = (),
    mapping: str = "openai",
    method: bytes = b"GET",
    uri: bytes | None = None,
    remove_after: float = NOW + 1000,
    request_time: float = NOW - 1,
    response_time: float = NOW,
    tags: str = "",
) -> StoredResponse:
    """Return a stored response under `key(name)`."""
    tagged = ((b"Cache-Tag", tags.encode()),) if tags else ()
    return StoredResponse(
        key=key(name),
        selecting=selecting,
        mapping=mapping,
        method=method,
        uri=b"https://api.example.com/" + name.encode() if uri is None else uri,
        response=Response(200, Headers(((b"Content-Type", b"text/plain"), *tagged)), b"OK"),
        body=body,
        request_time=request_time,
        response_time=response_time,
        expires=NOW + 10,
        remove_after=remove_after,
    )


def whole(changes: Changes) -> Part:
    """Return `changes` as what is written in one transaction."""
    (part,) = changes.parts(max(1, changes.count))
    return part


def language(value: bytes | None) -> Selecting:
    """Return what selects a response that varies by language."""
    return ((b"accept-language", value),)
