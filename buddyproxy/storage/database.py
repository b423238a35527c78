"""One SQLite file behind two pools of adbapi's: a single writer, and a few readers.

The only place that knows adbapi, and where SQLite's failures become `CacheError`s. It knows no tables.

A file found damaged, or gone, while running is replaced: everything is refused until the work under way has ended and a
new file is there. The file's secret goes over to the new one, so that what it was used for stays true. All that counts
here happens in the reactor's thread; only the functions handed to `read` and `write` run in adbapi's.
"""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from attrs import define, field
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buddyproxy.errors import CacheError
from buddyproxy.storage.files import Prepared, inode_of, move_aside, prepare_or_replace, prepare_or_restore, size_of
from buddyproxy.storage.reserve import SIZE, Reserve, reserve_path
from buddyproxy.storage.trouble import FAILURES, Busy, Damaged, Full, translated

_log = Logger()

READERS = 3
BUSY_TIMEOUT = 5.0
"""Seconds that a statement waits for another process before it is `Busy`."""
PREPARE_TIMEOUT = 0.5
"""The same for making a new file while running, for which the reactor waits."""
REPLACE_EVERY = 60.0
"""Seconds at least between two replacements: a medium that damages whatever is written should not fill up with them."""
LOG_LIMIT = SIZE
"""Bytes that the write-ahead log grows to before it is brought into the file, which the reserve has room for."""
FEW_PAGES = 500
"""Pages of the log that are brought into the file while the writer waits."""
PASSES = 4
"""How many times what was written meanwhile is brought into the file while the writer goes on."""

_P = ParamSpec("_P")
_T = TypeVar("_T")

Work = Callable[Concatenate[sqlite3.Cursor, _P], _T]
"""A function of a cursor, run in a thread as one transaction; `write` may run it, `read` may not let it change much."""


