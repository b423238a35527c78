"""Whom to believe: TLS connections whose other end has proved to be the origin asked for.

Verification is Twisted's own (`BrowserLikePolicyForHTTPS`, with service_identity) and cannot be turned off. Two things
are added. The name is verified once more when the handshake is done: Twisted (26.10) logs a certificate whose names it
cannot read, such as one that has none, and then lets it pass. And an ear is lent to *why* a certificate was refused:
OpenSSL tells the origin by an alert, and Twisted's error does not repeat it.
"""

import re
from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.client import BrowserLikePolicyForHTTPS
from zope.interface import implementer

from buddyproxy.errors import UpstreamError
from buddyproxy.message import Origin
from buddyproxy.upstream.failures import NotTrusted

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

# The alerts of RFC 8446, 6.2 that a failed verification sends. 42 and 43 cover many reasons.
_ALERTS = {
    42: "it is not valid",
    43: "it is not for servers",
    44: "it was revoked",
    45: "it has expired",
    48: "no authority trusted here has issued it (a private one is named by domain_mappings.NAME.ca_file)",
    51: "its signature is wrong",
}


def connection_creator(origin: Origin) -> IOpenSSLClientConnectionCreator:
    """Return what opens verified TLS connections to `origin`.

    Costs some milliseconds, as it reads the trusted certificates: make one per origin and keep it. Raises
    `UpstreamError` where `ca_file` cannot be used.
    """
    try:
        roots = None if origin.ca_file is None else _roots(origin.ca_file)
    except (OSError, ValueError, crypto.Error) as error:
        reason = getattr(error, "strerror", None) or "a certificate in it cannot be read"
        raise UpstreamError(f"{origin}: ca_file {origin.ca_file}: {reason}") from error
    policy = BrowserLikePolicyForHTTPS(roots)
    return _Verifying(policy.creatorForNetloc(origin.host.encode("ascii"), origin.port), origin.host)


def _roots(ca_file: str) -> Any:
    """Return the trust in the certificates of `ca_file` and in no other."""
    found = [Certificate.loadPEM(pem) for pem in _PEM.findall(Path(ca_file).read_bytes())]
    if not found:
        raise OSError(0, "no certificate in it (PEM is expected)")
    return trustRootFromCertificates(found)


@implementer(IOpenSSLClientConnectionCreator)
class _Verifying:
    """Opens the connections another creator opens, verifies each once more, and tells each why it was refused."""

    def __init__(self, creator: IOpenSSLClientConnectionCreator, host: str) -> None:
        self._creator = creator
        self._host = host
        self._verify = verify_ip_address if isIPAddress(host) or isIPv6Address(host) else verify_hostname

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return the TLS state for one connection; `refusal` is set on its protocol where that applies."""

        def observe(connection: SSL.Connection, where: int, value: int) -> None:
            if where & SSL.SSL_CB_HANDSHAKE_DONE:
                self._verify_again(connection, tlsProtocol)
            elif where & SSL.SSL_CB_WRITE_ALERT == SSL.SSL_CB_WRITE_ALERT and value & 0xFF in _ALERTS:
                protocol: Any = tlsProtocol.wrappedProtocol
                protocol.refusal = _ALERTS[value & 0xFF]

        connection = self._creator.clientConnectionForTLS(tlsProtocol)
        connection.set_info_callback(observe)
        return connection

    def _verify_again(self, connection: SSL.Connection, tlsProtocol: TLSMemoryBIOProtocol) -> None:
        try:
            self._verify(connection, self._host)
        except Exception as error:  # noqa: BLE001 - whatever it is: a name that could not be verified is not verified
            refusal = NotTrusted("the names in it cannot be verified (it needs a subjectAltName)")
            refusal.__cause__ = error
            tlsProtocol.failVerification(Failure(refusal))
