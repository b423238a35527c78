"""Where an origin server is and how long to wait for it, as values."""

from functools import cached_property

from attrs import frozen

_DEFAULT_PORTS = {"http": 80, "https": 443}


@frozen(cache_hash=True)
class Origin:
    """An origin server: how to reach it, and whom to believe that it is the right one."""

    scheme: str
    """`http` or `https`."""
    host: str
    """A name in ASCII (IDNA where needed) or an IP address; an IPv6 address without its brackets."""
    port: int
    ca_file: str | None = None
    """A PEM file of the authorities trusted for this origin, *instead of* the system's; None for the system's."""

    @cached_property
    def authority(self) -> bytes:
        """What goes into `Host`: the port only where it is not the scheme's own (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}").encode("ascii")

    @cached_property
    def root(self) -> bytes:
        """Scheme and authority, as an absolute URI begins; a request-target may follow."""
        return self.scheme.encode("ascii") + b"://" + self.authority

    def __str__(self) -> str:
        return self.root.decode("ascii")


@frozen
class Timeouts:
    """How many seconds each part of an exchange may take; 0 means no limit."""

    connect: float
    """Until a connection is there, finding the address of the name included."""
    first_byte: float
    """From the request handed over until the head of the answer is there; a TLS handshake counts here."""
    idle: float
    """Without any byte of content moving, in either direction; a wait we asked for does not count."""
    total: float
    """From the first step to the last byte of content."""
