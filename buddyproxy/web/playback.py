"""A stored stream being sent again: what a flight is to a response on its way, in front of one caller.

What is to be sent, and when, it is told; it keeps time, and waits where the caller does.
"""

from collections.abc import Iterator
from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from buddyproxy.cache.streams import Piece
from buddyproxy.flight import Reader

PRECISION: Final = 0.001
"""What is due in so many seconds goes at once: nothing was recorded more exactly."""


@define(eq=False)
class Playback:
    """Gives `pieces` to `reader`, each when it is due; nothing before `resume`.

    Time goes on while the reader is paused: what fell due meanwhile follows at once.
    """

    _pieces: Iterator[Piece]
    _clock: IReactorTime
    _reader: Reader | None
    """None once it is told of the end, or has left."""
    _began: float | None = field(default=None, init=False)
    _next: Piece | None = field(default=None, init=False)
    _paused: bool = field(default=True, init=False)
    _advancing: bool = field(default=False, init=False)
    _due: IDelayedCall | None = field(default=None, init=False)

    def resume(self) -> None:
        """Send more: what is due already is sent before this returns."""
        self._paused = False
        if self._began is None:
            self._began = self._clock.seconds()
            self._next = next(self._pieces, None)
        self._advance()

    def pause(self) -> None:
        """Send no more for now."""
        self._paused = True
        self._rest()

    def leave(self) -> None:
        """Send nothing any more."""
        self._reader = None
        self._rest()

    def _advance(self) -> None:
        """Send what is due, and wait for the rest, or end."""
        if self._advancing:
            return
        self._advancing = True
        while self._next is not None and self._reader is not None and not self._paused and self._wait() <= PRECISION:
            (_, chunk), self._next = self._next, next(self._pieces, None)
            self._reader.write(chunk)
        self._advancing = False
        if self._next is None:
            self._end()
        elif self._reader is not None and not self._paused:
            self._rest()
            self._due = self._clock.callLater(self._wait(), self._advance)

    def _wait(self) -> float:
        """Return in how many seconds the next piece is due."""
        assert self._began is not None and self._next is not None
        return self._began + self._next[0] - self._clock.seconds()

    def _end(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.finish()

    def _rest(self) -> None:
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None
