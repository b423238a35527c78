"""Certificates made when a test needs them, by an authority that nobody else trusts."""

from datetime import UTC, datetime
from pathlib import Path

import trustme
from attrs import frozen
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

LONG_AGO = datetime(2020, 1, 2, tzinfo=UTC)


@frozen
class Certificate:
    """A server's certificate and its key."""

    pem_file: str
    """Both in one PEM file."""

    def shown(self) -> IOpenSSLServerConnectionCreator:
        """Return what a TLS server needs to show this certificate."""
        return _Shown(self.pem_file)


@implementer(IOpenSSLServerConnectionCreator)
class _Shown:
    # Twisted's `PrivateCertificate` does the same in a way that pyOpenSSL warns of, and warnings are errors here.
    def __init__(self, pem_file: str) -> None:
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.use_certificate_chain_file(pem_file)
        self._context.use_privatekey_file(pem_file)

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        return SSL.Connection(self._context)


class Authority:
    """A certificate authority; its files go into `directory`, which exists."""

    def __init__(self, directory: str | Path, name: str = "ca") -> None:
        self._directory = Path(directory)
        self._name = name
        self._authority = trustme.CA()
        self._issued = 0
        self.ca_file = str(self._directory / f"{name}.pem")
        self.ca_pem = self._authority.cert_pem.bytes()
        Path(self.ca_file).write_bytes(self.ca_pem)

    def issue(self, *identities: str, common_name: str | None = None, expired: bool = False) -> Certificate:
        """Return a certificate for `identities`: host names and IP addresses; none only with a `common_name`."""
        self._issued += 1
        until = LONG_AGO if expired else None
        since = datetime(2020, 1, 1, tzinfo=UTC)
        leaf = self._authority.issue_cert(*identities, common_name=common_name, not_before=since, not_after=until)
        pem_file = str(self._directory / f"{self._name}-{self._issued}.pem")
        leaf.private_key_and_cert_chain_pem.write_to_path(pem_file)
        return Certificate(pem_file)