def _open_writer(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -16000")
    # Without it, triggers hear nothing of a row that is replaced by another.
    connection.execute("PRAGMA recursive_triggers = ON")
    # By a commit it would be brought into the file while everybody waits.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    # With this, a log begun anew is no longer than the limit: one that is longer has so much in it.
    connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")


def _open_reader(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA cache_size = -4000")
    # As bytes: damaged text may not be UTF-8, and the row it is in is not lost on its neighbours.
    connection.text_factory = bytes


def _checkpoint(cursor: sqlite3.Cursor) -> int:
    """Bring what the log has by now into the file, unless somebody is at it or reads; return how far that is done."""
    ((_, _, done),) = cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    return int(done)


def _checkpoint_most(cursor: sqlite3.Cursor) -> None:
    """Bring the log into the file but for a little, though it goes on growing."""
    done = 0
    for _ in range(PASSES):
        before, done = done, _checkpoint(cursor)
        if done - before <= FEW_PAGES:
            break


@define(eq=False)
class Database:
    """Runs work on the file at `path`; make one with `Database.open`."""

    path: Path
    secret: bytes = field(repr=False)
    prepared: Prepared
    """What was found in the file when it was opened."""
    quarantined: int
    """How many times a damaged file was moved aside."""
    _reactor: IReactorTime
    _timeout: float
    _pools: tuple[ConnectionPool, ConnectionPool] | None = field(default=None, init=False)
    """The writer and the readers, while there are any."""
    _replacing: bool = field(default=False, init=False)
    _replace_after: float = field(default=float("-inf"), init=False)
    _reserve: Reserve = field(init=False)
    _wal: Path = field(init=False)
    """SQLite's write-ahead log."""
    _checkpointing: DeferredLock = field(factory=DeferredLock, init=False)
    _closed: bool = field(default=False, init=False)
    _running: int = field(default=0, init=False)
    _awaiting_idle: list[Deferred[None]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._reserve = Reserve(reserve_path(self.path))
        self._wal = Path(f"{self.path}-wal")

    @classmethod
    def open(cls, path: Path, reactor: IReactorTime, busy_timeout: float = BUSY_TIMEOUT) -> "Database":
        """Return the database in the file at `path`, made, restored or replaced if need be; raises as those do."""
        prepared, replaced = prepare_or_restore(path, reactor.seconds(), busy_timeout)
        database = cls(path, prepared.secret, prepared, int(replaced), reactor, busy_timeout)
        database._reserve.establish()
        database._open_pools()
        return database

    def _open_pools(self) -> None:
        self._pools = (self._pool(1, _open_writer), self._pool(READERS, _open_reader))

    def _pool(self, threads: int, prepare_connection: Callable[[sqlite3.Connection], None]) -> ConnectionPool:
        return ConnectionPool(
            "sqlite3",
            # A file that is gone must not be made anew, and empty, by whichever thread connects next.
            f"{self.path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=self._timeout,
            # Takes the lock before the first change, not when one read already cannot go on.
            isolation_level="IMMEDIATE",
            # Closing a pool closes its threads' connections in the reactor's.
            check_same_thread=False,
            cp_min=1,
            cp_max=threads,
            cp_openfun=prepare_connection,
            cp_reactor=self._reactor,
        )

    async def write(self, work: Work[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run `work` in the writer's thread, after what was asked of it before; raises `CacheError`."""
        writer, _ = self._ready()
        if self._lost():
            # SQLite would not mind to go on writing into a file that has no name any more.
            raise Busy(f"{self.path}: the store is being replaced")
        try:
            return await self._run(writer, work, *args, **kwargs)
        finally:
            self._shorten_log()

    async def remove(self, work: Work[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run `work`, which gives room back, as `write` does; where the disk is full, with the reserve's room."""
        try:
            return await self.write(work, *args, **kwargs)
        except Full:
            # A log that begins anew has its own room; it may have grown longer than the reserve is.
            with suppress(Full):
                await self._checkpoint()
        try:
            return await self.write(work, *args, **kwargs)
        except Full:
            if not await self.write(lambda _: self._reserve.release()):
                raise
        result = await self.write(work, *args, **kwargs)
        # From here on the log can use its own room again.
        await self._checkpoint()
        await self.write(lambda _: self._reserve.establish())
        return result

    async def remove_slice(self, work: Work[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run `work`, a slice of what nobody waits for, as `remove` does, once the log is not too long for it.

        Slice upon slice would make it longer than it could be brought into the file without keeping the writer.
        """
        await self._checkpointing.run(lambda: None)
        return await self.remove(work, *args, **kwargs)

    async def keep_reserve(self) -> None:
        """Take the reserve again where it was given up, before anything is stored; raises `Full` where it must not be.

        Raises `CacheError` as `write` does, too.
        """
        if not self._reserve.held and not await self.write(lambda _: self._reserve.keep()):
            raise Full(f"{self.path}: the disk is full but for what removing needs")

    async def read(self, work: Work[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run `work` in a reader's thread, where text comes as bytes; raises `CacheError`."""
        _, readers = self._ready()
        return await self._run(readers, work, *args, **kwargs)

    def _shorten_log(self) -> None:
        """Have a log that has grown long brought into the file; nobody waits for that."""
        if not self._checkpointing.locked and size_of(self._wal) > LOG_LIMIT:
            checkpoint = Deferred.fromCoroutine(self._checkpoint())
            # What cannot be done now is tried again after the next write.
            checkpoint.addErrback(lambda failure: failure.trap(CacheError))

    async def _checkpoint(self) -> None:
        """Bring the log into the file: most of it while the writer goes on, as that waits for the disk, then the rest.

        The log begins anew only once all of it is there, so the rest is for the writer's thread. Raises `CacheError`.
        """
        await self._checkpointing.acquire()
        try:
            await self.read(_checkpoint_most)
            await self.write(_checkpoint)
        finally:
            self._checkpointing.release()

    def _ready(self) -> tuple[ConnectionPool, ConnectionPool]:
        if self._pools is None and not self._closed and self._reactor.seconds() >= self._replace_after:
            self._start_replacing("it could not be replaced before")
        if self._closed:
            raise CacheError(f"{self.path}: the store is closed")
        if self._pools is None or self._replacing:
            raise Busy(f"{self.path}: the store is being replaced")
        return self._pools

    async def _run(self, pool: ConnectionPool, work: Work[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        self._running += 1
        try:
            # adbapi passes something that behaves as the cursor does.
            result: _T = await pool.runInteraction(work, *args, **kwargs)
        except FAILURES as error:
            trouble = translated(error, self.path)
            if isinstance(trouble, Damaged):
                self._start_replacing(str(trouble))
            else:
                self._lost()
            raise trouble from error
        finally:
            self._running -= 1
            self._tell_idle()
        return result

    def _lost(self) -> bool:
        """Return whether the file was removed or replaced by other hands, and see to it that there is one again."""
        if inode_of(self.path) == self.prepared.inode:
            return False
        self._start_replacing("it was removed")
        return True

    def _tell_idle(self) -> None:
        if not self._running:
            waiting, self._awaiting_idle = self._awaiting_idle, []
            for deferred in waiting:
                deferred.callback(None)

    async def _idle(self) -> None:
        """Wait until no work is under way: closing a pool would block the reactor for as long."""
        if self._running:
            waiting: Deferred[None] = Deferred()
            self._awaiting_idle.append(waiting)
            await waiting

    def _start_replacing(self, why: str) -> None:
        if self._replacing or self._closed:
            return
        self._replacing = True
        replacing = Deferred.fromCoroutine(self._replace(why))
        replacing.addErrback(lambda failure: _log.failure("The damaged store could not be replaced", failure))

    async def _replace(self, why: str) -> None:
        """Put a new file in the damaged one's place; where that fails, or comes too soon, it is tried again later."""
        try:
            await self._idle()
            self._close_pools()
            now = self._reactor.seconds()
            if self._closed or now < self._replace_after:
                return
            self._replace_after = now + REPLACE_EVERY
            moved = move_aside(self.path, self.prepared.inode, now, why)
            if not moved:
                _log.warn("The store's file was removed or replaced: {path} is opened anew", path=str(self.path))
            self.prepared, again = prepare_or_replace(self.path, now, PREPARE_TIMEOUT, self.secret)
            self.quarantined += moved + again
            self._open_pools()
        finally:
            self._replacing = False

    async def close(self) -> None:
        """Let go of the file, once the work under way has ended."""
        self._closed = True
        await self._idle()
        self._close_pools()

    def _close_pools(self) -> None:
        pools, self._pools = self._pools, None
        for pool in pools or ():
            pool.close()
