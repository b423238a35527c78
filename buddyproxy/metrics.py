"""Where outcomes are counted and logged: one place, one line a request.

It sees what a request came to, never its content, its header fields or its query.
"""

from collections import Counter
from http import HTTPStatus
from typing import Any

from attrs import frozen
from twisted.logger import Logger, LogLevel

_log = Logger(namespace="buddyproxy")


@frozen
class Outcome:
    """What one request came to."""

    method: bytes
    mapping: str
    """The mapping's name, `-` where the request was for none."""
    path: bytes
    """The path behind the mapping's name, without the query."""
    status: int
    word: str
    """`hit`, or why it was forwarded (RFC 9211, 2.2); `upgrade` after a 101; an error's code where buddyproxy answered
    by itself."""
    seconds: float
    """From the request's last byte received until the response was handed to the transport, or given up; after a 101,
    until either side ended it."""
    reason: str = ""
    """What went wrong, in words, where something did."""
    complete: bool = True
    """False where the caller left, or the origin broke off, before the end."""
    tunnelled: tuple[int, int] | None = None
    """Bytes from the caller and from the origin after a 101; None where there was none."""

    @property
    def failed(self) -> bool:
        """Whether it came to an error of the origin's or ours, if only half-way through the response."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or (bool(self.reason) and not self.complete)

    @property
    def remark(self) -> str:
        """What there is to say beyond the figures that every outcome has; empty where there is nothing."""
        remarks = [] if self.tunnelled is None else ["{} bytes up, {} down".format(*self.tunnelled)]
        if self.reason:
            remarks.append(self.reason)
        elif not self.complete:
            remarks.append("the caller left")
        return f" ({'; '.join(remarks)})" if remarks else ""


class Metrics:
    """Counts outcomes, and writes the line of each request to the log, if it is of the level `least` or above.

    A request that failed is of level WARN, all others are of INFO.
    """

    def __init__(self, least: Any = LogLevel.info) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """Requests by mapping and word."""
        self._least = least

    def observe(self, outcome: Outcome) -> None:
        """Take note of what a request came to."""
        self.outcomes[outcome.mapping, outcome.word] += 1
        level = LogLevel.warn if outcome.failed else LogLevel.info
        if level >= self._least:
            _log.emit(
                level,
                "{method} {mapping} {path} {status} {outcome} {milliseconds:.1f} ms{remark}",
                method=printable(outcome.method),
                mapping=outcome.mapping,
                path=printable(outcome.path),
                status=outcome.status,
                outcome=outcome.word,
                milliseconds=outcome.seconds * 1000,
                complete=outcome.complete,
                reason=outcome.reason,
                tunnelled=outcome.tunnelled,
                remark=outcome.remark,
            )


def printable(wire: bytes) -> str:
    """Return bytes off the wire as text that can neither break a log line nor drive a terminal."""
    text = wire.decode("ascii", "backslashreplace")
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def counted(number: int, noun: str) -> str:
    """Return `number` with `noun`, in the plural where it has to be."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
