"""Copies of the file: made while it is written to, private, sound, and put in its place when it is lost."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.errors import CacheError
from buddyproxy.storage.backup import PAGES, back_up, backup_path, copy, is_lost
from buddyproxy.storage.clearing import clear_file
from buddyproxy.storage.files import prepare, prepare_or_restore, upgrade
from buddyproxy.storage.selection import Selection
from buddyproxy.storage.sqlite import SqliteStorage
from tests.storage.open import SqliteCase, warnings
from tests.storage.samples import NOW, key, stored


class BackUpTests(SqliteCase):
    @property
    def backup(self) -> Path:
        return backup_path(self.path)

    def in_backup(self) -> int:
        """Return how many responses the backup has."""
        with closing(sqlite3.connect(self.backup)) as connection:
            return connection.execute("SELECT count(*) FROM cache_entries").fetchone()[0]

    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir() if ".backup" in path.name)

    async def fill(self, *names: str) -> None:
        for name in names:
            self.storage.store(stored(name, b"x" * 10_000))
        await self.storage.flush()

    async def test_backed_up(self) -> None:
        """The backup has what was written, is its owner's alone, and takes the place of the one before."""
        self.assertEqual(self.storage.backup_age(), float("inf"))
        await self.fill("a")
        await self.storage.back_up()
        self.assertEqual(self.in_backup(), 1)
        await self.fill("b")
        await self.storage.back_up()
        self.assertEqual((self.in_backup(), self.files()), (2, ["cache.sqlite.backup"]))
        self.assertEqual(stat.S_IMODE(self.backup.stat().st_mode), 0o600)
        self.assertLess(self.storage.backup_age(), float("inf"))

    async def test_writes_go_on(self) -> None:
        """While a backup is made, what is stored is written, and the backup is of how things stood when it began."""
        await self.fill(*map(str, range(400)))

        def meanwhile() -> bool:
            with closing(self.connect()) as connection:
                connection.execute("DELETE FROM cache_entries WHERE id = (SELECT max(id) FROM cache_entries)")
            self.asked += 1
            return False

        self.asked = 0

        def backing_up(cursor: sqlite3.Cursor) -> None:
            cursor.execute("BEGIN")
            cursor.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            copy(cursor.connection, self.backup, meanwhile)

        await self.database.read(backing_up)
        await self.fill("another")
        self.assertGreater(self.asked, 400 * 10_000 // 4096 // PAGES)
        self.assertEqual(self.in_backup(), 400)
        self.assertEqual(len(self.rows("SELECT id FROM cache_entries")), 401 - self.asked)

    async def test_closed_meanwhile(self) -> None:
        """Closing does not wait for a backup, and leaves the one before."""
        await self.fill("a")
        await self.storage.back_up()
        await self.fill("b")
        backing_up = Deferred.fromCoroutine(self.storage.back_up())
        await self.storage.close()
        with self.assertRaises(CacheError):
            await backing_up
        self.assertEqual((self.in_backup(), self.files()), (1, ["cache.sqlite.backup"]))

    async def test_cleared(self) -> None:
        """What was cleared is in no backup, not even in one that was being made."""
        await self.fill("a")
        await self.storage.back_up()
        backing_up = Deferred.fromCoroutine(self.storage.back_up())
        await self.storage.clear()
        with self.assertRaises(CacheError):
            await backing_up
        self.assertEqual(self.files(), [])

    def restored(self) -> None:
        """Lose the file, and open its backup in its place."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        with warnings():
            self.storage = self.open()

    async def test_purged(self) -> None:
        """What was purged does not come back with the backup, nor unmarked; the backup is no younger for it."""
        for name in "abc":
            self.storage.store(stored(name, tags=name, method=b"POST"))
        await self.storage.flush()
        await self.storage.back_up()
        os.utime(self.backup, (NOW - 7200, NOW - 7200))
        await self.storage.purge(Selection(tag=b"a"))
        await self.storage.purge(Selection(tag=b"b"), soft=True)
        self.assertEqual(self.storage.backup_age(), 7200)
        await self.storage.close()
        self.restored()
        self.assertEqual(await self.present(*"abc"), ["b", "c"])
        outdated = [one.outdated for name in "bc" for one in await self.storage.lookup(key(name))]
        self.assertEqual(outdated, [True, False])

    async def test_purged_meanwhile(self) -> None:
        """A backup in the making when something is purged is given up, whoever purged it, and the one before stays."""
        other = self.open()
        for storage in (self.storage, other):
            await self.fill("a", "b")
            await self.storage.back_up()
            with self.assertRaises(CacheError):
                await self.database.read(self.slowly, storage)
            self.assertEqual((self.in_backup(), self.files()), (1, ["cache.sqlite.backup"]))

    def slowly(self, cursor: sqlite3.Cursor, storage: SqliteStorage) -> None:
        """Back up, in a reader's thread; let `storage` purge "a" when it is half done."""
        purged = []

        def meanwhile() -> bool:
            if not purged:
                purging = storage.purge(Selection(key=key("a")))
                purged.append(blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(purging)))
            return False

        back_up(cursor, self.path, meanwhile)

    async def test_crash_while_purging(self) -> None:
        """What is purged from the file is purged from the backup before: a crash between brings nothing back."""
        await self.fill("a", "b")
        await self.storage.back_up()
        with self.connect() as connection:
            connection.execute("CREATE TRIGGER kept BEFORE DELETE ON cache_entries BEGIN SELECT RAISE(ABORT, ''); END")
        with warnings(), self.assertRaises(CacheError):
            await self.storage.purge(Selection(key=key("a")))
        self.assertEqual((len(self.rows("SELECT id FROM cache_entries")), self.in_backup()), (2, 1))

    async def test_cannot_be_purged(self) -> None:
        """A backup that cannot be purged is removed; where that cannot be done either, it is said."""
        await self.fill("a")
        for damage in (b"garbage ", b"SQLite format 3\0"):
            self.backup.write_bytes(damage * 1000)
            with warnings() as said:
                await self.storage.purge(Selection(key=key("a")))
            self.assertEqual((len(said), self.files()), (1, []))
        self.backup.mkdir()
        with warnings() as said:
            await self.storage.purge(Selection(key=key("a")))
        self.assertEqual([event["log_level"].name for event in said], ["warn", "error"])

    async def test_left_by_a_purge(self) -> None:
        """What a purge cut short left beside a backup does not get into the next one."""
        self.backup.with_name(f"{self.backup.name}-wal").write_bytes(b"garbage " * 1000)
        await self.fill("a")
        await self.storage.back_up()
        self.assertEqual(self.files(), ["cache.sqlite.backup"])

    async def test_cannot_be_made(self) -> None:
        """Where it cannot be made, that is said, and the store goes on."""
        (self.directory / "cache.sqlite.backup.partial").mkdir()
        with self.assertRaises(CacheError) as raised:
            await self.storage.back_up()
        self.assertIn("cache.sqlite.backup: the copy cannot be made", str(raised.exception))
        await self.fill("a")
        self.assertEqual(await self.present("a"), ["a"])

    async def lose(self, *, damaged: bool = False) -> None:
        """Have a backup of "a", and lose the file, in which there is "b" too."""
        await self.fill("a")
        await self.storage.back_up()
        await self.fill("b")
        self.secret = self.storage.secret
        await self.storage.close()
        if damaged:
            self.path.write_bytes(b"garbage " * 1000)
        else:
            self.path.unlink()

    async def test_restored(self) -> None:
        """Where the file was lost or damaged, its backup takes its place when the store is opened; one warning."""
        for damaged, words in ((False, "was lost"), (True, "was damaged")):
            await self.lose(damaged=damaged)
            with warnings() as said:
                self.storage = self.open()
            self.assertEqual(len(said), 1)
            self.assertIn(words, said[0]["log_format"])
            self.assertEqual(self.storage.secret, self.secret)
            self.assertEqual(await self.present("a", "b"), ["a"])
            self.assertEqual(len(self.damaged_files()), int(damaged))
            self.assertEqual(len(await self.storage.lookup(key("a"))), 1)

    async def test_restored_is_outdated(self) -> None:
        """What came with a backup may have been invalidated since: it is marked, until it is stored again."""
        self.storage.store(stored("b", method=b"POST"))
        await self.lose()
        for _ in range(2):
            self.storage = self.open()
            self.storage.store(stored("c", request_time=NOW + 1))
            found = [one.outdated for name in "abc" for one in await self.storage.lookup(key(name))]
            self.assertEqual(found, [True, False, False])
            await self.storage.close()
        self.storage = self.open()
        self.storage.store(stored("a", request_time=NOW + 1))
        await self.storage.flush()
        self.assertEqual(list(await self.storage.lookup(key("a"))), [stored("a", request_time=NOW + 1)])

    async def test_restored_without_the_old_log(self) -> None:
        """What a lost file left behind does not get into its backup."""
        await self.lose()
        for suffix in ("-wal", "-shm"):
            self.path.with_name(f"{self.path.name}{suffix}").write_bytes(b"garbage " * 1000)
        self.storage = self.open()
        self.assertEqual(await self.present("a", "b"), ["a"])

    async def test_empty(self) -> None:
        """A file with nothing in it is a lost one."""
        await self.lose()
        self.path.touch()
        self.storage = self.open()
        self.assertEqual(await self.present("a", "b"), ["a"])

    async def test_damaged_backup(self) -> None:
        """A backup that is damaged too is not used: a new file is made."""
        for damage in (b"garbage ", b"SQLite format 3\0"):
            await self.lose()
            self.backup.write_bytes(damage * 1000)
            with warnings() as said:
                self.storage = self.open()
            self.assertEqual(len(said), 1)
            self.assertEqual(await self.present("a", "b"), [])

    async def test_damaged_page(self) -> None:
        """Nor is one that is damaged somewhere inside."""
        await self.lose()
        content = self.backup.read_bytes()
        self.backup.write_bytes(content[:8192] + b"\xff" * 16384 + content[24576:])
        self.storage = self.open()
        self.assertEqual(await self.present("a", "b"), [])

    async def test_no_backup(self) -> None:
        """Without a backup a new file is made, about which nothing need be said."""
        await self.lose()
        self.backup.unlink()
        with warnings() as said:
            self.storage = self.open()
        self.assertEqual((said, await self.present("a")), ([], []))


