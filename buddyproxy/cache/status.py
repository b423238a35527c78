"""How the cache handled a request, in the words of RFC 9211.

The same value becomes the `Cache-Status` member, the word in the log line, the counter's name and `X-Cache`.
"""

from typing import Final, Literal

from attrs import frozen

Reason = Literal["bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"]
"""Why a request went forward (RFC 9211, 2.2)."""

CACHE_NAME: Final = "buddyproxy"


@frozen
class CacheStatus:
    """One cache's member of the Cache-Status field (RFC 9211, 2)."""

    hit: bool = False
    """Whether the request was answered without being forwarded."""
    fwd: Reason | None = None
    """Why the request went forward; None where it did not."""
    fwd_status: int | None = None
    stored: bool = False
    collapsed: bool = False
    """Whether another request's answer served this one too (RFC 9211, 2.6)."""
    ttl: int | None = None
    """Remaining freshness lifetime in seconds; negative where it is stale."""
    detail: str | None = None
    """Why it was decided so, as a token."""
    key: bytes | None = None
    """The cache key, for those who ask."""

    @property
    def word(self) -> str:
        """Return the one word for this outcome: `hit`, why the request went forward, or why it was not answered."""
        return "hit" if self.hit else "collapsed" if self.collapsed else self.fwd or self.detail or "none"

    def member(self) -> bytes:
        """Return the field's list member."""
        parts = [CACHE_NAME]
        if self.hit:
            parts.append("hit")
        if self.fwd is not None:
            parts.append(f"fwd={self.fwd}")
        if self.fwd_status is not None:
            parts.append(f"fwd-status={self.fwd_status}")
        if self.ttl is not None:
            parts.append(f"ttl={self.ttl}")
        if self.stored:
            parts.append("stored")
        if self.collapsed:
            parts.append("collapsed")
        if self.key is not None:
            parts.append(f'key="{self.key.hex()}"')
        if self.detail is not None:
            parts.append(f"detail={self.detail}")
        return "; ".join(parts).encode("ascii")
