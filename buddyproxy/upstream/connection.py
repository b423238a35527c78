"""A connection to an origin: Twisted's, made safe for a proxy.

It reads answers with our own parser, hands over one that comes before the whole request was sent, takes bytes that
nobody asked for as nobody's answer, says when TLS is set up, and does not wait for ever to be closed.

Like `wire`, it knows nothing of our own values.
"""

from collections.abc import Callable
from socket import MSG_DONTWAIT, MSG_PEEK
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web._newclient import (
    HTTP11ClientProtocol,
    RequestGenerationFailed,
    RequestNotSent,
    TransportProxyProducer,
)
from twisted.web.iweb import IResponse
from zope.interface import implementer

from buddyproxy.upstream.failures import NotSecured, NotTrusted
from buddyproxy.upstream.wire import Parser, WireRequest

_CLOSING = 5.0
"""Seconds a connection may take to close in order (TLS waits for the other end) before it is cut."""


def end_in_order(transport: Any) -> None:
    """Have `transport` send what was written, then the end, while what comes is read until its own end.

    To close with bytes unread would be a reset, which takes from the other side what it has not read (RFC 9112, 9.6).
    """
    transport.unregisterProducer()
    transport.resumeProducing()
    if isinstance(transport, TLSMemoryBIOProtocol):
        transport.loseConnection()  # which waits for the other side's end
    else:
        transport.loseWriteConnection()


class Reins(TransportProxyProducer):
    """What the reader of a response may do to its connection, until the response is complete."""

    def abortConnection(self) -> None:
        """Cut the connection."""
        if self._producer is not None:
            self._producer.abortConnection()

    def write(self, data: bytes) -> None:
        """Send `data`, where the connection has changed to another protocol."""
        if self._producer is not None:
            self._producer.write(data)

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Have `producer` wait while the connection takes no more (`IConsumer`)."""
        if self._producer is not None:
            self._producer.registerProducer(producer, streaming)

    def end(self) -> None:
        """Send what was written, then the end; what comes is read until its own."""
        if self._producer is not None:
            end_in_order(self._producer)


@implementer(IHandshakeListener)
class Connection(HTTP11ClientProtocol):
    """One connection to an origin, for one request after the other."""

    transport: Any
    _finishedRequest: Any
    _responseDeferred: Any
    _currentRequest: Any

    def __init__(
        self,
        clock: IReactorTime,
        quiescent: Callable[["Connection"], None],
        lost: Callable[["Connection"], None],
    ) -> None:
        super().__init__(quiescent)
        self.used = False
        """Whether there was a request before the one that is on its way."""
        self.refusal: str | None = None
        """Why the certificate of the other end was refused, if it was; set by `trust`."""
        self.ready: Deferred[None] = Deferred(lambda _: self.transport.abortConnection())
        """Fires when a request may be sent: with TLS, after the handshake. Cancelling it cuts the connection."""
        self._clock = clock
        self._lost = lost
        self._closing: IDelayedCall | None = None
        self._writing: Deferred[None] = succeed(None)

    def connectionMade(self) -> None:
        """Begin; a plain connection is ready at once."""
        super().connectionMade()
        if not isinstance(self.transport, TLSMemoryBIOProtocol):
            self.ready.callback(None)

    def handshakeCompleted(self) -> None:
        """Know that TLS is set up (`IHandshakeListener`), unless the other end did not stand the test."""
        if not self.transport.disconnecting:
            self.ready.callback(None)

    def request(self, request: WireRequest) -> Deferred[IResponse]:  # type: ignore[override]
        """Send `request`; as Twisted's, but with our own parser, and with an answer that need not wait for its turn."""
        if self._state != "QUIESCENT":
            return fail(RequestNotSent())
        self._state = "TRANSMITTING"
        finished: Deferred[IResponse] = Deferred(self._cancelled)
        self._finishedRequest = finished
        self._currentRequest = request
        self._transportProxy = Reins(self.transport)
        self._parser = parser = Parser(request, self._finishResponse, self._answered)
        parser.makeConnection(self._transportProxy)
        self._responseDeferred = parser._responseDeferred
        writing = maybeDeferred(request.writeTo, self.transport)
        self._writing = writing.addCallbacks(self._written, self._unwritten, callbackArgs=(request,))
        return finished

    def sending(self) -> bool:
        """Tell whether a request is not all handed over yet."""
        return not self._writing.called

    def spoilt(self) -> bool:
        """Tell whether the connection, which no request is on, has come to its end or brought what nobody asked for.

        The reactor would say so too, but only in its next round: too late for a request that is sent in this one.
        """
        if self._state != "QUIESCENT":
            return True
        transport: Any = (
            self.transport.transport if isinstance(self.transport, TLSMemoryBIOProtocol) else self.transport
        )
        try:
            transport.getHandle().recv(1, MSG_PEEK | MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """Close in order, or cut the connection where that takes too long."""
        if self._closing is None and self._state != "CONNECTION_LOST":
            self._closing = self._clock.callLater(_CLOSING, self._cut)
            self.transport.loseConnection()

    def abort(self) -> Deferred[None]:
        """Close; fires when that is done."""
        closed: Deferred[None] = super().abort()
        self.close()
        return closed

    def dataReceived(self, data: bytes) -> None:
        """Take bytes of an answer; those nobody waits for end the connection."""
        if self._parser is not None:
            super().dataReceived(data)
            return
        self._state = "ABORTING"  # so that the pool gives it to nobody
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let go of everything, with the true reason."""
        if self._closing is not None:
            self._closing.cancel()
        if self.refusal is not None and reason.check(SSL.Error):
            reason = Failure(NotTrusted(self.refusal))
        super().connectionLost(reason)
        self._lost(self)
        if not self.ready.called:
            self.ready.errback(NotSecured([reason]))

    def _cut(self) -> None:
        self._closing = None
        self.transport.abortConnection()

    def _answered(self) -> None:
        """Know that the head of an answer is there; if that is early, the rest of the request goes on meanwhile."""
        if self._state == "TRANSMITTING":
            self._wait_for_answer()

    def _wait_for_answer(self) -> None:
        self._state = "WAITING"
        self._responseDeferred.chainDeferred(self._finishedRequest)

    def _written(self, _: None, request: WireRequest) -> None:
        if self._state == "TRANSMITTING":
            self._wait_for_answer()
            request.progress.sent()

    def _unwritten(self, failure: Failure) -> None:
        if self._state == "TRANSMITTING":
            self._state = "GENERATION_FAILED"
            self.transport.abortConnection()
            self._finishedRequest.errback(Failure(RequestGenerationFailed([failure])))

    def _cancelled(self, _: Deferred[IResponse]) -> None:
        if self._state == "TRANSMITTING":
            self._writing.cancel()
        else:
            self.transport.abortConnection()
            self._disconnectParser(Failure(CancelledError()))

    def _finishResponse(self, rest: bytes) -> None:
        self.used = True
        if self.sending():
            self._currentRequest.persistent = False
        super()._finishResponse(rest)

    def _giveUp(self, reason: Failure) -> None:
        self._answered()  # there will be no more of an answer than there is
        if self.sending():  # to an origin that may read no more
            self.transport.abortConnection()
        else:
            self.close()
        self._disconnectParser(reason)
