"""Damage: a damaged response is never served, a damaged file is moved aside, and no request fails for either."""

import contextlib
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.errors import CacheError
from buddyproxy.storage import database, writing
from buddyproxy.storage.files import clear_file
from tests.storage.open import SqliteCase, warnings
from tests.storage.samples import key, language, stored


class DamagedResponseTests(SqliteCase):
    async def damage(self, column: str, value: Any, where: str = "1") -> None:
        """Have somebody else change a column."""
        await self.storage.flush()
        with closing(self.connect()) as connection:
            connection.execute(f"UPDATE cache_entries SET {column} = ? WHERE {where}", (value,))

    async def test_flipped_bit(self) -> None:
        """A response with one wrong bit in its body is a miss; it is counted and removed, and its neighbours stay."""
        body = bytes(1000)
        self.storage.store(stored(body=body))
        self.storage.store(stored(body=b"whole", selecting=language(b"de")))
        await self.damage("body", b"\1" + body[1:], "length(body) = 1000")
        self.assertEqual(await self.bodies(), [b"whole"])
        await self.storage.flush()
        self.assertEqual(self.rows("SELECT length(body) FROM cache_entries"), [(5,)])
        self.assertEqual((self.storage.stats.damaged, self.storage.stats.entries), (1, 1))
        self.assertEqual(self.damaged_files(), [])

    async def test_any_column(self) -> None:
        """Whatever is wrong in a row, a lookup neither fails nor returns it."""
        cases = (
            ("mapping", "other"),
            ("method", "POST"),
            ("uri", "https://elsewhere.example/"),
            ("uri", "\u20ac"),
            ("uri", 5),
            ("status", 404),
            ("status", "many"),
            ("reason", "Not so OK"),
            ("request_time", 0.0),
            ("response_time", b"soon"),
            ("expires", b"\xff"),
            ("remove_after", b""),
            ("checksum", b"0" * 16),
            ("checksum", "text"),
            ("checksum", 5),
            ("selecting", b""),
            ("selecting", b"\xff\xff\xff\xff"),
            ("headers", b"\1\0\0\0\1\0\0\0"),
            ("headers", b"\1\0\0\0\1\0\0\0x"),
            ("headers", 5),
            ("body", b""),
            ("body", "text"),
            ("body", None.__class__.__name__.encode()),
        )
        for column, value in cases:
            self.storage.store(stored())
            await self.damage(column, value)
            self.assertEqual(await self.bodies(), [], (column, value))
            await self.storage.flush()
            self.assertEqual(self.rows("SELECT id FROM cache_entries"), [], (column, value))
        self.assertEqual(self.storage.stats.damaged, len(cases))

    async def test_replaced_before_removal(self) -> None:
        """A whole response stored in place of a damaged one is not removed for it."""
        self.storage.store(stored())
        await self.damage("body", b"jello")
        looking = Deferred.fromCoroutine(self.bodies())
        self.storage.store(stored(body=b"new"))
        await self.storage.flush()
        self.assertEqual(await looking, [b"new"])
        await self.storage.flush()
        self.assertEqual(await self.bodies(), [b"new"])


