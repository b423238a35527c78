"""The queue of changes on their way to the writer: gathered, written together, and never anybody's trouble.

It decides when to write, and what becomes of a batch that could not be written. What there is to change is
`changes.py`'s to know, how it is changed `statements.py`'s.

Theory of operation. The newest batch is open and takes what is asked for. It is sealed, and a new one opened, when it
is written: `WRITE_AFTER` seconds after its first change, at `WRITE_AT` changes, or when somebody waits for it. One
batch is written at a time; one that has gathered more meanwhile than a transaction may have is written in several.
Where that fails because another process is writing, or because the file must first be replaced, the batch stays where
it is and is tried again. Where it fails otherwise (a full disk, an I/O error), what it was to store is dropped, which
costs a hit; what it was to remove is removed with the reserve's room, or else goes over to the next batch, since a
response that was invalidated must never come back.

Where `each` store is to last by itself, a batch is sealed as soon as the one before is written, and each of its stores
has a transaction of its own. What comes meanwhile gathers all the same: lookups go by few batches, never by many.
"""

from collections.abc import Collection
from contextlib import suppress

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.errors import CacheError
from buddyproxy.storage import pace, statements
from buddyproxy.storage.backup import purge_backup, remove_backups
from buddyproxy.storage.changes import Changes, Part
from buddyproxy.storage.compression import Compression
from buddyproxy.storage.database import Database
from buddyproxy.storage.pace import Pace
from buddyproxy.storage.purging import Above, Purging, change_rows, count_missing, find_rows
from buddyproxy.storage.removals import Place, new_remover, note_purge
from buddyproxy.storage.selection import Purge
from buddyproxy.storage.shelf import Identity
from buddyproxy.storage.statements import Limits, Totals
from buddyproxy.storage.stats import Bodies, Flushes
from buddyproxy.storage.trouble import Busy, Damaged, Full

WRITE_AFTER = 0.02
"""Seconds that changes wait for company: with the time to write them, a crash costs the last 50 milliseconds."""
WRITE_AT = 200
"""Changes that wait for no more, and stores that a transaction has at most."""
RETRY_AFTER = 1.0
"""Seconds until writing is tried again where it failed."""
QUEUE_LIMIT = 64 * 1024 * 1024
"""Bytes that may wait to be written."""
COMPLAIN_EVERY = 60.0
"""Seconds at least between two log lines about a medium that refuses writes."""

_log = Logger()


