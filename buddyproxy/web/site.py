"""The server side of HTTP, made fit for a proxy.

twisted.web's `Site` and `Request`, less what they add to a response of their own accord, plus a bound on request
content and the set of open connections that an orderly end waits for.
"""

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request as ServerRequest
from twisted.web.server import Site

from buddyproxy.errors import BodyTooLarge
from buddyproxy.metrics import Metrics, Outcome
from buddyproxy.upstream import Listener
from buddyproxy.web.delivery import deliver_error, status_of


class ProxyRequest(ServerRequest):
    """A request whose response has the fields we give it and no others, and whose content is bounded."""

    defaultContentType = None
    channel: "ProxyChannel"
    site: "ProxySite"
    _refused = False
    _received = 0

    def gotLength(self, length: int | None) -> None:
        """Refuse what is declared to be too large before any of it is read."""
        super().gotLength(length)
        if length is not None and length > self._limit:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the content, unless there has been too much of it."""
        if self._refused:
            return
        self._received += len(data)
        if self._received > self._limit:
            self._refuse()
        else:
            super().handleContentChunk(data)

    def finish(self) -> None:
        """End the response; a refused request ends its connection, which has the rest of its content to come."""
        if self._refused:
            self.loseConnection()
        else:
            super().finish()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Go on with a request that is here whole, unless it was answered already."""
        if not self._refused:
            super().requestReceived(command, path, version)

    def process(self) -> None:
        """Begin answering."""
        self._serving.begin(self)
        super().process()

    @property
    def _serving(self) -> "ProxySite":
        return self.channel.site

    @property
    def _limit(self) -> int:
        return self._serving.max_request_body

    def _refuse(self) -> None:
        """Answer 413 and close: what else the caller sends on this connection belongs to the refused request."""
        site = self._serving
        self._refused = True
        self.clientproto = b"HTTP/1.1"
        self.requestHeaders.removeHeader(b"expect")
        _close_after(self)
        error = BodyTooLarge(f"the content is larger than {self._limit} bytes (server.max_request_body sets this)")
        deliver_error(self, error)
        site.metrics.observe(Outcome(b"-", "-", b"-", status_of(error), error.code, 0.0))


class Successor(Listener, Protocol):
    """Takes over a caller's connection after a 101."""

    def drain(self) -> None:
        """Know that the proxy is to stop: come to an end soon."""


class ProxyChannel(HTTPChannel):
    """A caller's connection, of which the site knows as long as it is open."""

    site: "ProxySite"
    factory: "ProxySite"
    _successor: Successor | None = None

    def connectionMade(self) -> None:
        """Begin."""
        super().connectionMade()
        self.site.opened(self)

    def headerReceived(self, line: bytes) -> bool:
        """Take a header line, unless it frames the content in a way that others could read in another."""
        name, _, value = line.partition(b":")
        if _is_doubtful(name.lower(), value.strip(b" \t")):
            self._respondToBadRequestAndDisconnect()
            return False
        taken: bool = super().headerReceived(line)
        return taken

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that does not end, and say so: Twisted just closes."""
        self._respondToBadRequestAndDisconnect()

    def hand_over(self, successor: Successor) -> None:
        """Give the connection, which answers a request with 101, to `successor`, and what the caller sent behind it."""
        self._successor = successor
        early, self._dataBuffer = b"".join(self._dataBuffer), []
        if early:
            successor.received(early)
        if self.site.draining:
            successor.drain()

    def rawDataReceived(self, data: bytes) -> None:
        """Take content, or what comes behind a request: of the latter, Twisted holds 80 KB at most for its turn."""
        if self._successor is None:
            super().rawDataReceived(data)
        else:
            self._successor.received(data)

    def drain(self) -> None:
        """Close after what is going on, if anything is."""
        if self._successor is not None:
            self._successor.drain()
        elif self.requests:
            _close_after(self.requests[0])
        else:
            self.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End: all that was to be sent is sent by now, or never will be."""
        super().connectionLost(reason)
        if self._successor is not None:
            self._successor.lost()
        self.site.closed(self)


class ProxySite(Site):
    """Serves a resource tree, and knows the connections that are open."""

    requestFactory = ProxyRequest
    protocol = ProxyChannel  # type: ignore[assignment] # Twisted's own wraps HTTP/1.1 and HTTP/2 in one
    noisy = False

    def __init__(self, resource: IResource, metrics: Metrics, reactor: IReactorTime, max_request_body: int) -> None:
        super().__init__(resource, reactor=reactor, parsePOSTFormSubmission=False)
        self.metrics = metrics
        self.max_request_body = max_request_body
        """The largest request content taken, in bytes."""
        self._open: set[ProxyChannel] = set()
        self._waiting: list[Deferred[None]] = []
        self.draining = False
        """Whether connections are to be closed after what they are about."""

    def log(self, request: Any) -> None:
        """Write no access log: it would hold whole URIs. `metrics.py` writes the line of each request."""

    def acceptableProtocols(self) -> list[bytes]:
        """Offer HTTP/1.1 alone by ALPN: nothing here has been made for the frames of HTTP/2 yet."""
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """Serve, also after a `drain`."""
        super().startFactory()
        self.draining = False

    @property
    def in_progress(self) -> int:
        """How many requests are being received or answered."""
        return sum(bool(channel.requests) for channel in self._open)

    def begin(self, request: ProxyRequest) -> None:
        """Take note of a request that is to be answered."""
        options = request.requestHeaders.getRawHeaders(b"connection", ())
        # Twisted splits the options at spaces only (RFC 9110, 7.6.1).
        if self.draining or any(b"close" in value.lower().replace(b",", b" ").split() for value in options):
            _close_after(request)

    def drain(self) -> "Deferred[None]":
        """Return a Deferred that fires once no connection is open; each is closed after what it is about."""
        self.draining = True
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        for channel in list(self._open):
            channel.drain()
        self._tell()
        return waiting

    def abort(self) -> int:
        """Break off every connection; return how many there were."""
        channels = list(self._open)
        for channel in channels:
            transport: Any = channel.transport
            transport.abortConnection()
        return len(channels)

    def opened(self, channel: ProxyChannel) -> None:
        """Take note of a new connection."""
        self._open.add(channel)

    def closed(self, channel: ProxyChannel) -> None:
        """Take note that a connection is closed."""
        self._open.discard(channel)
        self._tell()

    def _tell(self) -> None:
        if not self._open:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)


def _is_doubtful(name: bytes, value: bytes) -> bool:
    """Return whether a field is a length too long to convert, or a coding that means nothing any more (identity).

    Twisted refuses all other framing that is in doubt (RFC 9112, 6).
    """
    match name:
        case b"content-length":
            return len(value) > 18
        case b"transfer-encoding":
            return value.lower() != b"chunked"
        case _:
            return False


def _close_after(request: ProxyRequest) -> None:
    """Let the connection end with this request's response, and say so where its head is yet to be sent."""
    request.channel.persistent = False
    if not request.startedWriting:
        request.responseHeaders.setRawHeaders(b"connection", [b"close"])
