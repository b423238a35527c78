"""Every mapping as one resource: what comes in here is answered from the store or by an origin.

The walk of a request (gate, routing, filters, exchange, delivery) in the order it is walked, and nothing else.
"""

import re
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Protocol, TypedDict, Unpack

from attrs import define, evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from buddyproxy.cache.status import CacheStatus
from buddyproxy.errors import BadRequest, ProxyError
from buddyproxy.exchange import Answer, Clock, Exchange, Failed
from buddyproxy.filters import FieldChanges, Outward
from buddyproxy.gate import Admitted, Gate
from buddyproxy.message import Headers, Request, Response, held
from buddyproxy.metrics import Metrics, Outcome
from buddyproxy.routing import Route, RoutingTable
from buddyproxy.upstream import Incoming, Interim, Switched
from buddyproxy.web.delivery import deliver, deliver_error, deliver_interim, deliver_json, deliver_switch, status_of
from buddyproxy.web.site import ProxyRequest
from buddyproxy.web.upgrading import Caller, Ended, Tunnel, TunnelLimits

_log = Logger(namespace="buddyproxy")

# RFC 9110, 7.2; a name in any of the ways a URI may have one (RFC 3986, 3.2.2), or none.
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Za-z:.]+\])(?::[0-9]*)?\Z")


class Switch(Protocol):
    """Asks an origin for another protocol."""

    def __call__(self, request: Request, *, interim: Interim) -> Awaitable[Switched | Incoming]:
        """Send `request`, and return the answer's head or, where the origin agrees, the connection."""


@frozen
class Passage:
    """One mapping's way through: what is changed going out, the exchange, what is changed coming back."""

    exchange: Exchange
    switch: Switch
    """Asks the origin for another protocol; raises `UpstreamError`."""
    outward: Outward
    inward: FieldChanges
    limits: TunnelLimits

    async def upgrade(self, asking: Request, uri: bytes, interim: Interim) -> Switched | Answer | Failed:
        """Ask the origin for another protocol, past the cache; what else it answers is an answer like any other."""
        try:
            reply = await self.switch(asking, interim=interim)
        except ProxyError as error:
            return Failed(error, CacheStatus(fwd="bypass", detail=error.code))
        return reply if isinstance(reply, Switched) else self.exchange.relay(asking, uri, reply, "upgrade")


@define
class _Visit:
    """A request on its walk: where it came from, and where it leads once that is known."""

    wire: ProxyRequest
    began: float
    """When its last byte was there, or else its head."""
    route: Route | None = None


class _More(TypedDict, total=False):
    """What there may be to say of an outcome beyond its status and its word."""

    reason: str
    complete: bool
    tunnelled: tuple[int, int]


