"""Stored responses in a SQLite file: what lasts.

Reads go to the readers' pool and are then seen through the changes yet to be written; changes go to the queue. The
parts have their own modules: `database.py` the pools, `writing.py` the queue, `statements.py` and `rows.py` the SQL.

Several processes may use one file: each sees what the others have written, waits a while where they write too, and is
told what they removed (see `removals.py`).
"""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.storage import pace, statements
from buddyproxy.storage.backup import back_up, backup_age, remove_backups
from buddyproxy.storage.compression import INSTALLED, Compression
from buddyproxy.storage.database import Database
from buddyproxy.storage.pace import Pace
from buddyproxy.storage.purging import Above
from buddyproxy.storage.removals import Heard, heard_since
from buddyproxy.storage.rows import find
from buddyproxy.storage.selection import Purge, Selection
from buddyproxy.storage.shelf import SPARED, Identity, Responses
from buddyproxy.storage.statements import Limits
from buddyproxy.storage.stats import StorageStats
from buddyproxy.storage.trouble import Damaged, Full
from buddyproxy.storage.writing import WriteQueue

TOUCH_EVERY = 10.0
"""Seconds between two times that uses are written down: each costs as much as a small store."""
TOUCH_LIMIT = 1000
"""Keys noted in that time. The others are taken for unused: a sample tells well enough what is used and what is not."""


