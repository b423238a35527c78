"""Many slow streams under way: what they cost the other requests."""

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.flow.plan import Plan
from benchmarks.flow.processes import Process, call, running_caller, running_proxy
from benchmarks.report import Figure, progress

DOUBLE = 2.0


def measure(origin: Process, directory: Path, plan: Plan) -> list[Figure]:
    """Measure hits and misses, one after the other, without and with the slow streams."""
    progress(f"hits and misses, without and with {plan.drips} streams of a chunk a second")
    with running_proxy(directory, origin) as proxy:
        rounds = [measure_once(proxy, number, plan) for number in range(plan.rounds)]
    figures = []
    for which, name in (("hit", "a hit from memory"), ("miss", "a small miss")):
        ratio = median(beside[which]["p99"] / alone[which]["p99"] for alone, beside in rounds)
        name = f"{name}, {plan.drips} slow streams beside it"
        figures += [
            Figure.at_most(f"{name}: p99, to that without them", ratio, DOUBLE, "times"),
            Figure(f"{name}: p99", median(beside[which]["p99"] for _, beside in rounds), "ms"),
            Figure(f"{name}: p99 without them", median(alone[which]["p99"] for alone, _ in rounds), "ms"),
            Figure(f"{name}: median", median(beside[which]["median"] for _, beside in rounds), "ms"),
            Figure(f"{name}: median without them", median(alone[which]["median"] for alone, _ in rounds), "ms"),
        ]
    return figures


def measure_once(proxy: Process, number: int, plan: Plan) -> tuple[Any, Any]:
    """Ask without the slow streams, and then with them."""
    alone = call("asking", proxy.url, f"alone-{number}", plan.requests)
    with running_caller("dripping", proxy.url, f"drip-{number}", plan.drips):
        beside = call("asking", proxy.url, f"beside-{number}", plan.requests)
    return alone, beside
