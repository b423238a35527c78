"""Files made ready for use at start-up: new ones, damaged ones, and those that are not ours to touch."""

import os
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.errors import CacheError
from buddyproxy.storage.files import alone, inode_of, move_aside, prepare_or_replace
from buddyproxy.storage.trouble import Damaged
from tests.storage.open import warnings
from tests.storage.samples import NOW

ASIDE = "cache.sqlite.damaged-20270115T080000"


class FilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.path = self.directory / "below" / "cache.sqlite"

    def prepare(self) -> bytes:
        """Make the file ready; return its secret."""
        return prepare_or_replace(self.path, NOW, 0.05)[0].secret

    def refused(self, words: str) -> None:
        """Expect that the file is refused, in `words`, and nothing moved or made."""
        before = sorted(self.directory.rglob("*")) if self.directory.is_dir() else []
        with self.assertRaises(CacheError) as raised:
            self.prepare()
        self.assertIn(str(self.path), str(raised.exception))
        self.assertIn(words, str(raised.exception))
        self.assertEqual(sorted(self.directory.rglob("*")) if self.directory.is_dir() else [], before)

    def execute(self, script: str) -> None:
        """Run `script` on the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(script)

    def query(self, query: str) -> list[tuple]:
        """Return what the file answers."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    def test_new(self) -> None:
        """A new file has the schema, the settings that only a new one can have, and a secret that stays."""
        secret = self.prepare()
        self.assertEqual(len(secret), 32)
        self.assertEqual(self.prepare(), secret)
        tables = {name for (name,) in self.query("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        self.assertLessEqual({"cache_entries", "metrics", "config_history", "properties"}, tables)
        for pragma, value in (("auto_vacuum", 2), ("journal_mode", "wal"), ("user_version", 4)):
            self.assertEqual(self.query(f"PRAGMA {pragma}"), [(value,)], pragma)

    def test_private(self) -> None:
        """Every directory made for the file is its owner's alone; one that was there stays as it is."""
        self.directory.mkdir()
        self.directory.chmod(0o755)
        self.prepare()
        modes = [path.stat().st_mode & 0o777 for path in (self.directory, self.path.parent, self.path)]
        self.assertEqual(modes, [0o755, 0o700, 0o600])

    def test_empty_file(self) -> None:
        """An empty file is a new one."""
        self.path.parent.mkdir(parents=True)
        self.path.touch()
        self.prepare()
        self.assertEqual(self.query("PRAGMA auto_vacuum"), [(2,)])

    def test_garbage(self) -> None:
        """A file that is no database is moved aside, with what belongs to it, and one warning says so."""
        self.path.parent.mkdir(parents=True)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").write_bytes(b"garbage " * 1000 + suffix.encode())
        with warnings() as said:
            self.prepare()
        self.assertEqual(len(said), 1)
        for suffix in ("", "-wal", "-shm"):
            self.assertTrue(
                (self.path.parent / f"{ASIDE}{suffix}").read_bytes().endswith(b"garbage " + suffix.encode())
            )

    def test_never_overwrites(self) -> None:
        """What was moved aside before is never overwritten."""
        for number in range(3):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(b"garbage " * 1000 + b"%d" % number)
            self.prepare()
        for number, suffix in enumerate(("", "-2", "-3")):
            self.assertTrue((self.path.parent / f"{ASIDE}{suffix}").read_bytes().endswith(b"%d" % number))

    def test_damaged(self) -> None:
        """Files that are damaged in other ways are moved aside too."""
        cases = (
            ("truncated", lambda: os.truncate(self.path, self.path.stat().st_size // 2)),
            ("cut to a few bytes", lambda: os.truncate(self.path, 50)),
            ("a table is missing", lambda: self.execute("DROP TABLE cache_entries")),
            ("the totals are missing", lambda: self.execute("DROP TABLE totals")),
            ("the properties are missing", lambda: self.execute("DROP TABLE properties")),
            ("the tags are missing", lambda: self.execute("DROP TABLE cache_tags")),
            ("a column is missing", lambda: self.execute("ALTER TABLE cache_tags RENAME COLUMN tag TO label")),
            ("an index is missing", lambda: self.execute("DROP INDEX cache_entries_by_uri")),
            ("a trigger is missing", lambda: self.execute("DROP TRIGGER cache_entries_inserted")),
            ("no version", lambda: self.execute("PRAGMA user_version = -1")),
            ("a bit of the format for writing", lambda: self.flip(18, 4)),
            ("a bit of the format for reading", lambda: self.flip(19, 4)),
            ("a bit of the format of the schema", lambda: self.flip(47, 1)),
            ("the secret is too short", lambda: self.execute("UPDATE properties SET value = x'00'")),
            ("the secret is text", lambda: self.execute("UPDATE properties SET value = 'secret'")),
        )
        for number, (case, damage) in enumerate(cases, 1):
            secret = self.prepare()
            damage()
            with warnings() as said:
                self.assertNotEqual(self.prepare(), secret, case)
            self.assertEqual(len(said), 1, case)
            self.assertEqual(len(list(self.path.parent.glob("*.damaged-*"))), number, case)

    def test_upgraded_already(self) -> None:
        """A file that has what an upgrade would add is damaged: its number is wrong."""
        secret = self.prepare()
        self.execute("PRAGMA user_version = 1")
        self.assertNotEqual(self.prepare(), secret)

    def flip(self, position: int, bit: int) -> None:
        """Change one bit of the file."""
        content = bytearray(self.path.read_bytes())
        content[position] ^= bit
        self.path.write_bytes(content)

    def test_flipped_header(self) -> None:
        """Whatever bit of a file's header is wrong, it is used, moved aside, or refused as somebody else's."""
        secret, refused = self.prepare(), []
        whole = self.path.read_bytes()
        for position in range(100):
            self.path.write_bytes(whole)
            self.flip(position, 1 << position % 8)
            try:
                prepared, replaced = prepare_or_replace(self.path, NOW, 0.05)
            except CacheError:
                refused.append(position)
            else:
                self.assertEqual(prepared.secret == secret, not replaced, position)
        # The number of the schema, and the one that tells what program a database is of.
        self.assertLessEqual(set(refused), {60, 61, 62, 63, 68, 69, 70, 71})

    def test_lost_secret(self) -> None:
        """A store without its secret gets a new one."""
        secret = self.prepare()
        self.execute("DELETE FROM properties")
        self.assertNotEqual(self.prepare(), secret)

    def test_newer(self) -> None:
        """A file that a newer version wrote is not damaged, and not used."""
        self.prepare()
        self.execute("PRAGMA user_version = 1000")
        self.refused("a newer buddyproxy wrote this store")

    def test_another_programs(self) -> None:
        """Another program's database is not touched."""
        self.execute("CREATE TABLE precious (thing)")
        self.refused("another program's database")
        self.assertEqual(self.query("SELECT name FROM sqlite_schema"), [("precious",)])

    def test_directory(self) -> None:
        """A directory is no file."""
        self.path.mkdir(parents=True)
        self.refused("Is a directory")

    def test_not_a_plain_file(self) -> None:
        """Nor is a named pipe."""
        self.path.parent.mkdir(parents=True)
        os.mkfifo(self.path)
        self.refused("must be a file")

    def test_below_a_file(self) -> None:
        """There is nothing below a file."""
        self.directory.write_bytes(b"")
        self.refused("Not a directory")

    def test_unwritable(self) -> None:
        """Where nothing may be written, that is said."""
        with tempfile.TemporaryDirectory() as directory:
            self.directory = Path(directory)
            self.path = self.directory / "cache.sqlite"
            for mode, exists in ((0o555, False), (0o555, True), (0o755, True)):
                self.directory.chmod(0o755)
                if exists:
                    self.path.write_bytes(b"")
                    self.path.chmod(0o444)
                self.directory.chmod(mode)
                self.as_nobody(lambda: self.refused("Permission denied"))
            self.directory.chmod(0o755)

    def as_nobody(self, check) -> None:
        """Call `check` as somebody who may not do everything."""
        if os.geteuid() != 0:
            check()
            return
        os.seteuid(65534)
        try:
            check()
        finally:
            os.seteuid(0)

    def test_unwritable_directory(self) -> None:
        """A file that may be written is of no use where nothing may be put beside it."""
        with tempfile.TemporaryDirectory() as directory:
            self.directory = Path(directory)
            self.path = self.directory / "cache.sqlite"
            self.path.write_bytes(b"")
            self.path.chmod(0o666)
            self.directory.chmod(0o555)
            self.as_nobody(lambda: self.refused("directory must be writable"))
            self.directory.chmod(0o755)

    def test_locked(self) -> None:
        """A new file that another process holds is waited for, but not for ever."""
        self.execute("CREATE TABLE t (a); DROP TABLE t")
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            with self.assertRaises(CacheError) as raised:
                self.prepare()
        self.assertIn("database is locked", str(raised.exception))

    def test_moves_only_what_was_damaged(self) -> None:
        """A file is not moved aside when it is no longer the one that was damaged."""
        self.prepare()
        self.assertFalse(move_aside(self.path, None, NOW, "damaged"))
        self.assertFalse(move_aside(self.path, (0, 0), NOW, "damaged"))
        self.assertTrue(self.path.exists())
        self.assertIsNone(inode_of(self.directory / "nothing"))

    def test_one_at_a_time(self) -> None:
        """While one process puts a file in the place of a damaged one, no other does."""
        self.prepare()
        waited: list[CacheError] = []

        def restored(path: Path) -> bool:
            self.assertFalse(path.exists())
            with self.assertRaises(CacheError) as raised, alone(path, 0.05):
                self.fail("two at a time")
            waited.append(raised.exception)
            return False

        self.assertTrue(move_aside(self.path, inode_of(self.path), NOW, "damaged", restored))
        self.assertEqual(len(waited), 1)
        with alone(self.path, 0.05):
            self.prepare()

    def test_many_at_once(self) -> None:
        """However many processes find a file damaged, one moves it aside, and all use the one new file."""
        self.path.parent.mkdir(parents=True)
        for number in range(1, 9):
            self.path.write_bytes(b"garbage " * 1000)
            for suffix in ("-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            together = Barrier(4)

            def come(together: Barrier = together) -> tuple[bytes, bool]:
                together.wait(10)
                prepared, replaced = prepare_or_replace(self.path, NOW, 5)
                return prepared.secret, replaced

            with ThreadPoolExecutor(4) as processes:
                found = [process.result() for process in [processes.submit(come) for _ in range(4)]]
            self.assertEqual(len({secret for secret, _ in found}), 1)
            self.assertEqual(sum(replaced for _, replaced in found), 1)
            self.assertEqual(len(list(self.path.parent.glob("*.damaged-*"))), number)

    def test_damaged_again(self) -> None:
        """Where what takes a damaged file's place is damaged too, that is said, and not tried for ever."""
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(b"garbage " * 1000)
        with self.assertRaises(Damaged):
            prepare_or_replace(self.path, NOW, 0.05, restored=lambda path: bool(path.write_bytes(b"garbage")))

    def test_cannot_be_moved(self) -> None:
        """Where a damaged file cannot be moved aside, that is said."""
        self.prepare()
        (self.path.parent / f"{ASIDE}-wal").mkdir()
        Path(f"{self.path}-wal").write_bytes(b"log")
        with self.assertRaises(CacheError) as raised:
            move_aside(self.path, inode_of(self.path), NOW, "damaged")
        self.assertIn("cannot be moved aside: Is a directory", str(raised.exception))
