"""Two tiers as one store: memory over a disk.

Theory of operation. Which of a key's stored responses may answer a request is for the caller to choose, so memory must
never hide one that only the disk has. Memory therefore holds either *all* of a key's responses or none of them. They
come to be there in two ways:

- A lookup went to the disk and found them: they are promoted together.
- A lookup found that the disk has nothing of the key. That is remembered (`_vacant`) for when the answer from the
  origin is stored: then that one response is all there is of the key.

A response stored under a key of which memory holds nothing, and of which nothing is known, goes to the disk alone.

A lookup that waits for the disk may be overtaken: what it finds may have been invalidated or replaced meanwhile, and to
promote it would bring it back for good. So each puts down a token for its key, each change takes up the tokens of what
it touches, and only a lookup that finds its token again may promote. An invalidation cannot know which keys it
touches, and takes up all of them.

Other processes may remove what memory holds from the disk. What they did is asked for every `REFRESH_EVERY` seconds,
not at each hit, which must not wait: until then memory answers as before.
"""

from collections.abc import Collection
from typing import Protocol

from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.errors import CacheError
from buddyproxy.storage import Storage
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.storage.purging import Above
from buddyproxy.storage.removals import Heard
from buddyproxy.storage.selection import Purge, Selection
from buddyproxy.storage.shelf import Identity, Responses, newest
from buddyproxy.storage.stats import StorageStats

VACANT_LIMIT = 10_000
"""How many keys are remembered as having nothing on the disk, while their answers are on the way."""

REFRESH_EVERY = 1.0
"""Seconds after which memory should be told again what other processes have removed."""


class Disk(Storage, Protocol):
    """A store that lasts, and that is told what is used without being asked for it."""

    def touch(self, key: bytes) -> None:
        """Note that the stored responses of `key` were used, so that they are not the first to be evicted."""

    async def purge(self, selection: Selection, *, soft: bool = False, above: Above | None = None) -> int:
        """Purge; the tier above changes `above`, of which what is not changed here counts too."""

    async def clear(self, *, above: Collection[Identity] = ()) -> int:
        """Remove everything; the tier above had `above`, of which what is not here counts too."""

    async def heard(self) -> Heard:
        """Return what other processes removed since this was last asked; raises `CacheError`."""


@define(eq=False)
class TieredStorage:
    """Answers from `memory` where it can, and from `disk` where it must."""

    memory: MemoryStorage
    disk: Disk
    purges: int = field(default=0, init=False)
    _reading: dict[bytes, object] = field(factory=dict, init=False)
    """The token of the last lookup under way at the disk, by key, unless a change took it up."""
    _vacant: dict[bytes, None] = field(factory=dict, init=False)
    """Keys of which the disk has nothing, oldest first."""

    @property
    def secret(self) -> bytes:
        """The disk's secret: it must last as long as what is stored under it."""
        return self.disk.secret

    @property
    def stats(self) -> StorageStats:
        """Return the disk's figures, but for lookups: those that either tier answered count as hits."""
        above, below = self.memory.stats, self.disk.stats
        return evolve(below, hits=above.hits + below.hits, tiers={"memory": above, "disk": below})

    async def lookup(self, key: bytes) -> Responses:
        """Return every stored response of `key`, the one last stored first; from memory, without waiting."""
        held = self.memory.recall(key)
        if held:
            self.disk.touch(key)
            return held
        return await self._lookup_below(key)

    async def _lookup_below(self, key: bytes) -> Responses:
        token = self._reading[key] = object()
        try:
            found = tuple(await self.disk.lookup(key))
        except CacheError:
            # A disk that cannot be read has nothing for us: memory goes on alone.
            self._conclude(key, token, ())
            raise
        self._conclude(key, token, found)
        return found

    def _conclude(self, key: bytes, token: object, found: Responses) -> None:
        """Learn from what the disk had, unless a change made that old news."""
        if self._reading.get(key) is not token:
            return
        del self._reading[key]
        if found:
            self.memory.hold(key, found)
            return
        self._vacant[key] = None
        if len(self._vacant) > VACANT_LIMIT:
            del self._vacant[next(iter(self._vacant))]

    def store(self, stored: StoredResponse) -> None:
        """Keep `stored` on the disk, and in memory where all the rest of its key is there."""
        self.disk.store(stored)
        key = stored.key
        self._reading.pop(key, None)
        held = self.memory.held(key)
        if held or key in self._vacant:
            self._vacant.pop(key, None)
            self.memory.hold(key, newest(stored, held))

    def invalidate(self, mapping: str, uri: bytes) -> None:
        """Forget the responses of `mapping` for `uri`, but for those to POST, whoever asked (RFC 9111, 4.4)."""
        self._reading.clear()
        self.memory.invalidate(mapping, uri)
        self.disk.invalidate(mapping, uri)

    async def purge(self, selection: Selection, *, soft: bool = False) -> int:
        """Remove what `selection` selects, or only mark it as stale; return how many, as `Storage.purge` does.

        What both tiers had counts once.
        """
        if selection.everything and not soft:
            return await self.clear()
        self.purges += 1
        self._reading.clear()
        # Both begin now: no lookup finds in either what was purged, so that none can bring it back up.
        above = Deferred.fromCoroutine(self.memory.purged(Purge(selection, soft)))
        return await self.disk.purge(selection, soft=soft, above=above)

    async def remove_expired(self, now: float) -> int:
        """Remove what is of no more use at `now`; return how many: as many as were in the tier that had more."""
        self._reading.clear()
        above = await self.memory.remove_expired(now)
        return max(above, await self.disk.remove_expired(now))

    async def clear(self) -> int:
        """Remove everything; return how many there were, counting what both tiers had once."""
        self.purges += 1
        self._reading.clear()
        count = await self.disk.clear(above=self.memory.clear_now())
        # Once more: what was read or stored while the disk was at it may be gone from there.
        self._reading.clear()
        self.memory.clear_now()
        return count

    async def refresh(self) -> None:
        """Let go of what others have removed from the disk; raises `CacheError` where it cannot be asked."""
        heard = await self.disk.heard()
        if heard.places == ():
            return
        self._reading.clear()
        if heard.places is None:
            # For what is on its way, the same as a purge of our own. Others' invalidations are too many for that.
            self.purges += 1
            self.memory.clear_now()
        for mapping, uri in heard.places or ():
            self.memory.invalidate(mapping, uri)

    async def close(self) -> None:
        """Write out what is still to be written, and let go of both tiers."""
        await self.disk.close()
        await self.memory.close()
