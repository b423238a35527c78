"""Content that is too large to be kept: how much memory it takes, and how far ahead of its reader the origin gets.

A new proxy answers a few requests, and its resident memory is read. After what is measured, the most that it ever had
is read (VmHWM), so that nothing is missed between two looks.
"""

from pathlib import Path
from time import monotonic, sleep

from benchmarks.flow.plan import Plan
from benchmarks.flow.processes import DEADLINE, Process, call, running_proxy, seen
from benchmarks.report import Figure, progress

GROWTH = 32.0
"""Megabytes of memory that the proxy may take for it."""
AHEAD = 10.0
"""Megabytes that may be on their way to a reader that takes nothing: what systems buffer for the two connections."""
LETTING_GO = 1.0
"""Seconds within which the origin should learn that its reader has left."""
READ = 2**20
"""Bytes that such a reader has read."""
WARMING = 50
"""Requests before anything is measured: what is loaded with the first of them is not the content's."""


class Memory:
    """What happens to a new proxy's memory, and to its processor time."""

    def __init__(self, proxy: Process) -> None:
        call("misses", proxy.url, "warming", WARMING)
        self.proxy = proxy
        self._resident = proxy.resident_mb()
        self._work = proxy.cpu_seconds()

    def figures(self, name: str, seconds: float) -> list[Figure]:
        """Return what `name` has taken until now."""
        grown = self.proxy.peak_mb() - self._resident
        work = self.proxy.cpu_seconds() - self._work
        return [
            Figure.at_most(f"{name}: memory", grown, GROWTH, "MB"),
            Figure(f"{name}: took", seconds, "s"),
            Figure(f"{name}: work of the proxy", work, "s"),
        ]


def measure(origin: Process, directory: Path, plan: Plan) -> list[Figure]:
    """Measure large downloads and uploads."""
    return [
        *measure_download(origin, directory, plan),
        *measure_stall(origin, directory, plan),
        *measure_upload(origin, directory, plan, "PUT"),
        *measure_upload(origin, directory, plan, "POST"),
    ]


def measure_download(origin: Process, directory: Path, plan: Plan) -> list[Figure]:
    """Measure a download that is read as fast as it comes."""
    progress(f"downloading {plan.megabytes:,} MB")
    size = plan.megabytes * 2**20
    with running_proxy(directory, origin) as proxy:
        memory = Memory(proxy)
        took = call("download", proxy.url, f"/large/whole?bytes={size}", size, 0)
        return memory.figures(f"a download of {plan.megabytes:,} MB", took["seconds"])


def measure_stall(origin: Process, directory: Path, plan: Plan) -> list[Figure]:
    """Measure a download whose reader stops and, after a while, leaves."""
    progress(f"downloading, and then not, for {plan.stall:g} s")
    size, name = plan.megabytes * 2**20, "a reader that stalls after 1 MB"
    with running_proxy(directory, origin) as proxy:
        memory = Memory(proxy)
        took = call("download", proxy.url, f"/large/stalled?bytes={size}", READ, plan.stall)
        figures = memory.figures(name, took["seconds"])
        freed = wait_until_free(origin, "/large/stalled")
    call("download", origin.url, f"/large/direct?bytes={size}", READ, plan.stall)
    ahead, direct = ((seen(origin, path).sent - READ) / 2**20 for path in ("/large/stalled", "/large/direct"))
    return [
        figures[0],
        Figure.at_most(f"{name}: the origin is ahead by", ahead, AHEAD, "MB"),
        Figure(f"{name}: without the proxy, by", direct, "MB"),
        Figure.at_most(f"{name}: from its leaving until the origin knows", freed, LETTING_GO, "s"),
    ]


def wait_until_free(origin: Process, path: str) -> float:
    """Return for how many more seconds the origin answers a request for `path`."""
    began = monotonic()
    while seen(origin, path).being_answered:
        if monotonic() - began > DEADLINE:
            raise RuntimeError("the caller has left, and the origin does not learn of it")
        sleep(0.01)
    return monotonic() - began


def measure_upload(origin: Process, directory: Path, plan: Plan, method: str) -> list[Figure]:
    """Measure an upload that the origin takes as fast as it comes."""
    progress(f"uploading {plan.megabytes:,} MB by {method}")
    with running_proxy(directory, origin) as proxy:
        memory = Memory(proxy)
        took = call("upload", proxy.url, method, "/upload/large", plan.megabytes * 2**20)
        assert took["status"] == 200, took
        return memory.figures(f"an upload of {plan.megabytes:,} MB by {method}", took["seconds"])
