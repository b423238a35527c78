"""Answers and errors, turned into HTTP responses: the one place where either meets twisted.web.

It adds the fields that tell what the cache did (`Age`, `Cache-Status`, `X-Cache`) and sends content on as fast as the
caller takes it. An answer that breaks off is left visibly incomplete.
"""

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.web.http_headers import Headers as WireHeaders
from twisted.web.server import Request as ServerRequest
from zope.interface import implementer

from buddyproxy import errors
from buddyproxy.cache.status import CacheStatus
from buddyproxy.exchange import Answer
from buddyproxy.flight import Flight, Reader
from buddyproxy.message import Headers, Response
from buddyproxy.web.playback import Playback

STALLED: Final = 300.0
"""Seconds a caller may take nothing of a response before its connection is cut: an origin's is held meanwhile."""

HELD_UP: Final = 20.0
"""The same where other callers wait for this one."""

_STATUS: Final[dict[type[errors.ProxyError], int]] = {
    errors.BadRequest: 400,
    errors.SecurityError: 403,
    errors.UnknownMapping: 404,
    errors.BodyTooLarge: 413,
    errors.ThrottleError: 429,
    errors.UpstreamTimeout: 504,
    errors.UpstreamUnavailable: 503,
    errors.UpstreamError: 502,
    errors.NotCached: 504,
    errors.InsufficientStorage: 507,
    errors.LoopDetected: 508,
}


class Place(Protocol):
    """A reader's place in content that comes by and by; nothing is given to it before `resume`."""

    def resume(self) -> None:
        """Take more."""

    def pause(self) -> None:
        """Take no more for now."""

    def leave(self) -> None:
        """Take nothing any more."""


Join = Callable[[Reader], Place]

Done = Callable[[str | None], None]
"""Told once: None when all of a response is handed to the transport; or why it is not, empty where the caller left."""


def status_of(error: errors.ProxyError) -> int:
    """Return the HTTP status for `error`: its class's, or its nearest base's."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def deliver(request: ServerRequest, answer: Answer, done: Done) -> None:
    """Send `answer` to the caller of `request`, at its pace."""
    fields = _fields(answer)
    join = _source(request, answer)
    if join is not None:
        _send_head(request, answer.response.status, answer.response.reason, fields)
        request.write(b"")
        _Delivery(request, join, done, _clock(request).callLater).begin()
    elif isinstance(answer.content, bytes):
        if answer.response.status not in (204, 304):
            fields = fields.replacing((b"Content-Length", b"%d" % len(answer.content)))
        _send_head(request, answer.response.status, answer.response.reason, fields)
        request.write(answer.content)
        request.finish()
        done(None)


def _source(request: ServerRequest, answer: Answer) -> "Join | None":
    """Return where the content of `answer` comes from by and by; None where all of it goes at once."""
    if isinstance(answer.content, Flight):
        return answer.content.join
    if answer.replay is None or request.method == b"HEAD":
        return None
    return partial(Playback, answer.replay.pieces(), _clock(request))


def _clock(request: ServerRequest) -> IReactorTime:
    assert request.site is not None
    clock: IReactorTime = request.site.reactor
    return clock


def deliver_interim(request: ServerRequest, response: Response) -> None:
    """Send an interim response to the caller of `request`, if there is one who can take it now (RFC 9110, 15.2)."""
    channel: Any = request.channel
    if channel is None or request.startedWriting or request.clientproto != b"HTTP/1.1":
        return
    # RFC 9110, 8.6 and 9112, 6.1: it has no content, and so says nothing of how it is framed.
    fields = response.headers.end_to_end().without({b"content-length"})
    channel.writeHeaders(b"HTTP/1.1", b"%d" % response.status, response.reason, _on_the_wire(fields))


def deliver_switch(request: ServerRequest, reason: bytes, fields: Headers) -> None:
    """Tell the caller of `request` that the connection changes to another protocol (RFC 9110, 15.2.2)."""
    request.channel.writeHeaders(b"HTTP/1.1", b"101", reason, _on_the_wire(fields))


def deliver_error(request: ServerRequest, error: errors.ProxyError, status: CacheStatus | None = None) -> None:
    """Send `error` as JSON: `{"error": {"code": ..., "message": ...}}`."""
    fields = () if status is None else _cache_fields(status)
    if error.retry_after is not None:
        # RFC 9110, 10.2.3: whole seconds; none at all would be an invitation.
        fields += ((b"Retry-After", b"%d" % max(math.ceil(error.retry_after), 1)),)
    deliver_json(request, status_of(error), {"error": {"code": error.code, "message": str(error)}}, *fields)


def deliver_json(request: ServerRequest, code: int, document: object, *fields: tuple[bytes, bytes]) -> None:
    """Send `document` as JSON with the HTTP status `code`, and `fields` beside what it needs."""
    _deliver_own(request, code, b"application/json", json.dumps(document) + "\n", *fields)


def deliver_text(request: ServerRequest, code: int, text: str) -> None:
    """Send `text` as plain text with the HTTP status `code`."""
    _deliver_own(request, code, b"text/plain; charset=utf-8", text)


def _deliver_own(request: ServerRequest, code: int, media_type: bytes, text: str, *fields: tuple[bytes, bytes]) -> None:
    """Send a response that is the proxy's own, and so never stored by anyone."""
    body = text.encode("utf-8")
    framing = ((b"Content-Type", media_type), (b"Content-Length", b"%d" % len(body)), (b"Cache-Control", b"no-store"))
    _send_head(request, code, None, Headers((*framing, *fields)))
    request.write(body)
    request.finish()


