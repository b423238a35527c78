"""The way from a request to a connection: how one is opened, and the agent that sends a request on one."""

from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web._newclient import RequestTransmissionFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from buddyproxy.errors import StaleConnection, Unanswered
from buddyproxy.message import Origin
from buddyproxy.upstream.connection import Connection
from buddyproxy.upstream.failures import FOREIGN, cancelled, explained
from buddyproxy.upstream.incoming import Interim, head
from buddyproxy.upstream.patience import Patience
from buddyproxy.upstream.pool import MOST, Pool
from buddyproxy.upstream.trust import connection_creator
from buddyproxy.upstream.wire import WireHeaders, WireRequest

EndpointFor = Callable[[Origin], IStreamClientEndpoint]
"""Says how connections to an origin are opened."""


class Connections:
    """Opens connections and keeps them, a pool for each origin."""

    def __init__(self, reactor: Any, clock: IReactorTime, endpoint_for: EndpointFor | None) -> None:
        self._reactor = reactor
        self._clock = clock
        self._endpoint_for = endpoint_for or self._endpoint
        self._pools: dict[Origin, Pool] = {}
        self._limits: dict[Origin, int] = {}

    def agent_for(
        self, origin: Origin, patience: Patience, interim: Interim, kind: type[WireRequest] = WireRequest
    ) -> IAgent:
        """Return an agent that asks `origin`, tells `patience` how far it is, and hands `interim` what comes before.

        Its requests are of the `kind` given. Raises `UpstreamError` where the origin's `ca_file` cannot be used.
        """
        return _OriginAgent(self._pool_of(origin), origin, patience, interim, kind)

    def limit(self, origin: Origin, connections: int) -> None:
        """Allow so many connections to `origin` from now on."""
        self._limits[origin] = connections
        if (pool := self._pools.get(origin)) is not None:
            pool.limit(connections)

    async def close(self) -> None:
        """Close idle connections now, and those in use after their response."""
        await gatherResults([Deferred.fromCoroutine(pool.close()) for pool in self._pools.values()])

    def _pool_of(self, origin: Origin) -> Pool:
        pool = self._pools.get(origin)
        if pool is None:
            endpoint = self._endpoint_for(origin)
            pool = self._pools[origin] = Pool(self._clock, endpoint, self._limits.get(origin, MOST))
        return pool

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
        return Deferred.fromCoroutine(self._send(request))

    def sent(self) -> None:
        """Know that all of the request is handed over to the transport (`wire.Progress`)."""
        self._patience.wait_for("first_byte")

    def interim(self, response: IResponse) -> None:
        """Hand on what comes before the final response (`wire.Progress`), but a 100: that is between origin and us."""
        if response.code != 100:
            self._interim(head(response))

    async def _send(self, request: WireRequest) -> IResponse:
        connection = await self._connect(request.alone)
        self._patience.wait_for("send")
        try:
            return await connection.request(request)
        except (RequestTransmissionFailed, ResponseNeverReceived) as error:
            if cancelled(error):
                raise
            raise self._unanswered(connection, error) from error

    async def _connect(self, alone: bool) -> Connection:
        try:
            return await self._pool.acquire(self._patience.wait_for, alone)
        except FOREIGN as error:
            if cancelled(error):
                raise
            explanation = explained(error, self._origin)
            explanation.unsent = True
            raise explanation from error

    def _unanswered(self, connection: Connection, error: Exception) -> Unanswered:
        """Return what it means that no byte of an answer came."""
        said = str(explained(error, self._origin))
        if not connection.used:
            return Unanswered(said)
        # Whatever ended this connection, a restart of the origin for example, has most likely ended the others too.
        self._pool.clear()
        return StaleConnection(said)
