"""How much is measured."""

from attrs import frozen


@frozen
class Plan:
    """How much to measure, and against what the figures stand."""

    rounds: int = 5
    streams: int = 100
    """How many streams are read at any time."""
    chunks: int = 100
    """Events of each stream."""
    rate: float = 50.0
    """Events a second of each stream."""
    callers: int = 1000
    """How many ask for one thing."""
    wait: float = 1.0
    """Seconds the origin takes for that."""
    megabytes: int = 1024
    """What is large."""
    stall: float = 5.0
    """Seconds a reader takes nothing."""
    drips: int = 500
    requests: int = 1000
    """Hits, and misses, of a round."""
    directory: str | None = None


QUICK = Plan(rounds=1, streams=5, chunks=10, callers=20, wait=0.1, megabytes=16, stall=0.2, drips=10, requests=30)
"""Enough to see that everything is measured; its figures mean nothing."""
