"""HTTP messages as values: header fields, requests, response heads, and the origin servers they go to.

The vocabulary every other module speaks. It knows nothing of caching, of Twisted or of configuration. Wire data is
`bytes` throughout; nothing here decodes, reorders or normalises what was received.
"""

from collections.abc import Callable, Collection, Iterator, KeysView
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol

from attrs import frozen

# RFC 9110, 7.6.1, and the fields that RFC 9112 and older practice define for one connection only. `Trailer` stays out:
# it describes the content, not the connection, but we never forward trailers, so announcing them would be untrue.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

DEFAULT_PORTS = {"http": 80, "https": 443}


@frozen
class Headers:
    """Header fields in the order received, repeated fields included; names match without regard to case."""

    pairs: tuple[tuple[bytes, bytes], ...] = ()

    @cached_property
    def _by_name(self) -> dict[bytes, list[bytes]]:
        """Field values by lower-case name: looked at often, so made once."""
        found = {name.lower(): [value] for name, value in self.pairs}
        if len(found) < len(self.pairs):
            # Some are repeated.
            found = {name: [] for name in found}
            for name, value in self.pairs:
                found[name.lower()].append(value)
        return found

    @property
    def names(self) -> KeysView[bytes]:
        """Every field's name, in lower case."""
        return self._by_name.keys()

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __contains__(self, name: bytes) -> bool:
        return name.lower() in self._by_name

    def __repr__(self) -> str:
        # Names only: values may be credentials, and a repr ends up in logs.
        return f"Headers({b', '.join(name for name, _ in self.pairs).decode('latin-1')})"

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of `name`, or None."""
        values = self._by_name.get(name.lower())
        return values[0] if values else None

    def get_all(self, name: bytes) -> list[bytes]:
        """Return every value of `name`, in order."""
        return list(self._by_name.get(name.lower(), ()))

    def combined(self, name: bytes) -> bytes | None:
        """Return the values of `name` as one list-based value (RFC 9110, 5.3), or None where the field is absent."""
        values = self._by_name.get(name.lower())
        return None if values is None else b", ".join(values)

    def members(self, name: bytes) -> list[bytes]:
        """Return the members of the simple list `name`: split at commas, trimmed, lower case, empty ones left out."""
        values = self._by_name.get(name.lower())
        if values is None:
            return []
        return [member for value in values for part in value.split(b",") if (member := part.strip(b" \t").lower())]

    def without(self, names: Collection[bytes]) -> "Headers":
        """Return these fields less those in `names`, which are given in lower case."""
        if self._by_name.keys().isdisjoint(names):
            return self
        return Headers(tuple(pair for pair in self.pairs if pair[0].lower() not in names))

    def adding(self, *pairs: tuple[bytes, bytes]) -> "Headers":
        """Return these fields with `pairs` after them."""
        return Headers(self.pairs + pairs)

    def replacing(self, *pairs: tuple[bytes, bytes]) -> "Headers":
        """Return these fields with every field named in `pairs` replaced by the values given there, at the end."""
        return self.without({name.lower() for name, _ in pairs}).adding(*pairs)

    def changing(self, name: bytes, change: Callable[[bytes], bytes]) -> "Headers":
        """Return these fields with each value of `name`, which is given in lower case, as `change` makes it."""
        if name not in self._by_name:
            return self
        return Headers(tuple((own, change(value) if own.lower() == name else value) for own, value in self.pairs))

    def end_to_end(self) -> "Headers":
        """Return the fields that may be forwarded or stored: none of the connection's own (RFC 9110, 7.6.1)."""
        named = self.members(b"connection")
        return self.without(HOP_BY_HOP.union(named) if named else HOP_BY_HOP)


class LargeContent(Protocol):
    """A request's content that is not in memory. It is there as long as somebody holds it, and gone for good then."""

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the whole."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice) -> bytes: ...

    def hold(self) -> None:
        """Keep it for one more who may send it."""

    def release(self) -> None:
        """Undo one `hold`."""


@contextmanager
def held(content: bytes | LargeContent) -> Iterator[None]:
    """Hold `content` meanwhile, wherever it is."""
    if isinstance(content, bytes):
        yield
        return
    content.hold()
    try:
        yield
    finally:
        content.release()


@frozen
class Request:
    """A request as its caller sent it, or as it goes to the origin: there, `target` is the origin's."""

    method: bytes
    target: bytes
    headers: Headers = Headers()
    body: bytes | LargeContent = b""
    client: str = ""
    """The caller's network address as text, without the port; empty where there is none (a Unix socket)."""
    secure: bool = False
    """Whether the caller came by TLS."""

    def __repr__(self) -> str:
        # Without the target, of which any part may be a key.
        return f"<Request {self.method.decode('latin-1')} {len(self.body)} bytes>"


@frozen
class Response:
    """The head of a response: what is known before its content arrives."""

    status: int
    headers: Headers = Headers()
    reason: bytes = b""


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
        return (host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}").encode("ascii")

    @cached_property
    def root(self) -> bytes:
        """Scheme and authority, as an absolute URI begins; a request-target may follow."""
        return self.scheme.encode("ascii") + b"://" + self.authority

    def __str__(self) -> str:
        return self.root.decode("ascii")
