"""Fetches under way, and who waits for them: a question that several ask at once is asked once.

A fetch belongs to nobody in particular. Whoever waits for it may leave; when the last one does, it is given up.
"""

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final, Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

T = TypeVar("T")

ALONE: Final = 60.0
"""For how many seconds nobody waits for another's answer where the last one could not be shared."""
REMEMBERED: Final = 1000
"""Of how many keys that is known; the one learned longest ago goes first."""


@define(eq=False)
class Fetch(Generic[T]):
    """A question under way, or one whose answer is still arriving."""

    uri: bytes
    purges: int
    """How often the store had been purged when it was asked."""
    _told: Callable[[T], None]
    """Called with the outcome once all who waited have it."""
    _asking: Deferred[T] = field(init=False, factory=Deferred)
    _waiting: list[Deferred[T]] = field(factory=list, init=False)
    _outcome: T | None = field(default=None, init=False)

    def begin(self, asking: Coroutine[Deferred[Any], Any, T]) -> None:
        """Ask."""
        self._asking = Deferred.fromCoroutine(asking)
        self._asking.addCallbacks(self._answered, self._failed)

    def wait(self) -> Deferred[T]:
        """Return a Deferred for the outcome; to cancel it is to wait no more."""
        if self._outcome is not None:
            return succeed(self._outcome)
        waiter: Deferred[T] = Deferred(self._left)
        self._waiting.append(waiter)
        return waiter

    def _left(self, waiter: Deferred[T]) -> None:
        self._waiting.remove(waiter)
        if not self._waiting:
            self._asking.cancel()

    def _answered(self, outcome: T) -> None:
        self._outcome = outcome
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(outcome)
        self._told(outcome)

    def _failed(self, failure: Failure) -> None:
        # Where nobody waits, everybody left, and it was cancelled.
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.errback(failure)


class Fetches(Generic[T]):
    """The fetches of one mapping that others may join, by what tells one question from another."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, Fetch[T]] = {}
        self._alone: dict[bytes, float] = {}

    def find(self, name: Hashable, purges: int) -> Fetch[T] | None:
        """Return the fetch of that name, unless something was purged since it was asked."""
        fetch = self._under_way.get(name)
        return fetch if fetch is not None and fetch.purges == purges else None

    def add(self, name: Hashable, fetch: Fetch[T]) -> None:
        """Let others join `fetch`."""
        self._under_way[name] = fetch

    def remove(self, name: Hashable, fetch: Fetch[T]) -> None:
        """Let nobody join `fetch` any more."""
        if self._under_way.get(name) is fetch:
            del self._under_way[name]

    def void(self, uri: bytes) -> None:
        """Let nobody join what was asked about `uri` before now."""
        for name in [name for name, fetch in self._under_way.items() if fetch.uri == uri]:
            del self._under_way[name]

    def stay_alone(self, key: bytes, now: float) -> None:
        """Remember that the answer to a question of `key` could not be shared."""
        self._alone.pop(key, None)
        self._alone[key] = now + ALONE
        if len(self._alone) > REMEMBERED:
            del self._alone[next(iter(self._alone))]

    def come_together(self, key: bytes) -> None:
        """Forget that."""
        self._alone.pop(key, None)

    def is_alone(self, key: bytes, now: float) -> bool:
        """Return whether nobody should wait for another's answer to a question of `key`."""
        return self._alone.get(key, 0.0) > now
