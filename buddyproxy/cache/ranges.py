"""Byte ranges: what a request asks for of a stored response, and parts of one put together.

RFC 9110, 14; RFC 9111, 3.3 and 3.4. What cannot be understood is as if it were not there: the whole content is always a
right answer to a Range.
"""

import re
from typing import Final

from attrs import evolve, frozen

from buddyproxy.cache.dates import parse_date
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.message import Headers, Request

# RFC 9110, 14.1.1. Nineteen digits exceed any content: never convert thousands of them.
_SPEC = re.compile(rb"[ \t]*(?P<first>\d{0,19})-(?P<last>\d{0,19})[ \t]*")
_CONTENT_RANGE = re.compile(rb"bytes (?P<first>\d{1,19})-(?P<last>\d{1,19})/(?P<total>\d{1,19})", re.IGNORECASE)

MOST: Final = 16
"""A request for more ranges than this is answered whole (RFC 9110, 14.2 and 17.15)."""

DIGESTS: Final = frozenset({b"content-digest", b"content-md5"})
"""Fields that are digests of the very content they come with (RFC 9530, 2), so not of a part of it, nor of more."""

# What one part says of itself, not of the representation.
_OF_ONE_PART: Final = DIGESTS | {b"age"}


@frozen
class Span:
    """Bytes of a content: the first and the last one's position."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@frozen
class Part:
    """What of a content is there: `span` of its `total` bytes."""

    span: Span
    total: int

    @classmethod
    def of(cls, headers: Headers) -> "Part | None":
        """Return the part that a 206 says it is by Content-Range; None where it is several, or not known (14.4)."""
        match = _CONTENT_RANGE.fullmatch(headers.combined(b"content-range") or b"")
        if match is None:
            return None
        span, total = Span(int(match["first"]), int(match["last"])), int(match["total"])
        return cls(span, total) if span.first <= span.last < total else None


def asked_ranges(request: Request, stored: StoredResponse) -> tuple[Span, ...] | None:
    """Return what `request` asks for of `stored`: none where nothing of it exists; None where it asks for the whole.

    Its Range counts for GET only (14.2), and only where If-Range agrees that the parts belong together (13.1.5).
    """
    value = request.headers.combined(b"range")
    if value is None or request.method != b"GET" or stored.response.status not in (200, 206):
        return None
    total = len(stored.body)
    if stored.partial:
        part = Part.of(stored.headers)
        total = part.total if part is not None else 0
    spans = _spans(value, total)
    return spans if spans is not None and _if_range(request.headers, stored) else None


def suffices(request: Request, stored: StoredResponse) -> bool:
    """Return whether `stored` holds all that `request` asks for (RFC 9111, 3.3)."""
    if not stored.partial:
        return True
    part, spans = Part.of(stored.headers), asked_ranges(request, stored)
    if part is None or not spans:
        return False
    return all(part.span.first <= span.first and span.last <= part.span.last for span in spans)


def assembled(draft: StoredResponse, onto: StoredResponse | None, body: bytes, most: int) -> StoredResponse | None:
    """Return what to store once the content `body` of `draft` is there; None where it is not what the head said.

    `onto` is a part of the same representation: together they are stored as one (RFC 9111, 3.4), unless there is a gap
    between them, or they have more than `most` bytes.
    """
    if not draft.partial:
        return evolve(draft, body=body)
    part = Part.of(draft.headers)
    if part is None or len(part.span) != len(body):
        return None
    if onto is None:
        return _with_part(draft, part, body)
    draft, held = _completed(draft, onto), Part.of(onto.headers)
    union = None if held is None else _union(held, part)
    if held is None or union is None or len(union.span) > most:
        return _with_part(draft, part, body)
    joined = bytearray(len(union.span))
    for span, piece in ((held.span, onto.body), (part.span, body)):
        joined[span.first - union.span.first : span.last - union.span.first + 1] = piece
    return _with_part(draft, union, bytes(joined))


def _completed(draft: StoredResponse, onto: StoredResponse) -> StoredResponse:
    """Return `draft` with what it may lack because its caller had it already by `onto` (RFC 9110, 15.3.7 and 15.3.7.3).

    Where the origin left out by what the representation was selected, that would be lost too.
    """
    fields = onto.headers.without(_OF_ONE_PART).replacing(*draft.headers.without(DIGESTS))
    selecting = {**dict(onto.selecting), **dict(draft.selecting)}
    response = evolve(draft.response, headers=fields)
    return evolve(draft, response=response, selecting=tuple(sorted(selecting.items())))


def _union(one: Part, other: Part) -> Part | None:
    """Return what two parts are together; None where they are not of one content, or do not meet."""
    first, last = min(one.span.first, other.span.first), max(one.span.last, other.span.last)
    if one.total != other.total or last - first + 1 > len(one.span) + len(other.span):
        return None
    return Part(Span(first, last), one.total)


def _with_part(draft: StoredResponse, part: Part, body: bytes) -> StoredResponse:
    """Return `draft` holding `part`; as the whole response where that is all there is (RFC 9110, 15.3.7.3)."""
    fields = draft.headers.replacing((b"Content-Length", b"%d" % len(body)))
    if len(part.span) == part.total:
        response = evolve(draft.response, status=200, reason=b"OK", headers=fields.without({b"content-range"}))
    else:
        content_range = b"bytes %d-%d/%d" % (part.span.first, part.span.last, part.total)
        response = evolve(draft.response, headers=fields.replacing((b"Content-Range", content_range)))
    return evolve(draft, response=response, body=body)


def _spans(value: bytes, total: int) -> tuple[Span, ...] | None:
    """Return the ranges of a content of `total` bytes that a Range field names; None where it is to be ignored."""
    unit, _, specs = value.partition(b"=")
    if not total or unit.strip(b" \t").lower() != b"bytes":
        return None
    spans = []
    for spec in specs.split(b","):
        match = _SPEC.fullmatch(spec)
        if match is None or not (match["first"] or match["last"]):
            return None
        if match["first"]:
            first, last = int(match["first"]), int(match["last"] or total)
            if match["last"] and last < first:
                return None
        else:
            first, last = max(0, total - int(match["last"])), total
        if first < total and (match["first"] or int(match["last"])):
            spans.append(Span(first, min(last, total - 1)))
    # More than there is means that ranges overlap: of no use to anybody but those who mean harm.
    return None if len(spans) > MOST or sum(map(len, spans)) > total else tuple(spans)


def _if_range(headers: Headers, stored: StoredResponse) -> bool:
    """Return whether If-Range, where there is one, names `stored` beyond doubt (RFC 9110, 13.1.5)."""
    condition = headers.combined(b"if-range")
    if condition is None:
        return True
    condition = condition.strip(b" \t")
    if condition.startswith(b'"'):
        return condition == stored.headers.get(b"etag")
    # A date is no strong validator unless the response was made a second or more after it (RFC 9110, 8.8.2.2).
    modified = stored.headers.get(b"last-modified")
    moment = parse_date(modified, stored.response_time)
    return condition == modified and moment is not None and moment + 1 <= stored.date
