"""Many slow streams under way: what they cost the other requests."""

from pathlib import Path
from statistics import median
from typing import Any

from attrs import frozen

from benchmarks.flow.plan import Plan
from benchmarks.flow.processes import Process, call, running_caller, running_proxy
from benchmarks.report import Figure, progress

DOUBLE = 2.0


@frozen
class Round:
    """The same requests without the slow streams and with them: milliseconds; and seconds of work without them."""

    alone: dict[str, Any]
    beside: dict[str, Any]
    work: float


def measure(origin: Process, directory: Path, plan: Plan) -> list[Figure]:
    """Measure hits and misses, one after the other, without and with the slow streams."""
    progress(f"hits and misses, without and with {plan.drips} streams of a chunk a second")
    with running_proxy(directory, origin) as proxy:
        rounds = [measure_once(proxy, number, plan) for number in range(plan.rounds)]
    figures = []
    for which, name in (("hit", "a hit from memory"), ("miss", "a small miss")):
        ratio = median(each.beside[which]["p99"] / each.alone[which]["p99"] for each in rounds)
        name = f"{name}, {plan.drips} slow streams beside it"
        figures += [
            Figure.at_most(f"{name}: p99, to that without them", ratio, DOUBLE, "times"),
            Figure(f"{name}: p99", median(each.beside[which]["p99"] for each in rounds), "ms"),
            Figure(f"{name}: p99 without them", median(each.alone[which]["p99"] for each in rounds), "ms"),
            Figure(f"{name}: median", median(each.beside[which]["median"] for each in rounds), "ms"),
            Figure(f"{name}: median without them", median(each.alone[which]["median"] for each in rounds), "ms"),
        ]
    work = median(1000 * each.work / plan.requests for each in rounds)
    return [*figures, Figure("work of the proxy, a hit and a miss", work, "ms")]


def measure_once(proxy: Process, number: int, plan: Plan) -> Round:
    """Ask without the slow streams, and then with them."""
    had = proxy.cpu_seconds()
    alone = call("asking", proxy.url, f"alone-{number}", plan.requests)
    work = proxy.cpu_seconds() - had
    with running_caller("dripping", proxy.url, f"drip-{number}", plan.drips):
        beside = call("asking", proxy.url, f"beside-{number}", plan.requests)
    return Round(alone, beside, work)
