"""Readers of addresses: hosts, networks, endpoints, and the URLs of origin servers.

Like those in `values.py`. A URL is never repeated in a message, since it may hold a password.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit

from buddyproxy.config.reading import Several, kind
from buddyproxy.config.values import text, whole

Network = IPv4Network | IPv6Network

LAST_PORT: Final = 65535

port = whole(0, LAST_PORT)

_LABEL: Final = "(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_LONGEST_HOST: Final = 253
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_AUTHORITY: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::(?P<port>[0-9]{1,5}))?")
# RFC 3986, appendix A: what a URI may consist of, percent-encoding included; no backslash, which some take for a slash.
_URI: Final = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")


def host(value: object) -> str:
    """Read a host name or an IP address."""
    written = text(value)
    if not _is_host(written):
        raise ValueError("not a host name or IP address")
    return written


def network(value: object) -> Network:
    """Read an IP address or a network in CIDR notation."""
    written = text(value)
    try:
        return ip_network(written)
    except ValueError as error:
        raise ValueError('not an IP address or network such as "10.0.0.0/8" (no bits set behind the prefix)') from error


def endpoint(value: object) -> str:
    """Read a Twisted endpoint string; a bare number is a TCP port."""
    if isinstance(value, int):
        return f"tcp:{port(value)}"
    written = text(value)
    if re.fullmatch("[0-9]{1,9}", written):
        return f"tcp:{port(int(written))}"
    return written


def upstream(value: object) -> str:
    """Read the absolute http(s) URL of an origin server: no query, no fragment, no credentials."""
    url = _url(value, ("http", "https"), "an absolute http(s) URL")
    if "@" in url.netloc:
        raise ValueError("put credentials in request_headers.set, not in the URL")
    if not _is_authority(url.netloc):
        raise ValueError("not an absolute http(s) URL: host or port is not valid")
    if "?" in str(value) or "#" in str(value):
        raise ValueError("must have neither a query nor a fragment")
    return str(value)


def redis_url(value: object) -> str:
    """Read the URL of a Redis server, which may hold a password."""
    url = _url(value, ("redis", "rediss"), 'a URL such as "redis://127.0.0.1:6379/0"')
    if not _is_authority(url.netloc.rpartition("@")[2]):
        raise ValueError('not a URL such as "redis://127.0.0.1:6379/0": host or port is not valid')
    return str(value)


def cors(value: object) -> tuple[str, ...]:
    """Read the web origins whose pages may call: a list of them, true for all, false for none."""
    if isinstance(value, bool):
        return ("*",) if value else ()
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected true, false or a list of origins, not {kind(value)}")
    return Several(_web_origin)(value)


def _web_origin(value: object) -> str:
    wanted = 'an origin such as "https://app.example" (scheme, host and port, nothing behind), or "*"'
    if value == "*":
        return "*"
    url = _url(value, ("http", "https"), wanted)
    if not _is_authority(url.netloc) or len(str(value)) != len(f"{url.scheme}://{url.netloc}"):
        raise ValueError(f"expected {wanted}")
    return str(value)


def _url(value: object, schemes: tuple[str, ...], wanted: str) -> SplitResult:
    """Return the parts of `value`, a URI whose scheme is one of `schemes`."""
    if not isinstance(value, str):
        raise ValueError(f"expected {wanted}, not {kind(value)}")
    # Looked at before it is split: splitting drops line breaks and tabs without a word.
    url = _split(value) if _URI.fullmatch(value) else None
    if url is None or url.scheme not in schemes or not url.netloc:
        raise ValueError(f"not {wanted}")
    return url


def _split(value: str) -> SplitResult | None:
    try:
        return urlsplit(value)
    except ValueError:  # brackets without an IPv6 address between them
        return None


def _is_authority(authority: str) -> bool:
    """Return whether `authority` is a host with or without a port, and nothing more."""
    found = _AUTHORITY.fullmatch(authority)
    if not found:
        return False
    name = found["host"]
    known = _is_address(name[1:-1], IPv6Address) if name.startswith("[") else _is_host(name)
    return known and 1 <= int(found["port"] or LAST_PORT) <= LAST_PORT


def _is_host(name: str) -> bool:
    if ":" in name:
        return _is_address(name, IPv6Address)
    if re.fullmatch(r"[0-9.]+", name):
        return _is_address(name, IPv4Address)
    return len(name) <= _LONGEST_HOST and _HOST.fullmatch(name) is not None


def _is_address(name: str, family: type[IPv4Address] | type[IPv6Address]) -> bool:
    try:
        family(name)
    except ValueError:
        return False
    return True
