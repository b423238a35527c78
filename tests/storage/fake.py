"""The simplest store that keeps every promise: what the others are measured against, and what other tests use."""

from collections.abc import Collection

from attrs import define, field

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.storage.purging import Above
from buddyproxy.storage.selection import Purge, Selection
from buddyproxy.storage.shelf import VARIANTS, Identity, identities
from buddyproxy.storage.stats import StorageStats


@define(eq=False)
class FakeStorage:
    """A list, the one last stored first."""

    secret: bytes = bytes(range(32))
    kept: list[StoredResponse] = field(factory=list)
    touched: list[bytes] = field(factory=list)
    purges: int = 0
    closed: bool = False

    @property
    def stats(self) -> StorageStats:
        return StorageStats(entries=len(self.kept), size=sum(stored.size for stored in self.kept))

    async def lookup(self, key: bytes) -> list[StoredResponse]:
        return [stored for stored in self.kept if stored.key == key]

    def touch(self, key: bytes) -> None:
        self.touched.append(key)

    def store(self, stored: StoredResponse) -> None:
        same = (stored.key, stored.variant)
        self.kept = [stored, *(other for other in self.kept if (other.key, other.variant) != same)]
        crowded = [other for other in self.kept if other.key == stored.key][VARIANTS:]
        self.kept = [other for other in self.kept if other not in crowded]

    def invalidate(self, mapping: str, uri: bytes) -> None:
        place = (mapping, uri)
        self.kept = [one for one in self.kept if (one.mapping, one.uri) != place or one.method == b"POST"]

    async def purge(self, selection: Selection, *, soft: bool = False, above: Above | None = None) -> int:
        self.purges += 1
        purge = Purge(selection, soft)
        changed = identities(stored for stored in self.kept if purge.affects(stored))
        self.kept = list(purge.over(tuple(self.kept)))
        return len({*changed, *(await above if above is not None else ())})

    async def remove_expired(self, now: float) -> int:
        count = len(self.kept)
        self.kept = [stored for stored in self.kept if stored.remove_after > now]
        return count - len(self.kept)

    async def clear(self, *, above: Collection[Identity] = ()) -> int:
        self.purges += 1
        cleared = identities(self.kept)
        self.kept = []
        return len({*cleared, *above})

    async def close(self) -> None:
        self.closed = True
