"""How much to do at a time, so that the one writer is never held for long.

Theory of operation. What a piece of work costs depends on the disk, on what is cached, and on who else is at it; so it
is measured and not assumed. After each slice the next one is sized: cut in proportion where the last took too long,
doubled at most where it was quick and used what it was given. It aims at a tenth of what may be taken, as the next
slice may meet a part of the disk that is slower, and threads that have work for both cores. The time counts from when
the lock is held to when it is let go, commit included, and not what was spent waiting for another process.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from sqlite3 import Cursor
from time import perf_counter

from attrs import define, field

HOLD_LIMIT = 0.05
"""Seconds that the writer may be held by work that can be done in slices."""
AIM = HOLD_LIMIT / 10

ROW_COST = 8192
"""Bytes that removing a row stands for, beside those of the row: its places in the indexes."""


@define(eq=False)
class Pace:
    """The size of the next slice, in whatever unit the work is done; between `least` and `most`."""

    budget: int
    least: int
    most: int
    _timer: Callable[[], float] = field(default=perf_counter, repr=False)

    def took(self, done: int, seconds: float) -> None:
        """Learn that `done` took `seconds`."""
        if seconds > AIM:
            self.budget = max(self.least, int(min(done, self.budget) * AIM / seconds))
        # Half: where one more row was too much, one or more of that size were not.
        elif 2 * done >= self.budget and seconds < AIM / 2:
            self.budget = min(self.most, 2 * self.budget)

    @contextmanager
    def holding(self, cursor: Cursor) -> Iterator[Callable[[int], None]]:
        """Hold the writer's lock meanwhile, for a transaction of its own; what is yielded is told how much was done."""
        cursor.execute("BEGIN IMMEDIATE")
        began = self._timer()
        done = 0

        def note(more: int) -> None:
            nonlocal done
            done += more

        yield note
        # Where it fails before this, whoever runs the work rolls back.
        cursor.connection.commit()
        if done:
            self.took(done, self._timer() - began)


def removing(timer: Callable[[], float] = perf_counter) -> Pace:
    """Return a pace for removing rows: in bytes, each row `ROW_COST` more than its size; at most 2000 rows."""
    return Pace(100 * ROW_COST, ROW_COST, 2000 * ROW_COST, timer)


def purging(timer: Callable[[], float] = perf_counter) -> Pace:
    """Return a pace for removing or marking rows whose size nobody looked up."""
    return Pace(100, 1, 2000, timer)


def vacuuming(timer: Callable[[], float] = perf_counter) -> Pace:
    """Return a pace for giving pages back."""
    return Pace(500, 16, 10_000, timer)
