"""How long each part of an exchange with an origin may take, and what happens when it takes longer.

It counts; what giving up means, it is told.
"""

from collections.abc import Callable
from typing import Final, Literal

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from buddyproxy.errors import UpstreamBusy, UpstreamError, UpstreamTimeout
from buddyproxy.message import Origin
from buddyproxy.upstream.failures import BUSY


@frozen
class Timeouts:
    """How many seconds each part of an exchange may take; 0 means no limit."""

    connect: float
    """Until a connection is there, finding the address of the name included; as long again for one to be free."""
    tls: float
    """Until TLS is set up on it."""
    first_byte: float
    """From the request handed over until the head of the answer is there."""
    idle: float
    """Without any byte of content moving, in either direction; a wait we asked for does not count."""
    total: float
    """From the first step to the last byte of content."""


Phase = Literal["queue", "connect", "tls", "send", "first_byte", "idle"]

_UNSENT: Final = frozenset({"queue", "connect", "tls"})
"""The phases in which nothing of the request has been sent."""

# What is said when a limit is reached, and the setting that is the limit. An upload that stops moving is measured by
# the same setting as a download that does.
_SAID: Final = {
    "queue": (
        "all connections to it were in use for {} s",
        "domain_mappings.NAME.max_connections and timeouts.connect set this",
    ),
    "connect": ("no connection within {} s", "domain_mappings.NAME.timeouts.connect sets this"),
    "tls": ("no TLS within {} s", "domain_mappings.NAME.timeouts.tls sets this"),
    "send": ("it took nothing of the request for {} s", "domain_mappings.NAME.timeouts.idle sets this"),
    "first_byte": (
        "no answer within {} s",
        "domain_mappings.NAME.timeouts.first_byte or server.request_timeout sets this",
    ),
    "idle": ("the answer stood still for {} s", "domain_mappings.NAME.timeouts.idle sets this"),
    "total": ("the answer was not complete within {} s", "domain_mappings.NAME.timeouts.total sets this"),
}


class Patience:
    """The limits on one exchange: one on the whole of it, and one on the phase it is in.

    When either is reached, `expired` says which, and whatever `give_up` was last given is called, once. The whole began
    at the time `began`; None: now.
    """

    def __init__(self, clock: IReactorTime, timeouts: Timeouts, origin: Origin, began: float | None = None) -> None:
        self.expired: UpstreamError | None = None
        self._clock = clock
        self._seconds: dict[Phase, float] = {
            "queue": timeouts.connect,
            "connect": timeouts.connect,
            "tls": timeouts.tls,
            "send": timeouts.idle,
            "first_byte": timeouts.first_byte,
            "idle": timeouts.idle,
        }
        self._origin = origin
        self._give_up: Callable[[], object] = _nothing
        self._phase: Phase = "connect"
        self._limit: IDelayedCall | None = None
        self._total: IDelayedCall | None = None
        if timeouts.total:
            spent = 0.0 if began is None else clock.seconds() - began
            left = min(max(timeouts.total - spent, 0.0), timeouts.total)
            self._total = clock.callLater(left, self._expire, "total", timeouts.total)

    def give_up(self, action: Callable[[], object]) -> None:
        """Call `action` when a limit is reached, in place of what was to be called so far."""
        self._give_up = action

    def wait_for(self, phase: Phase) -> None:
        """Enter `phase`: its limit counts from now on."""
        self._phase = phase
        seconds = self._seconds[phase]
        if not seconds:
            self.rest()
        elif self._limit is None:
            self._limit = self._clock.callLater(seconds, self._phase_over)
        else:
            self._limit.reset(seconds)

    def progress(self) -> None:
        """Know that something moved: the phase's limit counts anew."""
        if self._limit is not None:
            self._limit.reset(self._seconds[self._phase])

    def rest(self) -> None:
        """Stop counting the phase: who waits now, waits for us. The limit on the whole goes on."""
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def end(self) -> None:
        """Stop counting altogether: the exchange is over."""
        self.rest()
        if self._total is not None:
            self._total.cancel()
            self._total = None
        self._give_up = _nothing

    def _phase_over(self) -> None:
        self._limit = None
        self._expire(self._phase, self._seconds[self._phase])

    def _expire(self, what: str, seconds: float) -> None:
        if what == "total":
            self._total = None
        happened, setting = _SAID[what]
        message = f"{self._origin}: {happened.format(f'{seconds:g}')} ({setting})"
        if what == "queue":
            self.expired = UpstreamBusy(message, BUSY)
        else:
            self.expired = UpstreamTimeout(message, unsent=self._phase in _UNSENT)
        give_up = self._give_up
        self.end()
        give_up()


def _nothing() -> None:
    """Give up nothing: there is nothing yet, or no more."""
