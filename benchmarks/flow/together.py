"""Many who ask for one thing: how often the origin is asked, how soon they all have it, and whether it is right."""

from pathlib import Path
from statistics import median

from benchmarks.flow.plan import Plan
from benchmarks.flow.processes import Process, call, running_proxy, seen
from benchmarks.report import Figure, progress

LATER = 0.5
"""Seconds after the origin's answer within which all should have it."""
STREAMED = 10.0
"""Events a second of the stream that is joined."""


def measure(origin: Process, directory: Path, plan: Plan) -> list[Figure]:
    """Measure callers that come at once, and callers that come while a stream runs."""
    with running_proxy(directory, origin) as proxy:
        return measure_misses(origin, proxy, plan) + measure_joining(origin, proxy, plan)


def measure_misses(origin: Process, proxy: Process, plan: Plan) -> list[Figure]:
    """Measure identical misses, all at once, on connections that are open."""
    progress(f"{plan.callers:,} callers ask at once")
    seconds, work, asked, different = [], [], 0, 1
    for number in range(plan.rounds):
        path = f"/slow/{number}"
        had = proxy.cpu_seconds()
        told = call("together", proxy.url, f"{path}?seconds={plan.wait}", plan.callers)
        work.append(proxy.cpu_seconds() - had)
        seconds.append(told["seconds"])
        asked = max(asked, seen(origin, path).requests)
        different = max(different, told["different"])
    name = f"{plan.callers:,} identical misses at once"
    return [
        Figure.exactly(f"{name}: requests to the origin", asked, 1),
        Figure.exactly(f"{name}: different answers", different, 1),
        Figure.at_most(
            f"{name}: the last has its answer, {plan.wait:g} s of it the origin's",
            median(seconds),
            plan.wait + LATER,
            "s",
        ),
        Figure(f"{name}: work of the proxy, each, its connection included", 1000 * median(work) / plan.callers, "ms"),
    ]


def measure_joining(origin: Process, proxy: Process, plan: Plan) -> list[Figure]:
    """Measure callers that join one stream at random moments."""
    progress(f"{plan.callers:,} callers join a stream")
    path, length = "/stream/joined", plan.chunks / 2 / STREAMED
    had = proxy.cpu_seconds()
    target = f"{path}?chunks={plan.chunks // 2}&rate={STREAMED}"
    digests = call("joining", proxy.url, target, plan.callers, length * 0.9)["digests"]
    work = proxy.cpu_seconds() - had
    stream = seen(origin, path)
    name = f"{plan.callers:,} callers joining a stream of {length:g} s"
    wrong = plan.callers - digests.get(stream.digest, 0)
    return [
        Figure.exactly(f"{name}: requests to the origin", stream.requests, 1),
        Figure.exactly(f"{name}: contents that are not the origin's, byte by byte", wrong, 0),
        Figure(
            f"{name}: work of the proxy, each chunk for each", 1000 * work / plan.callers / (plan.chunks // 2), "ms"
        ),
    ]
