"""Tags: the names by which an origin lets its stored responses be purged together.

Three fields name them: `Cache-Tag` (separated by commas), `Surrogate-Key` (by white space) and `Cache-Groups`
(RFC 9875: a list of strings). All count alike, case matters in all of them, and whichever cannot be understood gives no
tags: reading never fails.
"""

import re
from typing import Final

from buddyproxy.cache.structured import strings
from buddyproxy.message import Headers

_FIELDS: Final = (b"cache-tag", b"surrogate-key", b"cache-groups")

# A tag is text that people type: visible ASCII, and spaces within.
_TAG = re.compile(rb"[!-~](?:[ -~]*[!-~])?")


def tags(headers: Headers) -> tuple[bytes, ...]:
    """Return the tags that a response's fields give it, each once."""
    if not any(name in headers for name in _FIELDS):
        return ()
    listed = [member.strip(b" \t") for value in headers.get_all(b"cache-tag") for member in value.split(b",")]
    words = [word for value in headers.get_all(b"surrogate-key") for word in value.split()]
    typed = [tag for tag in (*listed, *words) if _TAG.fullmatch(tag)]
    return tuple(dict.fromkeys((*typed, *strings(headers.combined(b"cache-groups") or b""))))
