"""Trouble with the medium: requests go on, what must be forgotten is forgotten, and it all works again by itself."""

import sqlite3
import subprocess
import sys
from pathlib import Path
from unittest import SkipTest

import buddyproxy
from buddyproxy.errors import CacheError
from buddyproxy.storage import writing
from tests.storage.open import SqliteCase, warnings
from tests.storage.samples import NOW, key, stored


class LockedTests(SqliteCase):
    async def test_locked_for_a_while(self) -> None:
        """While another process writes, everything is seen as it should be; it is written when that has ended."""
        self.storage.store(stored("a"))
        await self.storage.flush()
        with self.locked(), warnings() as said:
            self.storage.store(stored("b"))
            self.storage.invalidate("openai", stored("a").uri)
            for _ in range(3):
                self.clock.advance(writing.RETRY_AFTER)
                await self.written()
                self.assertEqual((await self.bodies("a"), await self.bodies("b")), ([], [b"hello"]))
            with self.assertRaises(CacheError):
                await self.storage.flush()
        self.assertEqual(len(said), 1)
        self.clock.advance(writing.RETRY_AFTER)
        await self.written()
        self.assertEqual(self.rows("SELECT key FROM cache_entries"), [(key("b"),)])
        self.assertEqual(self.damaged_files(), [])
        self.assertEqual(self.storage.stats.dropped, 0)

    async def test_locked_by_a_process(self) -> None:
        """So it is with a process that really is another, until it ends, however that is."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", LOCK, str(self.path)], **pipes) as process:  # noqa: ASYNC220
            try:
                assert process.stdout is not None
                self.assertEqual(process.stdout.readline(), b"locked\n")
                self.storage.store(stored("a"))
                with warnings(), self.assertRaises(CacheError):
                    await self.storage.flush()
                self.assertEqual(await self.bodies("a"), [b"hello"])
            finally:
                process.kill()
        self.assertEqual(await self.present("a"), ["a"])
        self.assertEqual((self.storage.stats.dropped, self.storage.stats.quarantined), (0, 0))

    async def test_cleared_while_locked(self) -> None:
        """What could not be removed yet stays out of sight, and is removed later."""
        self.storage.store(stored("a"))
        await self.storage.flush()
        with self.locked():
            with self.assertRaises(CacheError):
                await self.storage.clear()
            self.assertEqual(await self.bodies("a"), [])
            with self.assertRaises(CacheError):
                await self.storage.remove_expired(NOW)
        self.assertEqual(await self.present("a"), [])

    async def test_closed_while_locked(self) -> None:
        """Closing does not wait for ever; that something is lost is said."""
        self.storage.store(stored("a"))
        with self.locked(), warnings() as said:
            await self.storage.close()
        self.assertEqual([event["log_level"].name for event in said], ["warn", "error"])

    async def test_opened_while_locked(self) -> None:
        """A store can be opened and read while another process writes."""
        self.storage.store(stored("a"))
        await self.storage.flush()
        with self.locked():
            self.storage = self.open()
            self.assertEqual(await self.bodies("a"), [b"hello"])


class FullTests(SqliteCase):
    async def limit(self, pages: int) -> None:
        """Let the file have `pages` at most."""
        await self.database.write(lambda cursor: cursor.execute(f"PRAGMA max_page_count = {pages}").fetchall())

    async def test_full_disk(self) -> None:
        """On a full disk requests go on without the store, one log line a minute says so, and it recovers by itself."""
        self.storage.store(stored("old"))
        await self.storage.flush()
        await self.limit(1)
        with warnings() as said:
            for number in range(70):
                self.storage.store(stored(f"lost {number}", b"x" * 100_000))
                self.assertEqual(await self.bodies(f"lost {number}"), [b"x" * 100_000])
                self.clock.advance(writing.RETRY_AFTER)
                await self.written()
        self.assertEqual([event["error"].endswith("database or disk is full") for event in said], [True, True])
        self.assertEqual(await self.bodies("lost 3"), [])
        self.assertEqual(await self.bodies("old"), [b"hello"])
        self.assertEqual((self.storage.stats.dropped, self.storage.stats.failed), (70, 70))
        await self.limit(1_000_000)
        self.storage.store(stored("new"))
        self.clock.advance(writing.RETRY_AFTER)
        await self.written()
        self.assertEqual(await self.present("old", "new"), ["old", "new"])

    async def test_invalidation_survives(self) -> None:
        """What was invalidated while nothing could be written does not come back when it can."""
        self.storage.store(stored("a"))
        await self.storage.flush()
        await self.limit(1)
        self.storage.invalidate("openai", stored("a").uri)
        self.storage.store(stored("b", b"x" * 100_000))
        with self.assertRaises(CacheError):
            await self.storage.flush()
        self.assertEqual(await self.bodies("a"), [])
        await self.limit(1_000_000)
        self.assertEqual(await self.present("a", "b"), [])

    async def test_removes_while_full(self) -> None:
        """What is invalidated or of no more use is removed from a full disk, not kept until there is room."""
        for name in "abc":
            self.storage.store(stored(name, remove_after=NOW + (name == "c")))
        await self.storage.flush()
        await self.limit(1)
        self.storage.store(stored("lost", b"x" * 100_000))
        self.storage.invalidate("openai", stored("a").uri)
        with self.assertRaises(CacheError):
            await self.storage.flush()
        self.assertEqual(len(self.rows("SELECT key FROM cache_entries")), 2)
        self.storage.store(stored("lost", b"x" * 100_000))
        self.assertEqual(await self.storage.remove_expired(NOW), 1)
        self.assertEqual(self.rows("SELECT key FROM cache_entries"), [(key("c"),)])
        self.assertEqual(await self.bodies("a"), [])

    async def test_reserve(self) -> None:
        """The reserve is given up for what removes, once, and taken again before anything is stored."""
        reserve = self.directory / "cache.sqlite.reserve"
        size = reserve.stat().st_size
        # As it is, with a log that begins anew, and with the reserve's room.
        refusals = [sqlite3.OperationalError("database or disk is full") for _ in range(3)]
        for refusal in refusals:
            refusal.sqlite_errorcode = sqlite3.SQLITE_FULL

        def work(_: object) -> str:
            if refusals:
                raise refusals.pop()
            return "done"

        with self.assertRaises(CacheError):
            await self.database.remove(work)
        self.assertEqual((reserve.exists(), await self.database.remove(work)), (False, "done"))
        self.storage.invalidate("openai", stored("a").uri)
        await self.storage.flush()
        self.assertFalse(reserve.exists())
        self.storage.store(stored("b"))
        await self.storage.flush()
        self.assertEqual(reserve.stat().st_size, size)

    def said_on(self, size: str, script: str) -> list[str]:
        """Return what `script` says, which is given a file system of that `size`."""
        mount = f'mount -t tmpfs -o size={size} none "$1" && shift && exec "$@"'
        place = Path(self.mktemp()).absolute()
        place.mkdir(parents=True)
        command = ["unshare", "--mount", "sh", "-c", mount, "sh", str(place)]
        try:
            subprocess.run([*command, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            raise SkipTest("file systems cannot be mounted here") from None
        root = Path(buddyproxy.__file__).parent.parent
        work = [sys.executable, "-c", script, str(place)]
        result = subprocess.run([*command, *work], cwd=root, capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.splitlines()

    def test_full_file_system(self) -> None:
        """On a file system that is really full, what removes gets through, and storing resumes by itself."""
        self.assertEqual(self.said_on("24m", FULL), FULL_SAYS)

    def test_small_file_system(self) -> None:
        """On a small one, what is stored leaves enough room for what removes, again and again."""
        self.assertEqual(self.said_on("8m", SMALL), ["stored: True", "dropped: True", "left: 0"])

    def test_limited_file_size(self) -> None:
        """The same with a real limit on how large files may be, in a process of its own."""
        command = [sys.executable, "-c", LIMITED, str(self.path)]
        root = Path(buddyproxy.__file__).parent.parent
        result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        self.assertEqual(result.stdout.split(), ["kept:", "True", "unharmed:", "True", "again:", "True"], result.stderr)


LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""

FULL_SAYS = [
    "reserve: True",
    "dropped: True",
    "invalidated: 0",
    "kept: 1",
    "removed: True",
    "stored again: 1",
    "cleared: True True",
]

FULL = """
import sqlite3, sys
from contextlib import closing
from pathlib import Path
from twisted.internet import reactor, task
from buddyproxy.errors import CacheError
from buddyproxy.storage.clearing import clear_file
from buddyproxy.storage.sqlite import SqliteStorage
from tests.storage.samples import NOW, key, stored

