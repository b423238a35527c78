"""What went wrong with an origin, in words a caller may read.

The one place where the exceptions of Twisted and OpenSSL become ours. What an origin sent is never quoted: nobody can
say what it holds.
"""

import os

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    ConnectionDone,
    ConnectionRefusedError,  # noqa: A004 - Twisted's, which is not the built-in one
    DNSLookupError,
    TCPTimedOutError,
)
from twisted.web._newclient import (
    ParseError,
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
    _WrapperException,
)
from twisted.web.http import _MalformedChunkedDataError

from buddyproxy.errors import UpstreamBusy, UpstreamError, UpstreamTimeout
from buddyproxy.message import Origin


class Garbled(Exception):
    """An answer that is not HTTP as we can forward it; the text says why without quoting it."""


class NotTrusted(Exception):
    """A certificate that did not stand the test; the text says why."""


class NotSecured(_WrapperException):
    """A connection that ended before TLS was set up; `reasons` holds why."""


class NoConnectionFree(Exception):
    """A request that would have to wait for a connection behind too many others; the text says so."""


FOREIGN = (
    _WrapperException,
    RequestNotSent,
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    DNSLookupError,
    NoConnectionFree,
    SSL.Error,
    VerificationError,
    CancelledError,
    ValueError,
)
"""What sending a request may raise."""


BUSY = 1.0
"""Seconds after which a connection may be free where all are in use: nobody knows better."""


def cancelled(error: BaseException | None) -> bool:
    """Tell whether `error` says no more than that we gave up ourselves."""
    return any(isinstance(cause, (CancelledError, ConnectingCancelledError)) for cause in _causes(error))


def explained(error: BaseException | None, origin: Origin) -> UpstreamError:
    """Return what `error` means for a request to `origin`."""
    cause = _causes(error)[-1]
    if isinstance(cause, NoConnectionFree):
        return UpstreamBusy(f"{origin}: {cause}", BUSY)
    if cause is error and isinstance(error, ValueError):
        said: str | None = "its name is not a valid one"
    else:
        said = _of_connecting(cause) or _of_tls(cause, origin) or _of_answer(cause) or _of_closing(error, cause)
    kind = UpstreamTimeout if isinstance(cause, TCPTimedOutError) else UpstreamError
    return kind(f"{origin}: {said}")


def _causes(error: BaseException | None) -> list[BaseException | None]:
    """Return `error` and what it wraps, the outermost first; Twisted keeps the first thing that failed in front."""
    causes = [error]
    while isinstance(error, _WrapperException) and error.reasons:
        error = error.reasons[0].value
        causes.append(error)
    return causes


def _of_connecting(cause: BaseException | None) -> str | None:
    match cause:
        case DNSLookupError():
            return "its name could not be resolved"
        case ConnectionRefusedError():
            return "it refused the connection"
        case ConnectError():
            reason = os.strerror(cause.osError) if isinstance(cause.osError, int) else "the attempt failed"
            return f"no connection: {reason}"
        case _:
            return None


def _of_tls(cause: BaseException | None, origin: Origin) -> str | None:
    match cause:
        case VerificationError():
            return f"the certificate is not for {origin.host}"
        case NotTrusted():
            return f"certificate verify failed: {cause}"
        case SSL.Error():
            # The last of OpenSSL's entries is the one nearest to us: (library, function, reason).
            reasons = [entry[2] for entry in cause.args[0]] if cause.args and isinstance(cause.args[0], list) else []
            return f"TLS failed: {reasons[-1]}" if reasons else "TLS failed"
        case _:
            return None


def _of_answer(cause: BaseException | None) -> str | None:
    match cause:
        case Garbled():
            return f"its answer cannot be used: {cause}"
        case ParseError() | ValueError() | _MalformedChunkedDataError():
            return "its answer cannot be used: it is not valid HTTP/1.1"
        case _:
            return None


def _of_closing(error: BaseException | None, cause: BaseException | None) -> str:
    how = "closed" if isinstance(cause, ConnectionDone) else "broke"
    match error:
        case NotSecured():
            when = "in the TLS handshake"
        case RequestTransmissionFailed():
            when = "while the request was being sent"
        case ResponseNeverReceived() | RequestNotSent():
            when = "without an answer"
        case ResponseFailed(response=None):
            when = "in the middle of its answer's head"
        case _:
            when = "before its answer was complete"
    return f"it {how} the connection {when}"
