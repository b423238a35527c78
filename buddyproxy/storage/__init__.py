"""Where stored responses live: one protocol, several kinds of store.

A store keeps values and forgets them; it decides nothing about HTTP. Failures of its own are `CacheError`s.
"""

from collections.abc import Sequence
from typing import Protocol

from buddyproxy.cache.stored import StoredResponse


class Storage(Protocol):
    """Keeps stored responses by key.

    Changes are visible to the next `lookup` at once, also where they are yet to be written out: `store`, `invalidate`
    and `remove_expired` may return before the medium has them, `close` does not.
    """

    @property
    def secret(self) -> bytes:
        """32 random bytes, made with the store and kept with it: what credentials are digested under."""

    async def lookup(self, key: bytes) -> Sequence[StoredResponse]:
        """Return every stored response of `key`, the one last stored first.

        Raises `CacheError` where the medium failed.
        """

    def store(self, stored: StoredResponse) -> None:
        """Keep `stored`, in place of any of the same key and variant."""

    def invalidate(self, mapping: str, uri: bytes) -> None:
        """Forget the responses of `mapping` to GET and HEAD requests for `uri`, whoever asked (RFC 9111, 4.4)."""

    async def remove_expired(self, now: float) -> int:
        """Remove what is of no more use at `now` (`StoredResponse.remove_after`); return how many."""

    async def clear(self) -> int:
        """Remove everything; return how many there were."""

    async def close(self) -> None:
        """Write out what is still to be written, and let go of the medium."""
