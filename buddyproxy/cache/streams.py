"""Event streams: which responses are such, where an event ends, and at what pace a stored one is sent again.

What is sent again are the bytes that were received, in their order; only where they are cut, and when the next of them
go, is decided here.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from buddyproxy.cache.policy import Pace
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.cache.timeline import Timeline
from buddyproxy.message import Headers

SERVER_SENT: Final = b"text/event-stream"

# Server-sent events end with an empty line (HTML, 9.2.6), of whichever of the three kinds.
# Twice the same, for what begins with a repetition is not looked for in the fast way.
_EMPTY_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))+")
_LINE = re.compile(rb"\n[\r\n]*")
# RFC 7464, 2.2: a record begins with RS.
_RECORD = re.compile(rb"(?=\x1e)")

_LINES = frozenset(
    b"application/" + subtype
    for subtype in (b"json-lines", b"jsonl", b"jsonlines", b"ndjson", b"stream+json", b"x-jsonlines", b"x-ndjson")
)

_BINARY = frozenset({b"application/vnd.amazon.eventstream"})
"""Streams of events that are told apart by more than a separator."""

Piece = tuple[float, bytes]
"""What is sent at one time, and when: in seconds after the beginning."""


def essence(headers: Headers) -> bytes:
    """Return type and subtype of the content, in lower case; nothing where they are not said."""
    return (headers.get(b"content-type") or b"").partition(b";")[0].strip(b" \t").lower()


def is_json(media_type: bytes) -> bool:
    """Return whether `media_type` is JSON's, or of something written in it."""
    return media_type == b"application/json" or media_type.endswith(b"+json")


def boundary(media_type: bytes) -> re.Pattern[bytes] | None:
    """Return what matches up to where an event ends in content of `media_type`; None where it has no events."""
    if media_type == SERVER_SENT:
        return _EMPTY_LINE
    if media_type in _LINES:
        return _LINE
    return _RECORD if media_type == b"application/json-seq" or media_type.endswith(b"+json-seq") else None


def split(content: bytes, at: re.Pattern[bytes]) -> Iterator[bytes]:
    """Yield the events of `content`, with what ends them; what is behind the last end counts as one."""
    start = 0
    for match in at.finditer(content):
        if match.end() > start:
            yield content[start : match.end()]
            start = match.end()
    if start < len(content):
        yield content[start:]


def is_timed(draft: StoredResponse) -> bool:
    """Return whether it matters of a response that is to be stored when its content comes.

    Of event streams it does, and of JSON whose origin began to send it before it knew all of it.
    """
    media_type = essence(draft.headers)
    growing = is_json(media_type) and b"content-length" not in draft.headers
    return not draft.partial and (growing or _is_stream(media_type))


def timeline(draft: StoredResponse, chunks: Sequence[bytes], times: Sequence[float]) -> Timeline:
    """Return when the content of `draft` came, none of it where that was not recorded, or JSON came in one piece."""
    if not times or (len(chunks) == 1 and not _is_stream(essence(draft.headers))):
        return Timeline()
    return Timeline.of(chunks, times)


def _is_stream(media_type: bytes) -> bool:
    return boundary(media_type) is not None or media_type in _BINARY


@frozen
class Replay:
    """A stored stream to be sent again."""

    stored: StoredResponse
    pace: Pace

    def pieces(self) -> Iterator[Piece]:
        """Yield what to send, and when."""
        if isinstance(self.pace, float):
            for number, event in enumerate(self._events()):
                yield number / self.pace, event
            return
        start = 0
        for milliseconds, length in self.stored.timeline:
            offset = milliseconds / 1000 if self.pace == "recorded" else 0.0
            yield offset, self.stored.body[start : start + length]
            start += length

    def _events(self) -> Iterator[bytes]:
        """Yield the events, or the chunks as they came where the content does not show its events."""
        headers = self.stored.headers
        at = None if b"content-encoding" in headers else boundary(essence(headers))
        if at is not None:
            return split(self.stored.body, at)
        return (chunk for _, chunk in Replay(self.stored, "instant").pieces())
