"""The server side of HTTP, made fit for a proxy.

twisted.web's `Site` and `Request`, less what they add to a response of their own accord, plus a bound on request
content and the set of open connections that an orderly end waits for. A request is begun with as soon as its head is
there: who is refused by that sends no content, or it is thrown away.
"""

from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers as WireHeaders
from twisted.web.resource import IResource
from twisted.web.server import Request as ServerRequest
from twisted.web.server import Site

from buddyproxy.errors import BodyTooLarge, InsufficientStorage, ProxyError
from buddyproxy.message import LargeContent
from buddyproxy.upstream import Listener
from buddyproxy.web.content import Spool

_log = Logger(namespace="buddyproxy")

LINGER: Final = 5.0
"""Seconds in which a refused caller may send the rest of its content, so that it comes to read why (RFC 9112, 9.6)."""


class ProxyRequest(ServerRequest):
    """A request whose response has the fields we give it and no others, and whose content comes when it is asked for.

    What answers it without its content ends the connection, which has the rest of it to come.
    """

    defaultContentType = None
    channel: "ProxyChannel"
    site: "ProxySite"
    content: Spool
    _arriving: Deferred[None] | None = None
    """Fires when the content is whole; None where none is still to come."""
    _length: int | None = 0
    _continue = False
    """Whether the caller waits for a word of ours before it sends the content."""
    _lingering: IDelayedCall | None = None

    async def receive(self) -> bytes | LargeContent:
        """Return the content once it is whole; called once.

        Raises `BodyTooLarge`, before it is read where its length is said, and `InsufficientStorage`.
        """
        if self._length is not None and self._length > self._limit:
            raise self._too_large()
        if self._arriving is not None:
            self._ask_for_it()
            await self._arriving
        return self.content.taken()

    def gotLength(self, length: int | None) -> None:
        """Know how long the content will be; None: as long as there are chunks."""
        super().gotLength(length)
        self._length = length
        # We stand in for the origin, whose expectation this is to meet (RFC 9110, 10.1.1); others are its own affair.
        values = self.requestHeaders.getRawHeaders(b"expect", ())
        if b", ".join(values).lower() == b"100-continue":
            self.requestHeaders.removeHeader(b"expect")
            self._continue = True

    def headReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Begin answering a request whose content is still to come."""
        self._arriving = Deferred()
        super().requestReceived(command, path, version)

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the content, if anybody still wants it."""
        if not self._wanted:
            return
        if self.content.tell() + len(data) > self._limit:
            self._give_up(self._too_large())
            return
        try:
            super().handleContentChunk(data)
        except OSError as error:
            _log.error("the content of a request could not be written to a temporary file: {error}", error=error)
            self._give_up(InsufficientStorage("there is no room for the request's content; buddyproxy's log says more"))

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Go on with a request that is here whole."""
        wanted, arriving = self._wanted, self._arriving
        self._arriving = None
        if arriving is None:
            super().requestReceived(command, path, version)
        elif wanted:
            arriving.callback(None)
        else:
            self._end_lingering()
            super().finish()

    def process(self) -> None:
        """Begin answering."""
        self.channel.site.begin(self)
        super().process()

    def write(self, data: bytes) -> None:
        """Send the head of the response, if that is yet to be done, and `data`."""
        if self._arriving is not None and not self.startedWriting:
            _close_after(self)
        super().write(data)

    def finish(self) -> None:
        """End the response, and the connection where the rest of the request's content is not waited for."""
        if self._arriving is None:
            super().finish()
        elif self._continue:
            self.loseConnection()
        else:
            self._linger()

    def connectionLost(self, reason: Failure) -> None:
        """Know that the caller is gone."""
        self._end_lingering()
        super().connectionLost(reason)

    @property
    def _limit(self) -> int:
        return self.channel.site.max_request_body

    @property
    def _wanted(self) -> bool:
        """Whether somebody waits for the content: nobody who has answered, given up or left."""
        return self._arriving is not None and not self._arriving.called and not self.startedWriting

    def _ask_for_it(self) -> None:
        if self._continue and self.clientproto == b"HTTP/1.1":
            self._continue = False
            self.channel.writeHeaders(b"HTTP/1.1", b"100", b"Continue", WireHeaders())

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the content is larger than {self._limit} bytes (server.max_request_body sets this)")

    def _give_up(self, error: ProxyError) -> None:
        """Take no more of the content, and tell whoever waits for it."""
        assert self._arriving is not None
        self.content.close()
        self._arriving.errback(error)

    def _linger(self) -> None:
        """Read on for a while: a connection closed on what was not read takes the response with it."""
        if not self.startedWriting:
            self.write(b"")
        self._lingering = self.site.reactor.callLater(LINGER, self.loseConnection)

    def _end_lingering(self) -> None:
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()


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

    def allHeadersReceived(self) -> None:
        """Begin with the request, unless that is its end, too: then Twisted goes on."""
        super().allHeadersReceived()
        if self.length != 0:
            self.requests[-1].headReceived(self._command, self._path, self._version)

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

    def __init__(self, resource: IResource, reactor: IReactorTime, max_request_body: int) -> None:
        super().__init__(resource, reactor=reactor, parsePOSTFormSubmission=False)
        self.max_request_body = max_request_body
        """The largest request content taken, in bytes."""
        self._open: set[ProxyChannel] = set()
        self._waiting: list[Deferred[None]] = []
        self.draining = False
        """Whether connections are to be closed after what they are about."""

    def getContentFile(self, length: int | None) -> Spool:
        """Return what takes the content of a request."""
        return Spool(self.reactor.callLater)

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
