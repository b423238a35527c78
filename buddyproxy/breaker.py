"""Whether an origin is asked at all: a circuit breaker.

Theory of operation. While the circuit is closed, every request may go, and how each ends is counted. When enough of the
last ones failed, the circuit opens: no request may go for some time. After it, the circuit is half open: one request
may go, the probe, and all others are still refused. If the probe succeeds, the circuit closes, and the counting begins
anew; if it fails, the circuit is open for another such time; if it is withdrawn, the next request is the probe.

What a failure is, the caller says. Pure: the time is an argument.
"""

from attrs import frozen

from buddyproxy.window import Window


@frozen
class Terms:
    """When a circuit opens, and for how long. Times in seconds."""

    failure_ratio: float
    """How many of the requests in the window must have failed; more than 1: it never opens."""
    window: float
    minimum_requests: int
    """How many requests there must be in the window for the ratio to mean anything."""
    open_for: float


@frozen(eq=False)
class Permit:
    """Leave to send one request; how that ended is to be told."""


@frozen
class Refused:
    """The origin is not to be asked now."""

    retry_after: float
    """Seconds until it may be asked again; of a probe on its way nobody knows how long it takes."""


class Breaker:
    """The circuit to one origin."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._recent = Window(terms.window)
        self._opened: float | None = None
        self._probe: Permit | None = None

    @property
    def is_open(self) -> bool:
        """Return whether the circuit is not closed: it is open, or half open."""
        return self._opened is not None

    def admit(self, now: float) -> Permit | Refused:
        """Return leave to send a request, or why there is none."""
        if self._opened is None:
            return Permit()
        if remaining := self._remaining(now - self._opened):
            return Refused(remaining)
        if self._probe is not None:
            return Refused(0.0)
        self._probe = Permit()
        return self._probe

    def succeeded(self, permit: Permit, now: float) -> None:
        """Know that the request with `permit` was answered."""
        if self._opened is None:
            self._recent.add(now)
        elif permit is self._probe:
            self._opened = self._probe = None
            self._recent = Window(self._terms.window)

    def failed(self, permit: Permit, now: float) -> None:
        """Know that the request with `permit` failed."""
        if self._opened is None:
            self._recent.add(now, marked=True)
            requests, failures = self._recent.counts(now)
            if requests >= self._terms.minimum_requests and failures >= requests * self._terms.failure_ratio:
                self._opened = now
        elif permit is self._probe:
            self._opened, self._probe = now, None

    def withdrawn(self, permit: Permit) -> None:
        """Know that nothing can be said of the origin by the request with `permit`."""
        if permit is self._probe:
            self._probe = None

    def _remaining(self, elapsed: float) -> float:
        # A clock that was set back must not keep the circuit open.
        return max(self._terms.open_for - elapsed, 0.0) if elapsed >= 0 else 0.0
