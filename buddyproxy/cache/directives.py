"""Cache-Control, read from both sides of an exchange (RFC 9111, 5.2), and the targeted fields beside it (RFC 9213).

Reading never fails: what cannot be understood counts against reuse, never for it. The same few values come again and
again, so what short ones mean is remembered.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from attrs import frozen

from buddyproxy.cache.structured import dictionary
from buddyproxy.message import Headers

# RFC 9111, 1.2.2: what overflows counts as this many seconds.
LONGEST: Final = 2**31

# The argument of a member that is no directive, and of one whose argument is empty: it says nothing.
_NOTHING: Final = b""

# What caching itself goes by, and what the content is in: the rest of a response would mean something else without it.
_INSEPARABLE: Final = frozenset(
    {b"age", b"cache-control", b"content-encoding", b"content-range", b"date", b"expires", b"vary"}
)

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
    targeted: bool = False
    """Whether they come from a targeted field, beside which Expires has no say (RFC 9213, 2.2)."""

    def __contains__(self, name: bytes) -> bool:
        return name in self.arguments

    def permits(self, name: bytes) -> bool:
        """Return whether `name` is given, and given without a fault: only then may it make more possible."""
        given = self.arguments.get(name)
        return given is not None and _NOTHING not in given

    def applies(self, name: bytes) -> bool:
        """Return whether `name` is given for the whole response, not for some fields alone (5.2.2.4 and 5.2.2.7)."""
        return name in self.arguments and not self.limited_to(name)

    def limited_to(self, name: bytes) -> frozenset[bytes]:
        """Return the fields that `name` is given for, in lower case; none unless it is given for fields alone.

        Given for a field that the rest cannot do without, it counts as given for the whole response.
        """
        named: set[bytes] = set()
        for argument in self.arguments.get(name, ()):
            members = [member.strip(b" \t").lower() for member in (argument or b"").split(b",")]
            if not all(map(_separable, members)):
                return frozenset()
            named.update(members)
        return frozenset(named)

    def seconds(self, name: bytes) -> int | None:
        """Return the delta-seconds of `name`, None where it is absent.

        The smallest counts where it is given several times, and 0 where it is no number (RFC 9111, 4.2.1).
        """
        given = self.arguments.get(name)
        if given is None:
            return None
        return delta_seconds(given[0]) if len(given) == 1 else min(map(delta_seconds, given))

    def tolerance(self, name: bytes) -> int | None:
        """Return the delta-seconds of a directive whose argument may be left out to mean any number (`max-stale`)."""
        return LONGEST if self.arguments.get(name) == [None] else self.seconds(name)

    def demand(self, name: bytes) -> int | None:
        """Return the delta-seconds of a directive that asks for more the larger they are (`min-fresh`).

        The largest counts where it is given several times, and `LONGEST` where it is no number.
        """
        given = self.arguments.get(name)
        if given is None:
            return None
        return max(delta_seconds(argument) if (argument or b"").isdigit() else LONGEST for argument in given)


NONE: Final = CacheControl({})


# Longer values are read each time: what is remembered has a bound in bytes too.
_REMEMBERED: Final = 500


def response_cache_control(headers: Headers, targeted: Sequence[bytes]) -> CacheControl:
    """Return the directives of a response: those of the first usable field in `targeted`, or else of Cache-Control.

    A targeted field stands for all others, unless it is empty or no Dictionary (RFC 9213, 2.2).
    """
    for name in targeted:
        value = headers.combined(name)
        if value is not None:
            read = _read_targeted if len(value) <= _REMEMBERED else _read_targeted.__wrapped__
            if directives := read(value):
                return directives
    return _cache_control(headers)


def request_cache_control(headers: Headers) -> CacheControl:
    """Return the request's directives; `Pragma: no-cache` counts where there is no Cache-Control (RFC 9111, 5.4)."""
    if b"cache-control" in headers.names:
        return _cache_control(headers)
    return CacheControl({b"no-cache": [None]}) if b"no-cache" in headers.members(b"pragma") else NONE


def delta_seconds(argument: bytes | None) -> int:
    """Return the seconds that `argument` stands for, at most `LONGEST`; 0 where it is no number (RFC 9111, 1.2.2)."""
    if argument is None or not argument.isdigit():
        return 0
    digits = argument.lstrip(b"0") or b"0"
    # Ten digits already exceed LONGEST: never convert thousands of them.
    return min(int(digits), LONGEST) if len(digits) <= 10 else LONGEST


def _cache_control(headers: Headers) -> CacheControl:
    lines = headers.get_all(b"cache-control")
    if not lines:
        return NONE
    read = _read if sum(map(len, lines)) <= _REMEMBERED else _read.__wrapped__
    return read(*lines)


@lru_cache(maxsize=1024)
def _read_targeted(value: bytes) -> CacheControl | None:
    members = dictionary(value)
    if not members:
        return None
    return CacheControl({name.encode("ascii"): [_typed(member)] for name, member in members.items()}, targeted=True)


def _typed(member: Any) -> bytes | None:
    """Return the argument that a Dictionary's member stands for; one of a type no directive has says nothing."""
    match member:
        case True:
            return None
        case bool():
            return _NOTHING
        case int():
            return b"%d" % member
        case str():
            # A number is an Integer there, never a String (RFC 9213, 2.1).
            return _NOTHING if member.isdigit() else member.encode("ascii")
        case _:
            return _NOTHING


@lru_cache(maxsize=1024)
def _read(*lines: bytes) -> CacheControl:
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
    return CacheControl(found)


def _separable(name: bytes) -> bool:
    """Return whether `name` names a field that a response can be stored without."""
    return bool(_TOKEN.fullmatch(name)) and name not in _INSEPARABLE and not name.endswith(b"-cache-control")


def _end_of_fault(line: bytes, start: int) -> int:
    """Return where the faulty member at `start` ends: at a comma, or with the line where a quote puts that in doubt."""
    comma = line.find(b",", start)
    return comma if comma >= 0 and b'"' not in line[start:comma] else len(line)


def _argument(match: re.Match[bytes]) -> bytes | None:
    quoted: bytes | None = match["quoted"]
    plain: bytes | None = match["plain"]
    return plain if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted, flags=re.DOTALL)
