"""Where stored responses live: one protocol, several kinds of store.

A store keeps values and forgets them; it decides nothing about HTTP. Failures of its own are `CacheError`s.
"""

from collections.abc import Sequence
from typing import Protocol

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.storage.selection import Selection
from buddyproxy.storage.stats import StorageStats


class Storage(Protocol):
    """Keeps stored responses by key.

    Changes are visible to the next `lookup` at once, also where they are yet to be written out: `store` and
    `invalidate` may return before the medium has them, the others do not.
    """

    @property
    def secret(self) -> bytes:
        """32 random bytes, made with the store and kept with it: what credentials are digested under."""

    @property
    def stats(self) -> StorageStats:
        """Its figures as they stand; to ask for them costs next to nothing."""

    @property
    def purges(self) -> int:
        """How often something was purged from it, or all of it cleared: asked before, an answer is not to be stored."""

    async def lookup(self, key: bytes) -> Sequence[StoredResponse]:
        """Return every stored response of `key`, the one last stored first.

        Raises `CacheError` where the medium failed.
        """

    def store(self, stored: StoredResponse) -> None:
        """Keep `stored`, in place of any of the same key and variant; of one key, only the last `VARIANTS` are kept."""

    def invalidate(self, mapping: str, uri: bytes) -> None:
        """Forget the responses of `mapping` for `uri`, but for those to POST, whoever asked (RFC 9111, 4.4)."""

    async def purge(self, selection: Selection, *, soft: bool = False) -> int:
        """Remove what `selection` selects, or only mark it as stale (`soft`); return how many responses that changed.

        What was marked already is not counted again. Raises `CacheError` where the medium refuses for now; what was
        purged stays out of sight all the same, and it is tried again.
        """

    async def remove_expired(self, now: float) -> int:
        """Remove what is of no more use at `now` (`StoredResponse.remove_after`); return how many."""

    async def clear(self) -> int:
        """Remove everything; return how many there were."""

    async def close(self) -> None:
        """Write out what is still to be written, and let go of the medium."""
