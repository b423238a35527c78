"""What one process removes, the others let go of: two stores on one file, and two processes."""

import subprocess
import sys
from pathlib import Path

from twisted.internet.defer import Deferred

import buddyproxy
from buddyproxy.errors import CacheError
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.storage.removals import KEPT, Heard
from buddyproxy.storage.selection import Selection
from buddyproxy.storage.tiered import TieredStorage
from tests.storage.open import SqliteCase, warnings
from tests.storage.samples import NOW, key, language, stored


class RemovalsTests(SqliteCase):
    """`self.tiered` has "a" and "b" in memory; `self.storage` is another process's, as it were."""

    async def begin(self) -> None:
        self.tiered = TieredStorage(MemoryStorage(2**20), self.open())
        for name in "ab":
            self.storage.store(stored(name, tags=name))
        await self.storage.flush()
        for name in "ab":
            await self.tiered.lookup(key(name))
        self.assertEqual(self.in_memory(), "ab")

    def in_memory(self) -> str:
        return "".join(name for name in "ab" if self.tiered.memory.held(key(name)))

    async def test_invalidated(self) -> None:
        """What another invalidated leaves memory, and nothing else does."""
        await self.begin()
        purges = self.tiered.purges
        self.storage.invalidate("openai", stored("a").uri)
        await self.storage.flush()
        self.assertEqual(self.in_memory(), "ab")
        await self.tiered.refresh()
        self.assertEqual(self.in_memory(), "b")
        self.assertEqual(await self.tiered.lookup(key("a")), ())
        self.assertEqual(self.tiered.purges, purges)

    async def test_invalidated_while_full(self) -> None:
        """The same where the other had no room for anything else."""
        await self.begin()
        pages = "PRAGMA max_page_count = "
        await self.storage._database.write(lambda cursor: cursor.execute(f"{pages} 1").fetchall())
        self.storage.invalidate("openai", stored("a").uri)
        self.storage.store(stored("large", b"x" * 100_000))
        with warnings(), self.assertRaises(CacheError):
            await self.storage.flush()
        await self.tiered.refresh()
        self.assertEqual(self.in_memory(), "b")

    async def test_purged(self) -> None:
        """After another's purge, of whatever kind, memory has nothing, and what is on its way is not stored."""
        for selection, soft in (
            (Selection(tag=b"a"), False),
            (Selection(key=key("a")), True),
            (Selection(everything=True), False),
        ):
            await self.begin()
            purges = self.tiered.purges
            await self.storage.purge(selection, soft=soft)
            await self.tiered.refresh()
            self.assertEqual((self.in_memory(), self.tiered.purges), ("", purges + 1))
            found = await self.tiered.lookup(key("a"))
            self.assertEqual([one.outdated for one in found], [True] if soft else [])

    async def test_own(self) -> None:
        """What it removed itself it need not hear of."""
        await self.begin()
        self.tiered.store(stored("c"))
        self.tiered.invalidate("openai", stored("a").uri)
        for soft in (True, False):
            await self.tiered.purge(Selection(tag=b"a"), soft=soft)
        self.tiered.store(stored("a"))
        await self.tiered.disk.flush()
        purges = self.tiered.purges
        await self.tiered.lookup(key("a"))
        await self.tiered.refresh()
        self.assertEqual((self.in_memory(), self.tiered.purges), ("ab", purges))

    async def test_others_do_not_matter(self) -> None:
        """What another stored, or removed as it was of no more use, is no removal."""
        await self.begin()
        self.storage.store(stored("c", remove_after=NOW))
        await self.storage.remove_expired(NOW)
        await self.tiered.refresh()
        self.assertEqual(self.in_memory(), "ab")

    async def test_heard_while_reading(self) -> None:
        """What was read before another removed it is not promoted after that was heard."""
        await self.begin()
        await self.tiered.memory.clear()
        reading = Deferred.fromCoroutine(self.tiered.lookup(key("a")))
        await self.storage.purge(Selection(tag=b"a"))
        refreshing = Deferred.fromCoroutine(self.tiered.refresh())
        await reading
        await refreshing
        self.assertEqual(self.in_memory(), "")

    async def test_too_much(self) -> None:
        """Where more was removed than is written down, anything may be gone; no more than that is kept."""
        await self.begin()
        for number in range(1001):
            self.storage.invalidate("openai", b"https://elsewhere.example/%d" % number)
        await self.storage.flush()
        self.assertEqual(self.rows("SELECT count(*) FROM removals"), [(1000,)])
        await self.tiered.refresh()
        self.assertEqual(self.in_memory(), "")

    async def test_nothing_new(self) -> None:
        """What was heard once is not heard again."""
        await self.begin()
        self.storage.invalidate("other", "https://x/\u00fc".encode("latin-1"))
        await self.storage.flush()
        heard = [await self.tiered.disk.heard() for _ in range(2)]
        self.assertEqual([one.places for one in heard], [(("other", "https://x/\u00fc".encode("latin-1")),), ()])

    async def test_another_file(self) -> None:
        """Where the file is another one, with fewer removals, anything may be gone; damage there tells nothing."""
        await self.begin()
        with self.connect() as connection:
            connection.execute("INSERT INTO removals (remover, mapping, uri) VALUES (x'00', CAST(x'ff' AS TEXT), '')")
        self.assertEqual(await self.tiered.disk.heard(), Heard(1, None))
        with self.connect() as connection:
            connection.execute("DELETE FROM removals")
        self.assertEqual(await self.tiered.disk.heard(), Heard(0, None))
        self.assertEqual(await self.tiered.disk.heard(), Heard(0))

    async def test_asked_before(self) -> None:
        """What was asked for before another invalidated its like is stored in neither tier; what came later is."""
        await self.begin()
        for name in "ab":
            self.storage.invalidate("openai", stored(name).uri)
        await self.storage.flush()
        await self.tiered.refresh()
        self.assertEqual([await self.tiered.lookup(key(name)) for name in "ab"], [(), ()])
        self.tiered.store(stored("a", request_time=NOW))
        self.tiered.store(stored("b", request_time=NOW + 0.1))
        self.assertEqual(self.in_memory(), "ab")
        await self.tiered.disk.flush()
        await self.tiered.refresh()
        self.assertEqual(self.in_memory(), "b")
        self.assertEqual([len(await self.tiered.lookup(key(name))) for name in "ab"], [0, 1])
        self.assertEqual((await self.present("a", "b"), self.tiered.stats.dropped), (["b"], 1))

    async def test_replaces_nothing(self) -> None:
        """It leaves what is stored there by then as it is; other URIs, and answers to POST, are stored."""
        await self.begin()
        self.storage.invalidate("openai", stored("a").uri)
        self.storage.store(stored("a", b"new"))
        await self.storage.flush()
        for late in (stored("a", b"old"), stored("a", b"posted", method=b"POST", selecting=language(b"de"))):
            self.tiered.store(late)
        self.tiered.store(stored("b", b"another"))
        await self.tiered.disk.flush()
        found = [[one.body for one in await self.storage.lookup(key(name))] for name in "ab"]
        self.assertEqual(found, [[b"posted", b"new"], [b"another"]])

    async def test_asked_before_purge(self) -> None:
        """What was asked for before another purged anything is not stored, before that is heard of."""
        for remove in (lambda: self.storage.purge(Selection(tag=b"z"), soft=True), self.storage.clear):
            await self.begin()
            await remove()
            self.tiered.store(stored("a"))
            self.tiered.store(stored("c", method=b"POST"))
            await self.tiered.disk.flush()
            await self.tiered.refresh()
            self.assertEqual(self.in_memory(), "")
            self.assertEqual(await self.present("c"), [])
            self.clock.advance(1)
            self.storage = self.open()

    async def test_asked_before_too_much(self) -> None:
        """Where others removed more since than is written down, what was asked for before is not stored."""
        await self.begin()
        self.tiered.invalidate("openai", b"https://elsewhere.example/")
        for number in range(KEPT):
            self.tiered.invalidate("openai", b"https://elsewhere.example/%d" % number)
        self.tiered.store(stored("c"))
        await self.tiered.disk.flush()
        self.storage.invalidate("openai", b"https://elsewhere.example/")
        await self.storage.flush()
        self.tiered.store(stored("d"))
        self.tiered.store(stored("e", request_time=NOW + 1))
        await self.tiered.disk.flush()
        self.assertEqual(await self.present("c", "d", "e"), ["c", "e"])

    async def test_another_process(self) -> None:
        """So it is with a process that really is another."""
        await self.begin()
        self.run_another()
        await self.tiered.refresh()
        self.assertEqual(self.in_memory(), "b")

    def run_another(self) -> None:
        """Have a process invalidate "a"."""
        root = Path(buddyproxy.__file__).parent.parent
        subprocess.run([sys.executable, "-c", REMOVE, str(self.path)], cwd=root, check=True, timeout=60)

    async def test_variants(self) -> None:
        """Where another stored one more variant, and an invalidation removes one, the other is found."""
        await self.begin()
        self.storage.store(stored("a", b"other", uri=b"https://elsewhere.example/", selecting=language(b"de")))
        self.storage.invalidate("openai", stored("a").uri)
        await self.storage.flush()
        await self.tiered.refresh()
        self.assertEqual([one.body for one in await self.tiered.lookup(key("a"))], [b"other"])


REMOVE = """
import sys
from twisted.internet import reactor, task
from buddyproxy.storage.sqlite import SqliteStorage
from tests.storage.samples import stored

async def main(_):
    storage = SqliteStorage.open(sys.argv[1], reactor, max_entries=1000, max_bytes=2**30)
    storage.invalidate("openai", stored("a").uri)
    await storage.close()

task.react(main)
"""
