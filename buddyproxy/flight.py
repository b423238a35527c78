"""Responses on their way from an origin: one fetch, and all who read it.

A flight hands each chunk on as it comes, gathers what is worth storing, and is the only one who knows whether the
content came whole. It knows nothing of HTTP semantics: what to gather, and what to do with it, it is told.

Theory of operation
-------------------
Chunks stand in a list, and every reader has a place in it. As long as the content is gathered nothing is taken off the
list, so that whoever comes later begins at its beginning; and the origin need not wait for anybody, since what is
gathered has its bound. From when the content is too large to be gathered, or if it never was to be, what every reader
has is taken off, and the origin waits when all readers do, or one has fallen too far behind: a caller must not be worse
off because others ask for the same. One who takes nothing at all is told that others wait.
"""

from array import array
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from twisted.logger import Logger

from buddyproxy.errors import UpstreamError
from buddyproxy.upstream import Incoming

_log = Logger(namespace="buddyproxy")

BEHIND: Final = 2**20
"""By how many bytes a reader may fall behind the others before they wait for it, where nothing is gathered."""

Landed = Callable[[Sequence[bytes], Sequence[float]], None]
"""Takes the chunks of a whole content, and when each came, in seconds, where that was asked for."""


class Reader(Protocol):
    """Takes a response's content as it arrives."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes; may call `Reading.pause`."""

    def finish(self) -> None:
        """Know that the content is complete."""

    def fail(self, error: UpstreamError) -> None:
        """Know that the content broke off."""

    def hurry(self) -> None:
        """Know that others wait for this reader."""


class Reading:
    """A reader's place in a flight; nothing is given to it before `resume`."""

    def __init__(self, flight: "Flight", reader: Reader) -> None:
        self._flight = flight
        self.reader: Reader | None = reader
        """None once it is told of the end, or has left."""
        self.paused = True
        self.position = 0
        """How many chunks it has been given."""
        self.taken = 0
        """How many bytes these are."""
        self.advancing = False

    def resume(self) -> None:
        """Take more: what is there already is given before this returns."""
        self.paused = False
        self._flight.proceed(self)

    def pause(self) -> None:
        """Take no more for now."""
        self.paused = True
        self._flight.keep_pace()

    def leave(self) -> None:
        """Take nothing any more. The last one to leave ends the fetch."""
        self.reader = None
        self._flight.left(self)


class Flight:
    """The content of a response being read from an origin.

    `landed` is called with the chunks of the whole content, before the readers learn of the end, if it came whole and
    has at most `keep` bytes; nothing is gathered without it. `over` is called when no more will come. `clock`, where
    it is given, tells when each chunk came.
    """

    def __init__(
        self,
        incoming: Incoming,
        landed: Landed | None = None,
        keep: int = 0,
        over: Callable[[], None] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._incoming = incoming
        self._landed = landed
        self._keep = keep
        self._over = over
        self._clock = clock
        self._times = array("d")
        self._gathering = landed is not None
        self._chunks: list[bytes] = []
        self._dropped = 0
        """How many chunks were taken off the list."""
        self._size = 0
        self._readings: list[Reading] = []
        self._started = False
        self._waiting = False
        self._ended = False
        self._error: UpstreamError | None = None

    @property
    def joinable(self) -> bool:
        """Whether a new reader would get the content from its first byte on."""
        return not self._dropped and self._error is None and (self._gathering or not self._started)

    @property
    def started(self) -> bool:
        """Whether anybody has begun to read it."""
        return self._started

    def join(self, reader: Reader) -> Reading:
        """Return a place for `reader` at the beginning of the content."""
        reading = Reading(self, reader)
        self._readings.append(reading)
        return reading

    def proceed(self, reading: Reading) -> None:
        """Give `reading` what it has not had; the first one to ask for it starts the content."""
        if not self._started:
            self._started = True
            self._incoming.start(self)
            return
        self._advance(reading)
        self._trim()
        self.keep_pace()

    def abandon(self) -> None:
        """Give the fetch up."""
        if not self._ended:
            self._end()
            self._chunks.clear()
            self._incoming.abort()

    def received(self, chunk: bytes) -> None:
        """Take a chunk from the origin (`upstream.Sink`)."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._gathering and self._size > self._keep:
            self._gathering = False
        if self._gathering and self._clock is not None:
            self._times.append(self._clock())
        for reading in tuple(self._readings):
            self._advance(reading)
        self._trim()
        self.keep_pace()

    def ended(self, framed: bool) -> None:
        """Know that the origin is done (`upstream.Sink`); only what it framed is known to be whole (RFC 9112, 8)."""
        landed = self._landed if self._gathering and framed else None
        if landed is not None:
            try:
                landed(self._chunks, self._times)
            except Exception:  # noqa: BLE001 - whoever stores it must not keep the readers from their end
                _log.failure("a response could not be stored, which is a defect in buddyproxy")
        self._finish()

    def failed(self, error: UpstreamError) -> None:
        """Know that the origin broke off (`upstream.Sink`)."""
        self._error = error
        self._finish()

    def keep_pace(self) -> None:
        """Let the origin wait when nobody takes more or somebody is too far behind, and go on otherwise."""
        behind = [] if self._gathering else [each for each in self._readings if self._is_behind(each)]
        wait = not self._gathering and (bool(behind) or all(reading.paused for reading in self._readings))
        if wait is not self._waiting and not self._ended:
            self._waiting = wait
            if wait:
                self._incoming.pause()
                for reading in behind:
                    if reading.reader is not None and len(self._readings) > 1:
                        reading.reader.hurry()
            else:
                self._incoming.resume()

    def left(self, reading: Reading) -> None:
        """Know that a reader is gone."""
        if reading in self._readings:
            self._readings.remove(reading)
        if not self._readings:
            self.abandon()
        else:
            self._trim()
            self.keep_pace()

    def _advance(self, reading: Reading) -> None:
        """Give `reading` what there is for it, and the end after all else."""
        if reading.advancing:
            return
        reading.advancing = True
        while not reading.paused and reading.reader is not None and self._left_for(reading):
            chunk = self._chunks[reading.position - self._dropped]
            reading.position += 1
            reading.taken += len(chunk)
            reading.reader.write(chunk)
        reading.advancing = False
        if self._ended and not self._left_for(reading):
            self._tell(reading)

    def _is_behind(self, reading: Reading) -> bool:
        return self._size - reading.taken > self._keep + BEHIND

    def _left_for(self, reading: Reading) -> int:
        """Return how many chunks `reading` has yet to be given."""
        return self._dropped + len(self._chunks) - reading.position

    def _trim(self) -> None:
        """Take off the list what everybody has."""
        if self._gathering:
            return
        least = min((reading.position for reading in self._readings), default=0)
        del self._chunks[: least - self._dropped]
        self._dropped = max(self._dropped, least)

    def _finish(self) -> None:
        self._end()
        for reading in tuple(self._readings):
            self._advance(reading)

    def _end(self) -> None:
        self._ended = True
        over, self._over = self._over, None
        self._landed = None
        if over is not None:
            over()

    def _tell(self, reading: Reading) -> None:
        """Tell the reader how it ended, once."""
        reader, reading.reader = reading.reader, None
        if reader is None:
            return
        if self._error is None:
            reader.finish()
        else:
            reader.fail(self._error)
