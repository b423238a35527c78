"""The way from a request to a connection: how one is opened, and the agent that sends a request on one."""

from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent, RequestTransmissionFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from buddyproxy.message import Origin
from buddyproxy.upstream.failures import StaleConnection, cancelled, explained
from buddyproxy.upstream.incoming import Interim, head
from buddyproxy.upstream.patience import Patience
from buddyproxy.upstream.pool import Connection, Pool
from buddyproxy.upstream.trust import connection_creator
from buddyproxy.upstream.wire import WireHeaders, WireRequest

EndpointFor = Callable[[Origin], IStreamClientEndpoint]
"""Says how connections to an origin are opened."""


class Connections:
    """Opens connections and keeps them, one pool for all origins."""

    def __init__(self, reactor: Any, clock: IReactorTime, endpoint_for: EndpointFor | None) -> None:
        self._reactor = reactor
        self._pool = Pool(clock)
        self._endpoint_for = endpoint_for or self._endpoint
        self._endpoints: dict[Origin, IStreamClientEndpoint] = {}

    def agent_for(
        self, origin: Origin, patience: Patience, interim: Interim, kind: type[WireRequest] = WireRequest
    ) -> IAgent:
        """Return an agent that asks `origin`, tells `patience` how far it is, and hands `interim` what comes before.

        Its requests are of the `kind` given. Raises `UpstreamError` where the origin's `ca_file` cannot be used.
        """
        endpoint = self._endpoints.get(origin)
        if endpoint is None:
            endpoint = self._endpoints[origin] = self._endpoint_for(origin)
        return _OriginAgent(self._pool, endpoint, origin, patience, interim, kind)

    async def close(self) -> None:
        """Close idle connections now, and those in use after their response."""
        await self._pool.close()

    def _endpoint(self, origin: Origin) -> IStreamClientEndpoint:
        # Their own timeouts are off: Patience is the one who counts. An address needs no resolver, nor its threads.
        where: Any = (self._reactor, origin.host, origin.port, None)
        if isIPAddress(origin.host):
            endpoint: IStreamClientEndpoint = TCP4ClientEndpoint(*where)
        elif isIPv6Address(origin.host):
            endpoint = TCP6ClientEndpoint(*where)
        else:
            endpoint = _Cancellable(HostnameEndpoint(*where))
        if origin.scheme == "http":
            return endpoint
        return wrapClientTLS(connection_creator(origin), endpoint, self._reactor)


@implementer(IStreamClientEndpoint)
@define
class _Cancellable:
    """An endpoint that says so when it was cancelled: `HostnameEndpoint` says then that there is no such name."""

    _endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fires with the protocol."""

        def cancel(waiting: Deferred[IProtocol]) -> None:
            waiting.errback(CancelledError())
            attempt.cancel()

        def failed(failure: Failure) -> None:
            if not connected.called:
                connected.errback(failure)

        attempt = self._endpoint.connect(protocolFactory)
        connected: Deferred[IProtocol] = Deferred(cancel)
        attempt.addCallbacks(connected.callback, failed)
        return connected


@implementer(IAgent)
@define
class _OriginAgent:
    """Sends one request to one origin, on a connection kept from before or a new one."""

    _pool: Pool
    _endpoint: IStreamClientEndpoint
    _origin: Origin
    _patience: Patience
    _interim: Interim
    _kind: type[WireRequest]

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Send a request for `uri`, the origin's root and the exact request-target; fires with an answer's head."""
        assert isinstance(headers, WireHeaders)
        target = uri[len(self._origin.root) :]
        request = self._kind(method, target, headers, bodyProducer, self)
        find = self._pool.open_connection if request.alone else self._pool.getConnection
        connected: Deferred[Any] = find(self._origin, self._endpoint)
        if not connected.called:
            self._patience.wait_for("connect")
        return connected.addCallback(self._send, request)

    def sent(self) -> None:
        """Know that all of the request is handed over to the transport (`wire.Progress`)."""
        self._patience.wait_for("first_byte")

    def interim(self, response: IResponse) -> None:
        """Hand on what comes before the final response (`wire.Progress`), but a 100: that is between origin and us."""
        if response.code != 100:
            self._interim(head(response))

    def _send(self, connection: Connection, request: WireRequest) -> Deferred[IResponse]:
        self._patience.wait_for("send")
        answered = connection.request(request)
        if connection.used:
            return answered.addErrback(self._stale)
        return answered

    def _stale(self, failure: Failure) -> Failure:
        """Say where a failure may be due to the connection's age alone."""
        unanswered = failure.check(RequestNotSent, RequestTransmissionFailed, ResponseNeverReceived)
        if unanswered is None or cancelled(failure.value):
            return failure
        error = StaleConnection(str(explained(failure.value, self._origin)))
        error.__cause__ = failure.value
        return Failure(error)
