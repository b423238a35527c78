"""Changes asked of a store and not yet written: what they are together, and how things look once they are made.

Pure values with state: no medium, no clock, no threads.

Theory of operation. Changes are gathered in a batch, and a batch is written as one. Within a batch only the outcome
counts: an invalidation removes what the same batch would have stored, so that to write it, in whatever order things
were asked, is to forget first and to store then. Batches are written in order and each knows the next.

A lookup reads the medium while batches are being written, and cannot know how many of them its answer has seen. So it
takes hold of the oldest unwritten batch before it reads, and lays that one and all the later ones over what it read:
making a change twice changes nothing, and where a later batch was written meanwhile, it is still in the chain. What
comes out is how things stand at the moment it is put together. A batch nobody holds any more is gone.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from attrs import define, evolve, field, frozen

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.storage.purging import Purging
from buddyproxy.storage.shelf import SPARED, Identity, Responses, Shelf, identities, newest

FORGOTTEN_LIMIT = 100_000
"""How many URIs a batch forgets one by one. Only a medium that refuses writes for long lets them become so many."""
PURGE_LIMIT = 100
"""The same for purges, each of which every lookup has to go by meanwhile."""


@frozen
class Part:
    """What of a batch is written in one transaction: first what is forgotten, then what is stored."""

    stored: Sequence[StoredResponse] = ()
    forgotten: Collection[tuple[str, bytes]] = ()
    damaged: Mapping[int, object] = field(factory=dict)
    touched: Mapping[bytes, int] = field(factory=dict)


@define(eq=False)
class Changes:
    """A batch of changes."""

    cleared: bool = field(default=False)
    """Whether everything stored before is to go."""
    purges: list[Purging] = field(factory=list)
    """What of everything stored before is to go, or to be marked."""
    forgotten: set[tuple[str, bytes]] = field(factory=set, init=False)
    """Mappings and URIs of which everything stored before, but for answers to POST, is to go."""
    damaged: dict[int, object] = field(factory=dict, init=False)
    """Rows to remove, with the checksum they had."""
    stored: Shelf = field(factory=Shelf, init=False)
    touched: dict[bytes, int] = field(factory=dict, init=False)
    """How many times keys were used."""
    count: int = field(default=0, init=False)
    """How many changes were asked for."""
    committed: int = field(default=0, init=False)
    """How many of the responses stored are on the medium already, the first of them."""
    above: set[Identity] = field(factory=set, init=False)
    """What else is `cleared`: it is in a tier above, or was never written."""
    removed: int = field(default=0, init=False)
    """How many stored responses went since it was `cleared`."""
    next: "Changes | None" = field(default=None, init=False, repr=False)

    @property
    def asked(self) -> int:
        """Return how many changes there are to make."""
        return self.count + self.cleared + len(self.purges)

    @property
    def empty(self) -> bool:
        """Return whether nothing was asked for."""
        return not self.asked

    def store(self, stored: StoredResponse) -> None:
        """Have `stored` stored."""
        self.count += 1
        self.stored.put(stored.key, newest(stored, self.stored.get(stored.key)))

    def forget(self, mapping: str, uri: bytes) -> None:
        """Have the responses of `mapping` for `uri`, but for those to POST, removed."""
        self.count += 1
        self.stored.forget(mapping, uri)
        self._forget({(mapping, uri)})

    def discard(self, row: int, checksum: object) -> None:
        """Have a damaged row removed, if it still is what it was."""
        self.count += 1
        self.damaged[row] = checksum

    def touch(self, touched: dict[bytes, int]) -> None:
        """Have the uses of keys counted."""
        self.count += 1
        for key, uses in touched.items():
            self.touched[key] = self.touched.get(key, 0) + uses

    def keep_promises_of(self, other: "Changes") -> None:
        """Have everything removed that `other`, asked for earlier and never written, was to remove."""
        self.cleared = self.cleared or other.cleared
        self.removed += other.removed
        self.count += len(other.forgotten)
        self.purges = other.purges + self.purges
        self._forget(other.forgotten)
        if len(self.purges) > PURGE_LIMIT:
            self._forget_all()

    def give_up(self) -> list[Identity]:
        """Store nothing of what was asked for until now; return what that is."""
        given_up = identities(self.stored)
        self.stored.clear()
        self.committed = 0
        return given_up

    def parts(self, most: int) -> Iterator[Part]:
        """Yield what is yet to be written, one after the other, with `most` stores in each; one at least."""
        stores = tuple(self.stored)
        for start in range(self.committed, max(self.committed + 1, len(stores)), most):
            some = stores[start : start + most]
            # What is forgotten is not again: what is committed was stored after it.
            part = Part(some) if start else Part(some, self.forgotten, self.damaged)
            # At the end, as what was stored may have been used already.
            yield part if start + most < len(stores) else evolve(part, touched=self.touched)

    def _forget(self, forgotten: set[tuple[str, bytes]]) -> None:
        self.forgotten |= forgotten
        if len(self.forgotten) > FORGOTTEN_LIMIT:
            self._forget_all()

    def _forget_all(self) -> None:
        # To forget more than was asked is always right.
        self.cleared = True
        self.forgotten = set()
        self.purges = []

    def over(self, key: bytes, found: Responses) -> Responses:
        """Return the stored responses of `key` as they stand after this batch and those after it, `found` before."""
        changes: Changes | None = self
        while changes is not None:
            found = changes._over(key, found)
            changes = changes.next
        return found

    def _over(self, key: bytes, found: Responses) -> Responses:
        if self.cleared:
            found = ()
        for purging in self.purges:
            found = purging.purge.over(found)
        if self.forgotten:
            found = tuple(s for s in found if s.method == SPARED or (s.mapping, s.uri) not in self.forgotten)
        # The oldest first, as they were stored.
        for stored in reversed(self.stored.get(key)):
            found = newest(stored, found)
        return found
