"""Whether a finished answer is worth keeping, by what its JSON says: that it was cut short, say, or that it failed.

The conditions are the operator's. They are asked of the whole content where it is JSON, and of each event of a stream.
"""

import json
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from typing import Any, Final

from buddyproxy.cache.policy import Policy
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.cache.streams import SERVER_SENT, boundary, essence, is_json, split
from buddyproxy.config import Condition
from buddyproxy.config.conditions import Step
from buddyproxy.message import Headers

JUDGED: Final = 2 * 2**20
"""Content larger than this, in bytes and without its coding, is not looked at: that would keep others waiting."""

MEMBERS: Final = 64
"""Content of more gzip members in a row (RFC 1952, 2.2) is not looked at: each takes a copy of all that follow."""

_ZLIB = frozenset({b"deflate", b"gzip", b"x-gzip"})
_EITHER = zlib.MAX_WBITS | 32
"""Has zlib tell gzip from deflate by itself."""


def is_judged(headers: Headers, policy: Policy) -> bool:
    """Return whether it is known only at its end if a response with `headers` is worth keeping."""
    if not policy.store_unless:
        return False
    media_type = essence(headers)
    return is_json(media_type) or boundary(media_type) is not None


def is_readable(headers: Headers) -> bool:
    """Return whether the content is coded in no way, or in one that can be undone here."""
    codings = _codings(headers)
    return not codings or (len(codings) == 1 and codings[0] in _ZLIB)


def is_worth_keeping(stored: StoredResponse, policy: Policy) -> bool:
    """Return whether `stored` meets none of the conditions; what cannot be told counts as no."""
    if not is_judged(stored.headers, policy):
        return True
    content = _decoded(stored)
    if content is None or len(content) > JUDGED:
        return False
    return not any(_meets_any(text, policy.store_unless) for text in _texts(content, essence(stored.headers)))


def _codings(headers: Headers) -> list[bytes]:
    return [coding for coding in headers.members(b"content-encoding") if coding != b"identity"]


def _decoded(stored: StoredResponse) -> bytes | None:
    """Return the content without its coding, as far as it is looked at; None where that cannot be undone."""
    if not is_readable(stored.headers):
        return None
    content, left = b"", stored.body
    if not left or not _codings(stored.headers):
        return left
    for _ in range(MEMBERS):
        inflating = zlib.decompressobj(_EITHER)
        try:
            content += inflating.decompress(left, JUDGED + 1 - len(content))
        except zlib.error:
            return None
        if not inflating.eof or len(content) > JUDGED:
            return None
        left = inflating.unused_data
        if not left:
            return content
    return None


def _texts(content: bytes, media_type: bytes) -> Iterator[bytes]:
    """Yield the JSON texts in `content`, and what there may be among them that is none."""
    at = boundary(media_type)
    if media_type == SERVER_SENT:
        # HTML, 9.2.5: one mark of the byte order may lead.
        content = content.removeprefix(BOM_UTF8)
    for piece in (content,) if at is None else split(content, at):
        yield _data(piece) if media_type == SERVER_SENT else piece.strip(b"\x1e")


def _data(event: bytes) -> bytes:
    """Return the data of a server-sent event (HTML, 9.2.6)."""
    lines = (line for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(line.removeprefix(b"data:") for line in lines)


def _meets_any(text: bytes, conditions: Sequence[Condition]) -> bool:
    """Return whether `text` is JSON that meets one of `conditions`; `[DONE]`, as some APIs have it, is not."""
    if b"\\" not in text:
        # Most events of a stream need not be parsed to know that.
        conditions = [each for each in conditions if all(literal in text for literal in each.literals)]
    try:
        parsed = json.loads(text.decode("utf-8-sig"), parse_int=_integer) if conditions else None
    except RecursionError:
        # Nested deeper than can be looked at: it cannot be told.
        return True
    except ValueError:
        return False
    return any(_meets(value, condition) for condition in conditions for value in _at(parsed, condition.path))


def _integer(digits: str) -> int | str:
    """Return the number, or the digits where Python would refuse to read so many."""
    return int(digits) if len(digits) < 1000 else digits


def _meets(value: Any, condition: Condition) -> bool:
    # Python takes true for 1.
    same = value == condition.value and isinstance(value, bool) is isinstance(condition.value, bool)
    return same if condition.relation == "=" else value is not None and not (condition.relation == "!=" and same)


def _at(text: Any, path: tuple[Step, ...]) -> Iterator[Any]:
    """Yield what stands at `path`."""
    if not path:
        yield text
        return
    for value in _next(text, path[0]):
        yield from _at(value, path[1:])


def _next(text: Any, step: Step) -> list[Any]:
    match text, step:
        case dict(), None:
            return list(text.values())
        case dict(), str():
            return [text[step]] if step in text else []
        case list(), None:
            return text
        case list(), int():
            return text[step : step + 1]
        case _:
            return []
