"""The parts of the benchmark, one after the other."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.flow import dripping, large, streams, together
from benchmarks.flow.plan import Plan
from benchmarks.flow.processes import Process, allow_many_files, running_origin
from benchmarks.report import Figure

PARTS: Final[dict[str, Callable[[Process, Path, Plan], list[Figure]]]] = {
    "streams": streams.measure,
    "together": together.measure,
    "large": large.measure,
    "dripping": dripping.measure,
}


def measure(plan: Plan, parts: tuple[str, ...] = tuple(PARTS)) -> list[Figure]:
    """Return the figures of `parts`; what they leave on the disk is gone afterwards."""
    allow_many_files()
    figures: list[Figure] = []
    with TemporaryDirectory(dir=plan.directory, prefix="buddyproxy-benchmark-") as name:
        for part in parts:
            with running_origin() as origin:
                figures += PARTS[part](origin, Path(name), plan)
    return figures
