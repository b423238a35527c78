"""Which stored response a request selects (RFC 9111, 4.1)."""

import re
from functools import lru_cache
from hashlib import sha256
from typing import Final

from buddyproxy.cache.policy import Policy
from buddyproxy.cache.stored import Selecting, StoredResponse
from buddyproxy.message import Headers, Request, Response

# Fields by which a caller says what it prefers.
_PREFERENCES: Final = frozenset({b"accept", b"accept-charset", b"accept-encoding", b"accept-language"})
_WHOLE_WEIGHT: Final = re.compile(rb";q=1(?:\.0{0,3})?$")

# Longer values are read each time: what is remembered has a bound in bytes too.
_REMEMBERED: Final = 500


def selecting_fields(request: Request, response: Response, policy: Policy) -> Selecting | None:
    """Return what of `request` selected `response`; None where it may never be selected again (`Vary: *`)."""
    names = policy.implied.union(response.headers.members(b"vary"))
    if b"*" in names:
        return None
    if _is_encoded(response.headers):
        # An encoded response that does not say it varies would otherwise reach callers who cannot decode it.
        names |= {b"accept-encoding"}
    if policy.partition:
        # Already told apart by the key.
        names -= policy.credentials
    return tuple((name, _value(request.headers, name, policy)) for name in sorted(names))


def selects(request: Request, stored: StoredResponse, policy: Policy) -> bool:
    """Return whether `request` matches every selecting field of `stored`."""
    return all(_value(request.headers, name, policy) == value for name, value in stored.selecting)


def decodable(request: Request, stored: StoredResponse, policy: Policy) -> bool:
    """Return whether `request` accepts the same content codings as the one that selected `stored`."""
    selecting = dict(stored.selecting)
    name = b"accept-encoding"
    return name not in selecting or _value(request.headers, name, policy) == selecting[name]


def _is_encoded(headers: Headers) -> bool:
    return any(coding != b"identity" for coding in headers.members(b"content-encoding"))


def field_value(headers: Headers, name: bytes) -> bytes | None:
    """Return one spelling of a field's value for all that mean the same; None where it is as if it were not there.

    RFC 9111, 4.1: so far the values of two requests may differ and still match.
    """
    combined = headers.combined(name)
    if combined is None:
        return None
    if name in _PREFERENCES:
        return (_preferences if len(combined) <= _REMEMBERED else _preferences.__wrapped__)(combined)
    # White space inside quotes has a meaning.
    return combined if b'"' in combined else b",".join(member.strip(b" \t") for member in combined.split(b","))


@lru_cache(maxsize=1024)
def _preferences(value: bytes) -> bytes | None:
    """Return one spelling for all that express the same preferences (RFC 9110, 12.4 and 12.5).

    Neither case nor order has a meaning among them, a weight of 1 is the default, and "anything" is what is meant where
    nothing is said.
    """
    if b'"' in value:
        return value
    members = (_WHOLE_WEIGHT.sub(b"", re.sub(rb"[ \t]", b"", member.lower())) for member in value.split(b","))
    spelled = b",".join(sorted(filter(None, members)))
    return None if spelled == b"*/*" else spelled


def _value(headers: Headers, name: bytes, policy: Policy) -> bytes | None:
    """Return the field's value as it is compared: of a credential, a digest."""
    value = field_value(headers, name)
    return sha256(value).digest() if value is not None and name in policy.credentials else value
