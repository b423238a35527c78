"""The query of a URI as the cache key has it: what a mapping says does not matter is left out."""

from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from buddyproxy.cache.policy import Policy


def counted_uri(uri: bytes, policy: Policy) -> bytes:
    """Return `uri` without the query parameters that `policy` ignores, those left sorted where it says so.

    Sorted are parameters with different names; those with one name may be a list, whose order is kept.
    """
    if not policy.ignore_query and not policy.sort_query:
        return uri
    path, mark, query = uri.partition(b"?")
    parameters = [part for part in query.split(b"&") if not _matches(parameter_name(part), policy.ignore_query)]
    if policy.sort_query:
        parameters.sort(key=parameter_name)
    return path + mark + b"&".join(parameters) if parameters else path


def parameter_name(parameter: bytes) -> bytes:
    """Return the name of a query parameter `name=value`, decoded as forms are encoded."""
    return unquote_to_bytes(parameter.partition(b"=")[0].replace(b"+", b" "))


def _matches(name: bytes, patterns: Sequence[bytes]) -> bool:
    return any(name.startswith(p[:-1]) if p.endswith(b"*") else name == p for p in patterns)