class FlippedBitTests(SqliteCase):
    """A bit of the file or of its log is wrong, wherever that is: nothing wrong is served, and storing goes on."""

    names = tuple(map(str, range(20)))

    def body(self, name: str) -> bytes:
        return name.encode() * 3000

    async def fill(self, number: int, *, checkpoint: bool) -> None:
        """Open a new store, and store enough in it for several pages."""
        self.path = self.directory / f"{number}.sqlite"
        self.storage = self.open()
        for name in self.names:
            self.storage.store(stored(name, self.body(name)))
        await self.storage.flush()
        if checkpoint:
            with closing(self.connect()) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def flip(self, path: Path, part: float) -> None:
        """Change one bit, so far into the file."""
        with path.open("r+b") as file:
            position = int(path.stat().st_size * part)
            file.seek(position)
            byte = file.read(1)[0]
            file.seek(position)
            file.write(bytes([byte ^ 1 << position % 8]))

    async def look(self) -> int:
        """Look everything up: it is right or not there; return how much there is."""
        count = 0
        for name in self.names:
            with contextlib.suppress(CacheError):
                found = await self.bodies(name)
                self.assertIn(found, ([], [self.body(name)]))
                count += len(found)
        return count

    async def go_on(self) -> None:
        """Store one more, at the second try if the file must be replaced, and find it."""
        for _ in range(2):
            with contextlib.suppress(CacheError), warnings():
                self.storage.store(stored("new"))
                await self.storage.flush()
        self.assertEqual(await self.bodies("new"), [b"hello"])

    async def check(self, suffix: str) -> None:
        missed = 0
        for number in range(20):
            await self.fill(number, checkpoint=not suffix)
            self.flip(Path(f"{self.path}{suffix}"), number / 20)
            with warnings():
                missed += len(self.names) - await self.look()
            await self.go_on()
            await self.storage.close()
            with warnings():
                self.storage = self.open()
                await self.look()
            await self.go_on()
            await self.storage.close()
        self.assertGreater(missed, 0)

    async def test_file(self) -> None:
        """A bit of the file."""
        await self.check("")

    async def test_log(self) -> None:
        """A bit of the log, which SQLite itself does not look at again while the store is open."""
        await self.check("-wal")

    async def test_log_found_at_start(self) -> None:
        """A bit of the log of a store that nobody closed: what was written from there on is lost, and no more."""
        await self.fill(0, checkpoint=False)
        crashed = self.directory / "crashed.sqlite"
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.path}{suffix}", f"{crashed}{suffix}")
        self.storage.store(stored("new"))
        await self.storage.flush()
        shutil.copy(f"{self.path}-wal", f"{crashed}-wal")
        self.flip(crashed.with_name(f"{crashed.name}-wal"), 0.98)
        self.path = crashed
        self.storage = self.open()
        self.assertEqual((await self.look(), await self.bodies("new")), (20, []))
        self.assertEqual((self.storage.stats.damaged, self.storage.stats.quarantined), (0, 0))
        await self.go_on()


