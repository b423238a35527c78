"""A response whose head is there and whose content is still arriving."""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from buddyproxy.errors import UpstreamError
from buddyproxy.message import Headers, Origin, Response
from buddyproxy.upstream.failures import explained
from buddyproxy.upstream.patience import Patience
from buddyproxy.upstream.wire import WireHeaders

_log = Logger(namespace="buddyproxy.upstream")

Interim = Callable[[Response], None]
"""Takes the head of an interim response (RFC 9110, 15.2), with all its fields as received."""


class Sink(Protocol):
    """Receives content as it arrives: any number of chunks, then exactly one of `ended` and `failed`."""

    def received(self, chunk: bytes) -> None:
        """Take the next bytes, never none."""

    def ended(self, framed: bool) -> None:
        """Know that the content is complete; if not `framed`, only an orderly close of the connection says so."""

    def failed(self, error: UpstreamError) -> None:
        """Know that the rest of the content will not come."""


def head(arriving: IResponse) -> Response:
    """Return the status, the reason phrase and the fields of `arriving`, as received."""
    headers: WireHeaders = arriving.headers
    return Response(arriving.code, Headers(tuple(headers.pairs)), arriving.phrase)


class Incoming:
    """A response still arriving; whoever holds it calls `start` or `abort`.

    `response` has the status, the reason phrase and the fields as received, those of the connection included: they are
    for the caller to remove (`Headers.end_to_end`). Nothing is decoded except the chunked transfer coding.
    """

    def __init__(self, arriving: IResponse, origin: Origin, patience: Patience) -> None:
        self.response = head(arriving)
        self._arriving = arriving
        self._origin = origin
        self._patience = patience
        self._content = _Content(self)
        self._sink: Sink | None = None
        self._over = False
        self._paused = False
        patience.rest()
        patience.give_up(self._out_of_patience)

    def start(self, sink: Sink) -> None:
        """Deliver the content to `sink` from now on, the first of it perhaps before this returns; called once."""
        self._sink = sink
        if self._patience.expired is not None:
            sink.failed(self._patience.expired)
        elif not self._over:
            if not self._paused:
                self._patience.wait_for("idle")
            self._arriving.deliverBody(self._content)
            if self._paused:  # by what was buffered, or before; deliverBody has undone it
                self._content.transport.pauseProducing()

    def pause(self) -> None:
        """Let the origin wait. What has been read already, some 64 KB at most, still arrives."""
        if not self._over and not self._paused:
            self._paused = True
            self._patience.rest()
            if self._sink is not None:
                self._content.transport.pauseProducing()

    def resume(self) -> None:
        """Let the origin go on after `pause`."""
        if not self._over and self._paused:
            self._paused = False
            if self._sink is not None:
                self._patience.wait_for("idle")
                self._content.transport.resumeProducing()

    def abort(self) -> None:
        """Give up: nothing more is delivered. Closes the connection unless the content was complete already."""
        if not self._over:
            self._finish()
            if self._sink is None:
                self._arriving.deliverBody(self._content)  # the way to the connection
            self._content.transport.abortConnection()

    def _received(self, chunk: bytes) -> None:
        if self._over or self._sink is None:
            return
        if not self._paused:
            self._patience.progress()
        try:
            self._sink.received(chunk)
        except Exception:  # noqa: BLE001 - the reactor calls us; a reader's fault must not pass for the origin's
            _log.failure("the reader of a response from {origin} failed", origin=self._origin)
            self.abort()
            self._sink.failed(UpstreamError(f"{self._origin}: its answer could not be passed on"))

    def _ended(self, reason: Failure) -> None:
        if self._over or self._sink is None:
            return
        self._finish()
        if reason.check(ResponseDone):
            self._sink.ended(True)
        elif reason.check(PotentialDataLoss):
            self._sink.ended(False)
        else:
            error = explained(reason.value, self._origin)
            error.__cause__ = reason.value
            self._sink.failed(error)

    def _out_of_patience(self) -> None:
        error = self._patience.expired
        self.abort()
        if self._sink is not None and error is not None:
            self._sink.failed(error)

    def _finish(self) -> None:
        self._over = True
        self._patience.end()


class _Content(TwistedProtocol):
    """Twisted's end of an `Incoming`."""

    transport: Any

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming

    def dataReceived(self, data: bytes) -> None:
        self._incoming._received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._incoming._ended(reason)
