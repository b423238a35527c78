"""Structured fields (RFC 9651), as far as caching reads them: what cannot be parsed counts as absent as a whole."""

from collections.abc import Mapping
from typing import Any

import http_sf


def dictionary(value: bytes) -> Mapping[str, Any]:
    """Return the members of a Dictionary, each with its value alone (RFC 9651, 3.2); none where it is not one."""
    try:
        parsed: Any = http_sf.parse(value, tltype="dictionary")
    except http_sf.StructuredFieldError:
        return {}
    return {name: member for name, (member, _) in parsed.items()}


def strings(value: bytes) -> tuple[bytes, ...]:
    """Return the members of a List of Strings (RFC 9651, 3.1); none where it is anything else, in whatever part."""
    try:
        parsed: Any = http_sf.parse(value, tltype="list")
    except http_sf.StructuredFieldError:
        return ()
    members = [member for member, _ in parsed]
    if not all(isinstance(member, str) for member in members):
        return ()
    return tuple(member.encode("ascii") for member in members)