@define(eq=False)
class WriteQueue:
    """Changes to `database` that are yet to be written, in the order they were asked for."""

    database: Database
    clock: IReactorTime
    limits: Limits
    totals: Totals
    """What the file holds, as of the last write."""
    compression: Compression | None = None
    each: bool = False
    """Whether each store is written by itself, at once, and forced to the medium before the next."""
    remover: bytes = field(factory=new_remover, init=False)
    """What others know it by where it removed something."""
    removing: Pace = field(factory=pace.removing, init=False)
    purging: Pace = field(factory=pace.purging, init=False)
    stored: int = field(default=0, init=False)
    dropped: int = field(default=0, init=False)
    evicted: int = field(default=0, init=False)
    damaged: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    flushes: Flushes = field(default=Flushes(), init=False)
    bodies: Bodies = field(default=Bodies(), init=False)
    outdated: set[Place] = field(factory=set, init=False)
    """Of what something was not stored because others had removed its like meanwhile; whoever is told takes it away."""
    size: int = field(default=0, init=False)
    """Bytes waiting to be written."""
    oldest: Changes = field(factory=Changes, init=False)
    """The batch to be written first; what a lookup takes hold of before it reads."""
    _newest: Changes = field(init=False)
    _since: float | None = field(default=None, init=False)
    """When the first change of the newest batch was asked for."""
    _writing: bool = field(default=False, init=False)
    _under_way: Changes | None = field(default=None, init=False)
    """The batch that is being written, if one is."""
    _retrying: bool = field(default=False, init=False)
    """Whether the timer stands for another try."""
    _timer: IDelayedCall | None = field(default=None, init=False)
    _waiting: list[tuple[Changes, Deferred[None]]] = field(factory=list, init=False)
    _too_much: bool = field(default=False, init=False)
    """Whether there is more to evict."""
    _complain_after: float = field(default=float("-inf"), init=False)
    _closed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._newest = self.oldest

    @property
    def waiting(self) -> int:
        """How many changes wait to be written, or are being written."""
        count, changes = 0, self.oldest
        while changes is not self._newest:
            count += changes.asked
            changes = changes.next or self._newest
        return count + changes.asked

    def store(self, stored: StoredResponse) -> None:
        """Have `stored` stored, unless it is too large or there is no room for it in the queue."""
        if self._closed or stored.size > self.limits.max_bytes or self.size + stored.size > QUEUE_LIMIT:
            self.dropped += 1
            return
        self.stored += 1
        before = self._newest.stored.size
        self._newest.store(stored)
        self._changed(before)

    def forget(self, mapping: str, uri: bytes) -> None:
        """Have the responses of `mapping` for `uri`, but for those to POST, removed."""
        before = self._newest.stored.size
        self._newest.forget(mapping, uri)
        self._changed(before)

    def discard(self, row: int, checksum: object) -> None:
        """Have a damaged row removed."""
        self.damaged += row not in self._newest.damaged
        self._newest.discard(row, checksum)
        self._schedule()

    def touch(self, touched: dict[bytes, int]) -> None:
        """Have the uses of keys counted."""
        self._newest.touch(touched)
        self._schedule()

    def _changed(self, size_before: int) -> None:
        self.size += self._newest.stored.size - size_before
        self._schedule()

    async def clear(self, above: Collection[Identity] = ()) -> int:
        """Remove all there is, out of sight at once; return how many there were, once they are gone for good.

        Of `above`, what is not here counts too. What waits to be written need not be.

        Raises `CacheError` where the medium refuses for now; they stay out of sight all the same.
        """
        changes = Changes(cleared=True)
        changes.above.update(above, self._give_up_unwritten())
        cleared = self._seal(changes)
        await self.flush()
        return cleared.removed

    def _give_up_unwritten(self) -> list[Identity]:
        """Store nothing of what waits, but for the batch that is being written; return what that is."""
        batch: Changes | None = self.oldest.next if self.oldest is self._under_way else self.oldest
        batches = []
        while batch is not None:
            batches.append(batch)
            batch = batch.next
        if any(batch.purges for batch in batches):
            # They are to count what was stored before.
            return []
        self.size -= sum(batch.stored.size for batch in batches)
        return [identity for batch in batches for identity in batch.give_up()]

    async def purge(self, purge: Purge, above: Above | None = None) -> int:
        """Purge all there is, out of sight at once; return how many responses that changed, once they are for good.

        Of `above`, what is not changed here counts too.

        Raises `CacheError` where the medium refuses for now; they stay out of sight all the same.
        """
        purging = Purging(purge, above)
        self._seal(Changes(purges=[purging]))
        await self.flush()
        return purging.count + (purging.only_above or 0)

    async def flush(self) -> None:
        """Write what was asked for until now; raises `CacheError` where that failed."""
        if not self._writing and self.oldest is self._newest and self._newest.empty:
            return
        written: Deferred[None] = Deferred()
        self._waiting.append((self._newest, written))
        self._start()
        await written

    async def close(self) -> None:
        """Take no more, and write what there is; what the medium refuses even now is lost, which is said."""
        self._closed = True
        try:
            await self.flush()
        except CacheError as error:
            _log.error("The store closes without having written everything: {error}", error=str(error))
        self._cancel_timer()

    def _seal(self, successor: Changes) -> Changes:
        """Let the newest batch stay as it is, and open `successor` after it."""
        self._newest.next = self._newest = successor
        self._since = None
        return successor

    def _schedule(self) -> None:
        """See to it that what is not yet written will be; while writing, and before another try, that is so."""
        if self._since is None and not self._newest.empty:
            self._since = self.clock.seconds()
        if self._writing or self._retrying or self._closed:
            return
        if self._ripe():
            self._start()
        elif self._timer is None and self._since is not None:
            self._timer = self.clock.callLater(self._patience(self._since), self._start)

    def _patience(self, since: float) -> float:
        """Return how many seconds are left of those that a batch waits for company which was begun at `since`."""
        # The clock may have been set back meanwhile.
        return min(WRITE_AFTER, max(0.0, since + WRITE_AFTER - self.clock.seconds()))

    def _ripe(self) -> bool:
        """Return whether the newest batch waits for no more changes."""
        return self._newest.asked >= self._enough

    @property
    def _enough(self) -> int:
        """Return how many changes are written together, though there may be more."""
        return 1 if self.each else WRITE_AT

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _start(self) -> None:
        self._cancel_timer()
        self._retrying = False
        if not self._writing:
            writing = Deferred.fromCoroutine(self._write_all())
            writing.addErrback(lambda failure: _log.failure("Writing to the store ended", failure))

    async def _write_all(self) -> None:
        """Write batch after batch while there are any that should not wait."""
        self._writing = True
        error = await self._write_oldest()
        while error is None and self._due():
            error = await self._write_oldest()
        self._writing = False
        if error is None:
            self._schedule()
        else:
            self._failed(error)

    def _due(self) -> bool:
        if self.oldest is not self._newest or self._waiting:
            return True
        return not self._closed and (self._too_much or self._ripe())

    async def _write_oldest(self) -> Exception | None:
        """Write the batch whose turn it is; return what stood in the way."""
        changes = self.oldest
        if changes is self._newest:
            self._seal(Changes())
        self._under_way = changes
        try:
            await self._write(changes)
        except (Busy, Damaged) as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, the batches behind this one must go on
            self._give_up(changes, kept=isinstance(error, Full) and await self._forget(changes))
            return error
        finally:
            self._under_way = None
        self._done(changes)
        return None

    async def _write(self, changes: Changes) -> None:
        if changes.cleared or changes.purges:
            await self._remove(changes)
        for part in changes.parts(self._enough):
            if part.stored:
                await self.database.keep_reserve()
            await self._write_part(part)
            changes.committed += len(part.stored)
        self._too_much = False
        if not self.totals.within(self.limits):
            await self._evict()

    async def _remove(self, changes: Changes) -> None:
        """Clear and purge as `changes` says; others hear of it before and after (see `removals.py`)."""
        now = self.clock.seconds()
        await self.database.remove(note_purge, self.remover, now)
        if changes.cleared:
            await self._clear(changes)
        for purging in changes.purges:
            await self._purge(purging)
        await self.database.remove(note_purge, self.remover, now)

    async def _write_part(self, part: Part) -> None:
        write = statements.write_through if self.each else statements.write
        began = self.clock.seconds()
        written = await self.database.write(write, part, began, self.compression, self.remover)
        # The clock may have been set back meanwhile.
        self.flushes = self.flushes.and_one_of(max(0.0, self.clock.seconds() - began))
        self.totals = written.totals
        self.bodies = self.bodies.and_also(written.bodies)
        self.evicted += written.evicted
        self.dropped += written.unwritable + len(written.outdated)
        self.outdated.update(written.outdated)
        if written.unwritable:
            _log.warn("{count} of the responses to store cannot be written down", count=written.unwritable)

    async def _forget(self, changes: Changes) -> bool:
        """Remove what `changes` removes, though there is no room for what it stores; return whether that is done."""
        if changes.cleared or changes.purges:
            return False
        if not (changes.forgotten or changes.damaged):
            return True
        try:
            await self.database.remove(statements.forget, changes, self.remover, self.clock.seconds())
        except CacheError:
            return False
        return True

    async def _evict(self) -> None:
        """Evict a slice; what is still too much goes after the next batch, if there is one."""
        evicted = await self.database.remove(statements.evict, self.limits, self.removing)
        self.totals = evicted.totals
        self.evicted += evicted.count
        # Where totals are wrong there may be nothing left to evict.
        self._too_much = evicted.count > 0 and not evicted.totals.within(self.limits)

    async def _clear(self, changes: Changes) -> None:
        with suppress(CacheError):
            # The backup first, as below. Whoever clears will be told where it stays.
            remove_backups(self.database.path)
        changes.removed += await self.database.read(count_missing, changes.above)
        changes.above = set()
        last = await self.database.write(statements.last_row)
        while removed := await self.database.remove_slice(statements.remove_until, last, self.removing):
            changes.removed += removed

    async def _purge(self, purging: Purging) -> None:
        # The backup first: once it is gone from the file, it is gone for good.
        await self.database.read(lambda _: purge_backup(self.database.path, purging))
        rows = await self.database.read(find_rows, purging.query)
        if purging.only_above is None:
            purging.only_above = await self.database.read(count_missing, await purging.changed_above(), rows)
        start, soft = 0, purging.purge.soft
        while some := rows[start : start + self.purging.budget]:
            start += len(some)
            purging.count += await self.database.remove_slice(change_rows, some, self.purging, soft=soft)

    def _done(self, changes: Changes) -> None:
        self._leave(changes)
        told = [waiting for batch, waiting in self._waiting if batch is changes]
        self._waiting = [(batch, waiting) for batch, waiting in self._waiting if batch is not changes]
        for waiting in told:
            waiting.callback(None)

    def _leave(self, changes: Changes) -> None:
        assert changes.next is not None, "only a sealed batch is written"
        self.oldest = changes.next
        self.size -= changes.stored.size

    def _give_up(self, changes: Changes, *, kept: bool) -> None:
        """Drop what `changes` is to store; unless it is `kept`, its promise to remove goes over to the next batch."""
        self._leave(changes)
        self.dropped += changes.stored.count - changes.committed
        if not kept:
            self.oldest.keep_promises_of(changes)

    def _failed(self, error: Exception) -> None:
        """Try again later, and tell those who wait that it will be later."""
        self.failed += 1
        self._too_much = False
        self._complain(error)
        if not self._closed:
            self._retrying = True
            self._timer = self.clock.callLater(RETRY_AFTER, self._start)
        # Last, as they may ask again at once.
        told, self._waiting = self._waiting, []
        for _, waiting in told:
            waiting.errback(error if isinstance(error, CacheError) else CacheError("the store could not be written"))

    def _complain(self, error: Exception) -> None:
        now = self.clock.seconds()
        if now >= self._complain_after:
            self._complain_after = now + COMPLAIN_EVERY
            # The message of an error that is not ours might hold something secret.
            what = str(error) if isinstance(error, CacheError) else type(error).__name__
            _log.warn("The store could not be written, requests go on without it: {error}", error=what)
