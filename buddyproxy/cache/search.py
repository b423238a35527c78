"""Which query parameters do not matter to a resource, as its responses say by No-Vary-Search.

draft-ietf-httpbis-no-vary-search. It takes two parts: a response is stored under the key that its own word makes of its
URI; and a request is looked up under the key that the latest word of its path makes of its own.
"""

from functools import lru_cache
from typing import Any, Final

from attrs import frozen

from buddyproxy.cache.query import parameter_name
from buddyproxy.cache.structured import dictionary
from buddyproxy.message import Headers

_NO_NAMES: Final[frozenset[bytes]] = frozenset()


@frozen
class Search:
    """What of a query matters."""

    sort: bool = False
    """Whether the order of parameters with different names does not."""
    all_but: bool = False
    """Whether `names` are those that matter; otherwise they are those that do not."""
    names: frozenset[bytes] = _NO_NAMES

    @property
    def text(self) -> bytes:
        """Return one spelling of it, which no other has."""
        listed = b" ".join(b"%d:%b" % (len(name), name) for name in sorted(self.names))
        return b"%d%d %b" % (self.sort, self.all_but, listed)

    def counted(self, uri: bytes) -> bytes:
        """Return `uri` without the parameters that do not matter, in one order where that does not."""
        path, mark, query = uri.partition(b"?")
        parameters = [part for part in query.split(b"&") if part and self._matters(parameter_name(part))]
        if self.sort:
            parameters.sort(key=parameter_name)
        return path + mark + b"&".join(parameters) if parameters else path

    def _matters(self, name: bytes) -> bool:
        return (name in self.names) is self.all_but


def search_of(headers: Headers) -> Search | None:
    """Return what a response says of its query; None where all of it matters, which is also what a fault means."""
    value = headers.combined(b"no-vary-search")
    return None if value is None else _read(value)


@lru_cache(maxsize=256)
def _read(value: bytes) -> Search | None:
    members = dictionary(value)
    sort, params, but = members.get("key-order", False), members.get("params", False), members.get("except")
    if not isinstance(sort, bool) or (but is not None and params is not True):
        return None
    if isinstance(params, bool):
        named = _names(but) if but is not None else _NO_NAMES
        search = None if named is None else Search(sort, params, named)
    else:
        named = _names(params)
        search = None if named is None else Search(sort, names=named)
    return None if search == Search() else search


def _names(member: Any) -> frozenset[bytes] | None:
    """Return the names in an inner list of strings; None where it is anything else."""
    if not isinstance(member, list) or not all(isinstance(item, str) for item, _ in member):
        return None
    # In a string, too, names are written as forms encode them.
    return frozenset(parameter_name(item.encode("ascii")) for item, _ in member)
