"""How much later a chunk comes for having passed through the proxy.

The origin writes into each event the time at which it hands it to the operating system; the caller looks at the clock
as soon as the event's bytes are in its process, and takes the difference. Both read CLOCK_MONOTONIC, which is one for
all processes. More than the proxy's work is in that: what origin, caller and system do between the two looks. So every
round puts the same load on the origin without the proxy, too, and the proxy's share is the difference of the two
medians, or of the two 99th percentiles. In the share is what the detour brings with it: a second way through the
system, and three processes instead of two that want the processors.

A stream's first event comes with the head of the response, so that its share is that of the first byte. No connection
is opened in that time: the callers' are there, and the proxy's to the origin is when the clock of the first event
starts.
"""

from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from attrs import frozen

from benchmarks.flow.plan import Plan
from benchmarks.flow.processes import Process, call, idle_seconds, running_proxy
from benchmarks.report import Figure, progress

TIMES = 2
"""How many streams each caller reads, one after the other."""
SHARE = 1.0
"""Milliseconds that the proxy may take."""


@frozen
class Round:
    """The same load without the proxy and with it: milliseconds; and what the processors did meanwhile."""

    direct: dict[str, Any]
    proxied: dict[str, Any]
    proxy_seconds: float
    proxy: float
    """How many processors it had; less than one, mostly."""
    origin: float
    idle: float

    def share(self, which: str, what: str) -> float:
        """Return how much later `which` chunks came with the proxy, by `what` they are judged."""
        later: float = self.proxied[which][what] - self.direct[which][what]
        return later


def measure(origin: Process, directory: Path, plan: Plan) -> list[Figure]:
    """Measure streams that are all different."""
    progress(f"{plan.streams} streams of {plan.rate:g} chunks/s, without and with the proxy")
    with running_proxy(directory, origin) as proxy:
        rounds = [measure_once(origin, proxy, number, plan) for number in range(plan.rounds)]
    figures = []
    for which, name in (("first", "first chunk of a streamed miss"), ("later", "later chunks")):
        share = median(round_.share(which, "median") for round_ in rounds)
        figures += [
            Figure.at_most(f"{name}: the proxy's share, median", share, SHARE, "ms"),
            Figure(f"{name}: the proxy's share, p99", median(round_.share(which, "p99") for round_ in rounds), "ms"),
            Figure(f"{name}: without the proxy, median", median(r.direct[which]["median"] for r in rounds), "ms"),
            Figure(f"{name}: without the proxy, p99", median(r.direct[which]["p99"] for r in rounds), "ms"),
        ]
    chunks = plan.streams * plan.chunks * TIMES
    return [
        *figures,
        Figure("work of the proxy, a chunk", median(1000 * r.proxy_seconds / chunks for r in rounds), "ms"),
        Figure("processors the proxy had", median(r.proxy for r in rounds), ""),
        Figure("processors the origin had meanwhile", median(r.origin for r in rounds), ""),
        Figure("processors the callers had meanwhile", median(r.proxied["work"] for r in rounds), ""),
        Figure("processors that had nothing to do meanwhile", median(r.idle for r in rounds), ""),
    ]


def measure_once(origin: Process, proxy: Process, number: int, plan: Plan) -> Round:
    """Put the load on the origin, then on the proxy."""
    load = (plan.streams, plan.chunks, plan.rate, TIMES)
    direct = call("streams", origin.url, f"direct-{number}", *load)
    before = monotonic(), proxy.cpu_seconds(), origin.cpu_seconds(), idle_seconds()
    proxied = call("streams", proxy.url, f"proxied-{number}", *load)
    after = monotonic(), proxy.cpu_seconds(), origin.cpu_seconds(), idle_seconds()
    seconds, proxy_had, origin_had, idle = (new - old for old, new in zip(before, after, strict=True))
    return Round(direct, proxied, proxy_had, proxy_had / seconds, origin_had / seconds, idle / seconds)
