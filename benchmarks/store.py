"""The store's figures: hits from the disk, stores, opening a large file, and being killed."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from attrs import frozen

from benchmarks.killing import kill_often
from benchmarks.report import Figure, progress
from benchmarks.running import run
from benchmarks.samples import fill


@frozen
class Plan:
    """How much to measure."""

    entries: tuple[int, ...] = (10_000, 1_000_000)
    stores: int = 20_000
    rounds: int = 5
    kills: int = 30
    directory: str | None = None


def measure(plan: Plan) -> list[Figure]:
    """Return every figure, in a directory that is gone afterwards."""
    with TemporaryDirectory(dir=plan.directory, prefix="buddyproxy-benchmark-") as name:
        directory = Path(name)
        figures = measure_stores(directory, plan.rounds, plan.stores)
        files = [(directory / f"{count}.sqlite", count) for count in plan.entries]
        for path, count in files:
            progress(f"making a file with {count:,} responses")
            fill(path, count)
        figures += measure_hits(files, plan.rounds)
        figures += measure_opening(*files[-1], plan.rounds)
        figures += measure_removing(*files[-1])
        if plan.kills:
            progress(f"killing a writer {plan.kills} times")
            figures += kill_often(directory / "killed.sqlite", plan.kills)
    return figures


def measure_stores(directory: Path, rounds: int, count: int) -> list[Figure]:
    """Measure how many responses can be stored in a second, together and one by one."""
    progress("storing, grouped and one by one")
    measured = run("stores", directory, rounds, count)
    return [
        Figure.at_least("1 KB responses stored, grouped", median(grouped for grouped, _ in measured), 5000, "/s"),
        Figure('1 KB responses stored, durability = "each"', median(each for _, each in measured), "/s"),
        Figure.at_least("grouped to one by one", median(grouped / each for grouped, each in measured), 10, "times"),
    ]


def measure_hits(files: Sequence[tuple[Path, int]], rounds: int) -> list[Figure]:
    """Measure hits from the disk, in files of several sizes."""
    progress("hits, with nothing in memory")
    measured = run("hits", rounds, *(part for file in files for part in file))
    figures = []
    for place, (_, count) in enumerate(files):
        value = median(round_[place] for round_ in measured)
        figures.append(Figure.at_most(f"a hit from the disk, 1 KB, {count:,} responses", value, 0.5, "ms"))
    if len(files) > 1:
        ratio = median(round_[-1] / round_[0] for round_ in measured)
        name = f"a hit with {files[-1][1]:,} to one with {files[0][1]:,} responses"
        figures.append(Figure.at_most(name, ratio, 1.3, "times"))
    return figures


def measure_opening(path: Path, count: int, rounds: int) -> list[Figure]:
    """Measure how long it takes until a file gives its first answer."""
    progress(f"opening a file with {count:,} responses")
    measured = [run("opening", path, count // 2) for _ in range(rounds)]
    seconds = median(each["seconds"] for each in measured)
    resident = median(each["resident_mb"] for each in measured)
    return [
        Figure.at_most(f"opening {count:,} responses until the first answer", seconds, 0.5, "s"),
        # The memory tier, which has a limit of its own, is all but empty.
        Figure.at_most("resident memory then", resident, 80, "MB"),
    ]


def measure_removing(path: Path, count: int) -> list[Figure]:
    """Measure how long the writer is held where many responses have expired; they are gone afterwards."""
    expired = max(1, count // 10)
    progress(f"removing {expired:,} responses")
    measured = run("removing", path, expired)
    assert measured["removed"] == expired
    name = f"removing {expired:,} of {count:,}"
    held, waited = ([1000 * seconds for seconds in measured[which]] for which in ("held", "waited"))
    return [
        Figure(f"{name}: all of it", measured["seconds"], "s"),
        Figure(f"{name}: the writer held, median", median(held), "ms"),
        Figure(f"{name}: the writer held, 99 of 100 times at most", percentile(held, 99), "ms"),
        Figure.at_most(f"{name}: the writer held, at worst", max(held), 50, "ms"),
        Figure.at_most(f"{name}: another write waited, at worst", max(waited), 50, "ms"),
    ]


def percentile(values: Sequence[float], part: int) -> float:
    """Return what `part` in a hundred of `values` are no larger than."""
    return sorted(values)[(len(values) * part - 1) // 100]
