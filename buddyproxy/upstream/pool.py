"""Connections to origins, and the pool that keeps them: Twisted's, made safe for a proxy.

- `Connection` reads answers with our own parser, hands over one that comes before the whole request was sent, takes
  bytes that nobody asked for as nobody's answer, and does not wait for ever to be closed.
- `Pool` keeps more connections than two, never sends a request again by itself, looks at a connection before it is used
  again, and forgets the dead.

Like `wire`, it knows nothing of our own values.
"""

from collections.abc import Callable, Hashable
from functools import partial
from socket import MSG_DONTWAIT, MSG_PEEK
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web._newclient import (
    HTTP11ClientProtocol,
    RequestGenerationFailed,
    RequestNotSent,
    TransportProxyProducer,
)
from twisted.web.client import HTTPConnectionPool
from twisted.web.iweb import IResponse

from buddyproxy.upstream.failures import NotTrusted
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
        self._clock = clock
        self._lost = lost
        self._closing: IDelayedCall | None = None
        self._writing: Deferred[None] = succeed(None)

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
        """Tell whether the connection, which is idle, has come to its end or brought what nobody asked for.

        The reactor would say so too, but only in its next round: too late for a request that is sent in this one.
        """
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


class _ConnectionFactory(Factory[Connection]):
    noisy = False

    def __init__(self, build: Callable[[], Connection]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        return self._build()


class Pool(HTTPConnectionPool):
    """Connections kept for the next request to the same origin."""

    maxPersistentPerHost = 64
    # Less than the minute after which common servers and load balancers close an idle connection: better we than they,
    # as a request may be on its way when they do.
    cachedConnectionTimeout = 50
    retryAutomatically = False

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__(clock, persistent=True)
        self._closed = False

    async def close(self) -> None:
        """Close the connections that are idle now, and those in use as soon as they are."""
        self._closed = True
        await self.closeCachedConnections()

    def getConnection(self, key: Hashable, endpoint: IStreamClientEndpoint) -> Deferred[Any]:
        """Return a connection that was kept and is still good, or a new one."""
        idle = self._connections.get(key, ())
        while idle and idle[0].state == "QUIESCENT" and idle[0].spoilt():
            self._timeouts[idle[0]].cancel()
            self._removeConnection(key, idle[0])
        return super().getConnection(key, endpoint)

    def open_connection(self, key: Hashable, endpoint: IStreamClientEndpoint) -> Deferred[Any]:
        """Return a new connection; it is kept like any other, should it come to be idle."""
        return self._newConnection(key, endpoint)

    def _newConnection(self, key: Hashable, endpoint: IStreamClientEndpoint) -> Deferred[Any]:
        return endpoint.connect(
            _ConnectionFactory(
                lambda: Connection(self._reactor, partial(self._putConnection, key), partial(self._forget, key))
            )
        )

    def _putConnection(self, key: Hashable, connection: Connection) -> None:
        if self._closed or len(self._connections.get(key, ())) >= self.maxPersistentPerHost:
            connection.close()
        else:
            super()._putConnection(key, connection)

    def _removeConnection(self, key: Hashable, connection: Connection) -> None:
        self._connections[key].remove(connection)
        del self._timeouts[connection]
        connection.close()

    def _forget(self, key: Hashable, connection: Connection) -> None:
        timeout = self._timeouts.pop(connection, None)
        if timeout is not None:
            timeout.cancel()
            self._connections[key].remove(connection)