class Proxied(Resource):
    """Answers for every mapping."""

    isLeaf = True

    def __init__(
        self, gate: Gate, table: RoutingTable, passages: Mapping[str, Passage], metrics: Metrics, clock: Clock
    ) -> None:
        super().__init__()
        self._gate = gate
        self._table = table
        self._passages = passages
        self._metrics = metrics
        self._clock = clock

    def render(self, request: ProxyRequest) -> int:
        """Begin answering; the response follows."""
        visit = _Visit(request, self._clock.seconds())
        walking = Deferred.fromCoroutine(self._walk(visit))
        request.notifyFinish().addErrback(lambda _: walking.cancel())
        walking.addErrback(self._stumbled, visit)
        return NOT_DONE_YET

    async def _walk(self, visit: _Visit) -> None:
        try:
            admitted = self._gate.admit(head(visit.wire))
            route = self._table.route(admitted.request.target)
            visit.route = route
            admitted.check(route.name)
            passage = self._passages[route.name]
            outgoing = passage.outward.apply(admitted.request, route.base.origin.authority, route.target)
            # By the head it may go on. Before this nothing of its content was taken, nor the caller told to send any.
            body = await visit.wire.receive()
        except ProxyError as refusal:
            self._refuse(visit, refusal)
            return
        if body:
            outgoing, visit.began = evolve(outgoing, body=body), self._clock.seconds()
        returning = partial(self._returning, passage=passage, route=route, admitted=admitted)

        def interim(response: Response) -> None:
            deliver_interim(visit.wire, returning(response))

        asking = passage.outward.upgrade(admitted.request, outgoing) if visit.wire.clientproto == b"HTTP/1.1" else None
        if asking is None:
            with held(body):
                reply: Switched | Answer | Failed = await passage.exchange.respond(outgoing, route.uri, interim)
        else:
            reply = await passage.upgrade(asking, route.uri, interim)
        match reply:
            case Switched() as switched:
                self._join(visit, passage, switched)
            case Answer() as answer:
                response = returning(answer.response)
                self._deliver(visit, answer if response is answer.response else evolve(answer, response=response))
            case Failed(error, status):
                deliver_error(visit.wire, error, status)
                self._observe(visit, status_of(error), status.detail or error.code, reason=str(error))

    def _returning(self, response: Response, passage: Passage, route: Route, admitted: Admitted) -> Response:
        """Return `response` with its Location leading through the proxy, and the mapping's changes made.

        Content-Location stays: it names what was sent, and nobody is led there (RFC 9110, 8.7).
        """
        headers = response.headers.changing(
            b"location", lambda value: self._table.localise(value, route, admitted.prefix)
        )
        headers = passage.inward.apply(headers)
        return response if headers is response.headers else evolve(response, headers=headers)

    def _deliver(self, visit: _Visit, answer: Answer) -> None:
        def done(broken: str | None) -> None:
            self._observe(
                visit, answer.response.status, answer.status.word, reason=broken or "", complete=broken is None
            )

        deliver(visit.wire, answer, done)

    def _join(self, visit: _Visit, passage: Passage, switched: Switched) -> None:
        """Tell the caller that its connection is the origin's from now on, and make it so."""
        wire, channel = visit.wire, visit.wire.channel
        assert wire.site is not None

        def told(ended: Ended) -> None:
            self._observe(visit, 101, "upgrade", reason=ended.reason, tunnelled=(ended.up, ended.down))

        head = switched.response
        deliver_switch(wire, head.reason, passage.inward.apply_to_switch(head.headers))
        Tunnel(Caller(channel), switched, passage.limits, wire.site.reactor.callLater, told).begin()

    def _refuse(self, visit: _Visit, error: ProxyError) -> None:
        deliver_error(visit.wire, error)
        self._observe(visit, status_of(error), error.code)

    def _stumbled(self, failure: Failure, visit: _Visit) -> None:
        """The outermost boundary: a caller who left needs no answer, a defect of ours is logged and answered 500."""
        if failure.check(CancelledError):
            self._observe(visit, 499, "left", complete=False)
            return
        _log.failure("a request could not be answered, which is a defect in buddyproxy", failure)
        if visit.wire.startedWriting:
            visit.wire.loseConnection()
        else:
            deliver_json(visit.wire, 500, {"error": {"code": "internal", "message": "buddyproxy failed; see its log"}})
        self._observe(visit, 500, "internal", reason="a defect, see above", complete=False)

    def _observe(self, visit: _Visit, status: int, word: str, **more: Unpack[_More]) -> None:
        route = visit.route
        self._metrics.observe(
            Outcome(
                method=visit.wire.method,
                mapping=route.name if route else "-",
                path=route.target.partition(b"?")[0] if route else b"-",
                status=status,
                word=word,
                seconds=self._clock.seconds() - visit.began,
                **more,
            )
        )


def head(wire: ProxyRequest) -> Request:
    """Return a request as far as its head says. Raises `BadRequest` where its Host is not one host."""
    fields = tuple((name, value) for name, values in wire.requestHeaders.getAllRawHeaders() for value in values)
    hosts = wire.requestHeaders.getRawHeaders(b"host", ())
    if len(hosts) > 1 or not all(map(_HOST.match, hosts)) or (not hosts and wire.clientproto != b"HTTP/1.0"):
        raise BadRequest("there must be one Host field, and it must name a host (RFC 9112, 3.2)")
    return Request(
        method=wire.method,
        target=wire.uri,
        headers=Headers(fields),
        client=getattr(wire.client, "host", "") or "",
        secure=wire.isSecure(),
    )
