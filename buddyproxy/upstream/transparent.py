"""treq, less everything that would change a message on its way.

treq's `HTTPClient` writes methods in capitals, normalises targets, offers gzip and decodes it, keeps one cookie jar for
everybody and follows redirects; none of it can be switched off. What remains here is its interface: a request goes to
an agent as it is, and treq's response comes back.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from treq.client import HTTPClient
from treq.response import _Response
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from buddyproxy.message import LargeContent, held

_SLICE = 64 * 1024
"""Bytes given to a transport at once: as many as it buffers before it asks us to wait."""


class TransparentClient(HTTPClient):
    """treq's client, changing nothing."""

    def request(  # type: ignore[override]
        self,
        method: str,
        url: bytes,
        *,
        headers: Headers | None = None,
        data: IBodyProducer | None = None,
    ) -> Deferred[_Response]:
        """Send `method` and `url`, an absolute URI, as they are; fires with the head of the answer, whatever it is."""
        answered: Deferred[Any] = self._agent.request(method.encode("ascii"), url, headers, data)
        return answered.addCallback(_Response, self._cookiejar)


@implementer(IBodyProducer)
class Content:
    """A request's content, given to the transport no faster than it goes out."""

    def __init__(self, content: bytes | LargeContent, moved: Callable[[], None]) -> None:
        self.length = len(content)
        self._content: bytes | LargeContent = content
        self._holding = ExitStack()
        self._moved = moved
        self._offset = 0
        self._paused = False
        self._stopped = False
        self._done: Deferred[None] = Deferred(lambda _: self.stopProducing())

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write to `consumer`; fires when all is written."""
        self._holding.enter_context(held(self._content))
        self._consumer = consumer
        self.resumeProducing()
        return self._done

    def resumeProducing(self) -> None:
        """Write until told to wait."""
        self._paused = False
        while not (self._paused or self._stopped):
            chunk = self._content[self._offset : self._offset + _SLICE]  # the same object where it is all
            self._offset += len(chunk)
            self._consumer.write(chunk)
            self._moved()
            if self._offset == self.length:
                self.stopProducing()
                self._done.callback(None)

    def pauseProducing(self) -> None:
        """Write no more for now."""
        self._paused = True

    def stopProducing(self) -> None:
        """Write no more at all."""
        self._stopped = True
        self._content = b""
        self._holding.close()
