"""From a stored response to what its caller gets: all of it, a part, or word that the caller's own copy still holds.

RFC 9111, 4.3.2; RFC 9110, 13.2.2 and 14.2.
"""

import re
from hashlib import sha256

from buddyproxy.cache.dates import parse_date
from buddyproxy.cache.ranges import DIGESTS, Part, Span, asked_ranges
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.message import Headers, Request, Response

# What speaks of the content that is sent, and so is left out where none is (RFC 9110, 15.4.5).
_OF_CONTENT = DIGESTS | {b"content-encoding", b"content-language", b"content-length", b"content-range", b"content-type"}

# What a 416 keeps: nothing of the resource that anybody could store (RFC 9110, 15.5.17), but the leave to read it.
_OF_REFUSAL = frozenset(
    {
        b"accept-ranges",
        b"access-control-allow-credentials",
        b"access-control-allow-origin",
        b"access-control-expose-headers",
        b"date",
        b"etag",
        b"vary",
    }
)

# RFC 9110, 8.8.3.
_ETAG = re.compile(rb'(?:W/)?"[!#-~\x80-\xff]*"')

_ASKED_WITH = frozenset({b"if-none-match", b"if-modified-since", b"range"})


def answered(request: Request, stored: StoredResponse) -> tuple[Response, bytes]:
    """Return the head and the content by which `stored`, which may be reused now, answers `request`."""
    if request.headers.names.isdisjoint(_ASKED_WITH) or stored.response.status not in (200, 206):
        return stored.response, stored.body
    if _not_modified(request, stored):
        return Response(304, _unchanged(stored.headers), b"Not Modified"), b""
    spans = asked_ranges(request, stored)
    if spans is None:
        return stored.response, stored.body
    return _ranges(stored, spans)


def etags_match(one: bytes, other: bytes) -> bool:
    """Return whether two entity tags are equal by weak comparison (RFC 9110, 8.8.3.2)."""
    return _opaque(one) == _opaque(other)


def _opaque(etag: bytes) -> bytes:
    return etag.strip(b" \t").removeprefix(b"W/")


def _not_modified(request: Request, stored: StoredResponse) -> bool:
    """Return whether the caller has a copy of its own that is as good (RFC 9110, 13.1.2 and 13.1.3)."""
    if request.method not in (b"GET", b"HEAD") or stored.method != b"GET":
        return False
    tags = request.headers.combined(b"if-none-match")
    if tags is not None:
        return _names(tags.strip(b" \t"), stored.headers.get(b"etag"))
    since = parse_date(request.headers.combined(b"if-modified-since"), stored.response_time)
    if since is None:
        return False
    modified = parse_date(stored.headers.get(b"last-modified"), stored.response_time)
    return (stored.date if modified is None else modified) <= since


def _names(condition: bytes, etag: bytes | None) -> bool:
    """Return whether an If-None-Match lists `etag`; one that is no entity tag counts where it is repeated exactly."""
    if not etag:
        return condition == b"*"
    listed = [_opaque(member) for member in _ETAG.findall(condition)]
    return condition in (b"*", etag.strip(b" \t")) or _opaque(etag) in listed


def _unchanged(headers: Headers) -> Headers:
    """Return what of a stored response's fields goes with a 304."""
    return headers.without(_OF_CONTENT)


def _ranges(stored: StoredResponse, spans: tuple[Span, ...]) -> tuple[Response, bytes]:
    part = Part.of(stored.headers) if stored.partial else Part(Span(0, len(stored.body) - 1), len(stored.body))
    assert part is not None
    if not spans:
        kept = Headers(tuple(pair for pair in stored.headers if pair[0].lower() in _OF_REFUSAL))
        kept = kept.adding((b"Content-Range", b"bytes */%d" % part.total))
        return Response(416, kept, b"Range Not Satisfiable"), b""
    headers = stored.headers.without(DIGESTS)
    pieces = [stored.body[span.first - part.span.first : span.last - part.span.first + 1] for span in spans]
    ranges = [b"bytes %d-%d/%d" % (span.first, span.last, part.total) for span in spans]
    if len(spans) == 1:
        fields, body = headers.replacing((b"Content-Range", ranges[0])), pieces[0]
    else:
        boundary, body = _multipart(headers.get(b"content-type"), ranges, pieces, stored.body)
        fields = headers.replacing((b"Content-Type", b"multipart/byteranges; boundary=" + boundary))
        fields = fields.without({b"content-range"})
    return Response(206, fields.replacing((b"Content-Length", b"%d" % len(body))), b"Partial Content"), body


def _multipart(
    media_type: bytes | None, ranges: list[bytes], pieces: list[bytes], content: bytes
) -> tuple[bytes, bytes]:
    """Return a boundary and the content of a multipart/byteranges response (RFC 9110, 14.6)."""
    boundary = sha256(b"".join(ranges)).hexdigest()[:32].encode("ascii")
    while boundary in content:
        boundary = sha256(boundary).hexdigest()[:32].encode("ascii")
    kind = b"" if media_type is None else b"Content-Type: " + media_type + b"\r\n"
    lines = [
        b"--" + boundary + b"\r\n" + kind + b"Content-Range: " + content_range + b"\r\n\r\n" + piece + b"\r\n"
        for content_range, piece in zip(ranges, pieces, strict=True)
    ]
    return boundary, b"".join((*lines, b"--" + boundary + b"--\r\n"))
