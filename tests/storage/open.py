"""SQLite stores to test with: real threads and files, a test's clock, and other hands on the same file."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs
from twisted.trial.unittest import TestCase

from buddyproxy.storage.compression import Compression
from buddyproxy.storage.database import Database
from buddyproxy.storage.sqlite import SqliteStorage
from buddyproxy.storage.statements import Limits
from tests.storage.samples import NOW, key

NO_LIMITS = Limits(10_000, 2**30)


class ClockedReactor:
    """The real reactor's threads, on a test's clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.seconds = self.clock.seconds
        self.callLater = self.clock.callLater

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class SqliteCase(TestCase):
    """A TestCase with a store in `self.storage`, on the file at `self.path`."""

    limits = NO_LIMITS
    busy_timeout = 0.05
    each = False
    compression: Compression | None = None

    def setUp(self) -> None:
        self.reactor = ClockedReactor()
        self.clock = self.reactor.clock
        self.directory = Path(self.mktemp()).absolute()
        self.path = self.directory / "cache.sqlite"
        self.storage = self.open()

    def open(self, limits: Limits | None = None) -> SqliteStorage:
        """Return one more store on the same file, closed when the test ends."""
        self.database = Database.open(self.path, self.reactor, self.busy_timeout)
        limits = limits or self.limits
        storage = SqliteStorage(self.database, self.reactor, limits, self.compression, self.each)
        self.addCleanup(lambda: Deferred.fromCoroutine(storage.close()))
        return storage

    async def bodies(self, name: str = "a") -> list[bytes]:
        """Return the bodies stored under `key(name)`."""
        return [stored.body for stored in await self.storage.lookup(key(name))]

    async def present(self, *names: str) -> list[str]:
        """Return which of `names` there is something of, as the file has it, without using them."""
        await self.storage.flush()
        kept = {row[0] for row in self.rows("SELECT key FROM cache_entries")}
        return [name for name in names if key(name) in kept]

    async def written(self) -> None:
        """Wait until the writer has done what it was given to do."""
        await self.database.write(lambda _: None)

    def rows(self, query: str, *parameters: object) -> list[Any]:
        """Return what another connection finds in the file."""
        with closing(self.connect()) as connection:
            return connection.execute(query, parameters).fetchall()

    def connect(self) -> sqlite3.Connection:
        """Return a connection of somebody else's."""
        return sqlite3.connect(self.path, isolation_level=None)

    @contextmanager
    def busy_writer(self) -> Iterator[None]:
        """Keep the writer's thread busy meanwhile."""
        event = Event()
        self.work = Deferred.fromCoroutine(self.database.write(lambda _: event.wait(30)))
        self.addCleanup(lambda: self.work)
        try:
            yield
        finally:
            event.set()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Have another connection write meanwhile."""
        with closing(self.connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def damaged_files(self) -> list[str]:
        """Return the names of the files moved aside."""
        return sorted(path.name for path in self.directory.iterdir() if ".damaged-" in path.name)


@contextmanager
def warnings() -> Iterator[list[LogEvent]]:
    """Collect what the store says meanwhile."""
    found: list[LogEvent] = []
    with capturedLogs() as events:
        yield found
    found.extend(event for event in events if event.get("log_namespace", "").startswith("buddyproxy.storage"))
