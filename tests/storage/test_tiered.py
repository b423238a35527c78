"""Memory over a disk: quick where it can be, and never hiding what only the disk has."""

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from buddyproxy.errors import CacheError
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.storage.selection import Selection
from buddyproxy.storage.tiered import VACANT_LIMIT, TieredStorage
from tests.storage.fake import FakeStorage
from tests.storage.samples import NOW, key, language, stored

SIZE = stored("a").size


@define(eq=False)
class SlowDisk(FakeStorage):
    """A disk whose answers, taken when it is asked, arrive when they are let go."""

    lookups: list[bytes] = field(factory=list)
    pending: list[Deferred[None]] = field(factory=list)
    slow: bool = False

    async def lookup(self, key):
        self.lookups.append(key)
        found = await super().lookup(key)
        if self.slow:
            waiting: Deferred[None] = Deferred()
            self.pending.append(waiting)
            await waiting
        return found

    def let_go(self) -> None:
        self.slow = False
        pending, self.pending = self.pending, []
        for waiting in pending:
            waiting.callback(None)


class MemoryDisk(MemoryStorage):
    """A disk that counts."""

    def touch(self, key):
        pass


class TieredTests(TestCase):
    def setUp(self) -> None:
        self.disk = SlowDisk()
        self.memory = MemoryStorage(100 * SIZE)
        self.storage = TieredStorage(self.memory, self.disk)

    def bodies(self, name: str = "a") -> list[bytes]:
        return [found.body for found in self.successResultOf(self.storage.lookup(key(name)))]

    def begin(self, name: str = "a") -> Deferred:
        """Begin a lookup that reaches the disk and waits there."""
        self.disk.slow = True
        return Deferred.fromCoroutine(self.storage.lookup(key(name)))

    def in_memory(self, name: str = "a") -> list[bytes]:
        return [found.body for found in self.memory.recall(key(name))]

    def test_promotes(self) -> None:
        """What the disk had is in memory for the next lookup, which does not go there, but is noted there."""
        self.disk.store(stored(body=b"1"))
        self.disk.store(stored(body=b"2", selecting=language(b"de")))
        self.assertEqual(self.bodies(), [b"2", b"1"])
        self.assertEqual(self.bodies(), [b"2", b"1"])
        self.assertEqual(self.disk.lookups, [key("a")])
        self.assertEqual(self.disk.touched, [key("a")])

    def test_hit_never_waits(self) -> None:
        """What is in memory is there without waiting."""
        self.disk.store(stored())
        self.bodies()
        with self.assertRaises(StopIteration) as done:
            self.storage.lookup(key("a")).send(None)
        self.assertEqual(done.exception.value, (stored(),))

    def test_miss_then_store(self) -> None:
        """A response stored after a lookup found nothing is in memory at once: it is all there is of its key."""
        self.assertEqual(self.bodies(), [])
        self.storage.store(stored())
        self.assertEqual(self.in_memory(), [b"hello"])
        self.assertEqual(self.bodies(), [b"hello"])
        self.assertEqual(self.disk.lookups, [key("a")])

    def test_store_hides_nothing(self) -> None:
        """A response stored under a key that nobody looked up does not hide the others of that key."""
        self.disk.store(stored(body=b"on disk"))
        self.storage.store(stored(body=b"new", selecting=language(b"de")))
        self.assertEqual(self.in_memory(), [])
        self.assertEqual(self.bodies(), [b"new", b"on disk"])

    def test_store_beside_promoted(self) -> None:
        """A response stored under a key that memory has all of joins the others there."""
        self.disk.store(stored(body=b"on disk"))
        self.bodies()
        self.storage.store(stored(body=b"new", selecting=language(b"de")))
        self.assertEqual(self.in_memory(), [b"new", b"on disk"])

    def test_evicted_hides_nothing(self) -> None:
        """Once memory has evicted a key, a response stored under it does not hide the others."""
        self.assertEqual(self.bodies(), [])
        self.storage.store(stored(body=b"1"))
        for number in range(100):
            self.memory.store(stored(f"other {number}"))
        self.assertEqual(self.in_memory(), [])
        self.storage.store(stored(body=b"2", selecting=language(b"de")))
        self.assertEqual(self.bodies(), [b"2", b"1"])

    def test_too_large_hides_nothing(self) -> None:
        """A variant that memory cannot hold takes the others out of it, and is found on the disk with them."""
        self.assertEqual(self.bodies(), [])
        self.storage.store(stored(body=b"1"))
        large = b"l" * 20 * SIZE
        self.storage.store(stored(body=large, selecting=language(b"de")))
        self.assertEqual(self.in_memory(), [])
        self.assertEqual(self.bodies(), [large, b"1"])
        self.assertEqual(self.bodies(), [large, b"1"])

    def test_purged_while_reading(self) -> None:
        """A response purged while the disk was read is not brought back by promoting it, nor is its mark lost."""
        for soft in (True, False):
            self.setUp()
            self.disk.store(stored(tags="t"))
            reading = self.begin()
            self.assertEqual(self.successResultOf(self.storage.purge(Selection(tag=b"t"), soft=soft)), 1)
            self.disk.let_go()
            self.successResultOf(reading)
            self.assertEqual(self.in_memory(), [])
            found = self.successResultOf(self.storage.lookup(key("a")))
            self.assertEqual([one.outdated for one in found], [True] if soft else [])

    def test_purge_reaches_both(self) -> None:
        """What is in either tier is purged there, and counted once; memory never hides what is left on the disk."""
        self.disk.store(stored(body=b"1", tags="t"))
        self.disk.store(stored(body=b"2", selecting=language(b"de")))
        self.disk.store(stored("b", tags="t"))
        self.bodies()
        self.assertEqual(self.successResultOf(self.storage.purge(Selection(tag=b"t"))), 2)
        self.assertEqual((self.in_memory(), self.bodies(), self.bodies("b")), ([b"2"], [b"2"], []))

    def test_purged_though_the_disk_fails(self) -> None:
        """Where the disk refuses, memory has forgotten all the same."""

        class Broken(FakeStorage):
            async def purge(self, selection, *, soft=False, above=()):
                raise CacheError("broken")

        storage = TieredStorage(self.memory, Broken())
        self.memory.store(stored())
        self.failureResultOf(Deferred.fromCoroutine(storage.purge(Selection(mapping="openai"))), CacheError)
        self.assertEqual(self.in_memory(), [])

    def test_invalidated_while_reading(self) -> None:
        """A response invalidated while the disk was read is not brought back by promoting it."""
        self.disk.store(stored())
        reading = self.begin()
        self.storage.invalidate("openai", stored().uri)
        self.disk.let_go()
        self.successResultOf(reading)
        self.assertEqual(self.in_memory(), [])
        self.assertEqual(self.bodies(), [])

    def test_cleared_while_reading(self) -> None:
        """The same where everything is removed."""
        self.disk.store(stored())
        reading = self.begin()
        self.assertEqual(self.successResultOf(self.storage.clear()), 1)
        self.disk.let_go()
        self.successResultOf(reading)
        self.assertEqual(self.bodies(), [])

    def test_expired_while_reading(self) -> None:
        """The same where what is of no more use is removed."""
        self.disk.store(stored())
        reading = self.begin()
        self.assertEqual(self.successResultOf(self.storage.remove_expired(NOW + 2000)), 1)
        self.disk.let_go()
        self.successResultOf(reading)
        self.assertEqual(self.bodies(), [])

    def test_stored_while_reading(self) -> None:
        """What was read before a store does not stand for all there is after it."""
        for before in ((), (stored(body=b"old"),), (stored(body=b"other", selecting=language(b"de")),)):
            self.setUp()
            for response in before:
                self.disk.store(response)
            reading = self.begin()
            self.storage.store(stored(body=b"new"))
            self.disk.let_go()
            self.successResultOf(reading)
            self.assertEqual(self.in_memory(), [])
            others = [response.body for response in before if response.selecting]
            self.assertEqual(self.bodies(), [b"new", *others])
            self.storage.store(stored(body=b"newest", selecting=language(b"fr")))
            self.assertEqual(self.bodies(), [b"newest", b"new", *others])

    def test_other_keys_while_reading(self) -> None:
        """A store under another key is no reason not to promote."""
        self.disk.store(stored())
        reading = self.begin()
        self.storage.store(stored("b"))
        self.disk.let_go()
        self.successResultOf(reading)
        self.assertEqual(self.in_memory(), [b"hello"])

    def test_two_read_at_once(self) -> None:
        """Where two lookups of a key wait for the disk, both get its answer, and it is promoted."""
        self.disk.store(stored())
        both = [self.begin(), self.begin()]
        self.disk.let_go()
        self.assertEqual([self.successResultOf(reading) for reading in both], [(stored(),)] * 2)
        self.assertEqual(self.in_memory(), [b"hello"])
        self.assertEqual(self.storage._reading, {})

    def test_cancelled(self) -> None:
        """A lookup given up teaches nothing: the disk may have something of the key."""
        self.disk.store(stored())
        reading = self.begin()
        reading.cancel()
        self.failureResultOf(reading)
        self.disk.slow = False
        self.storage.store(stored(body=b"new", selecting=language(b"de")))
        self.assertEqual(self.bodies(), [b"new", b"hello"])

    def test_disk_fails(self) -> None:
        """Where the disk cannot be read, memory keeps what is stored from then on."""

        async def fail(_: bytes) -> None:
            raise CacheError("broken")

        class Broken(FakeStorage):
            lookup = staticmethod(fail)

        storage = TieredStorage(self.memory, Broken())
        self.failureResultOf(Deferred.fromCoroutine(storage.lookup(key("a"))), CacheError)
        storage.store(stored())
        self.assertEqual(self.successResultOf(storage.lookup(key("a"))), (stored(),))

    def test_few_vacant_keys(self) -> None:
        """Keys found to have nothing are remembered, and the oldest forgotten where they become too many."""
        names = [str(number) for number in range(VACANT_LIMIT + 1)]
        for name in names:
            self.bodies(name)
        for name in (names[0], names[1], names[-1]):
            self.storage.store(stored(name))
        self.assertEqual([bool(self.in_memory(name)) for name in (names[0], names[1], names[-1])], [False, True, True])

    def test_counts_both_tiers(self) -> None:
        """What either tier alone has counts when it is purged or cleared, and what both have counts once."""
        for purge in (
            lambda: self.storage.purge(Selection(mapping="openai")),
            lambda: self.storage.purge(Selection(mapping="openai"), soft=True),
            self.storage.clear,
        ):
            self.successResultOf(self.storage.clear())
            for name in "ab":
                self.bodies(name)
                self.storage.store(stored(name))
            del self.disk.kept[1]
            self.disk.store(stored("c"))
            self.assertEqual((self.in_memory("a"), self.in_memory("c")), ([b"hello"], []))
            self.assertEqual(self.successResultOf(purge()), 3)

    def test_stats(self) -> None:
        """Its figures are the disk's, with what memory answered among the hits; each tier's are there too."""
        memory = MemoryStorage(100 * SIZE)
        disk = MemoryDisk(1000 * SIZE)
        storage = TieredStorage(memory, disk)
        for name in "ab":
            disk.store(stored(name))
        for name in "aabc":
            self.successResultOf(storage.lookup(key(name)))
        storage.store(stored("c"))
        stats = storage.stats
        self.assertEqual((stats.entries, stats.hits, stats.misses, stats.hit_ratio), (3, 3, 1, 0.75))
        self.assertEqual(list(stats.tiers), ["memory", "disk"])
        above, below = stats.tiers.values()
        self.assertEqual((above.hits, above.misses, below.hits, below.misses), (1, 3, 2, 1))

    def test_secret_and_close(self) -> None:
        """The secret is the disk's, and closing closes it."""
        self.assertEqual(self.storage.secret, self.disk.secret)
        self.successResultOf(Deferred.fromCoroutine(self.storage.close()))
        self.assertTrue(self.disk.closed)
