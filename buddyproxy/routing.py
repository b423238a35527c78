"""From the path of a request to the origin server it is for, and back again for what origins say of themselves.

Pure, and byte for byte: the part of the target behind the mapping's name goes to the origin exactly as it came. It
knows nothing of sockets or of caching.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from attrs import field, frozen

from buddyproxy.config import DomainMapping
from buddyproxy.errors import NO_MAPPING, BadRequest, UnknownMapping
from buddyproxy.message import DEFAULT_PORTS, Origin

# The beginning of an http(s) URI without user information (RFC 3986, 3.2), as far as it can be a mapped origin's.
_ROOT: Final = re.compile(
    rb"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{0,5}))?", re.IGNORECASE
)


@frozen
class Base:
    """Where a mapping leads: an origin server, and the path all its targets begin with."""

    origin: Origin
    path: bytes
    """Without a slash at its end; empty for the root."""

    @classmethod
    def of(cls, mapping: DomainMapping) -> "Base":
        """Return the base that the mapping's `upstream` names."""
        return cls._at(mapping.upstream, mapping.ca_file)

    @classmethod
    def fallbacks(cls, mapping: DomainMapping) -> tuple["Base", ...]:
        """Return the bases that the mapping's `fallback` names, in order."""
        return tuple(cls._at(url, mapping.ca_file) for url in mapping.fallback)

    @classmethod
    def _at(cls, absolute: str, ca_file: str | None) -> "Base":
        """Return the base at the http(s) URL `absolute`."""
        url = urlsplit(absolute)
        scheme = url.scheme.lower()
        port = url.port or DEFAULT_PORTS[scheme]
        return cls(Origin(scheme, (url.hostname or "").lower(), port, ca_file), url.path.rstrip("/").encode("ascii"))

    def target(self, rest: bytes) -> bytes:
        """Return the request-target for `rest`, which begins with a slash or a question mark, or is empty."""
        origin_form = self.path + rest
        return origin_form if origin_form.startswith(b"/") else b"/" + origin_form


@frozen
class Route:
    """Which mapping a request is for, and what to ask its origin."""

    name: str
    base: Base
    target: bytes = field(repr=False)
    """The exact request-target for the origin."""

    @property
    def uri(self) -> bytes:
        """Return the absolute target URI."""
        return self.base.origin.root + self.target


@frozen
class RoutingTable:
    """Every mapping's base by name; or the one origin at the root, whose name is no part of any path."""

    bases: Mapping[str, Base]
    at_root: str | None = None
    fallbacks: Mapping[str, tuple[Base, ...]] = field(factory=dict)
    """Bases that requests may go to in place of a mapping's own."""

    @classmethod
    def build(cls, mappings: Mapping[str, DomainMapping], at_root: str | None = None) -> "RoutingTable":
        """Return the table for `mappings`; `at_root` names the one that is reached without a name in the path."""
        return cls(
            {name: Base.of(mapping) for name, mapping in mappings.items()},
            at_root,
            {name: Base.fallbacks(mapping) for name, mapping in mappings.items() if mapping.fallback},
        )

    def route(self, target: bytes) -> Route:
        """Return where the request-target `target` leads.

        Raises `UnknownMapping` where it begins with no mapping's name, `BadRequest` where it is not in origin-form.
        """
        if not target.startswith(b"/"):
            raise BadRequest("the request-target is not a path; send requests to this proxy as to an origin server")
        if self.at_root is not None:
            base = self.bases[self.at_root]
            return Route(self.at_root, base, base.path + target)
        segment, rest = _split(target)
        name = segment.decode("latin-1")
        if name not in self.bases:
            raise UnknownMapping(NO_MAPPING)
        base = self.bases[name]
        # A mapping without a path behind it is its base itself: /openai asks for /v1, /openai/ for /v1/.
        return Route(name, base, base.target(rest))

    def leading_to(self, uri: bytes) -> list[Route]:
        """Return a route by every mapping that leads to the absolute URI `uri`, or falls back on it."""
        root, path = _split_root(uri)
        found = [(self.bases[name], name, path[len(base.path) :]) for name, base in self._around(root, path)]
        return [Route(name, own, own.target(rest)) for own, name, rest in found]

    def localise(self, reference: bytes, route: Route, prefix: bytes = b"") -> bytes:
        """Return the URI reference an origin sent (`Location`), leading through the proxy where a mapping leads there.

        `prefix` stands before the mapping's name, for callers whose key is part of the path. References relative to
        the path stay as they are: they resolve alike on both sides (RFC 3986, 5.2).
        """
        if reference.startswith(b"//"):
            absolute = route.base.origin.scheme.encode("ascii") + b":" + reference
        elif reference.startswith(b"/"):
            absolute = route.base.origin.root + reference
        else:
            absolute = reference
        root, path = _split_root(absolute)
        if root is None:
            return reference
        candidates = self._around(root, path)
        if not candidates:
            return absolute
        # The mapping the request came by comes first; then the one that says most about the path.
        name, base = max(candidates, key=lambda found: (found[0] == route.name, len(found[1].path)))
        segment = b"" if name == self.at_root else b"/" + name.encode("ascii")
        local = prefix + segment + path[len(base.path) :]
        if local.startswith(b"//"):
            # Would name a host (RFC 3986, 4.2).
            return b"/." + local
        return local if local.startswith(b"/") else b"/" + local

    def _around(self, root: bytes | None, path: bytes) -> list[tuple[str, Base]]:
        """Return the mappings that lead to the origin with `root`, to `path` or above it, and by which base."""
        return [
            (name, base)
            for name, own in self.bases.items()
            for base in (own, *self.fallbacks.get(name, ()))
            if base.origin.root == root and _below(base.path, path)
        ]


def _split(target: bytes) -> tuple[bytes, bytes]:
    """Return the first path segment of `target`, and all that follows it, from its slash or question mark on."""
    for position in range(1, len(target)):
        if target[position] in b"/?":
            return target[1:position], target[position:]
    return target[1:], b""


def _split_root(uri: bytes) -> tuple[bytes | None, bytes]:
    """Return scheme and authority of an http(s) URI in the form of `Origin.root`, and the rest; None for others."""
    found = _ROOT.match(uri)
    if found is None:
        return None, b""
    scheme, host = found["scheme"].decode("ascii").lower(), found["host"].decode("ascii").lower()
    port = int(found["port"] or DEFAULT_PORTS[scheme])
    return Origin(scheme, host.strip("[]"), port).root, uri[found.end() :]


def _below(base: bytes, path: bytes) -> bool:
    return path.startswith(base) and path[len(base) : len(base) + 1] in (b"", b"/", b"?", b"#")
