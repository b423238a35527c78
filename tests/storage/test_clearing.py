"""A file cleared from outside: all of it, with what others have of it."""

from pathlib import Path

from buddyproxy.errors import CacheError
from buddyproxy.storage.clearing import clear_file
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.storage.tiered import TieredStorage
from tests.storage.open import SqliteCase
from tests.storage.samples import NOW, key, stored


class ClearingTests(SqliteCase):
    async def fill(self, count: int) -> None:
        """Store so many responses, large ones."""
        for number in range(count):
            self.storage.store(stored(str(number), bytes(100_000)))
        await self.storage.flush()

    async def test_clear(self) -> None:
        """Clearing a file leaves an empty store with its secret, gives the space back, and tells how much there was."""
        secret = self.storage.secret
        await self.fill(10)
        await self.storage.close()
        self.assertEqual((clear_file(self.path, NOW), clear_file(self.path, NOW)), (10, 0))
        self.assertLess(self.path.stat().st_size, 500_000)
        self.storage = self.open()
        self.assertEqual((self.storage.secret, self.storage.stats.entries), (secret, 0))

    def test_reserve(self) -> None:
        """The reserve's room is used, and taken again; where there was none, none is left behind."""
        reserve = Path(f"{self.path}.reserve")
        size = reserve.stat().st_size
        clear_file(self.path, NOW)
        self.assertEqual(reserve.stat().st_size, size)
        reserve.unlink()
        clear_file(self.path, NOW)
        self.assertFalse(reserve.exists())

    async def test_locked(self) -> None:
        """A file that another process writes to for long cannot be cleared, which is said."""
        await self.fill(1)
        with self.locked(), self.assertRaises(CacheError):
            clear_file(self.path, NOW, 0.05)
        self.assertEqual(await self.present("0"), ["0"])

    async def test_beside_others(self) -> None:
        """Whoever has the file open lets go of what is in memory, and stores nothing that was asked for before."""
        tiered = TieredStorage(MemoryStorage(2**20), self.storage)
        await self.fill(2)
        await self.storage.back_up()
        await tiered.lookup(key("0"))
        self.assertEqual((clear_file(self.path, NOW), self.storage.backup_age()), (2, float("inf")))
        tiered.store(stored("late"))
        await tiered.refresh()
        self.assertEqual([await tiered.lookup(key(name)) for name in ("0", "1")], [(), ()])
        self.assertEqual((tiered.purges, await self.present("0", "1", "late")), (1, []))
