"""The primary cache key: what makes two requests the same question (RFC 9111, 2).

Theory of operation
-------------------
The key is SHA-256 over length-prefixed fields, so that no two different lists of fields meet in one string: mapping,
method, target URI, credential partition, content. Nothing a caller sends can move a byte from one field to another.

The credential partition is an HMAC, under a secret kept with the store, over the credential fields: two callers with
different credentials never share a stored response, and the key gives nothing away to log in with.

The content counts whole. JSON is brought to one form first (object members sorted, no white space, strings spelled one
way, numbers as written), because clients order members as they like; what is not clean JSON, or large, counts byte for
byte, and by its digest alone where it is too large to be held in memory. So do the fields that say how to read it.

A mapping may have it otherwise: header fields that count too, query parameters and members of JSON that do not. What
was left out is named in the key, so that two settings never read each other's responses: once a member counts again,
nothing that was stored while it did not is found. Without such settings nothing is named, and keys are what they
always were.
"""

import hmac
import json
from collections.abc import Container, Iterable
from hashlib import sha256
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from buddyproxy.cache.policy import MemberPath, Policy
from buddyproxy.cache.query import counted_uri
from buddyproxy.cache.search import Search
from buddyproxy.cache.vary import field_value
from buddyproxy.message import Headers, Request


def primary_key(request: Request, uri: bytes, policy: Policy, secret: bytes, search: Search | None = None) -> bytes:
    """Return the 32 bytes under which the response to `request` for the target URI `uri` is stored.

    `search` is what the resource itself says of its query.
    """
    method = b"GET" if request.method == b"HEAD" else request.method
    # What was stored for all must not be found by the one who has no credentials once callers are kept apart.
    partition = credential_partition(request.headers, policy.credentials, secret) if policy.partition else b"shared"
    settled = (*_query(policy), *_named_fields(request.headers, policy, secret))
    uri = counted_uri(uri, policy)
    if search is not None:
        settled = (*settled, b"search", search.text)
        uri = search.counted(uri)
    return _digest((policy.mapping.encode(), method, uri, partition, *settled, *_content(request, policy)))


def credential_partition(headers: Headers, credentials: Container[bytes], secret: bytes) -> bytes:
    """Return a digest of the credential fields among `headers` under `secret`; empty where there are none."""
    named = [(name.lower(), value) for name, value in headers if name.lower() in credentials]
    if not named:
        return b""
    # Sorted by name only: the order of one field's own lines matters.
    named.sort(key=lambda pair: pair[0])
    return hmac.digest(secret, _framed(part for pair in named for part in pair), "sha256")


def canonical_json(body: bytes, ignored: Iterable[MemberPath] = ()) -> bytes | None:
    """Return one form for all spellings of a JSON text; None where `body` is not JSON that is safe to respell.

    Members at the paths `ignored` are left out; `*` in a path stands for every member or element there is.
    Numbers stay as written (1, 1.0 and 1e0 are different questions), and so does the order of arrays. Objects that
    repeat a member mean different things to different readers and are not respelled.
    """
    pieces: list[str] = []
    try:
        tree = json.loads(
            body.decode("utf-8"),
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_refuse,
            object_pairs_hook=_members,
        )
        for path in ignored:
            _leave_out(tree, path)
        _spell(tree, pieces)
    except (ValueError, RecursionError):
        return None
    return "".join(pieces).encode("ascii")


RESPELLED: Final = 2**19
"""The largest content in bytes that is brought to one form: respelling takes time, and everybody waits meanwhile."""


class _Number(str):
    """A number as it was written."""


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("repeated member")
    return members


def _spell(tree: object, pieces: list[str]) -> None:
    """Add the canonical spelling of a parsed JSON text to `pieces`."""
    match tree:
        case _Number():
            pieces.append(str(tree))
        case str():
            pieces.append(encode_basestring_ascii(tree))
        case dict():
            pieces.append("{")
            for name in sorted(tree):
                pieces += (encode_basestring_ascii(name), ":")
                _spell(tree[name], pieces)
                pieces.append(",")
            pieces.append("}")
        case list():
            pieces.append("[")
            for element in tree:
                _spell(element, pieces)
                pieces.append(",")
            pieces.append("]")
        case _:
            pieces.append(json.dumps(tree))


def _leave_out(tree: object, path: MemberPath) -> None:
    """Take what stands at `path` out of a parsed JSON text."""
    first, rest = path[0], path[1:]
    match tree:
        case dict():
            names = list(tree) if first == "*" else [first] if first in tree else []
            for name in names:
                if rest:
                    _leave_out(tree[name], rest)
                else:
                    del tree[name]
        case list() if first == "*" and rest:
            for element in tree:
                _leave_out(element, rest)
        case list() if first == "*":
            tree.clear()


def _query(policy: Policy) -> tuple[bytes, ...]:
    """Return how the query was read; nothing where it counts as it was sent."""
    if not policy.ignore_query and not policy.sort_query:
        return ()
    return b"query", b"sorted" if policy.sort_query else b"", _framed(policy.ignore_query)


def _named_fields(headers: Headers, policy: Policy, secret: bytes) -> tuple[bytes, ...]:
    """Return what the key holds of header fields; under `secret`, for what the operator names may be a credential."""
    if not policy.key_headers:
        return ()
    values = ((name, field_value(headers, name)) for name in policy.key_headers)
    # An empty field is not the same as none.
    parts = (_framed((name,) if value is None else (name, value)) for name, value in values)
    return b"fields", hmac.digest(secret, _framed(parts), "sha256")


def _content(request: Request, policy: Policy) -> tuple[bytes, ...]:
    """Return what the key holds of the content, with the fields that tell how to read it."""
    body = request.body
    if not body:
        return ()
    media_type = request.headers.combined(b"content-type") or b""
    coding = request.headers.combined(b"content-encoding") or b""
    if not isinstance(body, bytes):
        return b"sha256", media_type, coding, body.digest
    essence, *parameters = (part.strip(b" \t") for part in media_type.split(b";"))
    essence = essence.lower()
    if not coding and (essence == b"application/json" or essence.endswith(b"+json")):
        ignored = policy.ignore_body
        canonical = canonical_json(body, ignored) if len(body) <= RESPELLED else None
        if canonical is not None:
            # JSON is UTF-8 whatever `charset` says (RFC 8259, 8.1); other parameters may matter (RFC 9110, 8.3.1).
            telling = (parameter for parameter in parameters if not parameter.lower().startswith(b"charset="))
            left_out = (b"without", _framed(".".join(path).encode() for path in ignored)) if ignored else ()
            return *left_out, b"json", canonical, essence, *telling
    return b"bytes", media_type, coding, body


def _framed(parts: Iterable[bytes]) -> bytes:
    """Return `parts` as one string that no other list of parts makes."""
    return b"".join(b"%d:%b" % (len(part), part) for part in parts)


def _digest(parts: Iterable[bytes]) -> bytes:
    return sha256(_framed(parts)).digest()
