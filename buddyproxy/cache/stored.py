"""A stored response: what the cache keeps of an exchange, and what finds it again."""

from functools import cached_property
from hashlib import sha256

from attrs import evolve, field, frozen

from buddyproxy.cache.age import date_of, initial_age
from buddyproxy.cache.tags import tags
from buddyproxy.cache.timeline import Timeline
from buddyproxy.message import Headers, Response

NEVER = float("-inf")
"""When a response stopped being fresh that is not to be reused again, whatever its fields say."""

Selecting = tuple[tuple[bytes, bytes | None], ...]
"""Selecting header fields (RFC 9111, 4.1): lower-case name and normalised value, None where the request had none.

Sorted by name. Values of credential fields stand as digests, never in clear (see `vary.py`).
"""


@frozen
class StoredResponse:
    """A response as the origin sent it, whole or a known part of it, with all that reusing it needs."""

    key: bytes
    """The primary cache key: 32 bytes (see `key.py`). Several stored responses may share one."""
    selecting: Selecting
    """What told this response apart from others of the same key; empty where it does not vary."""
    mapping: str
    """The name of the mapping it came through."""
    method: bytes
    uri: bytes = field(repr=False)
    """The absolute target URI at the origin: what people purge by."""
    response: Response
    """Status and end-to-end fields, without those that must not be stored (RFC 9111, 3.1)."""
    body: bytes = field(repr=lambda body: f"<{len(body)} bytes>")
    request_time: float
    """When the request was sent, in seconds since the epoch (RFC 9111, 4.2.3)."""
    response_time: float
    """When the response's head arrived, in seconds since the epoch."""
    expires: float
    """When it stops being fresh, in seconds since the epoch; reuse is decided anew, unless this is `NEVER`."""
    remove_after: float
    """When it is of no more use, not even to validate, in seconds since the epoch."""
    timeline: Timeline = Timeline()
    """When its content came, where that is worth knowing (see `streams.py`)."""

    @cached_property
    def variant(self) -> bytes:
        """Return 16 bytes that tell this response from others of the same key; equal exactly when `selecting` is."""
        digest = sha256()
        for name, value in self.selecting:
            for part in (name, b"-" if value is None else b"+" + value):
                digest.update(b"%d:" % len(part) + part)
        return digest.digest()[:16]

    @cached_property
    def tags(self) -> tuple[bytes, ...]:
        """Return the names by which its origin lets it be purged together with others."""
        return tags(self.headers)

    @cached_property
    def initial_age(self) -> float:
        """Return how old it was when it arrived, in seconds (RFC 9111, 4.2.3)."""
        return initial_age(self.headers, self.request_time, self.response_time)

    def age(self, now: float) -> float:
        """Return how old it is at `now`, in seconds (RFC 9111, 4.2.3)."""
        return self.initial_age + max(0.0, now - self.response_time)

    @cached_property
    def date(self) -> float:
        """Return when the origin made it, in seconds since the epoch."""
        return date_of(self.headers, self.response_time)

    @property
    def partial(self) -> bool:
        """Return whether it holds a part of the content only, marked by Content-Range (RFC 9111, 3.3)."""
        return self.response.status == 206

    @property
    def outdated(self) -> bool:
        """Return whether it was marked as stale for good: validated it may serve again, reused as it is not."""
        return self.expires == NEVER

    def marked_outdated(self) -> "StoredResponse":
        """Return it marked as stale, until it is freshened."""
        return evolve(self, expires=NEVER)

    @property
    def headers(self) -> Headers:
        """Return the stored header fields."""
        return self.response.headers

    @cached_property
    def size(self) -> int:
        """Return about how many bytes of memory it takes, counted alike by every tier."""
        own = len(self.body) + len(self.timeline.packed) + len(self.uri)
        return own + sum(len(name) + len(value) + 100 for name, value in self.headers) + 600
