"""Many slow streams under way: what they cost the other requests."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from attrs import frozen

from benchmarks.flow.plan import Plan
from benchmarks.flow.processes import Process, call, running_caller, running_proxy
from benchmarks.report import Figure, progress

DOUBLE = 2.0


@frozen
class Asked:
    """How long hits and misses took, in milliseconds, and how many seconds the proxy worked for them."""

    hit: dict[str, float]
    hit_work: float
    miss: dict[str, float]
    miss_work: float


@frozen
class Round:
    """The same requests without the slow streams and with them."""

    alone: Asked
    beside: Asked


def measure(origin: Process, directory: Path, plan: Plan) -> list[Figure]:
    """Measure hits and misses, one after the other, without and with the slow streams."""
    progress(f"hits and misses, without and with {plan.drips} streams of a chunk a second")
    with running_proxy(directory, origin) as proxy:
        rounds = [measure_once(proxy, number, plan) for number in range(plan.rounds)]
    hits = [(each.alone.hit, each.beside.hit) for each in rounds]
    misses = [(each.alone.miss, each.beside.miss) for each in rounds]
    each_hit = median(1000 * each.alone.hit_work / plan.requests for each in rounds)
    each_miss = median(1000 * each.alone.miss_work / plan.requests for each in rounds)
    return [
        *compare(f"a hit from memory, {plan.drips} slow streams beside it", hits),
        *compare(f"a small miss, {plan.drips} slow streams beside it", misses),
        Figure("work of the proxy, a hit from memory", each_hit, "ms"),
        Figure("work of the proxy, a small miss", each_miss, "ms"),
    ]


def compare(name: str, rounds: Sequence[tuple[dict[str, float], dict[str, float]]]) -> list[Figure]:
    """Return the figures of requests without the slow streams, and with them."""
    ratio = median(beside["p99"] / alone["p99"] for alone, beside in rounds)
    return [
        Figure.at_most(f"{name}: p99, to that without them", ratio, DOUBLE, "times"),
        Figure(f"{name}: p99", median(beside["p99"] for _, beside in rounds), "ms"),
        Figure(f"{name}: p99 without them", median(alone["p99"] for alone, _ in rounds), "ms"),
        Figure(f"{name}: median", median(beside["median"] for _, beside in rounds), "ms"),
        Figure(f"{name}: median without them", median(alone["median"] for alone, _ in rounds), "ms"),
    ]


def measure_once(proxy: Process, number: int, plan: Plan) -> Round:
    """Ask without the slow streams, and then with them."""
    alone = ask(proxy, f"alone-{number}", plan)
    with running_caller("dripping", proxy.url, f"drip-{number}", plan.drips):
        beside = ask(proxy, f"beside-{number}", plan)
    return Round(alone, beside)


def ask(proxy: Process, name: str, plan: Plan) -> Asked:
    """Ask for hits, and then for misses."""
    before = proxy.cpu_seconds()
    hits = call("hits", proxy.url, plan.requests)
    between = proxy.cpu_seconds()
    misses = call("misses", proxy.url, name, plan.requests)
    return Asked(hits, between - before, misses, proxy.cpu_seconds() - between)
