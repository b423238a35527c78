"""May this caller in? And no trace of the key behind this point.

Pure: a request goes in, the same request without its key comes out, or a `SecurityError`. Keys are held as digests and
compared in constant time.
"""

import hmac
from collections.abc import Iterable, Sequence
from hashlib import sha256
from urllib.parse import unquote_to_bytes

from attrs import evolve, field, frozen

from buddyproxy.errors import NO_MAPPING, SecurityError, UnknownMapping
from buddyproxy.message import Headers, Request

_REFUSAL = "this proxy needs its key, and the request has none that is valid"


KEY_POSITIONS = frozenset({"header", "path_prefix", "query_param"})
"""Where a caller may show its key."""


@frozen
class Key:
    """A key that opens the gate, and the mappings it is for; None: all of them."""

    digest: bytes = field(repr=False)
    mappings: frozenset[str] | None = None

    @classmethod
    def of(cls, secret: str, mappings: Sequence[str] | None = None) -> "Key":
        """Return the key with the text `secret`."""
        return cls(_digest(secret.encode()), None if mappings is None else frozenset(mappings))


@frozen
class Admitted:
    """A request that may go on, freed of its key."""

    request: Request
    prefix: bytes = field(default=b"", repr=False)
    """The path segment the key was given in, with its slash; empty where it came another way."""
    mappings: frozenset[str] | None = None

    def check(self, mapping: str) -> None:
        """Raise `UnknownMapping` unless the caller's key is for `mapping`: others it need not know of."""
        if self.mappings is not None and mapping not in self.mappings:
            raise UnknownMapping(NO_MAPPING)


@frozen
class Gate:
    """Lets in whoever shows one of `keys`; without keys, everyone."""

    keys: tuple[Key, ...] = ()
    positions: frozenset[str] = KEY_POSITIONS
    header: bytes = b"X-Proxy-Key"
    parameter: bytes = b"proxy_key"

    def admit(self, request: Request) -> Admitted:
        """Return `request` without its key. Raises `SecurityError` where a key is needed and none is right."""
        if not self.keys and self.header not in request.headers and self.parameter not in request.target:
            return Admitted(request)
        shown, stripped = self._strip(request)
        if not self.keys:
            return Admitted(stripped)
        found = [(key, secret, prefix) for secret, prefix in shown for key in self._matching(secret)]
        if not found:
            raise SecurityError(_REFUSAL)
        key, _, prefix = found[0]
        headers = _without_key(stripped.headers, {secret for _, secret, _ in found})
        return Admitted(
            evolve(stripped, headers=headers, target=_behind(prefix, stripped.target)), prefix, key.mappings
        )

    def _strip(self, request: Request) -> tuple[list[tuple[bytes, bytes]], Request]:
        """Return what may be keys, each with the path prefix it stood in, and the request less header and parameter.

        Both go also where they do not count: a key shown in the wrong place is a key all the same. The path keeps its
        prefix: whether its first segment is a key or a mapping's name, the comparison tells. It comes first, so that
        it is found, and cut off, where the key is shown elsewhere too.
        """
        values, target = _cut_parameter(request.target, self.parameter)
        segment = target[1:].partition(b"?")[0].partition(b"/")[0]
        shown = {
            "path_prefix": [(secret, b"/" + segment) for secret in _readings(segment)],
            "header": [(value, b"") for value in request.headers.get_all(self.header)],
            "query_param": [(secret, b"") for value in values for secret in _readings(value)],
        }
        stripped = evolve(request, target=target, headers=request.headers.without({self.header.lower()}))
        return [pair for position, pairs in shown.items() if position in self.positions for pair in pairs], stripped

    def _matching(self, secret: bytes) -> list[Key]:
        digest = _digest(secret)
        # No early exit: the time must not tell which key was nearly right.
        return [key for key in self.keys if hmac.compare_digest(digest, key.digest)]


def _digest(secret: bytes) -> bytes:
    return sha256(secret).digest()


def _readings(part: bytes) -> set[bytes]:
    """Return what a part of a URI may say: itself, and itself with its percent-encoding undone."""
    return {part, unquote_to_bytes(part)}


def _behind(prefix: bytes, target: bytes) -> bytes:
    """Return `target` without `prefix`, its first segment: a path still."""
    rest = target[len(prefix) :]
    return rest if not prefix or rest.startswith(b"/") else b"/" + rest


def _cut_parameter(target: bytes, parameter: bytes) -> tuple[list[bytes], bytes]:
    """Return the values of `parameter` in the query of `target`, and the target without it, otherwise unchanged."""
    path, mark, query = target.partition(b"?")
    parts = query.split(b"&")
    prefix = parameter + b"="
    kept = [part for part in parts if not part.startswith(prefix)]
    if len(kept) == len(parts):
        return [], target
    values = [part[len(prefix) :] for part in parts if part.startswith(prefix)]
    return values, path + mark + b"&".join(kept) if kept else path


def _without_key(headers: Headers, secrets: Iterable[bytes]) -> Headers:
    """Return `headers` without the fields that repeat a key (`Referer`, say): they would carry it to the origin."""

    def leaks(value: bytes) -> bool:
        return any(secret in reading for secret in secrets for reading in _readings(value))

    return Headers(tuple((name, value) for name, value in headers if not leaks(value)))