@define(eq=False)
class SqliteStorage:
    """Keeps stored responses in `database`; make one with `SqliteStorage.open`."""

    _database: Database
    _clock: IReactorTime
    _limits: Limits
    _compression: Compression | None = None
    each: bool = False
    """Whether each store is committed by itself, and forced to the medium."""
    _queue: WriteQueue = field(init=False)
    _touched: dict[bytes, int] = field(factory=dict, init=False)
    _touch_timer: IDelayedCall | None = field(default=None, init=False)
    _vacuuming: Pace = field(factory=pace.vacuuming, init=False)
    purges: int = field(default=0, init=False)
    _closed: bool = field(default=False, init=False)
    _hits: int = field(default=0, init=False)
    _misses: int = field(default=0, init=False)
    _expired: int = field(default=0, init=False)
    _known_removals: int = field(init=False)
    """The number of the last removal that was heard of."""

    def __attrs_post_init__(self) -> None:
        totals = self._database.prepared.totals
        self._known_removals = self._database.prepared.removals
        self._queue = WriteQueue(self._database, self._clock, self._limits, totals, self._compression, self.each)

    @classmethod
    def open(  # noqa: PLR0913 - settings one by one, as the configuration has them
        cls,
        path: str | Path,
        reactor: IReactorTime,
        *,
        max_entries: int,
        max_bytes: int,
        compress: bool = True,
        each: bool = False,
    ) -> "SqliteStorage":
        """Return the store in the file at `path`, made with its directories if need be, or in place of a damaged one.

        Blocks while it does so, for `BUSY_TIMEOUT` seconds at most where another process is writing. Raises
        `CacheError` where the file cannot be written, is another program's, or a newer buddyproxy's.

        With `each`, every store is committed by itself, at once, and survives even a loss of power once it is: lost are
        at most the one being written and those queued behind it. Otherwise they are committed together, and the last
        moment's may be lost.
        """
        database = Database.open(Path(path), reactor)
        return cls(database, reactor, Limits(max_entries, max_bytes), INSTALLED if compress else None, each)

    @property
    def secret(self) -> bytes:
        """32 random bytes, made with the file and kept in it."""
        return self._database.secret

    @property
    def stats(self) -> StorageStats:
        """Return its figures as they stand; what is there, as of the last write."""
        queue = self._queue
        return StorageStats(
            entries=queue.totals.entries,
            size=queue.totals.size,
            mappings=queue.totals.mappings,
            hits=self._hits,
            misses=self._misses,
            stored=queue.stored,
            dropped=queue.dropped,
            evicted=queue.evicted,
            expired=self._expired,
            damaged=queue.damaged,
            quarantined=self._database.quarantined,
            failed=queue.failed,
            queued=queue.size,
            waiting=queue.waiting,
            flushes=queue.flushes,
            bodies=queue.bodies,
        )

    async def lookup(self, key: bytes) -> Responses:
        """Return every stored response of `key`, the one last stored first; raises `CacheError`."""
        responses: Responses = ()
        try:
            responses = await self._find(key)
        finally:
            self._hits += bool(responses)
            self._misses += not responses
        if responses:
            self.touch(key)
        return responses

    async def _find(self, key: bytes) -> Responses:
        unwritten = self._queue.oldest
        try:
            found = await self._database.read(find, key)
        except Damaged:
            # The file is being replaced by one that has nothing.
            return unwritten.over(key, ())
        for row, checksum in found.damaged:
            self._queue.discard(row, checksum)
        return unwritten.over(key, tuple(map(self._unless_restored, found.responses)))

    def _unless_restored(self, stored: StoredResponse) -> StoredResponse:
        """Return `stored`, marked as stale where it came with a backup, and may have been invalidated since that."""
        restored_at = self._database.prepared.restored_at
        if restored_at is None or stored.request_time > restored_at or stored.method == SPARED:
            return stored
        return stored.marked_outdated()

    def touch(self, key: bytes) -> None:
        """Note that the stored responses of `key` were used, so that they are not the first to be evicted."""
        if key not in self._touched and len(self._touched) >= TOUCH_LIMIT:
            return
        self._touched[key] = self._touched.get(key, 0) + 1
        if self._touch_timer is None and not self._closed:
            self._touch_timer = self._clock.callLater(TOUCH_EVERY, self._hand_over_touched)

    def _hand_over_touched(self) -> None:
        timer, self._touch_timer = self._touch_timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if self._touched:
            touched, self._touched = self._touched, {}
            self._queue.touch(touched)

    def store(self, stored: StoredResponse) -> None:
        """Keep `stored`, in place of any of the same key and variant, unless the queue is full."""
        self._queue.store(stored)

    def invalidate(self, mapping: str, uri: bytes) -> None:
        """Forget the responses of `mapping` for `uri`, but for those to POST, whoever asked (RFC 9111, 4.4)."""
        self._queue.forget(mapping, uri)

    async def remove_expired(self, now: float) -> int:
        """Remove what is of no more use at `now`, and give the space back; return how many.

        Raises `CacheError` where the medium fails; what was removed until then is gone.
        """
        with suppress(Full):
            # What there is no room for has been dropped; all the more should go.
            await self.flush()
        count = 0
        while removed := await self._database.remove_slice(statements.remove_expired, now, self._queue.removing):
            count += removed
            self._expired += removed
        await self._vacuum()
        return count

    async def clear(self, *, above: Collection[Identity] = ()) -> int:
        """Remove everything, out of sight at once; return how many there were, once they are gone for good.

        Of `above`, which was cleared elsewhere, what is not here counts too.

        Raises `CacheError` where the medium refuses for now; they stay out of sight, and it is tried again.
        """
        self.purges += 1
        count = await self._queue.clear(above)
        remove_backups(self._database.path)
        await self._vacuum()
        return count

    async def purge(self, selection: Selection, *, soft: bool = False, above: Above | None = None) -> int:
        """Remove what `selection` selects, or only mark it as stale, out of sight at once; return how many.

        Of `above`, which is changed elsewhere, what is not changed here counts too.

        Raises `CacheError` where the medium refuses for now; they stay out of sight, and it is tried again.
        """
        if selection.everything and not soft:
            # Whoever has a tier above clears both.
            return await self.clear()
        self.purges += 1
        count = await self._queue.purge(Purge(selection, soft), above)
        if count and not soft:
            await self._vacuum()
        return count

    async def heard(self) -> Heard:
        """Return what other processes removed since this was last asked; raises `CacheError`.

        That includes what was removed before, where an answer asked for until then came only now, and was not stored.
        """
        heard = await self._database.read(heard_since, self._known_removals, self._queue.remover)
        self._known_removals = heard.last
        outdated, self._queue.outdated = self._queue.outdated, set()
        return heard.and_also(outdated)

    async def _vacuum(self) -> None:
        """Give the space of what was removed back to the file system."""
        self._queue.totals = await self._database.write(statements.read_totals)
        left = await self._database.remove_slice(statements.vacuum, self._vacuuming)
        before = left + 1
        # A file made by other hands may not let go of its pages.
        while 0 < left < before:
            before, left = left, await self._database.remove_slice(statements.vacuum, self._vacuuming)

    async def back_up(self) -> None:
        """Copy the file as it stands to its backup, which takes its place should it be lost; nobody waits for it.

        Raises `CacheError` where that cannot be done, or the store is purged or closed meanwhile.
        """
        purges = self.purges
        await self._database.read(back_up, self._database.path, lambda: self._closed or self.purges != purges)

    def backup_age(self) -> float:
        """Return how many seconds ago the backup was made; infinitely many where there is none."""
        return backup_age(self._database.path, self._clock.seconds())

    async def flush(self) -> None:
        """Write out what was asked for until now; raises `CacheError` where that failed."""
        self._hand_over_touched()
        await self._queue.flush()

    async def close(self) -> None:
        """Write out what is still to be written, and let go of the file."""
        if self._closed:
            return
        self._closed = True
        self._hand_over_touched()
        await self._queue.close()
        await self._database.close()
