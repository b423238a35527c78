"""Responses on their way from an origin: one fetch and the one who reads it.

A flight hands each chunk on as it comes, gathers what is worth storing, and is the only one who knows whether the
content came whole. It knows nothing of HTTP semantics: what to gather, and what to do with it, it is told.
"""

from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

from buddyproxy.errors import UpstreamError
from buddyproxy.upstream import Incoming

_log = Logger(namespace="buddyproxy")

Landed = Callable[[bytes], None]


class Reader(Protocol):
    """Takes a response's content as it arrives."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""

    def finish(self) -> None:
        """Know that the content is complete."""

    def fail(self, error: UpstreamError) -> None:
        """Know that the content broke off."""


class Flight:
    """The content of a response being read from an origin.

    `landed` is called with the whole content, before the reader learns of the end, if it came whole and has at most
    `keep` bytes; nothing is gathered without it.
    """

    def __init__(self, incoming: Incoming, landed: Landed | None = None, keep: int = 0) -> None:
        self._incoming = incoming
        self._landed = landed
        self._keep = keep
        self._gathered: list[bytes] = []
        self._size = 0
        self._reader: Reader | None = None

    def read(self, reader: Reader) -> None:
        """Deliver the content to `reader`, from its first byte on; called once."""
        self._reader = reader
        self._incoming.start(self)

    def pause(self) -> None:
        """Ask the origin to wait: the reader cannot take more now."""
        self._incoming.pause()

    def resume(self) -> None:
        """Let the origin go on."""
        self._incoming.resume()

    def leave(self) -> None:
        """Give the fetch up: its reader is gone."""
        self._reader = None
        self._release()
        self._incoming.abort()

    def received(self, chunk: bytes) -> None:
        """Take a chunk from the origin (`upstream.Sink`)."""
        if self._landed is not None:
            self._size += len(chunk)
            if self._size > self._keep:
                self._release()
            else:
                self._gathered.append(chunk)
        if self._reader is not None:
            self._reader.write(chunk)

    def ended(self, framed: bool) -> None:
        """Know that the origin is done (`upstream.Sink`); only what it framed is known to be whole (RFC 9112, 8)."""
        landed, gathered = self._landed, self._gathered
        self._release()
        if landed is not None and framed:
            try:
                landed(b"".join(gathered))
            except Exception:  # noqa: BLE001 - whoever stores it must not keep the reader from its end
                _log.failure("a response could not be stored, which is a defect in buddyproxy")
        if self._reader is not None:
            self._reader.finish()

    def failed(self, error: UpstreamError) -> None:
        """Know that the origin broke off (`upstream.Sink`)."""
        self._release()
        if self._reader is not None:
            self._reader.fail(error)

    def _release(self) -> None:
        """Gather no more, and keep nothing of what was gathered."""
        self._landed = None
        self._gathered = []
