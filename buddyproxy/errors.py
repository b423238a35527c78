"""What can go wrong, named once for the whole of buddyproxy.

Every failure a caller can meet is a `ProxyError`. Each class carries a `code`, the word that stands in the JSON error
body; turning one into an HTTP status is `web/delivery.py`'s work alone. Messages say what happened and what to do about
it, and never hold a secret.
"""

from collections.abc import Sequence
from typing import ClassVar

from attrs import frozen


class ProxyError(Exception):
    """Something buddyproxy could not do, in words a caller may read."""

    code: ClassVar[str] = "proxy-error"
    retry_after: float | None = None
    """Seconds after which it makes sense to ask again; None: nobody knows."""


@frozen
class Problem:
    """One thing wrong with a configuration, and the dotted path where it stands."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigurationError(ProxyError):
    """The configuration cannot be used; `problems` holds every reason, not only the first."""

    code = "configuration"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class BadRequest(ProxyError):
    """The request cannot be understood (400)."""

    code = "bad-request"


class BodyTooLarge(ProxyError):
    """The request's content is larger than `server.max_request_body` (413)."""

    code = "body-too-large"


class InsufficientStorage(ProxyError):
    """The request's content could not be written to a temporary file (507)."""

    code = "insufficient-storage"


class UnknownMapping(ProxyError):
    """No mapping has the name the request's path begins with (404)."""

    code = "unknown-mapping"


NO_MAPPING = "no mapping has the name this path begins with"
"""What callers are told, whether there is none or it is none of theirs."""


class LoopDetected(ProxyError):
    """The request has passed through buddyproxy too often (508): a mapping leads back to the proxy."""

    code = "loop-detected"


class SecurityError(ProxyError):
    """The caller may not come in (403)."""

    code = "forbidden"


class ThrottleError(ProxyError):
    """The origin may not be asked this fast (429)."""

    code = "throttled"


class UpstreamError(ProxyError):
    """The origin could not be reached, or its answer could not be used (502)."""

    code = "upstream-failed"

    def __init__(self, message: str, *, unsent: bool = False) -> None:
        super().__init__(message)
        self.unsent = unsent
        """Whether nothing of the request has been sent to the origin."""


class UpstreamTimeout(UpstreamError):
    """The origin did not answer in the time it was given (504)."""

    code = "upstream-timeout"


class Unanswered(UpstreamError):
    """The connection ended before any byte of an answer came (502).

    Nobody can say whether the request was looked at, so only one that may safely be sent twice may be sent again.
    """


class StaleConnection(Unanswered):
    """The same, of a connection kept from an earlier request.

    Most likely the origin had closed it already, and that says nothing of how the origin is (RFC 9112, 9.3.1).
    """


class UpstreamUnavailable(UpstreamError):
    """The origin is not asked at present (503)."""

    code = "upstream-unavailable"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message, unsent=True)
        self.retry_after = retry_after


class UpstreamBusy(UpstreamUnavailable):
    """Every connection that there may be to the origin is in use, and was for too long."""

    code = "upstream-busy"


class CircuitOpen(UpstreamUnavailable):
    """The origin failed too often of late."""

    code = "circuit-open"


class NotCached(ProxyError):
    """The caller wanted a stored response only, and there is none (504; RFC 9111, 5.2.1.7)."""

    code = "not-cached"


class CacheError(ProxyError):
    """The store failed; a caller never sees this, it sees a miss."""

    code = "cache"
