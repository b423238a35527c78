"""From the path of a request to the origin server it is for, and back again for what origins say of themselves.

Pure, and byte for byte: the part of the target behind the mapping's name goes to the origin exactly as it came. It
knows nothing of sockets or of caching.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from attrs import frozen

from buddyproxy.config import DomainMapping
from buddyproxy.errors import BadRequest, UnknownMapping

_DEFAULT_PORTS = {"http": 80, "https": 443}


@frozen
class Base:
    """Where a mapping leads: an origin server, and the path all its targets begin with."""

    scheme: str
    host: str
    """Without the brackets of an IPv6 address."""
    port: int
    path: bytes
    """Without a slash at its end; empty for the root."""

    @classmethod
    def parse(cls, upstream: str) -> "Base":
        """Return the base that `upstream`, an absolute http(s) URL checked by the configuration, names."""
        url = urlsplit(upstream)
        scheme = url.scheme.lower()
        port = url.port or _DEFAULT_PORTS[scheme]
        return cls(scheme, (url.hostname or "").lower(), port, url.path.rstrip("/").encode("ascii"))

    @property
    def authority(self) -> bytes:
        """Return what goes into `Host`: the port only where it is not the scheme's own (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}").encode("ascii")

    @property
    def root(self) -> bytes:
        """Return scheme and authority as the beginning of an absolute URI."""
        return self.scheme.encode("ascii") + b"://" + self.authority


@frozen
class Route:
    """Which mapping a request is for, and what to ask its origin."""

    name: str
    base: Base
    target: bytes
    """The exact request-target for the origin."""

    @property
    def uri(self) -> bytes:
        """Return the absolute target URI."""
        return self.base.root + self.target


@frozen
class RoutingTable:
    """Every mapping's base by name; or the one origin at the root, whose name is no part of any path."""

    bases: Mapping[str, Base]
    at_root: str | None = None

    @classmethod
    def build(cls, mappings: Mapping[str, DomainMapping], at_root: str | None = None) -> "RoutingTable":
        """Return the table for `mappings`; `at_root` names the one that is reached without a name in the path."""
        return cls({name: Base.parse(mapping.upstream) for name, mapping in mappings.items()}, at_root)

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
            raise UnknownMapping("no mapping has the name this path begins with")
        base = self.bases[name]
        # A mapping without a path behind it is its base itself: /openai asks for /v1, /openai/ for /v1/.
        origin_form = base.path + rest
        return Route(name, base, origin_form if origin_form.startswith(b"/") else b"/" + origin_form)

    def localise(self, reference: bytes, route: Route, prefix: bytes = b"") -> bytes:
        """Return the URI reference an origin sent (`Location`), leading through the proxy where a mapping leads there.

        `prefix` stands before the mapping's name, for callers whose key is part of the path. References relative to
        the path stay as they are: they resolve alike on both sides (RFC 3986, 5.2).
        """
        if reference.startswith(b"//"):
            absolute = route.base.scheme.encode("ascii") + b":" + reference
        elif reference.startswith(b"/"):
            absolute = route.base.root + reference
        else:
            absolute = reference
        root, path = _split_root(absolute)
        if root is None:
            return reference
        candidates = [
            (name, base) for name, base in self.bases.items() if base.root == root and _below(base.path, path)
        ]
        if not candidates:
            return absolute
        # The mapping the request came by comes first; then the one that says most about the path.
        name, base = max(candidates, key=lambda found: (found[0] == route.name, len(found[1].path)))
        segment = b"" if name == self.at_root else b"/" + name.encode("ascii")
        return (prefix + segment + path[len(base.path) :]) or b"/"


def _split(target: bytes) -> tuple[bytes, bytes]:
    """Return the first path segment of `target`, and all that follows it, from its slash or question mark on."""
    for position in range(1, len(target)):
        if target[position] in b"/?":
            return target[1:position], target[position:]
    return target[1:], b""


def _split_root(uri: bytes) -> tuple[bytes | None, bytes]:
    """Return scheme and authority of an http(s) URI in the form of `Base.root`, and the rest; (None, b"") for others."""
    try:
        url = urlsplit(uri.decode("ascii"))
        scheme, port = url.scheme.lower(), url.port
    except ValueError:
        return None, b""
    if scheme not in _DEFAULT_PORTS or not url.hostname or url.username is not None:
        return None, b""
    root = Base(scheme, url.hostname.lower(), port or _DEFAULT_PORTS[scheme], b"").root
    start = uri.find(b"//") + 2
    ends = [end for mark in b"/?#" if (end := uri.find(mark, start)) >= 0]
    return root, uri[min(ends) :] if ends else b""


def _below(base: bytes, path: bytes) -> bool:
    return path.startswith(base) and path[len(base) : len(base) + 1] in (b"", b"/", b"?", b"#")
