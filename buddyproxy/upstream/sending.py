"""Sending a request to an origin server."""

import re
from typing import Any

from treq.cookies import IndexableCookieJar
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import InvalidHeaderName
from twisted.web.iweb import IResponse

from buddyproxy.errors import BadRequest, ProxyError
from buddyproxy.message import Origin, Request, Response
from buddyproxy.upstream.agent import Connections, EndpointFor
from buddyproxy.upstream.failures import FOREIGN, cancelled, explained
from buddyproxy.upstream.incoming import Incoming, Interim
from buddyproxy.upstream.patience import Patience, Timeouts
from buddyproxy.upstream.transparent import Content, TransparentClient
from buddyproxy.upstream.tunnel import Switched
from buddyproxy.upstream.wire import UpgradeRequest, WireHeaders, WireRequest

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_TARGET = re.compile(rb"/[\x21-\x7e]*\Z")
# RFC 9110, 9.3.6 and 9.3.8: after CONNECT a connection may be a tunnel, and TRACE shows what was sent on it.
_NOT_FOR_ORIGINS = frozenset({b"CONNECT", b"TRACE"})
_FORBIDDEN = re.compile(rb"[\r\n\0]")
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
# RFC 9110, 8.6: methods that anticipate content say so even where there is none.
_ANTICIPATING = frozenset({b"POST", b"PUT", b"PATCH"})


def _unheard(interim: Response) -> None:
    """Let an interim response go by."""


class Upstream:
    """Sends requests to origin servers, as they are, and hands back answers, as they are.

    `reactor` opens connections; `clock` counts (the reactor, unless a test has its own). `endpoint_for` puts
    something else in the place of real connections.
    """

    def __init__(
        self, reactor: Any, clock: IReactorTime | None = None, endpoint_for: EndpointFor | None = None
    ) -> None:
        self._clock: IReactorTime = clock or reactor
        self._connections = Connections(reactor, self._clock, endpoint_for)
        self._no_cookies = IndexableCookieJar()
        self._switched: set[Switched] = set()

    def limit(self, origin: Origin, connections: int) -> None:
        """Allow at most so many connections to `origin` at once from now on; further requests wait for their turn."""
        self._connections.limit(origin, connections)

    async def send(
        self,
        request: Request,
        origin: Origin,
        timeouts: Timeouts,
        interim: Interim = _unheard,
        began: float | None = None,
    ) -> Incoming:
        """Send `request` to `origin` and return the answer as soon as its head is there.

        `request.target` is sent byte for byte. The fields are sent as they are, in their order, less those of framing,
        which is the content's; `Host` is the origin's unless there is one. Cancelling closes the connection.

        `interim` is called with each interim response but 100 (RFC 9110, 15.2) as it comes. `timeouts.total` counts
        from the time `began`; None: now.

        Raises `BadRequest` where something in the request cannot stand in one; `UpstreamError` where the origin failed,
        as `UpstreamTimeout` where it took too long, as `Unanswered` where the connection ended without an answer, as
        `UpstreamBusy` where none was free.
        """
        patience = Patience(self._clock, timeouts, origin, began)
        arriving = await self._ask(request, origin, patience, interim, WireRequest)
        return Incoming(arriving, origin, patience)

    async def switch(
        self,
        request: Request,
        origin: Origin,
        timeouts: Timeouts,
        interim: Interim = _unheard,
        began: float | None = None,
    ) -> Incoming | Switched:
        """Send `request`, which asks for another protocol by `Connection` and `Upgrade`, on a connection of its own.

        Returns a `Switched` where the origin agrees to one of the protocols named (RFC 9110, 7.8), and its answer
        where it does not. Raises as `send` does, but no `StaleConnection`.
        """
        patience = Patience(self._clock, timeouts, origin, began)
        arriving = await self._ask(request, origin, patience, interim, UpgradeRequest)
        if arriving.code != 101:
            return Incoming(arriving, origin, patience)
        patience.end()
        switched = Switched(arriving, self._switched.discard)
        self._switched.add(switched)
        return switched

    async def _ask(
        self, request: Request, origin: Origin, patience: Patience, interim: Interim, kind: type[WireRequest]
    ) -> IResponse:
        """Send `request` and return the head of the answer, the content waiting behind it."""
        try:
            headers = _head(request, origin)
            client = TransparentClient(self._connections.agent_for(origin, patience, interim, kind), self._no_cookies)
            method, uri = request.method.decode("ascii"), origin.root + request.target
            answered = client.request(method, uri, headers=headers, data=_content(request, patience))
            patience.give_up(answered.cancel)
            return await answered
        except ProxyError:
            patience.end()
            raise
        except FOREIGN as error:
            patience.end()
            if patience.expired is not None:
                raise patience.expired from error
            if cancelled(error):
                raise CancelledError from error
            raise explained(error, origin) from error

    async def close(self) -> None:
        """Close idle connections now, and those in use after their response; returns when the idle ones are closed.

        Connections that have changed to another protocol are cut.
        """
        for switched in list(self._switched):
            switched.abort()
        await self._connections.close()


def _head(request: Request, origin: Origin) -> WireHeaders:
    """Return the fields to send with `request`, all of it looked at for what would end a line too early."""
    if not _TOKEN.match(request.method):
        raise BadRequest("the method is not a token (RFC 9110, 9.1)")
    if request.method in _NOT_FOR_ORIGINS:
        raise BadRequest(f"{request.method.decode('ascii')} is not forwarded: it is about connections, not resources")
    if not _TARGET.match(request.target):
        raise BadRequest("the request-target begins without a slash, or holds bytes that cannot stand in one")
    pairs = [pair for pair in request.headers if pair[0].lower() not in _FRAMING]
    hosts = request.headers.get_all(b"host")
    if not hosts:
        pairs.insert(0, (b"Host", origin.authority))
    elif len(hosts) > 1:
        raise BadRequest("there is more than one Host field")
    if any(_FORBIDDEN.search(value) for _, value in pairs):
        raise BadRequest("a field's value holds CR, LF or NUL")
    try:
        return WireHeaders.of(pairs)
    except InvalidHeaderName as error:
        raise BadRequest("a field's name is not a token (RFC 9110, 5.1)") from error


def _content(request: Request, patience: Patience) -> Content | None:
    """Return the content of `request`, or None where not even its length, which is nothing, is to be said."""
    if request.body or request.method in _ANTICIPATING or b"content-length" in request.headers:
        return Content(request.body, patience.progress)
    return None