class DamagedFileTests(SqliteCase):
    """The file goes bad under an open store."""

    names = tuple(map(str, range(50)))

    async def fill(self) -> None:
        """Store enough that no connection has all of it in its own memory."""
        for name in self.names:
            self.storage.store(stored(name, b"x" * 10_000))
        await self.storage.flush()
        with closing(self.connect()) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def overwrite(self, size: int | None = None) -> None:
        """Replace the first `size` bytes of the file."""
        with self.path.open("r+b") as file:
            file.write(b"garbage " * ((size or self.path.stat().st_size) // 8))

    async def look_at_all(self) -> list[tuple[StoredResponse, ...]]:
        """Look everything up; a store may say that it has failed, and nothing else."""
        found = []
        for name in self.names:
            try:
                found.append(await self.storage.lookup(key(name)))
            except CacheError:
                found.append(())
        return found

    async def test_overwritten(self) -> None:
        """A file overwritten with garbage is moved aside, a new one takes its place, and its secret stays the same."""
        await self.fill()
        secret = self.storage.secret
        with warnings() as said:
            self.overwrite()
            found = await self.look_at_all()
            self.storage.store(stored("new"))
            await self.storage.flush()
        self.assertEqual(set(found), {()})
        self.assertEqual(len(said), 1)
        self.assertEqual(self.damaged_files()[0], "cache.sqlite.damaged-20270115T080000")
        self.assertEqual(await self.bodies("new"), [b"hello"])
        self.assertEqual((self.storage.secret, self.storage.stats.quarantined), (secret, 1))
        await self.storage.close()
        self.storage = self.open()
        self.assertEqual((self.storage.secret, await self.bodies("new")), (secret, [b"hello"]))

    async def test_overwritten_header(self) -> None:
        """The same where only the header is garbage, which those who know the file do not read again."""
        await self.fill()
        self.overwrite(100)
        await self.look_at_all()
        await self.database.close()
        self.storage = self.open()
        self.storage.store(stored("new"))
        await self.storage.flush()
        self.assertEqual(await self.bodies("new"), [b"hello"])

    async def test_truncated(self) -> None:
        """The same where the file has lost its second half."""
        await self.fill()
        os.truncate(self.path, self.path.stat().st_size // 2)
        await self.look_at_all()
        self.storage.store(stored("new"))
        await self.storage.flush()
        self.assertEqual(await self.bodies("new"), [b"hello"])
        self.assertEqual(self.storage.stats.quarantined, 1)

    async def test_found_while_writing(self) -> None:
        """Where the damage is met while writing, what was to be written goes into the new file."""
        await self.fill()
        await self.database.write(lambda cursor: cursor.execute("PRAGMA cache_size = 1").fetchall())
        self.overwrite()
        self.storage.store(stored("new"))
        with self.assertRaises(CacheError):
            await self.storage.remove_expired(0)
            await self.storage.clear()
        self.clock.advance(writing.RETRY_AFTER)
        await self.storage.flush()
        self.assertEqual(self.storage.stats.quarantined, 1)
        self.assertEqual(await self.present("new", "1"), ["new"])

    def rewrite(self, entry: str, old: bytes, new: bytes) -> None:
        """Change the text of a part of the schema in the file."""
        with closing(self.connect()) as connection:
            ((sql,),) = connection.execute("SELECT CAST(sql AS BLOB) FROM sqlite_schema WHERE name = ?", (entry,))
            connection.execute("PRAGMA writable_schema = ON")
            changed = (sql.replace(old, new), entry)
            connection.execute("UPDATE sqlite_schema SET sql = CAST(? AS TEXT) WHERE name = ?", changed)
            # Others do not read it again before this is another.
            (version,) = connection.execute("PRAGMA schema_version").fetchone()
            connection.execute(f"PRAGMA schema_version = {version + 1}")

    async def test_schema(self) -> None:
        """A byte of the schema is another, and SQLite's message is no text: the file is replaced like any other."""
        parts = (
            ("cache_entries_deleted", b"UPDATE totals", b"UPDATE \x8botals"),
            ("cache_entries_inserted", b"BEGIN", b"\xbdEGIN"),
        )
        for entry, old, new in parts:
            await self.fill()
            self.rewrite(entry, old, new)
            self.storage.invalidate("openai", stored("1").uri)
            self.storage.store(stored("new"))
            with warnings() as said, self.assertRaises(CacheError):
                await self.storage.flush()
            self.assertIn("the schema is damaged", str(said))
            self.assertEqual(await self.present("new", "1"), ["new"], entry)
            self.clock.advance(database.REPLACE_EVERY)
        self.assertEqual(self.storage.stats.quarantined, 2)

    async def test_schema_at_start(self) -> None:
        """The same where it is found at start; clearing the file is refused then."""
        await self.fill()
        await self.storage.close()
        self.rewrite("cache_entries_inserted", b"BEGIN", b"\xbdEGIN")
        with self.assertRaisesRegex(CacheError, "the schema is damaged"):
            clear_file(self.path)
        with warnings():
            self.storage = self.open()
        self.assertEqual((await self.present("1"), self.storage.stats.quarantined), ([], 1))

    async def test_missing_table(self) -> None:
        """A table, or a column, that is gone is damage too: the lookup that meets it fails for nobody."""
        for damage in ("DROP TABLE cache_entries", "ALTER TABLE cache_entries RENAME COLUMN body TO content"):
            await self.fill()
            with closing(self.connect()) as connection:
                connection.execute(damage)
            with warnings() as said:
                self.assertEqual(await self.bodies("1"), [], damage)
            self.assertEqual(len(said), 1, damage)
            self.storage.store(stored("new"))
            self.assertEqual(await self.present("new"), ["new"], damage)
            self.clock.advance(database.REPLACE_EVERY)
        self.assertEqual(self.storage.stats.quarantined, 2)

    async def test_waits_for_work_under_way(self) -> None:
        """A file is replaced when the work under way has ended; until then the store has only what is queued."""
        await self.fill()
        self.overwrite()
        with self.busy_writer():
            await self.look_at_all()
            self.assertEqual(self.damaged_files(), [])
            with self.assertRaises(CacheError):
                await self.bodies("1")
            self.storage.store(stored("new"))
            with self.assertRaises(CacheError):
                await self.storage.flush()
        await self.work
        self.assertEqual(self.storage.stats.quarantined, 1)
        await self.storage.flush()
        self.assertEqual(await self.bodies("new"), [b"hello"])

    async def test_closed_while_replacing(self) -> None:
        """A store closed while it waits to replace its file is closed, and no new file is made."""
        await self.fill()
        self.overwrite()
        with self.busy_writer():
            await self.look_at_all()
            closing_store = Deferred.fromCoroutine(self.storage.close())
        await closing_store
        self.assertEqual(self.damaged_files(), [])

    async def test_damaged_again(self) -> None:
        """A file that is damaged again at once is not replaced at once; after a while it is."""
        for _ in range(2):
            await self.fill()
            self.overwrite()
            await self.look_at_all()
        with self.assertRaises(CacheError):
            await self.bodies("1")
        self.assertEqual(self.storage.stats.quarantined, 1)
        self.storage.store(stored("1", b"queued"))
        self.clock.advance(database.REPLACE_EVERY)
        self.assertEqual(await self.bodies("1"), [b"queued"])
        self.assertEqual(self.storage.stats.quarantined, 2)

    async def test_replaced_by_another(self) -> None:
        """Where another process has replaced the file already, its new file is left alone, and used."""
        await self.fill()
        other = self.open()
        self.overwrite()
        shutil.move(self.path, self.directory / "theirs")
        for suffix in ("-wal", "-shm"):
            (self.directory / f"cache.sqlite{suffix}").unlink()
        third = self.open()
        third.store(stored("1", b"theirs"))
        await third.flush()
        await self.look_at_all()
        self.assertEqual(await self.bodies("1"), [b"theirs"])
        self.assertEqual((self.damaged_files(), self.storage.stats.quarantined), ([], 0))
        await other.close()

    async def test_removed(self) -> None:
        """Where somebody removed the file, a new one is made with the next write, and gets all that is queued."""
        await self.fill()
        secret = self.storage.secret
        for suffix in ("", "-wal", "-shm"):
            (self.directory / f"cache.sqlite{suffix}").unlink()
        self.storage.store(stored("new"))
        with self.assertRaises(CacheError):
            await self.storage.flush()
        self.assertEqual(await self.present("new", "1"), ["new"])
        self.assertEqual((self.storage.secret, self.damaged_files()), (secret, []))

    async def test_replaced_by_garbage(self) -> None:
        """Where somebody put something else in the file's place, that is moved aside."""
        await self.fill()
        shutil.move(self.path, self.directory / "elsewhere")
        self.path.write_bytes(b"garbage " * 1000)
        self.storage.store(stored("new"))
        with warnings() as said, self.assertRaises(CacheError):
            await self.storage.flush()
        self.assertEqual(len(said), 3)
        self.assertEqual(await self.present("new", "1"), ["new"])
        self.assertTrue((self.directory / self.damaged_files()[0]).read_bytes().startswith(b"garbage"))
        self.assertEqual(self.storage.stats.quarantined, 1)

    async def test_directory_removed(self) -> None:
        """The same where the directory is gone, and a reader notices first."""
        await self.fill()
        shutil.rmtree(self.directory)
        with self.assertRaises(CacheError):
            await self.bodies("1")
        self.assertEqual(await self.bodies("1"), [])
        self.storage.store(stored("new"))
        self.assertEqual(await self.present("new", "1"), ["new"])

    async def test_cannot_be_replaced(self) -> None:
        """Where no new file can be made, requests go on without the store, and it is tried again after a while."""
        await self.fill()
        await self.bodies("1")
        self.overwrite()
        moved = self.directory.with_name("moved")
        shutil.move(self.directory, moved)
        self.directory.write_bytes(b"in the way")
        await self.look_at_all()
        self.assertEqual(len(self.flushLoggedErrors(CacheError)), 1)
        self.storage.store(stored("new"))
        with self.assertRaises(CacheError):
            await self.bodies("new")
        self.directory.unlink()
        self.clock.advance(database.REPLACE_EVERY)
        await self.storage.flush()
        self.assertEqual(await self.bodies("new"), [b"hello"])
