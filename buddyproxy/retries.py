"""Whether a request that failed is sent again, and when.

Pure: time and chance are arguments.
"""

from typing import Final

from buddyproxy.errors import Unanswered, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from buddyproxy.window import Window

# RFC 9110, 9.2.2; QUERY by RFC 10008, 2. Not TRACE, which is not forwarded.
_IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"QUERY"})

_SHARE: Final = 0.1
"""How many retries there may be for each request."""
_LEAST: Final = 2
"""How many retries there may be in any case, lest none be left where requests are few."""
_LATELY: Final = 30.0
"""For how many seconds requests and retries count."""

_FIRST: Final = 0.1
"""The longest wait before the first retry, in seconds; it doubles with each."""
_LONGEST: Final = 2.0


class Budget:
    """How often an origin may be sent a request again: so that who is overloaded is not sent more because of it."""

    def __init__(self) -> None:
        self._recent = Window(_LATELY)

    def requested(self, now: float) -> None:
        """Know that a request is sent for the first time."""
        self._recent.add(now)

    def spend(self, now: float) -> bool:
        """Return whether a request may be sent again, which then counts."""
        sent, retries = self._recent.counts(now)
        if retries + 1 > max(_LEAST, (sent - retries) * _SHARE):
            return False
        self._recent.add(now, marked=True)
        return True


def is_idempotent(method: bytes) -> bool:
    """Return whether a request with `method` may be sent twice without harm (RFC 9110, 9.2.2)."""
    return method in _IDEMPOTENT


def is_repeatable(method: bytes, error: UpstreamError) -> bool:
    """Return whether a request with `method` that ended in `error` may be sent to the same origin again.

    That takes that none of it was sent, or that it may be sent twice and the connection ended before any byte of an
    answer came. An origin that took its time would only take it once more, and the caller with it.
    """
    if isinstance(error, (UpstreamTimeout, UpstreamUnavailable)):
        return False
    return error.unsent or (is_idempotent(method) and isinstance(error, Unanswered))


def is_movable(method: bytes, error: UpstreamError) -> bool:
    """Return whether a request with `method` that ended in `error` may be sent to another origin."""
    return error.unsent or is_idempotent(method)


def backoff(number: int, chance: float) -> float:
    """Return the seconds to wait before retry `number`, from 0 on; `chance` is from 0 to 1.

    Any wait up to the longest is as likely ("full jitter"), so that those who failed together do not come together.
    """
    return chance * min(_LONGEST, _FIRST * 2.0**number)
