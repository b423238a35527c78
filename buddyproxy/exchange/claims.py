"""Who may store what, while answers are on their way."""

from itertools import count
from weakref import WeakSet, WeakValueDictionary

from attrs import define

from buddyproxy.storage import Storage


class _Rivals:
    """The questions under way that have something in common: their URI, or their cache key."""

    def __init__(self) -> None:
        self.claims: WeakSet[Claim] = WeakSet()


@define(eq=False)
class Claim:
    """A question's right to have its answer stored; it lasts as long as somebody holds it."""

    of_uri: _Rivals
    of_key: _Rivals
    number: int
    purges: int
    valid: bool = True


class Claims:
    """Who may store what, so that no answer outlives what came after it.

    An answer may be on its way for long. Meanwhile a change of its resource may have been seen, an answer to a later
    question stored, or its like purged: then what it says is old news, and not to be kept.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        # A claim holds its rivals, and they are found as long as there is one: nothing to clean up.
        self._by_uri: WeakValueDictionary[bytes, _Rivals] = WeakValueDictionary()
        self._by_key: WeakValueDictionary[bytes, _Rivals] = WeakValueDictionary()
        self._numbers = count()

    def put(self, uri: bytes, key: bytes) -> Claim:
        """Return the claim of a question that is asked now."""
        of_uri, of_key = self._by_uri.setdefault(uri, _Rivals()), self._by_key.setdefault(key, _Rivals())
        claim = Claim(of_uri, of_key, next(self._numbers), self._storage.purges)
        of_uri.claims.add(claim)
        of_key.claims.add(claim)
        return claim

    def void(self, uri: bytes) -> None:
        """Let nothing be stored that was asked about `uri` before now."""
        rivals = self._by_uri.get(uri)
        for claim in rivals.claims if rivals is not None else ():
            claim.valid = False

    def fulfil(self, claim: Claim) -> bool:
        """Return whether the answer may be stored; if so, none to an earlier question of the same key may."""
        # Whatever was purged: purges are rare, and not to store costs a hit at most.
        claim.valid = claim.valid and claim.purges == self._storage.purges
        if claim.valid:
            for rival in claim.of_key.claims:
                if rival.number < claim.number:
                    rival.valid = False
        return claim.valid
