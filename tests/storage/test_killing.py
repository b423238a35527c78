"""A process that writes, killed at whatever it is doing: what was committed is there, whole, and serves again."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

import buddyproxy
from buddyproxy.storage.sqlite import SqliteStorage
from tests.storage.samples import key, stored


class KilledTests(TestCase):
    """`benchmarks/killing.py` does it more often, and measures."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "cache.sqlite"

    async def test_group(self) -> None:
        """What was committed together is there."""
        await self.kill_often("group")

    async def test_each(self) -> None:
        """What was committed by itself is there."""
        await self.kill_often("each")

    async def kill_often(self, durability: str) -> None:
        first = 0
        for rounds in (1, 2, 3, 5):
            committed = self.kill_once(durability, first, rounds)
            self.assertGreaterEqual(committed, first + 30 * rounds)
            self.check_file()
            await self.check_store(range(first, committed))
            first = committed

    def kill_once(self, durability: str, first: int, rounds: int) -> int:
        """Have a process store from the response numbered `first`, kill it; return the first it did not say to have."""
        command = [sys.executable, "-c", WRITING, str(self.path), durability, str(first)]
        root = Path(buddyproxy.__file__).parent.parent
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                said = [process.stdout.readline() for _ in range(rounds)]
            finally:
                process.kill()
            said += process.stdout.readlines()
        # The last line may be cut short.
        return max(int(line) for line in said if line.endswith("\n"))

    def check_file(self) -> None:
        """The file is sound, though nobody closed it."""
        with closing(sqlite3.connect(self.path)) as connection:
            self.assertEqual(connection.execute("PRAGMA quick_check").fetchall(), [("ok",)])

    async def check_store(self, committed: range) -> None:
        """All of `committed` is there but for what was invalidated, and what is stored now is, too."""
        storage = SqliteStorage.open(self.path, reactor, max_entries=10**6, max_bytes=2**30)
        for number in committed:
            found = [one.body for one in await storage.lookup(key(str(number)))]
            self.assertEqual(found, [] if number % 10 == 9 else [b"%d" % number * 1000], number)
        storage.store(stored("after"))
        await storage.flush()
        self.assertEqual(len(await storage.lookup(key("after"))), 1)
        self.assertEqual((storage.stats.damaged, storage.stats.quarantined), (0, 0))
        await storage.close()


WRITING = """
import sys
from twisted.internet import reactor, task
from buddyproxy.storage.sqlite import SqliteStorage
from tests.storage.samples import stored

async def main(_):
    path, durability, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    limits = {"max_entries": 10**6, "max_bytes": 2**30}
    storage = SqliteStorage.open(path, reactor, each=durability == "each", **limits)
    while True:
        for number in range(number, number + 30):
            storage.store(stored(str(number), b"%d" % number * 1000))
            if number % 10 == 9:
                storage.invalidate("openai", stored(str(number)).uri)
        number += 1
        await storage.flush()
        print(number, flush=True)

task.react(main)
"""
