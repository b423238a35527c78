"""The server side of HTTP, made fit for a proxy.

twisted.web's `Site` and `Request`, less what they add to a response of their own accord, plus a bound on request
content and the count of requests in progress that an orderly end waits for.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request as ServerRequest
from twisted.web.server import Site

from buddyproxy.errors import BodyTooLarge
from buddyproxy.metrics import Metrics, Outcome
from buddyproxy.web.delivery import deliver_error, status_of


class ProxyRequest(ServerRequest):
    """A request whose response has the fields we give it and no others, and whose content is bounded."""

    defaultContentType = None
    channel: HTTPChannel
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
        site: ProxySite = self.channel.site  # type: ignore[attr-defined] # Site.buildProtocol sets it
        return site

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


class ProxySite(Site):
    """Serves a resource tree, and knows the requests in progress."""

    requestFactory = ProxyRequest
    noisy = False

    def __init__(self, resource: IResource, metrics: Metrics, reactor: IReactorTime, max_request_body: int) -> None:
        super().__init__(resource, reactor=reactor, parsePOSTFormSubmission=False)
        self.metrics = metrics
        self.max_request_body = max_request_body
        """The largest request content taken, in bytes."""
        self._in_progress: set[ProxyRequest] = set()
        self._idle: Deferred[None] | None = None
        self._draining = False

    def log(self, request: Any) -> None:
        """Write no access log: it would hold whole URIs. `metrics.py` writes the line of each request."""

    @property
    def in_progress(self) -> int:
        """How many requests have been received and not yet answered to the end."""
        return len(self._in_progress)

    def begin(self, request: ProxyRequest) -> None:
        """Take note of a request that has been received and is to be answered."""
        self._in_progress.add(request)
        request.notifyFinish().addBoth(self._end, request)
        if self._draining:
            _close_after(request)

    def drain(self) -> "Deferred[None]":
        """Return a Deferred that fires once no request is in progress; connections close after their responses."""
        self._draining = True
        for request in self._in_progress:
            _close_after(request)
        idle: Deferred[None] = Deferred()
        self._idle = idle
        self._check_idle()
        return idle

    def abort(self) -> int:
        """Break off every request in progress; return how many there were."""
        requests = list(self._in_progress)
        for request in requests:
            transport: Any = request.transport
            transport.abortConnection()
        return len(requests)

    def _end(self, result: Failure | None, request: ProxyRequest) -> None:
        self._in_progress.discard(request)
        self._check_idle()

    def _check_idle(self) -> None:
        if self._idle is not None and not self._in_progress:
            idle, self._idle = self._idle, None
            idle.callback(None)


def _close_after(request: ProxyRequest) -> None:
    """Let the connection end with this request's response, and say so where its head is yet to be sent."""
    request.channel.persistent = False
    if not request.startedWriting:
        request.responseHeaders.setRawHeaders(b"connection", [b"close"])
