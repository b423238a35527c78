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

# One thing preferred: without quotes, and with its weight, if any, at the end (RFC 9110, 12.4.2 and 12.5).
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PREFERENCE: Final = re.compile(
    b"(?P<range>" + _TOKEN + b"(?:/" + _TOKEN + b")?)"
    rb"(?P<parameters>(?:[ \t]*;[ \t]*(?![qQ]=)" + _TOKEN + b"=" + _TOKEN + b")*)"
    rb"(?:[ \t]*;[ \t]*[qQ]=(?:(?P<weight>0(?:\.\d{0,3})?)|1(?:\.0{0,3})?))?"
)

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
        names = frozenset(name for name in names if name not in policy.credentials)
    return tuple((name, _value(request.headers, name, policy)) for name in sorted(names))


def selecting_values(request: Request, stored: StoredResponse, policy: Policy) -> Selecting:
    """Return the selecting fields that `stored` would have, had it been stored for `request`."""
    return tuple((name, _value(request.headers, name, policy)) for name, _ in stored.selecting)


def selects(request: Request, stored: StoredResponse, policy: Policy, but: bytes = b"") -> bool:
    """Return whether `request` matches every selecting field of `stored`, `but` one perhaps."""
    return all(name == but or _value(request.headers, name, policy) == value for name, value in stored.selecting)


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
        spelled = (_preferences if len(combined) <= _REMEMBERED else _preferences.__wrapped__)(combined)
        # RFC 9110, 12.4.1: no preference is what is meant where nothing is said.
        return None if name == b"accept" and spelled == b"*/*" else spelled
    return _spaced(combined)


def _spaced(value: bytes) -> bytes:
    """Return `value` without white space around its members; inside quotes it has a meaning."""
    return value if b'"' in value else b",".join(member.strip(b" \t") for member in value.split(b","))


@lru_cache(maxsize=1024)
def _preferences(value: bytes) -> bytes:
    """Return one spelling for all that express the same preferences (RFC 9110, 12.4 and 12.5).

    Nobody may rely on their order (12.5.4), the case of what is preferred has no meaning, and a weight of 1 is the
    default; but values of a media type's parameters may be case-sensitive (8.3.1). What is no such list, or names one
    thing twice, stays as it is: nobody knows what it means.
    """
    members = [member for part in value.split(b",") if (member := part.strip(b" \t"))]
    matches = [match for member in members if (match := _PREFERENCE.fullmatch(member))]
    weights = {
        match["range"].lower() + re.sub(rb"[ \t]", b"", match["parameters"]): match["weight"] for match in matches
    }
    if len(weights) < len(members):
        return _spaced(value)
    return b",".join(sorted(what + b";q=" + weight if weight else what for what, weight in weights.items()))


def _value(headers: Headers, name: bytes, policy: Policy) -> bytes | None:
    """Return the field's value as it is compared: of a credential, a digest."""
    value = field_value(headers, name)
    return sha256(value).digest() if value is not None and name in policy.credentials else value
