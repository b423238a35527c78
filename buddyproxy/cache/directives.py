"""Cache-Control, read from both sides of an exchange (RFC 9111, 5.2).

Reading never fails: what cannot be understood counts against reuse, never for it.
"""

import re
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from buddyproxy.message import Headers

# RFC 9111, 1.2.2: what overflows counts as this many seconds.
LONGEST: Final = 2**31

# The argument of a member that is no directive, and of one whose argument is empty: it says nothing.
_NOTHING: Final = b""

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_DIRECTIVE = re.compile(
    rb"""[ \t]*
    (?P<name>%(token)b)
    (?:=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>(?:%(token)b)?)))?
    [ \t]*(?:,|\Z)"""
    % {b"token": _TOKEN.pattern},
    re.VERBOSE | re.DOTALL,
)


@frozen
class CacheControl:
    """The directives of one message; names in lower case, each with its arguments in the order given."""

    arguments: dict[bytes, list[bytes | None]]

    def __contains__(self, name: bytes) -> bool:
        return name in self.arguments

    def permits(self, name: bytes) -> bool:
        """Return whether `name` is given, and given without a fault: only then may it make more possible."""
        given = self.arguments.get(name)
        return given is not None and _NOTHING not in given

    def seconds(self, name: bytes) -> int | None:
        """Return the delta-seconds of `name`, None where it is absent.

        The smallest counts where it is given several times, and 0 where it is no number (RFC 9111, 4.2.1).
        """
        given = self.arguments.get(name)
        return None if given is None else min(delta_seconds(argument) for argument in given)

    def tolerance(self, name: bytes) -> int | None:
        """Return the delta-seconds of a directive whose argument may be left out to mean any number (`max-stale`)."""
        return LONGEST if self.arguments.get(name) == [None] else self.seconds(name)


NONE: Final = CacheControl({})


def cache_control(headers: Headers) -> CacheControl:
    """Return the Cache-Control directives of a message."""
    lines = headers.get_all(b"cache-control")
    return CacheControl(_parse(lines)) if lines else NONE


def request_cache_control(headers: Headers) -> CacheControl:
    """Return the request's directives; `Pragma: no-cache` counts where there is no Cache-Control (RFC 9111, 5.4)."""
    if b"cache-control" not in headers and b"no-cache" in headers.members(b"pragma"):
        return CacheControl({b"no-cache": [None]})
    return cache_control(headers)


def delta_seconds(argument: bytes | None) -> int:
    """Return the seconds that `argument` stands for, at most `LONGEST`; 0 where it is no number (RFC 9111, 1.2.2)."""
    if argument is None or not argument.isdigit():
        return 0
    digits = argument.lstrip(b"0") or b"0"
    # Ten digits already exceed LONGEST: never convert thousands of them.
    return min(int(digits), LONGEST) if len(digits) <= 10 else LONGEST


def _parse(lines: Sequence[bytes]) -> dict[bytes, list[bytes | None]]:
    found: dict[bytes, list[bytes | None]] = {}
    for line in lines:
        position = 0
        while position < len(line):
            match = _DIRECTIVE.match(line, position)
            if match is None:
                # No directive (`no-store; private`): whatever it names counts, as far as it forbids.
                end = _end_of_fault(line, position)
                for name in _TOKEN.findall(line, position, end):
                    found.setdefault(name.lower(), []).append(_NOTHING)
                position = end + 1
            else:
                position = match.end()
                found.setdefault(match["name"].lower(), []).append(_argument(match))
    return found


def _end_of_fault(line: bytes, start: int) -> int:
    """Return where the faulty member at `start` ends: at a comma, or with the line where a quote puts that in doubt."""
    comma = line.find(b",", start)
    return comma if comma >= 0 and b'"' not in line[start:comma] else len(line)


def _argument(match: re.Match[bytes]) -> bytes | None:
    quoted: bytes | None = match["quoted"]
    plain: bytes | None = match["plain"]
    return plain if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted, flags=re.DOTALL)
