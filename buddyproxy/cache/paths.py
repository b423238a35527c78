"""Patterns for paths, and the form of a path that they are matched against.

One resource's path can be spelt in many ways, and a rule that could be had around by another spelling would not be one.
So a path is brought to its normal form first (RFC 3986, 6.2.2): percent-encoded only where it has to be, in upper case,
and without dot segments. It goes to the origin as it came; only the rules see this form.
"""

import re
from typing import Final

LONGEST_PATH: Final = 2048
"""How much of a path in normal form is looked at, in bytes: a regular expression may take long over more."""

_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

# Whatever is percent-encoded, or should be.
_ENCODED: Final = re.compile(rb"%[0-9A-Fa-f]{2}|[^!-~]")


def normal_path(path: bytes) -> bytes:
    """Return the one spelling of an absolute path that stands for all of its equivalent ones (RFC 3986, 6.2.2)."""
    path = _ENCODED.sub(_respelt, path)
    return _without_dot_segments(path) if b"/." in path else path


def glob(pattern: str) -> re.Pattern[bytes]:
    """Return what matches, as a whole, the paths in normal form that `pattern` describes.

    `*` stands for any characters, slashes among them, `?` for any one byte; all else for itself, however it is encoded.
    """
    first, *others = (_literal(piece) for piece in pattern.split("*"))
    if not others:
        return re.compile(first, re.DOTALL)
    # Where a piece was found first is as good as any later place: nothing is tried twice, however long the path is.
    found = b"".join(b"(?>.*?%b)" % piece for piece in others[:-1])
    return re.compile(first + found + b".*" + others[-1], re.DOTALL)


def _literal(piece: str) -> bytes:
    """Return the expression for a piece of a glob without `*`."""
    spelt = _ENCODED.sub(_respelt, piece.encode())
    return rb"(?>%[0-9A-F]{2}|.)".join(re.escape(part) for part in spelt.split(b"?"))


def _respelt(encoded: re.Match[bytes]) -> bytes:
    text: bytes = encoded[0]
    octet = int(text[1:], 16) if len(text) > 1 else text[0]
    return bytes((octet,)) if octet in _UNRESERVED else b"%%%02X" % octet


def _without_dot_segments(path: bytes) -> bytes:
    """Return an absolute path with its `.` and `..` followed (RFC 3986, 5.2.4)."""
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)