def _fields(answer: Answer) -> Headers:
    fields = answer.response.headers.without({b"x-cache"}).adding(*_cache_fields(answer.status))
    if answer.response.status == 204:
        # RFC 9110, 8.6: some origins send it all the same.
        fields = fields.without({b"content-length"})
    if answer.age is not None:
        fields = fields.replacing((b"Age", b"%d" % answer.age))
    return fields


def _cache_fields(status: CacheStatus) -> tuple[tuple[bytes, bytes], ...]:
    # RFC 9211, 2: members of caches nearer to the origin come first, ours is appended.
    return (b"Cache-Status", status.member()), (b"X-Cache", b"HIT" if status.hit else b"MISS")


def _send_head(request: ServerRequest, status: int, reason: bytes | None, fields: Headers) -> None:
    """Give `request` its status, the reason phrase (None: the usual one for the status) and exactly these fields.

    Of what twisted.web has set, `Connection` stays, and `Date` where there is no other (RFC 9110, 6.6.1).
    """
    wire = _on_the_wire(fields)
    for name in (b"connection", b"date"):
        if not wire.hasHeader(name):
            wire.setRawHeaders(name, request.responseHeaders.getRawHeaders(name, ()))
    request.responseHeaders = wire
    request.setResponseCode(status, reason)


def _on_the_wire(fields: Headers) -> WireHeaders:
    wire = WireHeaders()
    for name, value in fields:
        wire.addRawHeader(name, value)
    return wire


@implementer(IPushProducer)
@define(eq=False)
class _Delivery:
    """Hands content to a caller as it comes: a reader on one side, a producer on the other."""

    request: ServerRequest
    join: Join
    done: Done
    later: Callable[..., IDelayedCall]
    reading: Place = field(init=False)
    over: bool = False
    limit: IDelayedCall | None = None
    """Runs while the caller takes nothing."""

    def __attrs_post_init__(self) -> None:
        self.reading = self.join(self)

    def begin(self) -> None:
        """Start reading, and stop when the caller goes away."""
        self.request.notifyFinish().addErrback(lambda _: self._left())
        self.request.registerProducer(self, True)
        self.reading.resume()

    def write(self, chunk: bytes) -> None:
        """Send the next bytes."""
        self.request.write(chunk)

    def finish(self) -> None:
        """Send the end."""
        if self._first():
            self.request.unregisterProducer()
            self.request.finish()
            self.done(None)

    def fail(self, error: errors.UpstreamError) -> None:
        """Close the connection without the end, so that the caller cannot take the content for whole."""
        if self._first():
            self.request.unregisterProducer()
            self._break_off()
            self.done(str(error))

    def _break_off(self) -> None:
        """Close the connection, by a reset where an orderly close would be the content's end (RFC 9112, 6.3)."""
        if self.request.chunked or self.request.responseHeaders.hasHeader(b"content-length"):
            self.request.loseConnection()
        else:
            transport: Any = self.request.transport
            transport.abortConnection()

    def _left(self) -> None:
        # The connection has let go of its producer by itself.
        if self._first():
            self.reading.leave()
            self.done("")

    def _first(self) -> bool:
        """Return whether the delivery ends here; False where it has ended before."""
        first, self.over = not self.over, True
        self._rest()
        return first

    def hurry(self) -> None:
        """Give a caller who takes nothing less time, since others wait for it (`flight.Reader`)."""
        if self.limit is not None and self.limit.active():
            self.limit.reset(HELD_UP)

    def _rest(self) -> None:
        if self.limit is not None and self.limit.active():
            self.limit.cancel()
        self.limit = None

    def pauseProducing(self) -> None:
        """Ask the origin to wait (`IPushProducer`), but not for ever."""
        self.reading.pause()
        if self.limit is None:
            transport: Any = self.request.transport
            self.limit = self.later(STALLED, transport.abortConnection)

    def resumeProducing(self) -> None:
        """Let the origin go on (`IPushProducer`)."""
        self._rest()
        self.reading.resume()

    def stopProducing(self) -> None:
        """Know that the caller's connection is lost (`IPushProducer`)."""
        self._left()
