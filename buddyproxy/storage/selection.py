"""What of a store is to be purged: a value, and whether it names a stored response.

The same in every tier: `matches` is what any SQL made of a selection must come to.
"""

import re
from fnmatch import translate
from functools import cached_property
from typing import Any

from attrs import Attribute, asdict, converters, field, frozen
from attrs.validators import and_, instance_of, max_len, optional

from buddyproxy.cache.stored import StoredResponse

GLOB_LIMIT = 10_000
"""Bytes a glob may have: SQLite refuses one of several times that length."""


def _is_text(_: object, attribute: "Attribute[str | None]", value: str | None) -> None:
    """Raise `ValueError` where `value` is no text that could be written down."""
    if value is not None:
        value.encode()


def _has_no_nul(_: object, attribute: "Attribute[bytes | None]", value: bytes | None) -> None:
    # SQLite would see its end there. No URI has one.
    if value is not None and b"\0" in value:
        raise ValueError("a glob has no NUL")


def _criterion(*more: Any, of: type = bytes) -> Any:
    """Return a field for what may be left out."""
    return field(default=None, validator=and_(optional(instance_of(of)), *more))


@frozen(kw_only=True)
class Selection:
    """Stored responses that meet *all* the criteria given; with none, it must say that it means `everything`.

    Raises `ValueError` where it says neither or both, so that a criterion forgotten does not empty the store, and
    `ValueError` or `TypeError` where a criterion can be none.
    """

    everything: bool = False
    mapping: str | None = _criterion(_is_text, of=str)
    uri: bytes | None = _criterion()
    """The absolute URI at the origin, exactly."""
    prefix: bytes | None = _criterion()
    """What that URI begins with."""
    glob: bytes | None = _criterion(optional(max_len(GLOB_LIMIT)), _has_no_nul)
    """A pattern for all of that URI: `*` is any number of any bytes, `?` is one; all else, `[` and `\\` too, is itself.

    Upper case and lower case differ, as they do in URIs.
    """
    key: bytes | None = _criterion()
    """The cache key."""
    tag: bytes | None = _criterion()
    """One of the names that `StoredResponse.tags` lists."""
    method: bytes | None = _criterion()
    before: float | None = field(default=None, converter=converters.optional(float))
    """When it had arrived, or been confirmed, at the latest, in seconds since the epoch: now less the minimum age."""

    def __attrs_post_init__(self) -> None:
        if self.everything == any(value is not None for _, value in self._criteria()):
            raise ValueError("a selection needs criteria, or says that it means everything")

    def _criteria(self) -> list[tuple[str, object]]:
        return [(name, value) for name, value in asdict(self).items() if name != "everything"]

    def matches(self, stored: StoredResponse) -> bool:
        """Return whether it selects `stored`."""
        return (
            (self.mapping is None or stored.mapping == self.mapping)
            and (self.key is None or stored.key == self.key)
            and (self.method is None or stored.method == self.method)
            and (self.before is None or stored.response_time <= self.before)
            and (self.tag is None or self.tag in stored.tags)
            and self._matches_uri(stored.uri)
        )

    def _matches_uri(self, uri: bytes) -> bool:
        return (
            (self.uri is None or uri == self.uri)
            and (self.prefix is None or uri.startswith(self.prefix))
            and (self.glob is None or self._pattern.match(uri.decode("latin-1")) is not None)
        )

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        # What `translate` makes of a glob never goes back further than its last star, however many there are.
        return re.compile(translate((self.glob or b"").decode("latin-1").replace("[", "[[]")))


@frozen
class Purge:
    """What becomes of the stored responses that `selection` selects: removed, or only marked as stale."""

    selection: Selection
    soft: bool = False

    def affects(self, stored: StoredResponse) -> bool:
        """Return whether it makes a difference to `stored`."""
        return self.selection.matches(stored) and not (self.soft and stored.outdated)

    def over(self, responses: tuple[StoredResponse, ...]) -> tuple[StoredResponse, ...]:
        """Return what it leaves of `responses`."""
        if self.soft:
            return tuple(stored.marked_outdated() if self.affects(stored) else stored for stored in responses)
        return tuple(stored for stored in responses if not self.affects(stored))
