"""A shelf: stored responses in memory, by key, and found by tag, and by mapping and URI, too.

What the memory tier and the changes not yet written have in common. It counts what it holds and keeps its keys in the
order they were last used; it sets no limits and knows no medium.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

from attrs import define, field

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.storage.selection import Purge
from buddyproxy.storage.stats import NOTHING, Held

_Name = TypeVar("_Name")

Responses = tuple[StoredResponse, ...]
"""Stored responses of one key, the one last stored first."""

Identity = tuple[bytes, bytes]
"""Key and variant: what a store has one response of at most."""

SAFE = (b"GET", b"HEAD")
"""The methods whose stored responses an unsafe request to the same URI invalidates."""


VARIANTS = 64
"""How many stored responses one key may have: an origin may vary by what every request has another value of."""


def newest(stored: StoredResponse, others: Responses) -> Responses:
    """Return `stored` before `others`, less the one it replaces, or the oldest where there are too many."""
    return (stored, *(other for other in others if other.variant != stored.variant))[:VARIANTS]


def identities(responses: Iterable[StoredResponse]) -> list[Identity]:
    """Return what tells each of `responses` from all others."""
    return [(stored.key, stored.variant) for stored in responses]


def _place(stored: StoredResponse) -> tuple[str, bytes] | None:
    """Return the mapping and URI an invalidation finds `stored` by, or None where none may."""
    return (stored.mapping, stored.uri) if stored.method in SAFE else None


def total_size(responses: Responses) -> int:
    """Return how many bytes `responses` take together."""
    return sum(stored.size for stored in responses)


def _take_out(index: dict[_Name, set[bytes]], name: _Name, key: bytes) -> None:
    if keys := index.get(name):
        keys.discard(key)
        if not keys:
            del index[name]


@define(eq=False)
class Shelf:
    """Holds stored responses by key; a step for one key takes time for its responses only."""

    size: int = 0
    """Bytes held, by `StoredResponse.size`."""
    count: int = 0
    """Stored responses held."""
    mappings: dict[str, Held] = field(factory=dict, init=False)
    """What of it belongs to each mapping."""
    _held: OrderedDict[bytes, Responses] = field(factory=OrderedDict, init=False)
    _by_uri: dict[tuple[str, bytes], set[bytes]] = field(factory=dict, init=False)
    _by_tag: dict[bytes, set[bytes]] = field(factory=dict, init=False)

    def __iter__(self) -> Iterator[StoredResponse]:
        """Iterate in the order of last use; within a key, the one last stored comes last."""
        return (stored for responses in self._held.values() for stored in reversed(responses))

    def get(self, key: bytes) -> Responses:
        """Return what is held of `key`, perhaps nothing."""
        return self._held.get(key, ())

    def use(self, key: bytes) -> Responses:
        """Return what is held of `key`, and make it the key last used."""
        held = self._held.get(key)
        if held is None:
            return ()
        self._held.move_to_end(key)
        return held

    def oldest(self) -> bytes:
        """Return the key whose last use is longest ago; there must be one."""
        return next(iter(self._held))

    def put(self, key: bytes, responses: Responses) -> None:
        """Hold `responses`, and nothing else, of `key`, as the key last used."""
        self._hold(key, responses)
        if responses:
            self._held.move_to_end(key)

    def forget(self, mapping: str, uri: bytes) -> None:
        """Let go of the responses of `mapping` to safe requests for `uri`, under whatever key."""
        place = (mapping, uri)
        for key in tuple(self._by_uri.get(place, ())):
            self._hold(key, tuple(stored for stored in self._held[key] if _place(stored) != place))

    def purge(self, purge: Purge) -> list[StoredResponse]:
        """Let go of what `purge` selects, or mark it; return the responses that changed, as they were."""
        changed: list[StoredResponse] = []
        for key in self._among(purge):
            held = self._held[key]
            if affected := [stored for stored in held if purge.affects(stored)]:
                changed += affected
                self._hold(key, purge.over(held))
        return changed

    def _among(self, purge: Purge) -> Collection[bytes]:
        """Return the keys whose responses `purge` may select."""
        selection = purge.selection
        if selection.key is not None:
            return (selection.key,) if selection.key in self._held else ()
        return tuple(self._held if selection.tag is None else self._by_tag.get(selection.tag, ()))

    def remove_expired(self, now: float) -> int:
        """Let go of what is of no more use at `now`; return how many there were."""
        before = self.count
        for key, held in tuple(self._held.items()):
            if any(stored.remove_after <= now for stored in held):
                self._hold(key, tuple(stored for stored in held if stored.remove_after > now))
        return before - self.count

    def _hold(self, key: bytes, responses: Responses) -> None:
        """Hold `responses` of `key`; a key held already keeps its place in the order of use."""
        for stored in self._held.get(key, ()):
            self._count_out(stored)
        for stored in responses:
            self._count(stored, 1)
            if place := _place(stored):
                self._by_uri.setdefault(place, set()).add(key)
            for tag in stored.tags:
                self._by_tag.setdefault(tag, set()).add(key)
        if responses:
            self._held[key] = responses
        else:
            self._held.pop(key, None)

    def _count(self, stored: StoredResponse, number: int) -> None:
        self.size += number * stored.size
        self.count += number
        held = self.mappings.get(stored.mapping, NOTHING)
        if entries := held.entries + number:
            self.mappings[stored.mapping] = Held(entries, held.size + number * stored.size)
        else:
            del self.mappings[stored.mapping]

    def _count_out(self, stored: StoredResponse) -> None:
        self._count(stored, -1)
        if place := _place(stored):
            _take_out(self._by_uri, place, stored.key)
        for tag in stored.tags:
            _take_out(self._by_tag, tag, stored.key)

    def clear(self) -> int:
        """Let go of everything; return how many there were."""
        count = self.count
        self._held.clear()
        self._by_uri.clear()
        self._by_tag.clear()
        self.mappings.clear()
        self.size = self.count = 0
        return count
