"""Stored responses in memory: the upper tier, and the whole store where nothing is to outlive the process.

Least recently used goes first, a whole key at a time: what is held of a key is all there is of it, which is what lets
the tier above a disk answer for both (see `tiered.py`).
"""

from collections.abc import Awaitable, Callable, Collection
from secrets import token_bytes

from attrs import define, field

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.storage.selection import Purge, Selection
from buddyproxy.storage.shelf import Condition, Expiry, Identity, Responses, Shelf, identities, newest, total_size
from buddyproxy.storage.stats import StorageStats

RESPONSE_SHARE = 8
"""A response larger than one part in this many of the limit stays out: it would push out too much else."""
KEY_SHARE = 2
"""The same for all the responses of one key."""
SLICE = 200
"""Keys looked at in a row while everybody waits: a millisecond or two where all of them go."""


async def _no_pause() -> None:
    """Go on at once."""


@define(eq=False)
class MemoryStorage:
    """Keeps stored responses in memory, up to `limit_bytes` by `StoredResponse.size` and `max_entries` of them."""

    limit_bytes: int
    max_entries: int | None = None
    pause: Callable[[], Awaitable[None]] = _no_pause
    """Lets others have their turn while much is looked through."""
    secret: bytes = field(factory=lambda: token_bytes(32), init=False, repr=False)
    purges: int = field(default=0, init=False)
    _shelf: Shelf = field(factory=Shelf, init=False)
    _stored: int = field(default=0, init=False)
    _dropped: int = field(default=0, init=False)
    _evicted: int = field(default=0, init=False)
    _expired: int = field(default=0, init=False)
    _hits: int = field(default=0, init=False)
    _misses: int = field(default=0, init=False)

    @property
    def stats(self) -> StorageStats:
        """Return its figures as they stand."""
        return StorageStats(
            entries=self._shelf.count,
            size=self._shelf.size,
            mappings=dict(self._shelf.mappings),
            hits=self._hits,
            misses=self._misses,
            stored=self._stored,
            dropped=self._dropped,
            evicted=self._evicted,
            expired=self._expired,
        )

    async def lookup(self, key: bytes) -> Responses:
        """Return every stored response of `key`, the one last stored first; this never waits."""
        return self.recall(key)

    def recall(self, key: bytes) -> Responses:
        """Return what `lookup` would, to a caller that cannot wait."""
        found = self._shelf.use(key)
        if found:
            self._hits += 1
        else:
            self._misses += 1
        return found

    def held(self, key: bytes) -> Responses:
        """Return what is held of `key`, to one who does not look it up for a request."""
        return self._shelf.get(key)

    def store(self, stored: StoredResponse) -> None:
        """Keep `stored` where it is not too large; older variants of its key make room for it."""
        held = self._shelf.get(stored.key)
        responses = newest(stored, held)
        self._evicted += len({stored.variant, *(other.variant for other in held)}) - len(responses)
        if self._too_large(stored):
            # The one it replaces goes all the same: it is no longer what the origin says.
            self._dropped += 1
            responses = responses[1:]
        else:
            self._stored += 1
        while not self._fits(responses):
            responses = responses[:-1]
            self._evicted += 1
        self._put(stored.key, responses)

    def hold(self, key: bytes, responses: Responses) -> None:
        """Hold exactly `responses` of `key`, or nothing of it where they are too large or too many to hold together."""
        fits = self._fits(responses) and not any(map(self._too_large, responses))
        self._put(key, responses if fits else ())

    def _too_large(self, stored: StoredResponse) -> bool:
        return stored.size > self.limit_bytes // RESPONSE_SHARE

    def _fits(self, responses: Responses) -> bool:
        if self.max_entries is not None and len(responses) > self.max_entries:
            return False
        return total_size(responses) <= self.limit_bytes // KEY_SHARE

    def _put(self, key: bytes, responses: Responses) -> None:
        self._shelf.put(key, responses)
        while self._over_limits():
            oldest = self._shelf.oldest()
            self._evicted += len(self._shelf.get(oldest))
            self._shelf.put(oldest, ())

    def _over_limits(self) -> bool:
        if self.max_entries is not None and self._shelf.count > self.max_entries:
            return True
        return self._shelf.size > self.limit_bytes

    def invalidate(self, mapping: str, uri: bytes) -> None:
        """Forget the responses of `mapping` for `uri`, but for those to POST, whoever asked (RFC 9111, 4.4)."""
        self._shelf.forget(mapping, uri)

    async def purge(self, selection: Selection, *, soft: bool = False) -> int:
        """Remove what `selection` selects, or only mark it as stale, out of sight at once; return how many."""
        return len(await self.purged(Purge(selection, soft)))

    async def purged(self, purge: Purge) -> list[Identity]:
        """Purge as `purge` says, out of sight at once; return which responses that changed."""
        self.purges += 1
        return await self._sweep(purge, self._among(purge.selection))

    def _among(self, selection: Selection) -> Collection[bytes] | None:
        """Return the keys whose responses `selection` may select, where that is not all of them."""
        if selection.key is not None:
            return (selection.key,)
        return None if selection.tag is None else self._shelf.tagged(selection.tag)

    async def remove_expired(self, now: float) -> int:
        """Remove what is of no more use at `now`, out of sight at once; return how many."""
        removed = len(await self._sweep(Expiry(now)))
        self._expired += removed
        return removed

    async def _sweep(self, condition: Condition, among: Collection[bytes] | None = None) -> list[Identity]:
        """Make `condition` so, a slice at a time; return which responses that changed."""
        sweep = self._shelf.sweep(condition, among)
        try:
            while self._shelf.go_on(sweep, SLICE):
                await self.pause()
        finally:
            # Where nobody waits for it any more, it is still to be done.
            self._shelf.go_on(sweep)
        return sweep.changed

    async def clear(self) -> int:
        """Remove everything; return how many there were."""
        return len(self.clear_now())

    def clear_now(self) -> list[Identity]:
        """Remove everything; return what there was."""
        self.purges += 1
        cleared = identities(self._shelf)
        self._shelf.clear()
        return cleared

    async def close(self) -> None:
        """Let go of everything: it lives no longer than its store."""
        self._shelf.clear()
