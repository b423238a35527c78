"""Tags: the names by which an origin lets its stored responses be purged together.

Three fields name them: `Cache-Tag` (separated by commas), `Surrogate-Key` (by white space) and `Cache-Groups`
(RFC 9875: a list of strings). All count alike, case matters in all of them, and whichever cannot be understood gives no
tags: reading never fails.
"""

import re
from typing import Final

from buddyproxy.message import Headers

_FIELDS: Final = (b"cache-tag", b"surrogate-key", b"cache-groups")

# A tag is text that people type: visible ASCII, and spaces within.
_TAG = re.compile(rb"[!-~](?:[ -~]*[!-~])?")

# RFC 9651: what a list of strings is made of; parameters are checked, and otherwise ignored (RFC 9875, 2).
_STRING = rb'"(?:[ !#-\[\]-~]|\\["\\])*"'
_ITEM = rb"(?:%b)" % b"|".join(
    (
        rb"-?[0-9]{1,12}\.[0-9]{1,3}(?![0-9.])|-?[0-9]{1,15}(?![0-9.])",
        _STRING,
        rb"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*",
        rb":[A-Za-z0-9+/=]*:",
        rb"\?[01]",
        rb"@-?[0-9]{1,15}",
        rb'%"(?:[ !#$&-~]|%[0-9a-f]{2})*"',
    )
)
_MEMBER = re.compile(rb"(?P<string>%b)(?:; *[a-z*][a-z0-9_.*-]*(?:=%b)?)*" % (_STRING, _ITEM))
_SEPARATOR = re.compile(rb"[ \t]*,[ \t]*")
_ESCAPED = re.compile(rb"\\(.)")


def tags(headers: Headers) -> tuple[bytes, ...]:
    """Return the tags that a response's fields give it, each once."""
    if not any(name in headers for name in _FIELDS):
        return ()
    listed = [member.strip(b" \t") for value in headers.get_all(b"cache-tag") for member in value.split(b",")]
    words = [word for value in headers.get_all(b"surrogate-key") for word in value.split()]
    typed = [tag for tag in (*listed, *words) if _TAG.fullmatch(tag)]
    return tuple(dict.fromkeys((*typed, *_strings(headers.combined(b"cache-groups") or b""))))


def _strings(value: bytes) -> list[bytes]:
    """Return the members of a list of strings; none where it is anything else, in whatever part (RFC 9651, 4.2)."""
    value = value.strip(b" ")
    found = []
    position = 0
    while match := _MEMBER.match(value, position):
        found.append(_ESCAPED.sub(rb"\1", match["string"][1:-1]))
        if match.end() == len(value):
            return found
        separator = _SEPARATOR.match(value, match.end())
        if separator is None:
            return []
        position = separator.end()
    return []
