"""What is measured in a process of its own: `python -m benchmarks.workers NAME ARGUMENTS...` prints JSON.

A fresh process has no caches of another measurement's, and its memory is its own.
"""

import json
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater, react

from benchmarks.samples import expiry_of, key_of, sample
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.storage import pace, statements
from buddyproxy.storage.database import Database
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.storage.sqlite import SqliteStorage
from buddyproxy.storage.statements import Limits
from buddyproxy.storage.tiered import TieredStorage

LIMITS: dict[str, Any] = {"max_entries": 10_000_000, "max_bytes": 2**40}
LOOKUPS = 2000
BATCH = 200
EACH_SHARE = 10
"""One response is stored by itself for so many that are stored together."""


def open_disk(path: str, reactor: IReactorTime) -> SqliteStorage:
    """Return the store at `path`."""
    return SqliteStorage.open(path, reactor, **LIMITS)


async def hits(reactor: IReactorTime, rounds: str, *files: str) -> object:
    """Return, for each round, the median time of a hit from each file, in milliseconds; memory is cold."""
    result = []
    for number in range(int(rounds)):
        medians = []
        for path, entries in zip(files[::2], map(int, files[1::2]), strict=True):
            # No room in memory: every lookup goes to the disk, and what it finds is not kept.
            store = TieredStorage(MemoryStorage(0), open_disk(path, reactor))
            wanted = random.Random(number).sample(range(entries), min(LOOKUPS, entries))
            times = [await hit(store, key_of(each)) for each in wanted]
            await store.close()
            medians.append(median(times) * 1000)
        result.append(medians)
    return result


async def hit(store: TieredStorage, key: bytes) -> float:
    """Return how many seconds a hit takes."""
    began = perf_counter()
    found = await store.lookup(key)
    took = perf_counter() - began
    assert len(found) == 1
    return took


async def stores(reactor: IReactorTime, directory: str, rounds: str, count: str) -> object:
    """Return, for each round, how many responses a second are stored when grouped, and when committed one by one."""
    responses = [sample(number) for number in range(int(count))]
    few = responses[: max(1, len(responses) // EACH_SHARE)]
    result = []
    for number in range(int(rounds)):
        grouped = await grouped_rate(open_disk(f"{directory}/grouped-{number}", reactor), responses, reactor)
        each = await each_rate(f"{directory}/each-{number}", few, reactor)
        result.append([grouped, each])
    return result


async def grouped_rate(store: SqliteStorage, responses: list[StoredResponse], reactor: IReactorTime) -> float:
    """Return how many responses a second go through the queue into the file."""
    began = perf_counter()
    for start in range(0, len(responses), BATCH):
        for response in responses[start : start + BATCH]:
            store.store(response)
        await deferLater(reactor, 0, lambda: None)
    await store.flush()
    took = perf_counter() - began
    assert store.stats.dropped == 0
    await store.close()
    return len(responses) / took


async def each_rate(path: str, responses: list[StoredResponse], reactor: IReactorTime) -> float:
    """Return how many responses a second are stored where each is committed, and on the disk, before the next."""
    database = Database.open(Path(path), reactor)
    await database.write(lambda cursor: cursor.execute("PRAGMA synchronous = FULL"))
    store = SqliteStorage(database, reactor, Limits(**LIMITS))
    began = perf_counter()
    for response in responses:
        store.store(response)
        await store.flush()
    took = perf_counter() - began
    await store.close()
    return len(responses) / took


async def opening(reactor: IReactorTime, path: str, number: str) -> object:
    """Return how many seconds it takes until an open store has given its first answer, and the memory in use then."""
    began = perf_counter()
    store = TieredStorage(MemoryStorage(64 * 2**20), open_disk(path, reactor))
    found = await store.lookup(key_of(int(number)))
    took = perf_counter() - began
    resident = resident_mb()
    await store.close()
    return {"seconds": took, "found": len(found), "resident_mb": resident}


def resident_mb() -> float:
    """Return how much memory this process has."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


async def writing(reactor: IReactorTime, path: str, first: str) -> object:
    """Store numbered responses, saying when, until killed; now and then wait for what was stored, and say so too."""
    store = open_disk(path, reactor)
    number = int(first)
    while True:
        for _ in range(10):
            store.store(sample(number))
            print("stored", number, monotonic(), flush=True)
            number += 1
        if number % 100 == 0:
            await store.flush()
            print("committed", number - 1, monotonic(), flush=True)
        await deferLater(reactor, 0.002, lambda: None)


class Watched(pace.Pace):
    """A pace that remembers how long each slice held the writer."""

    held: list[float]

    @classmethod
    def removing(cls) -> "Watched":
        """Return one as the store has it."""
        usual = pace.removing()
        watched = cls(usual.budget, usual.least, usual.most)
        watched.held = []
        return watched

    def took(self, done: int, seconds: float) -> None:
        self.held.append(seconds)
        super().took(done, seconds)


async def removing(reactor: IReactorTime, path: str, count: str) -> object:
    """Remove `count` responses that have expired; return how long each slice held the writer, and all of it took."""
    database = Database.open(Path(path), reactor)
    watched = Watched.removing()
    began = perf_counter()
    removed = 0
    while more := await database.write(statements.remove_expired, expiry_of(int(count) - 1), watched):
        removed += more
    took = perf_counter() - began
    await database.close()
    return {"removed": removed, "seconds": took, "held": watched.held}


WORKERS: dict[str, Callable[..., Awaitable[object]]] = {
    "hits": hits,
    "stores": stores,
    "opening": opening,
    "removing": removing,
    "writing": writing,
}


def main() -> None:
    """Run the worker that is named, and print what it returns."""

    async def work(reactor: IReactorTime) -> None:
        print(json.dumps(await WORKERS[sys.argv[1]](reactor, *sys.argv[2:])))

    react(lambda reactor: Deferred.fromCoroutine(work(reactor)))


if __name__ == "__main__":
    main()
