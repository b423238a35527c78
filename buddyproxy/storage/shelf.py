"""A shelf: stored responses in memory, by key, and found by tag, and by mapping and URI, too.

What the memory tier and the changes not yet written have in common. It counts what it holds and keeps its keys in the
order they were last used; it sets no limits and knows no medium.

Theory of operation. To remove or mark what meets some condition is to look at each stored response, which would keep
everybody waiting where there are many. So it is a sweep: from the moment it begins, a key is swept before anything else
is done with it, and those nobody asks for are swept a few at a time. What is put on the shelf after that moment stays.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Protocol, TypeVar

from attrs import define, field, frozen

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.storage.stats import NOTHING, Held

_Name = TypeVar("_Name")

Responses = tuple[StoredResponse, ...]
"""Stored responses of one key, the one last stored first."""

Identity = tuple[bytes, bytes]
"""Key and variant: what a store has one response of at most."""

SPARED = b"POST"
"""The method whose stored responses a change of their URI leaves alone, against RFC 9111, 4.4.

Where they are stored, a POST is a question, and its content says what about.
"""

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
    return (stored.mapping, stored.uri) if stored.method != SPARED else None


def total_size(responses: Responses) -> int:
    """Return how many bytes `responses` take together."""
    return sum(stored.size for stored in responses)


def _take_out(index: dict[_Name, set[bytes]], name: _Name, key: bytes) -> None:
    if keys := index.get(name):
        keys.discard(key)
        if not keys:
            del index[name]


class Condition(Protocol):
    """What is to become of stored responses that meet it."""

    def affects(self, stored: StoredResponse) -> bool:
        """Return whether it makes a difference to `stored`."""

    def over(self, responses: Responses) -> Responses:
        """Return what it leaves of `responses`."""


@frozen
class Expiry:
    """Removes what is of no more use at `now`."""

    now: float

    def affects(self, stored: StoredResponse) -> bool:
        """Return whether `stored` is of no more use."""
        return stored.remove_after <= self.now

    def over(self, responses: Responses) -> Responses:
        """Return those of `responses` that still are."""
        return tuple(stored for stored in responses if not self.affects(stored))


@define(eq=False)
class Sweep:
    """A condition on its way through a shelf."""

    condition: Condition
    unswept: set[bytes]
    """Keys it has yet to come to."""
    order: Iterator[bytes]
    changed: list[Identity] = field(factory=list)
    """What it has changed so far."""


@define(eq=False)
class Shelf:
    """Holds stored responses by key; a step for one key takes time for its responses only."""

    size: int = 0
    """Bytes held, by `StoredResponse.size`; like the other figures, with what is yet to be swept."""
    count: int = 0
    """Stored responses held."""
    mappings: dict[str, Held] = field(factory=dict, init=False)
    """What of it belongs to each mapping."""
    _held: OrderedDict[bytes, Responses] = field(factory=OrderedDict, init=False)
    _by_uri: dict[tuple[str, bytes], set[bytes]] = field(factory=dict, init=False)
    _by_tag: dict[bytes, set[bytes]] = field(factory=dict, init=False)
    _sweeps: list[Sweep] = field(factory=list, init=False)
    """Those under way, the oldest first."""

    def __iter__(self) -> Iterator[StoredResponse]:
        """Iterate in the order of last use; within a key, the one last stored comes last."""
        return (stored for responses in self._held.values() for stored in reversed(responses))

    def get(self, key: bytes) -> Responses:
        """Return what is held of `key`, perhaps nothing."""
        self._sweep(key)
        return self._held.get(key, ())

    def use(self, key: bytes) -> Responses:
        """Return what is held of `key`, and make it the key last used."""
        self._sweep(key)
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
        self._sweep(key)
        self._hold(key, responses)
        if responses:
            self._held.move_to_end(key)

    def forget(self, mapping: str, uri: bytes) -> None:
        """Let go of the responses of `mapping` for `uri`, but for those to POST,, under whatever key."""
        place = (mapping, uri)
        for key in tuple(self._by_uri.get(place, ())):
            self._hold(key, tuple(stored for stored in self.get(key) if _place(stored) != place))

    def sweep(self, condition: Condition, among: Collection[bytes] | None = None) -> Sweep:
        """Begin to make `condition` so, for the keys `among` which there are; it shows at once."""
        keys = tuple(self._held if among is None else among)
        sweep = Sweep(condition, set(keys), iter(keys))
        self._sweeps.append(sweep)
        return sweep

    def go_on(self, sweep: Sweep, most: int | None = None) -> bool:
        """Come to so many keys more, or to all there are; return whether any are left."""
        for key in islice(sweep.order, most):
            self._sweep(key)
        if sweep.unswept:
            return True
        if sweep in self._sweeps:
            self._sweeps.remove(sweep)
        return False

    def _sweep(self, key: bytes) -> None:
        """Make so for `key` whatever is under way."""
        for sweep in self._sweeps:
            if key in sweep.unswept:
                sweep.unswept.remove(key)
                held = self._held.get(key, ())
                if affected := [stored for stored in held if sweep.condition.affects(stored)]:
                    sweep.changed += identities(affected)
                    self._hold(key, sweep.condition.over(held))

    def tagged(self, tag: bytes) -> Collection[bytes]:
        """Return the keys that hold something with `tag`."""
        return self._by_tag.get(tag, ())

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
