"""A connection to an origin that has changed to another protocol (RFC 9110, 7.8): bytes both ways, until it ends."""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from buddyproxy.upstream.incoming import head


class Listener(Protocol):
    """Takes what comes by a connection: any number of chunks, then exactly one `lost`."""

    def received(self, chunk: bytes) -> None:
        """Take the next bytes, never none."""

    def lost(self) -> None:
        """Know that the connection is gone, whoever ended it."""


class Switched:
    """The connection after the head of a 101; whoever holds it calls `start` or `abort`, and `start` before all else.

    `response` is that head, with the fields as received.
    """

    def __init__(self, arriving: IResponse, gone: Callable[["Switched"], object]) -> None:
        self.response = head(arriving)
        self._arriving = arriving
        self._gone = gone
        self._paused = False
        self._stream: _Stream | None = None

    def start(self, listener: Listener) -> None:
        """Deliver to `listener` what came behind the head, and all that comes; some of it before this returns."""
        stream = self._open(listener)
        if self._paused:  # by what came behind the head; deliverBody has undone it
            stream.transport.pauseProducing()

    def write(self, data: bytes) -> None:
        """Send `data`."""
        self._reins.write(data)

    def feed_by(self, producer: IPushProducer) -> None:
        """Have `producer` wait while the origin takes no more."""
        self._reins.registerProducer(producer, True)

    def pause(self) -> None:
        """Let the origin wait. What has been read already, some 64 KB at most, still arrives."""
        self._paused = True
        self._reins.pauseProducing()

    def resume(self) -> None:
        """Let the origin go on."""
        self._paused = False
        self._reins.resumeProducing()

    def end(self) -> None:
        """Send what was written, then the end; what comes is delivered until the origin ends it too."""
        self._reins.end()

    def abort(self) -> None:
        """Cut the connection."""
        if self._stream is None:
            self._open(_Nobody())  # the way to the connection
        self._reins.abortConnection()

    @property
    def _reins(self) -> Any:
        assert self._stream is not None
        return self._stream.transport

    def _open(self, listener: Listener) -> "_Stream":
        self._stream = _Stream(listener, lambda: self._gone(self))
        self._arriving.deliverBody(self._stream)
        return self._stream


class _Stream(TwistedProtocol):
    """Twisted's end of a `Switched`."""

    transport: Any

    def __init__(self, listener: Listener, gone: Callable[[], object]) -> None:
        self._listener = listener
        self._gone = gone

    def dataReceived(self, data: bytes) -> None:
        self._listener.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone()
        self._listener.lost()


class _Nobody:
    """Takes what nobody wants."""

    def received(self, chunk: bytes) -> None:
        """Let it go by."""

    def lost(self) -> None:
        """Leave it at that."""
