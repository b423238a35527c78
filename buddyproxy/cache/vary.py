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


def _value(headers: Headers, name: bytes, policy: Policy) -> bytes | None:
    """Return the field's value with white space around its members removed, or a digest of it if it is a credential."""
    combined = headers.combined(name)
    if combined is None:
        return None
    # White space inside quotes has a meaning.
    value = combined if b'"' in combined else b",".join(member.strip(b" \t") for member in combined.split(b","))
    return sha256(value).digest() if name in policy.credentials else value
