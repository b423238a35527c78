"""What is changed in a message on its way through: fields set and removed, and what a gateway adds of its own.

Pure functions of values; the cache key is made from what they leave, so nothing they add can be shared by mistake.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from attrs import evolve, field, frozen

from buddyproxy.cache.policy import CREDENTIALS
from buddyproxy.cache.status import CACHE_NAME
from buddyproxy.errors import BadRequest, LoopDetected
from buddyproxy.message import HOP_BY_HOP, Headers, Request

VIA: Final = b"1.1 " + CACHE_NAME.encode("ascii")

# Several proxies in a row are legitimate; this many passes through one kind of proxy are a ring.
MOST_PASSES: Final = 8

# Whoever names one of these in Connection wants an answer as if it had not been there: another caller's, a stored one,
# a change in spite of a condition. Nobody who is honest does so (RFC 9110, 7.6.1).
_NEVER_THE_CONNECTIONS: Final = (
    CREDENTIALS.union(
        {
            b"cache-control",
            b"if-match",
            b"if-modified-since",
            b"if-none-match",
            b"if-range",
            b"if-unmodified-since",
            b"pragma",
            b"range",
        }
    )
    - HOP_BY_HOP
)

# Protocols that an `Upgrade` may name (RFC 9110, 7.8) and that carry requests: these would pass the gate, the routing
# and the cache unseen.
_NEVER_RELAYED: Final = frozenset({b"h2", b"h2c", b"http", b"tls"})
_PROTOCOL: Final = re.compile(rb"(?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:/[!#$%&'*+\-.^_`|~0-9A-Za-z]+)?\Z")

_HANDSHAKE: Final = b"sec-websocket-"
"""How the names of the fields begin on which a WebSocket's opening rests (RFC 6455, 11.3)."""

_FORWARDED: Final = frozenset({b"forwarded", b"x-real-ip"})

Network = IPv4Network | IPv6Network


@frozen
class FieldChanges:
    """Fields to remove and to set; a field that is set replaces all of its name."""

    set: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    remove: frozenset[bytes] = frozenset()

    def apply(self, headers: Headers) -> Headers:
        """Return `headers` with the changes made."""
        if not self.set and not self.remove:
            return headers
        return headers.without(self.remove).replacing(*self.set)

    def apply_to_switch(self, headers: Headers) -> Headers:
        """Return `headers`, a 101's as received, for the caller: changed, but for what the other protocol rests on."""
        fields = headers.end_to_end().without({b"content-length"})
        kept = [pair for pair in fields if pair[0].lower().startswith(_HANDSHAKE)]
        names = {name.lower() for name, _ in kept}
        changed = self.apply(fields.without(names)).without(names)
        upgrade = (b"Connection", b"upgrade"), (b"Upgrade", headers.combined(b"upgrade") or b"")
        return Headers((*upgrade, *changed, *kept))


@frozen
class Outward:
    """What becomes of a caller's request before the cache and the origin see it."""

    changes: FieldChanges = FieldChanges()
    forwarded: bool = False
    """Whether the origin is told who is asking (RFC 7239)."""
    trusted: Sequence[Network] = ()
    """Networks whose own word on that is believed."""

    def apply(self, request: Request, authority: bytes, target: bytes) -> Request:
        """Return `request` as the origin at `authority` is to see it, asking for `target`.

        Raises `LoopDetected` where it has come this way too often, and `BadRequest` where its Connection would take
        away what decides the answer.
        """
        if request.headers.members(b"via").count(VIA) >= MOST_PASSES:
            raise LoopDetected("this request has passed through buddyproxy again and again: a mapping leads back to it")
        named = _NEVER_THE_CONNECTIONS.intersection(request.headers.members(b"connection"))
        if any(name in request.headers for name in named):
            raise BadRequest("Connection names a field that is not the connection's own (RFC 9110, 7.6.1)")
        headers = self._about_caller(request, request.headers.end_to_end())
        host, via = (b"Host", authority), (b"Via", VIA)
        headers = self.changes.apply(headers.without({b"host"}).adding(via))
        # Host leads (RFC 9112, 3.2), unless the mapping names another.
        headers = headers if b"host" in headers else Headers((host, *headers))
        return evolve(request, target=target, headers=headers)

    def upgrade(self, request: Request, outgoing: Request) -> Request | None:
        """Return `outgoing`, made of `request`, asking for the protocols that the caller asked for (RFC 9110, 7.8).

        None where there is content, `request` asks for no protocol that is relayed, or the mapping removes `Upgrade`.
        """
        with_content = outgoing.body or b"transfer-encoding" in request.headers
        protocols = () if with_content or b"upgrade" in self.changes.remove else _protocols(request.headers)
        if not protocols:
            return None
        asking = (b"Connection", b"upgrade"), (b"Upgrade", b", ".join(protocols))
        return evolve(outgoing, headers=outgoing.headers.adding(*asking))

    def _about_caller(self, request: Request, headers: Headers) -> Headers:
        """Return `headers` with of the fields that tell of the caller only those that are believed or ours."""
        if not self._trusts(request.client):
            told = {name.lower() for name, _ in headers if name.lower().startswith(b"x-forwarded-")}
            headers = headers.without(_FORWARDED | told)
        return headers.adding(*_introduction(request)) if self.forwarded and request.client else headers

    def _trusts(self, client: str) -> bool:
        if not self.trusted:
            return False
        try:
            address = _unmapped(ip_address(client))
        except ValueError:
            return False
        return any(address in network for network in self.trusted)


def _protocols(headers: Headers) -> tuple[bytes, ...]:
    """Return the protocols that `headers` ask for and that may be relayed, as they were written."""
    if b"upgrade" not in headers.members(b"connection"):
        return ()
    named = (part.strip(b" \t") for value in headers.get_all(b"upgrade") for part in value.split(b","))
    found = ((protocol, _PROTOCOL.match(protocol)) for protocol in named)
    return tuple(protocol for protocol, match in found if match and match["name"].lower() not in _NEVER_RELAYED)


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return `address`, as IPv4 where that is what it is: a socket open to both shows `::ffff:10.0.0.1`."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _introduction(request: Request) -> tuple[tuple[bytes, bytes], ...]:
    """Return the fields that tell the origin of the caller (RFC 7239, and what came before it)."""
    client = request.client.encode("ascii")
    host = (request.headers.get(b"host") or b"").translate(None, b'"\\')
    scheme = b"https" if request.secure else b"http"
    node = b'"[%b]"' % client if b":" in client else client
    return (
        (b"Forwarded", b'for=%b;host="%b";proto=%b' % (node, host, scheme)),
        (b"X-Forwarded-For", client),
        (b"X-Forwarded-Host", host),
        (b"X-Forwarded-Proto", scheme),
    )
