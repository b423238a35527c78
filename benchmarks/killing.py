"""A process that writes, killed at any moment: what is left, and how soon it is there again."""

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from attrs import define, field

from benchmarks.report import Figure, progress
from benchmarks.running import run
from benchmarks.samples import key_of, sample
from buddyproxy.storage.rows import find


@define
class Losses:
    """What all the kills together came to."""

    committed: int = 0
    corrupt: int = 0
    written: int = 0
    seconds_gone: list[float] = field(factory=list)
    """How old the oldest store that was lost was, by kill."""
    seconds_until_serving: list[float] = field(factory=list)


def kill_often(path: Path, times: int) -> list[Figure]:
    """Kill a writer `times` times, and look at what it left each time."""
    losses, first = Losses(), 0
    for number in range(times):
        first = kill_once(path, first, losses)
        if number % 10 == 9:
            progress(f"killed {number + 1} of {times} times, {first:,} responses stored so far")
    return [
        Figure("responses written under the kills", losses.written, ""),
        Figure.at_most(f"{times} kills: committed responses lost", losses.committed, 0, ""),
        Figure.at_most(f"{times} kills: corrupt responses or files", losses.corrupt, 0, ""),
        Figure("after a kill: oldest store that was gone, median", 1000 * median(losses.seconds_gone), "ms"),
        Figure.at_most("after a kill: oldest store that was gone, at worst", 1000 * max(losses.seconds_gone), 50, "ms"),
        Figure.at_most("after a kill: until the first answer, at worst", max(losses.seconds_until_serving), 2, "s"),
    ]


def kill_once(path: Path, first: int, losses: Losses) -> int:
    """Have a process write from the response numbered `first`, kill it and check; return the next number."""
    command = [sys.executable, "-m", "benchmarks.workers", "writing", str(path), str(first)]
    # Not a pipe: a writer that finds it full would wait with responses not yet handed to the writer's thread.
    log = path.with_suffix(".log")
    with log.open("wb") as file, subprocess.Popen(command, stdout=file) as process:
        while not log.stat().st_size and process.poll() is None:
            time.sleep(0.005)
        time.sleep(random.uniform(0.1, 0.8))
        killed = time.monotonic()
        process.kill()
    said = log.read_text().splitlines(keepends=True)
    stored = dict(numbers(said, "stored"))
    kept = check(path, stored, losses)
    committed = max((number for number, _ in numbers(said, "committed")), default=first - 1)
    losses.committed += sum(number <= committed for number in stored if number not in kept)
    # One thread says it and the kernel kills: what was said after we looked at the clock counts as just now.
    ages = [killed - when for number, when in stored.items() if number not in kept]
    losses.seconds_gone.append(max(0.0, *ages) if ages else 0.0)
    opened = run("opening", path, min(kept, default=0))
    losses.seconds_until_serving.append(opened["seconds"])
    losses.written += len(stored)
    return max(stored, default=first) + 1


def numbers(said: list[str], word: str) -> Iterator[tuple[int, float]]:
    """Yield number and time of each whole line that begins with `word`."""
    for line in said:
        parts = line.split()
        if line.endswith("\n") and parts[:1] == [word]:
            yield int(parts[1]), float(parts[2])


def check(path: Path, stored: dict[int, float], losses: Losses) -> set[int]:
    """Return which of `stored` are in the file, whole; count what is corrupt."""
    with closing(sqlite3.connect(path)) as connection:
        (sound,) = connection.execute("PRAGMA quick_check").fetchone()
        losses.corrupt += sound != "ok"
        connection.text_factory = bytes
        kept = set()
        for number in stored:
            found = find(connection.cursor(), key_of(number))
            losses.corrupt += len(found.damaged)
            if found.responses:
                losses.corrupt += found.responses[0].body != sample(number).body
                kept.add(number)
    return kept