class LostTests(SynchronousTestCase):
    def test_lost(self) -> None:
        """What is not there, and a file with nothing in it, is lost; what is something else is for others to judge."""
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        empty, full, pipe = (directory / name for name in ("empty", "full", "pipe"))
        empty.touch()
        full.write_bytes(b"x")
        os.mkfifo(pipe)
        places = (empty, full, pipe, directory, directory / "nothing", full / "below")
        self.assertEqual([is_lost(place) for place in places], [True, False, False, False, True, False])


class UpgradeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "cache.sqlite"
        prepare(self.path, 0.05)
        with closing(sqlite3.connect(self.path)) as connection:
            (self.version,) = connection.execute("PRAGMA user_version").fetchone()
        self.next = self.version + 1
        self.kept = Path(f"{self.path}.before-{self.next:03}")

    def upgrade(self) -> None:
        """Upgrade the file by one more schema."""
        schemas = {1: "PRAGMA application_id = 1651860580;", self.next: "CREATE TABLE more (thing);"}
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            upgrade(connection, self.path, schemas)

    def tables(self, path: Path) -> set[str]:
        with closing(sqlite3.connect(path)) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}

    def test_kept(self) -> None:
        """Before an upgrade the file is copied as it was, for its owner only; a second time there is none."""
        self.upgrade()
        self.assertIn("more", self.tables(self.path))
        self.assertEqual(self.tables(self.path) - self.tables(self.kept), {"more"})
        self.assertEqual(stat.S_IMODE(self.kept.stat().st_mode), 0o600)
        self.kept.unlink()
        self.upgrade()
        self.assertFalse(self.kept.exists())

    def test_no_copy(self) -> None:
        """Where no copy can be made, that is said, and the upgrade goes on."""
        self.kept.mkdir()
        with warnings() as said:
            self.upgrade()
        self.assertEqual([event["log_level"].name for event in said], ["warn"])
        self.assertIn("more", self.tables(self.path))

    def test_new(self) -> None:
        """A new file has nothing to be copied."""
        self.assertEqual([path.name for path in self.path.parent.iterdir()], ["cache.sqlite"])

    def test_clear(self) -> None:
        """Clearing a file clears its copies too."""
        with closing(sqlite3.connect(self.path)) as connection:
            copy(connection, self.kept)
            copy(connection, backup_path(self.path))
            copy(connection, Path(f"{backup_path(self.path)}.before-002"))
        clear_file(self.path, NOW)
        self.assertEqual([path.name for path in self.path.parent.iterdir()], ["cache.sqlite"])
        self.assertFalse(prepare_or_restore(self.path, NOW, 0.05)[1])
