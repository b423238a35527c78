"""Which stored response a request selects (RFC 9111, 4.1)."""

from hashlib import sha256

from buddyproxy.cache.policy import Policy
from buddyproxy.cache.stored import Selecting, StoredResponse
from buddyproxy.message import Headers, Request, Response


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


def _is_encoded(headers: Headers) -> bool:
    return any(coding != b"identity" for coding in headers.members(b"content-encoding"))


def field_value(headers: Headers, name: bytes) -> bytes | None:
    """Return the value of a field with the white space around its members removed; None where there is no such field.

    RFC 9111, 4.1: so far the values of two requests may differ and still match.
    """
    combined = headers.combined(name)
    if combined is None or b'"' in combined:
        # White space inside quotes has a meaning.
        return combined
    return b",".join(member.strip(b" \t") for member in combined.split(b","))


def _value(headers: Headers, name: bytes, policy: Policy) -> bytes | None:
    """Return the field's value as it is compared: of a credential, a digest."""
    value = field_value(headers, name)
    return sha256(value).digest() if value is not None and name in policy.credentials else value
