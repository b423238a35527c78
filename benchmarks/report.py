"""Figures, and how they are shown."""

import json
import platform
import sqlite3
import sys
from collections.abc import Sequence
from os import cpu_count

from attrs import asdict, frozen

import buddyproxy


@frozen
class Figure:
    """One thing measured, and what it should come to."""

    name: str
    value: float
    unit: str
    target: str = ""
    reached: bool | None = None

    @classmethod
    def at_most(cls, name: str, value: float, limit: float, unit: str) -> "Figure":
        """Return a figure that should not be above `limit`."""
        return cls(name, value, unit, f"<= {limit:g}", value <= limit)

    @classmethod
    def exactly(cls, name: str, value: float, wanted: float, unit: str = "") -> "Figure":
        """Return a figure that should be nothing but `wanted`."""
        return cls(name, value, unit, f"{wanted:g}", value == wanted)

    @classmethod
    def at_least(cls, name: str, value: float, limit: float, unit: str) -> "Figure":
        """Return a figure that should not be below `limit`."""
        return cls(name, value, unit, f">= {limit:g}", value >= limit)


def machine() -> str:
    """Return what the figures depend on, without the machine's name."""
    versions = (
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, buddyproxy {buddyproxy.__version__}"
    )
    return f"{cpu_count()} cores, {versions}"


def as_json(figures: Sequence[Figure]) -> str:
    """Return `figures` for programs."""
    return json.dumps({"machine": machine(), "figures": [asdict(figure) for figure in figures]}, indent=2)


def as_table(figures: Sequence[Figure]) -> str:
    """Return `figures` for people, as a Markdown table."""
    rows = [f"Measured on {machine()}.", "", "| figure | measured | to reach | reached |", "|---|---:|---:|---|"]
    for figure in figures:
        reached = "" if figure.reached is None else "yes" if figure.reached else "NO"
        value = f"{figure.value:.3g}" if abs(figure.value) < 100 else f"{figure.value:,.0f}"
        cells = [figure.name, f"{value} {figure.unit}".rstrip(), figure.target, reached]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def progress(text: str) -> None:
    """Tell whoever waits what is going on."""
    print(f"... {text}", file=sys.stderr, flush=True)
