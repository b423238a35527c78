"""Every store, and the fake, under one contract."""

from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from buddyproxy.storage import Storage
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.storage.sqlite import SqliteStorage
from buddyproxy.storage.tiered import TieredStorage
from tests.storage.contract import StorageContract
from tests.storage.fake import FakeStorage

MANY = 10_000
LARGE = 500 * 1024 * 1024


class FakeTests(StorageContract, TestCase):
    def make_storage(self) -> Storage:
        return FakeStorage()


class MemoryTests(StorageContract, TestCase):
    def make_storage(self) -> Storage:
        return MemoryStorage(LARGE, MANY)


class SqliteTests(StorageContract, TestCase):
    def make_storage(self) -> Storage:
        self.sqlite = SqliteStorage.open(Path(self.mktemp()), reactor, max_entries=MANY, max_bytes=LARGE)
        return self.sqlite

    async def settle(self) -> None:
        await self.sqlite.flush()


class TieredTests(SqliteTests):
    """With so little memory that some responses are above and some are not."""

    memory = 6_000

    def make_storage(self) -> Storage:
        return TieredStorage(MemoryStorage(self.memory), super().make_storage())


class TieredAboveTests(TieredTests):
    """With memory for everything."""

    memory = LARGE


class TieredFakeTests(StorageContract, TestCase):
    def make_storage(self) -> Storage:
        return TieredStorage(MemoryStorage(LARGE), FakeStorage())
