"""Where to listen: endpoint strings, and how far each reaches.

An endpoint string without `interface=` binds loopback, and has room in its backlog for a burst.
"""

import os
import re
from ipaddress import ip_address
from typing import Any, Final

from attrs import frozen
from twisted.internet.address import UNIXAddress
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IReactorCore, IStreamServerEndpoint

from buddyproxy.config import Config

BACKLOG: Final = 4096
"""Connections the system holds until we accept them; Twisted's default of 50 refuses a burst."""

_LOOPBACK: Final = {"tcp": "127.0.0.1", "ssl": "127.0.0.1", "tls": "127.0.0.1", "tcp6": r"\:\:1"}
_SEPARATOR: Final = re.compile(r"(?<!\\):")


@frozen
class Address:
    """Where to listen."""

    given: str
    """As it was written: what to call it."""
    description: str
    """The endpoint string, completed."""

    @classmethod
    def parse(cls, given: str) -> "Address":
        """Return the address that `given` describes: an endpoint string, or a port number alone."""
        description = f"tcp:{given}" if given.isdigit() else given
        kind, *arguments = _SEPARATOR.split(description)
        if kind in _LOOPBACK:
            if not _argument(arguments, "interface"):
                description += f":interface={_LOOPBACK[kind]}"
            if kind != "tls" and not _argument(arguments, "backlog"):
                description += f":backlog={BACKLOG}"
        return cls(given, description)

    @property
    def secure(self) -> bool:
        """Return whether callers speak TLS here."""
        return self.description.partition(":")[0] in ("ssl", "tls")

    @property
    def wide(self) -> bool:
        """Return whether other machines may reach it, as far as the string tells."""
        kind, *arguments = _SEPARATOR.split(self.description)
        interface = _argument(arguments, "interface")
        return kind in _LOOPBACK and interface is not None and not is_loopback(interface.replace("\\:", ":"))

    def endpoint(self, reactor: IReactorCore | None) -> IStreamServerEndpoint:
        """Return the endpoint. Raises ValueError, saying why, where the string makes none."""
        try:
            endpoint: IStreamServerEndpoint = serverFromString(reactor, self.description)
        except (ValueError, TypeError, KeyError, IndexError, OSError) as error:
            raise ValueError(f"{self.given}: {_reason(error)}") from error
        return endpoint


def addresses_of(config: Config) -> list[Address]:
    """Return where `config` says to listen."""
    server = config.server
    given = server.endpoints or (f"tcp:{server.port}:interface={server.host.replace(':', chr(92) + ':')}",)
    return [Address.parse(endpoint) for endpoint in given]


def has_key(config: Config) -> bool:
    """Return whether a key is configured."""
    security = config.security
    return bool(security.secure_key or security.secure_key_file or security.keys)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reaches_out(port: IListeningPort) -> bool:
    """Return whether other machines may reach a port that is open: the last word, also for inherited sockets."""
    host = getattr(port.getHost(), "host", None)
    return host is not None and not is_loopback(host)


def url_of(port: IListeningPort, secure: bool) -> str:
    """Return the address to give to programs on this machine: a URL, or the path of a socket."""
    address: Any = port.getHost()
    if isinstance(address, UNIXAddress):
        return f"unix:{os.fsdecode(address.name or b'')}"
    host, number = address.host, address.port
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"{'https' if secure else 'http'}://{f'[{local}]' if ':' in local else local}:{number}"


def _argument(arguments: list[str], name: str) -> str | None:
    values = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{name}=")]
    return values[-1] if values else None


def _reason(error: Exception) -> str:
    """Return what was wrong with an endpoint string; twisted's own words where it has any."""
    if isinstance(error, (KeyError, IndexError)):
        return "something is missing"
    return str(error) or type(error).__name__
