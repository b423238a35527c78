"""How often something happened lately.

Pure: the time is an argument.
"""

from collections import deque
from typing import Final

from attrs import define

_SLICES: Final = 10


@define
class _Slice:
    """What happened in a tenth of the window."""

    number: int
    events: int = 0
    marked: int = 0


class Window:
    """Counts the events of the last `seconds`, to a tenth of that time, and how many of them were marked."""

    def __init__(self, seconds: float) -> None:
        self._length = seconds / _SLICES
        self._slices: deque[_Slice] = deque()

    def add(self, now: float, *, marked: bool = False) -> None:
        """Count one event."""
        current = self._drop_old(now)
        if not self._slices or self._slices[-1].number != current:
            self._slices.append(_Slice(current))
        self._slices[-1].events += 1
        self._slices[-1].marked += marked

    def counts(self, now: float) -> tuple[int, int]:
        """Return how many events there were, and how many of them were marked."""
        self._drop_old(now)
        return sum(each.events for each in self._slices), sum(each.marked for each in self._slices)

    def _drop_old(self, now: float) -> int:
        """Forget what is out of the window, and return the number of the slice that `now` is in."""
        current = int(now // self._length)
        while self._slices and self._slices[0].number <= current - _SLICES:
            self._slices.popleft()
        # What lies ahead was counted before the clock was set back; it would never become old.
        while self._slices and self._slices[-1].number > current:
            self._slices.pop()
        return current
