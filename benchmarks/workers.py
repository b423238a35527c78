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

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater, react

from benchmarks.samples import expiry_of, key_of, sample
from buddyproxy.storage import pace, statements
from buddyproxy.storage.database import Database
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.storage.sqlite import SqliteStorage
from buddyproxy.storage.tiered import TieredStorage

LIMITS: dict[str, Any] = {"max_entries": 10_000_000, "max_bytes": 2**40}
LOOKUPS = 2000
BATCH = 200
EACH_SHARE = 10
"""One response is stored by itself for so many that are stored together."""
PROBE_EVERY = 0.005
"""Seconds between two times that the writer is asked for while it removes."""


def open_disk(path: str, reactor: IReactorTime, *, each: bool = False) -> SqliteStorage:
    """Return the store at `path`."""
    return SqliteStorage.open(path, reactor, each=each, **LIMITS)


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
    many, few = int(count), max(1, int(count) // EACH_SHARE)
    result = []
    for number in range(int(rounds)):
        grouped = await store_rate(open_disk(f"{directory}/grouped-{number}", reactor), many, reactor)
        each = await store_rate(open_disk(f"{directory}/each-{number}", reactor, each=True), few, reactor)
        result.append([grouped, each])
    return result


async def store_rate(store: SqliteStorage, count: int, reactor: IReactorTime) -> float:
    """Return how many responses a second go through the queue into the file."""
    # New ones each time: nothing about them has been worked out before.
    responses = [sample(number) for number in range(count)]
    began = perf_counter()
    for start in range(0, count, BATCH):
        for response in responses[start : start + BATCH]:
            store.store(response)
        await deferLater(reactor, 0, lambda: None)
    await store.flush()
    took = perf_counter() - began
    assert store.stats.dropped == 0
    await store.close()
    return count / took


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
    """Store numbered responses, saying when, until killed; now and then have them written, and say so too."""
    store = open_disk(path, reactor)
    number = int(first)
    while True:
        for _ in range(10):
            store.store(sample(number))
            print("stored", number, monotonic(), flush=True)
            number += 1
        if number % 500 == 0:
            # Nobody waits for it: storing goes on.
            Deferred.fromCoroutine(store.flush()).addCallback(say_committed, number - 1)
        await deferLater(reactor, 0.002, lambda: None)


def say_committed(_: None, number: int) -> None:
    """Say that all is written up to the response with `number`."""
    print("committed", number, monotonic(), flush=True)


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
    """Remove `count` responses that have expired.

    Return how long each slice held the writer, how long others that wanted it meanwhile waited, and all of it took.
    """
    database = Database.open(Path(path), reactor)
    watched, waited = Watched.removing(), Waiting(database)
    probing = LoopingCall(lambda: Deferred.fromCoroutine(waited.probe()))
    probing.clock = reactor
    probed = probing.start(PROBE_EVERY)
    began = perf_counter()
    removed = 0
    while more := await database.remove_slice(statements.remove_expired, expiry_of(int(count) - 1), watched):
        removed += more
    took = perf_counter() - began
    probing.stop()
    await probed
    await database.close()
    return {"removed": removed, "seconds": took, "held": watched.held, "waited": waited.seconds}


@define
class Waiting:
    """How long it takes until the writer of `database` is free."""

    database: Database
    seconds: list[float] = field(factory=list)

    async def probe(self) -> None:
        """Ask for the writer, and note how long that took."""
        began = perf_counter()
        await self.database.write(lambda _: None)
        self.seconds.append(perf_counter() - began)


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