async def tried(work):
    try:
        return await work
    except CacheError:
        return None

def fill(path):
    with path.open("ab", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass

async def main(_):
    place = Path(sys.argv[1])
    path = place / "cache.sqlite"
    def count(name):
        with closing(sqlite3.connect(path)) as connection:
            query = "SELECT count(*) FROM cache_entries WHERE key = ?"
            return connection.execute(query, (key(name),)).fetchone()[0]
    storage = SqliteStorage.open(path, reactor, max_entries=100000, max_bytes=2**30, compress=False)
    reserve = place / "cache.sqlite.reserve"
    print("reserve:", reserve.exists())
    storage.store(stored("kept", remove_after=NOW + 10))
    storage.store(stored("gone", remove_after=NOW + 10))
    number = 0
    while not storage.stats.dropped:
        for number in range(number, number + 20):
            storage.store(stored(str(number), bytes(20_000), remove_after=NOW - 10))
        await tried(storage.flush())
    print("dropped:", storage.stats.dropped > 0)
    fill(place / "others")
    storage.invalidate("openai", stored("gone").uri)
    storage.store(stored("large", bytes(2_000_000)))
    await tried(storage.flush())
    print("invalidated:", count("gone"))
    print("kept:", count("kept"))
    print("removed:", bool(await tried(storage.remove_expired(NOW))))
    storage.store(stored("new"))
    await tried(storage.flush())
    print("stored again:", count("new"))
    await storage.close()
    # Takes the reserve again.
    await SqliteStorage.open(path, reactor, max_entries=100000, max_bytes=2**30).close()
    fill(place / "others")
    print("cleared:", clear_file(path, NOW) > 0, reserve.exists())

task.react(main)
"""

SMALL = """
import sqlite3, sys
from contextlib import closing, suppress
from pathlib import Path
from twisted.internet import reactor, task
from buddyproxy.errors import CacheError
from buddyproxy.storage.sqlite import SqliteStorage
from tests.storage.samples import stored

async def main(_):
    path = Path(sys.argv[1]) / "cache.sqlite"
    storage = SqliteStorage.open(path, reactor, max_entries=100000, max_bytes=2**30, compress=False)

    async def store(name):
        storage.store(stored(name, bytes(50_000)))
        with suppress(CacheError):
            await storage.flush()

    for number in range(20):
        await store(str(number))
    print("stored:", storage.stats.entries == 20)
    while not storage.stats.dropped:
        number += 1
        await store(str(number))
    for number in range(20):
        storage.invalidate("openai", stored(str(number)).uri)
        await store(f"new {number}")
    print("dropped:", storage.stats.dropped > 1)
    uris = [stored(str(number)).uri.decode() for number in range(20)]
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT uri FROM cache_entries").fetchall()
    print("left:", len([uri for (uri,) in found if uri in uris]))
    await storage.close()

task.react(main)
"""

LIMITED = """
import resource, sys
from pathlib import Path
from twisted.internet import reactor, task
from buddyproxy.errors import CacheError
from buddyproxy.storage.sqlite import SqliteStorage
from tests.storage.samples import key, stored

async def main(_):
    path = sys.argv[1]
    storage = SqliteStorage.open(path, reactor, max_entries=1000, max_bytes=2**30)
    storage.store(stored("old"))
    await storage.flush()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(path + "-wal").stat().st_size + 10_000, limits[1]))
    storage.store(stored("lost", b"x" * 100_000))
    try:
        await storage.flush()
    except CacheError:
        pass
    print("kept:", bool(await storage.lookup(key("old"))))
    print("unharmed:", not [name for name in Path(path).parent.iterdir() if "damaged" in name.name])
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    storage.store(stored("new"))
    await storage.flush()
    print("again:", bool(await storage.lookup(key("new"))))
    await storage.close()

task.react(main)
"""
