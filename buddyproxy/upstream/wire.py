"""HTTP/1.1 messages as Twisted's client writes and reads them, held closer to the wire than Twisted holds them.

Theory of operation. Twisted's client is made for programs that want an answer; a proxy wants *the* answer, and must not
be fooled by it. Each of these changes that, as a subclass:

- `WireHeaders` keeps the names and the order of fields as written, which Twisted's `Headers` does not.
- `WireRequest` writes exactly those, and no field of its own but the length of the content; `UpgradeRequest` is one
  that asks for another protocol.
- `Parser` keeps every field of a response, those of the connection included; hands on interim responses; refuses what
  cannot be forwarded safely; settles doubtful framing before anybody relies on it (RFC 9112, 6.3); and tells a body
  that broke off from one that ended, also where only the end of the connection marks the end of the body.

What carries them is in `pool`. Nothing here knows of timeouts, of origins, or of our own request and response values.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol, Self

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import BODY, HTTPClientParser, Request, ResponseFailed
from twisted.web.http import _IdentityTransferDecoder
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse

from buddyproxy.upstream.failures import Garbled

_MAX_HEAD = 256 * 1024
"""Bytes a response's head may have, interim responses before it included."""

_MOST_INTERIM = 32
"""Interim responses there may be before the final one: far more than anybody has use for."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] [1-9][0-9]{2}(?: .*)?\Z", re.DOTALL)
_LENGTH = re.compile(rb"[0-9]{1,18}\Z")
# RFC 9110, 5.5: CR and NUL in a value are replaced, so that nobody after us reads them in a way of his own.
_REPLACED = bytes.maketrans(b"\r\0", b"  ")


class WireHeaders(Headers):
    """Header fields as they stand on the wire: in `pairs` with their own names, in their own order."""

    __slots__ = ("pairs",)

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[bytes, bytes]] = []

    @classmethod
    def of(cls, pairs: Iterable[tuple[bytes, bytes]]) -> Self:
        """Return the fields `pairs`; raises `ValueError` where a name is none."""
        headers = cls()
        headers.pairs.extend(pairs)
        for name, value in headers.pairs:
            headers.addRawHeader(name, value)
        return headers


class Progress(Protocol):
    """Is told what happens between a request and the head of its final response."""

    def sent(self) -> None:
        """Know that all of the request is handed over to the transport."""

    def interim(self, response: IResponse) -> None:
        """Take the head of an interim response (RFC 9110, 15.2)."""


class WireRequest(Request):
    """A request that goes out as it is given: the length of its content, if it has any, is all that is added."""

    alone = False
    """Whether it must not share its connection with the requests before it."""

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: WireHeaders,
        content: IBodyProducer | None,
        progress: Progress,
    ) -> None:
        super().__init__(method, target, headers, content, persistent=True)
        self.progress = progress

    def allows(self, protocols: set[bytes]) -> bool:
        """Tell whether the connection may change to `protocols`, given in lower case (RFC 9110, 7.8)."""
        return False

    def writeTo(self, transport: Any) -> Deferred[None]:
        """Write the request to `transport`; fires when it is all handed over."""
        if self.bodyProducer is not None:
            return super().writeTo(transport)  # type: ignore[no-any-return]
        self._writeHeaders(transport, None)
        return succeed(None)

    def _writeHeaders(self, transport: Any, TEorCL: bytes | None) -> None:
        lines = [b"%b %b HTTP/1.1\r\n" % (self.method, self.uri)]
        lines += [b"%b: %b\r\n" % pair for pair in self.headers.pairs]
        if TEorCL is not None:
            lines.append(TEorCL)
        lines.append(b"\r\n")
        transport.write(b"".join(lines))


class UpgradeRequest(WireRequest):
    """A request to go on in one of the protocols that its `Upgrade` names; it has a connection of its own."""

    alone = True

    def allows(self, protocols: set[bytes]) -> bool:
        """Tell whether `protocols` were asked for."""
        return bool(protocols) and protocols <= _members(self.headers, b"Upgrade")


class Parser(HTTPClientParser):
    """Reads one response."""

    headers: WireHeaders
    request: WireRequest
    transport: Any

    def __init__(self, request: WireRequest, finisher: Callable[[bytes], None], answered: Callable[[], None]) -> None:
        super().__init__(request, finisher)
        self._answered = answered
        self._size = 0
        self._interims = 0

    def connectionMade(self) -> None:
        """Begin with a head, the final one or one before it."""
        super().connectionMade()
        self.headers = WireHeaders()

    def lineReceived(self, line: bytes) -> None:
        """Take a line of the head."""
        self._size += len(line) + 1
        if self._size > _MAX_HEAD:
            raise Garbled(f"its head has more than {_MAX_HEAD} bytes")
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that does not end."""
        raise Garbled(f"a line of its head has more than {self.MAX_LENGTH} bytes")

    def statusReceived(self, status: bytes) -> None:
        """Take the first line."""
        if not _STATUS_LINE.match(status):
            raise Garbled("it does not begin with a status line of HTTP/1")
        super().statusReceived(status.translate(_REPLACED))

    def headerReceived(self, name: bytes, value: bytes) -> None:
        """Take a field."""
        # RFC 9112, 5.1: white space between name and colon is for a proxy to remove.
        name, value = name.rstrip(b" \t"), value.translate(_REPLACED)
        super().headerReceived(name, value)
        self.headers.pairs.append((name, value))

    def allHeadersReceived(self) -> None:
        """Settle how the content is framed, then hand over the head."""
        if self.response.code == 101 and self.request.allows(_members(self.connHeaders, b"Upgrade")):
            self._switch()
            return
        if self.response.code < 200:
            self._interim()
            return
        self._settle_length()
        self._settle_coding()
        if self._closes() or self._contradicts_itself():
            self._keep_no_longer()
        self._answered()
        super().allHeadersReceived()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Tell the end of the content from its breaking off."""
        # Twisted takes a reset for the end of a body that has no other. A TLS connection cut without notice is one too.
        if self.state == BODY and reason is not None and not reason.check(ConnectionDone):
            self.response._bodyDataFinished(Failure(ResponseFailed([reason], self.response)))
        else:
            super().connectionLost(reason)

    def _interim(self) -> None:
        """Tell of an interim response, and go on to the next (RFC 9110, 15.2)."""
        response = self.response
        if response.code == 101:
            raise Garbled("it changes to another protocol, which nobody asked for")
        self._interims += 1
        if self._interims > _MOST_INTERIM:
            raise Garbled(f"it comes after more than {_MOST_INTERIM} interim responses")
        self.connectionMade()
        del self.response
        self.request.progress.interim(response)

    def _switch(self) -> None:
        """Take all that follows for the other protocol's: handed on like content that only the connection ends."""
        self._answered()
        self.transport.pauseProducing()
        self.switchToBodyMode(_IdentityTransferDecoder(None, self.response._bodyDataReceived, self._finished))
        self._responseDeferred.callback(self.response)
        del self._responseDeferred

    def _settle_length(self) -> None:
        """Make one length of several that agree (RFC 9112, 6.3)."""
        values = [value for name, value in self.headers.pairs if name.lower() == b"content-length"]
        if not values:
            return
        lengths = [length.strip(b" \t") for value in values for length in value.split(b",")]
        if not all(map(_LENGTH.match, lengths)) or len(set(map(int, lengths))) > 1:
            raise Garbled("its Content-Length is not one number")
        if len(lengths) > 1:
            self._drop_length()
            self.headerReceived(b"Content-Length", lengths[0])

    def _settle_coding(self) -> None:
        """Let `Transfer-Encoding` win over a length, and make sure that it is one we can undo (RFC 9112, 6.1, 6.3)."""
        codings = self.connHeaders.getRawHeaders(b"Transfer-Encoding", ())
        if not codings:
            return
        bodiless = self.request.method == b"HEAD" or self.response.code in self.NO_BODY_CODES
        if not bodiless and (len(codings) > 1 or codings[0].lower() != b"chunked"):
            raise Garbled("its Transfer-Encoding is not chunked")
        if self._drop_length() or self.response.version < (b"HTTP", 1, 1):
            self._keep_no_longer()

    def _drop_length(self) -> bool:
        """Forget the length, and tell whether there was one."""
        others = [pair for pair in self.headers.pairs if pair[0].lower() != b"content-length"]
        dropped = len(others) < len(self.headers.pairs)
        self.headers.pairs = others
        self.headers.removeHeader(b"Content-Length")
        self.connHeaders.removeHeader(b"Content-Length")
        return dropped

    def _closes(self) -> bool:
        """Tell whether the origin ends the connection after this response (RFC 9112, 9.3)."""
        options = _members(self.connHeaders, b"Connection")
        return b"close" in options or (self.response.version < (b"HTTP", 1, 1) and b"keep-alive" not in options)

    def _contradicts_itself(self) -> bool:
        """Tell whether it has no content by its status, and yet speaks of some, which may follow (RFC 9110, 8.6).

        Of a 304 that is said rightly: it tells what a 200 would have had.
        """
        lengths = self.connHeaders.getRawHeaders(b"Content-Length", (b"0",))
        announced = int(lengths[0]) > 0 or self.connHeaders.hasHeader(b"Transfer-Encoding")
        return self.response.code == 204 and announced

    def _keep_no_longer(self) -> None:
        """Have the connection closed after this response: Twisted looks for exactly this value."""
        self.connHeaders.addRawHeader(b"Connection", b"close")

    def _finished(self, rest: bytes) -> None:
        # RFC 9112, 6.3: what follows is no answer to anybody, and whatever comes after it could not be told from one.
        if rest:
            self._keep_no_longer()
        super()._finished(rest)


def _members(headers: Headers, name: bytes) -> set[bytes]:
    """Return the members of the simple list `name`, in lower case."""
    values = headers.getRawHeaders(name, ())
    return {member for value in values for part in value.split(b",") if (member := part.strip(b" \t").lower())}
