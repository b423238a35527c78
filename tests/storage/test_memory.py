"""The memory tier's limits."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from buddyproxy.storage.memory import SLICE, MemoryStorage
from buddyproxy.storage.selection import Selection
from buddyproxy.storage.stats import Held
from tests.storage.samples import NOW, key, language, stored

SIZE = stored("a").size


def shelf_tags(storage: MemoryStorage) -> dict[bytes, set[bytes]]:
    """Return the index by tag."""
    return storage._shelf._by_tag


class MemoryTests(TestCase):
    """All responses here are of one size."""

    def names(self, storage: MemoryStorage, names: str = "abcdefghijkl") -> str:
        """Return which of `names` are there, without using them."""
        return "".join(name for name in names if storage._shelf.get(key(name)))

    def test_lookup_never_waits(self) -> None:
        """What is in memory is there without waiting."""
        storage = MemoryStorage(100 * SIZE)
        storage.store(stored())
        with self.assertRaises(StopIteration) as done:
            storage.lookup(key("a")).send(None)
        self.assertEqual(done.exception.value, (stored(),))

    def test_evicts_least_recently_used(self) -> None:
        """Where the limit is reached, the key last used longest ago goes first."""
        storage = MemoryStorage(10 * SIZE)
        for name in "abcdefghij":
            storage.store(stored(name))
        storage.recall(key("a"))
        storage.store(stored("c"))
        storage.store(stored("k"))
        storage.store(stored("l"))
        self.assertEqual(self.names(storage), "acefghijkl")
        self.assertEqual((storage.stats.entries, storage.stats.size, storage.stats.evicted), (10, 10 * SIZE, 2))

    def test_max_entries(self) -> None:
        """The number of responses has its limit too, among variants of one key as well."""
        storage = MemoryStorage(1000 * SIZE, max_entries=2)
        for name in "abc":
            storage.store(stored(name))
        self.assertEqual(self.names(storage), "bc")
        for value in (b"1", b"2", b"3"):
            storage.store(stored("d", value, selecting=language(value)))
        self.assertEqual(self.names(storage), "d")
        self.assertEqual([kept.body for kept in storage.recall(key("d"))], [b"3", b"2"])

    def test_large_stays_out(self) -> None:
        """A response larger than an eighth of the limit stays out, and what it replaces goes."""
        storage = MemoryStorage(8 * SIZE)
        storage.store(stored(body=b"12345"))
        storage.store(stored(body=b"other", selecting=language(b"de")))
        storage.store(stored("b"))
        storage.store(stored(body=b"123456"))
        self.assertEqual([kept.body for kept in storage.recall(key("a"))], [b"other"])
        self.assertEqual(self.names(storage), "ab")
        self.assertEqual((storage.stats.stored, storage.stats.dropped), (3, 1))

    def test_one_key_takes_half(self) -> None:
        """The variants of one key take half of the limit at most; the oldest make room."""
        storage = MemoryStorage(20 * SIZE)
        for number in range(30):
            storage.store(stored("a", b"%05d" % number, selecting=language(b"%d" % number)))
        self.assertEqual([int(kept.body) for kept in storage.recall(key("a"))], list(range(29, 19, -1)))

    def test_hold_all_or_nothing(self) -> None:
        """Responses to hold together are held together or not at all."""
        variants = tuple(stored(selecting=language(b"%d" % number)) for number in range(5))
        cases = ((10, None, 5), (9, None, 0), (7, None, 0), (100, 5, 5), (100, 4, 0))
        for limit, entries, expected in cases:
            storage = MemoryStorage(limit * SIZE, entries)
            storage.hold(key("a"), variants[:1])
            storage.hold(key("a"), variants)
            self.assertEqual(storage.stats.entries, expected, (limit, entries))

    def test_no_memory(self) -> None:
        """A limit of nothing holds nothing."""
        storage = MemoryStorage(0)
        storage.store(stored())
        self.assertEqual((storage.stats.entries, storage.stats.dropped), (0, 1))

    def test_stats(self) -> None:
        """It counts what it holds, of each mapping too, what was found, and why what is gone went."""
        storage = MemoryStorage(16 * SIZE, max_entries=3)
        self.assertIsNone(storage.stats.hit_ratio)
        for name, mapping in (("a", "one"), ("b", "one"), ("c", "two"), ("d", "two")):
            storage.store(stored(name, mapping=mapping, remove_after=NOW + ord(name)))
        for name in "abbd":
            storage.recall(key(name))
        storage.held(key("a"))
        stats = storage.stats
        self.assertEqual(stats.mappings, {"one": Held(1, SIZE), "two": Held(2, 2 * SIZE)})
        self.assertEqual((stats.entries, stats.size, stats.evicted, stats.expired), (3, 3 * SIZE, 1, 0))
        self.assertEqual((stats.hits, stats.misses, stats.hit_ratio), (3, 1, 0.75))
        self.sync(storage.remove_expired(NOW + ord("c")))
        self.assertEqual(storage.stats.mappings, {"two": Held(1, SIZE)})
        self.assertEqual((storage.stats.expired, storage.stats.evicted), (2, 1))
        self.sync(storage.clear())
        self.assertEqual((storage.stats.mappings, storage.stats.expired), ({}, 2))
        self.assertEqual(stats.entries, 3, "a moment's figures stay as they are")

    def test_books_balance(self) -> None:
        """What comes in goes out again, in all the figures and indexes."""
        storage = MemoryStorage(100 * SIZE)
        for name in "abcd":
            storage.store(stored(name, uri=b"/same"))
            storage.store(stored(name, method=b"POST"))
        storage.store(stored("e", remove_after=0, tags="t, u"))
        storage.store(stored("e", tags="u", selecting=language(b"de")))
        self.assertEqual(self.sync(storage.purge(Selection(tag=b"u"), soft=True)), 2)
        self.assertEqual(self.sync(storage.purge(Selection(tag=b"u", key=key("e")), soft=True)), 0)
        self.assertEqual(shelf_tags(storage), {b"t": {key("e")}, b"u": {key("e")}})
        storage.invalidate("openai", b"/same")
        self.assertEqual(self.sync(storage.remove_expired(1)), 1)
        shelf = storage._shelf
        self.assertEqual(shelf_tags(storage), {b"u": {key("e")}})
        self.assertEqual(self.sync(storage.purge(Selection(tag=b"u", mapping="openai"))), 1)
        self.assertEqual((shelf.count, shelf.size), (4, 4 * SIZE))
        self.assertEqual((shelf._by_uri, shelf._by_tag), ({}, {}))
        self.assertEqual(self.sync(storage.clear()), 4)
        self.assertEqual((shelf.count, shelf.size, dict(shelf._held)), (0, 0, {}))

    def sweeping(self, *names: str) -> MemoryStorage:
        """Return a store with so many responses that it pauses when it looks through all, and `names` come last."""
        storage = MemoryStorage(10_000 * SIZE, pause=self.pause)
        for name in (*(str(number) for number in range(SLICE)), *names):
            storage.store(stored(name, remove_after=NOW))
        return storage

    async def pause(self) -> None:
        """Wait until the test goes on."""
        self.paused: Deferred[None] = Deferred()
        await self.paused

    def test_others_have_their_turn(self) -> None:
        """What is purged or of no more use is out of sight at once, though it is looked through bit by bit."""
        everything = Selection(mapping="openai")
        for removing in (MemoryStorage.remove_expired, lambda storage, _: storage.purge(everything)):
            storage = self.sweeping(*"abcd")
            result = Deferred.fromCoroutine(removing(storage, NOW))
            self.assertNoResult(result)
            self.assertEqual((storage.recall(key("a")), storage.held(key("b"))), ((), ()))
            storage.store(stored("c", b"new!!"))
            storage.invalidate("openai", stored("d").uri)
            self.paused.callback(None)
            self.assertEqual(self.successResultOf(result), SLICE + 4)
            self.assertEqual((self.names(storage), storage.stats.entries), ("c", 1))

    def test_one_after_the_other(self) -> None:
        """Where two look through all at a time, each counts what it changed in the order they were asked for."""
        storage = self.sweeping("a")
        marking = Deferred.fromCoroutine(storage.purge(Selection(mapping="openai"), soft=True))
        paused = self.paused
        removing = Deferred.fromCoroutine(storage.purge(Selection(mapping="openai")))
        self.paused.callback(None)
        paused.callback(None)
        self.assertEqual([self.successResultOf(each) for each in (marking, removing)], [SLICE + 1, SLICE + 1])
        self.assertEqual(storage.stats.entries, 0)

    def test_broken_off(self) -> None:
        """A purge for which nobody waits any more is made good all the same."""
        storage = self.sweeping("a")
        purging = Deferred.fromCoroutine(storage.purge(Selection(mapping="openai")))
        purging.cancel()
        self.failureResultOf(purging, CancelledError)
        self.assertEqual(storage.stats.entries, 0)

    def sync(self, coroutine):
        return self.successResultOf(coroutine)
