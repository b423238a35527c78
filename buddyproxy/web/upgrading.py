"""Two connections joined: what a caller and an origin say to each other after a 101 (RFC 9110, 7.8).

Theory of operation. A `Tunnel` knows nothing of what is said: bytes of one side go to the other as they come. Each of
its two flows stands between the side it takes from and the side it gives to, and is the producer of the latter's
transport: where that takes no more, the former is not read. So no more than what two transports buffer is ever held,
some 64 KB and one read each way.

A tunnel ends when either side does, be it only with what it has to say, or when a limit says so. Both connections are
then closed in order: what was taken is sent, and the side that is slow to take it, or to close, is cut after a while.
Whoever began the tunnel is told what it came to.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from attrs import define, frozen
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from zope.interface import implementer

from buddyproxy.upstream import Listener, end_in_order
from buddyproxy.web.site import ProxyChannel, Successor

CLOSING: Final = 10.0
"""Seconds a side may take for what it still has to get, and to close, before it is cut."""

QUIET: Final = 1.0
"""Seconds without a byte after which a tunnel ends when the proxy is to stop: nobody is in the middle of anything."""


@frozen
class TunnelLimits:
    """How many seconds a tunnel may last."""

    idle: float
    """Without a byte in either direction."""
    total: float = 0.0
    """Altogether; 0: no limit."""


@frozen
class Ended:
    """What a tunnel came to."""

    up: int
    """Bytes from the caller."""
    down: int
    """Bytes from the origin."""
    reason: str
    """Why it was ended; empty where one of the two left."""


class End(Protocol):
    """One side of a tunnel. Once it is gone it may still be told to pause and to resume, which then does nothing."""

    def write(self, data: bytes) -> None:
        """Send `data`."""

    def feed_by(self, producer: IPushProducer) -> None:
        """Have `producer` wait while this side takes no more."""

    def pause(self) -> None:
        """Let this side wait with what it has to say."""

    def resume(self) -> None:
        """Let it go on."""

    def end(self) -> None:
        """Send what was written, then the end."""

    def abort(self) -> None:
        """Cut the connection."""


class Caller:
    """A caller's side, which was its connection for HTTP so far."""

    def __init__(self, channel: ProxyChannel) -> None:
        self._channel = channel
        self._transport: Any = channel.transport

    def start(self, successor: Successor) -> None:
        """Deliver to `successor` what came behind the request, and all that comes."""
        self._transport.resumeProducing()
        self._channel.hand_over(successor)

    def write(self, data: bytes) -> None:
        """Send `data`."""
        self._transport.write(data)

    def feed_by(self, producer: IPushProducer) -> None:
        """Have `producer` wait while the caller takes no more, in the channel's place."""
        self._transport.unregisterProducer()
        self._transport.registerProducer(producer, True)

    def pause(self) -> None:
        """Let the caller wait."""
        self._transport.pauseProducing()

    def resume(self) -> None:
        """Let the caller go on."""
        self._transport.resumeProducing()

    def end(self) -> None:
        """Send what was written, then the end."""
        end_in_order(self._transport)

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abortConnection()


class Source(End, Protocol):
    """An origin's side."""

    def start(self, listener: Listener) -> None:
        """Deliver to `listener` all that comes."""


class Tunnel:
    """Joins `caller` and `origin` until one of them ends it, or a limit does; `told` hears what it came to.

    `later` is the clock's `callLater`.
    """

    def __init__(
        self,
        caller: Caller,
        origin: Source,
        limits: TunnelLimits,
        later: Callable[..., IDelayedCall],
        told: Callable[[Ended], None],
    ) -> None:
        self._caller = caller
        self._origin = origin
        self._connected: set[End] = {caller, origin}
        self._up = _Flow(self, caller, origin)
        self._down = _Flow(self, origin, caller)
        self._later = later
        self._told = told
        self._over = False
        self._longest_silence = limits.idle
        self._silence = self._ending_after(limits.idle, "no byte for {} s", "tunnel_idle")
        self._limits = [self._silence]
        if limits.total:
            self._limits.append(self._ending_after(limits.total, "open for {} s", "tunnel_total"))
        self._closing: IDelayedCall | None = None

    def begin(self) -> None:
        """Let the bytes flow; some of them do before this returns."""
        self._caller.feed_by(self._down)
        self._origin.start(self._down)
        self._origin.feed_by(self._up)
        self._caller.start(self._up)

    def moved(self) -> bool:
        """Know that bytes came, and return whether they are still to go on."""
        if not self._over:
            self._silence.reset(self._longest_silence)
        return not self._over

    def drain(self) -> None:
        """End as soon as nothing moves for a moment: the proxy is to stop."""
        if not self._over:
            self._longest_silence = QUIET
            self._silence.cancel()
            self._silence = self._later(QUIET, self._finish, "buddyproxy stops")
            self._limits.append(self._silence)

    def lost(self, end: End) -> None:
        """Know that `end` is gone: the other one is to go, too."""
        self._connected.remove(end)
        self._finish("")
        if not self._connected and self._closing is not None and self._closing.active():
            self._closing.cancel()

    def _ending_after(self, seconds: float, happened: str, setting: str) -> IDelayedCall:
        reason = f"{happened.format(f'{seconds:g}')} (domain_mappings.NAME.timeouts.{setting} sets this)"
        return self._later(seconds, self._finish, reason)

    def _finish(self, reason: str) -> None:
        if self._over:
            return
        self._over = True
        for limit in self._limits:
            if limit.active():
                limit.cancel()
        self._closing = self._later(CLOSING, self._cut)
        for end in list(self._connected):
            end.end()
        self._told(Ended(self._up.count, self._down.count, reason))

    def _cut(self) -> None:
        for end in list(self._connected):
            end.abort()


@implementer(IPushProducer)
@define(eq=False)
class _Flow:
    """One direction: what comes from one side goes to the other, no faster than that takes it."""

    tunnel: Tunnel
    source: End
    sink: End
    count: int = 0

    def received(self, chunk: bytes) -> None:
        """Pass on what came."""
        if self.tunnel.moved():
            self.count += len(chunk)
            self.sink.write(chunk)

    def lost(self) -> None:
        """Know that the source is gone."""
        self.tunnel.lost(self.source)

    def drain(self) -> None:
        """Know that the proxy is to stop."""
        self.tunnel.drain()

    def pauseProducing(self) -> None:
        """Have the source wait (`IPushProducer`)."""
        self.source.pause()

    def resumeProducing(self) -> None:
        """Let the source go on (`IPushProducer`)."""
        self.source.resume()

    def stopProducing(self) -> None:
        """Leave the rest to `lost`: the sink is gone, which its own side tells (`IPushProducer`)."""
