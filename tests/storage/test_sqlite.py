"""The SQLite store: what lasts, what goes when there is too much, and what is seen while it is being written."""

import sqlite3
import stat
from pathlib import Path
from threading import Event

from twisted.internet.defer import Deferred, gatherResults

from buddyproxy.errors import CacheError
from buddyproxy.storage import sqlite as module
from buddyproxy.storage import writing
from buddyproxy.storage.compression import Compression
from buddyproxy.storage.database import LOG_LIMIT, READERS
from buddyproxy.storage.files import size_of
from buddyproxy.storage.selection import Selection
from buddyproxy.storage.statements import Limits
from buddyproxy.storage.stats import Bodies, Flushes, Held
from tests.storage.open import SqliteCase, warnings
from tests.storage.samples import NOW, key, language, stored

SIZE = stored("a").size
SLICE = 500
"""More than goes in one slice at first."""


class LastingTests(SqliteCase):
    async def test_reopened(self) -> None:
        """What was stored, and the secret, are there when the file is opened again."""
        secret = self.storage.secret
        self.storage.store(stored(body=b"1"))
        self.storage.store(stored(body=b"2", selecting=language(b"de")))
        self.storage.store(stored("b", body=bytes(range(256)) * 1000))
        await self.storage.close()
        self.storage = self.open()
        self.assertEqual(self.storage.secret, secret)
        self.assertEqual(self.storage.stats.entries, 3)
        self.assertEqual(await self.bodies(), [b"2", b"1"])
        self.assertEqual(await self.storage.lookup(key("b")), (stored("b", body=bytes(range(256)) * 1000),))

    async def test_private(self) -> None:
        """Nobody else may read the files, or look into the directory made for them."""
        self.storage.store(stored())
        await self.storage.flush()
        files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.directory.iterdir()}
        self.assertEqual(
            files, dict.fromkeys((f"cache.sqlite{end}" for end in ("", "-wal", "-shm", ".reserve")), 0o600)
        )
        self.assertEqual(stat.S_IMODE(self.directory.stat().st_mode), 0o700)

    async def test_secrets_differ(self) -> None:
        """Every store has a secret of its own, which its representation does not show."""
        first = self.storage.secret
        self.path = self.directory / "another.sqlite"
        self.assertNotEqual(self.open().secret, first)
        self.assertNotIn(repr(first), repr(self.storage))

    async def test_columns(self) -> None:
        """What people ask for stands in columns of its own."""
        self.storage.store(stored(uri="https://x/ü".encode("latin-1"), mapping="maps"))
        await self.storage.flush()
        query = "SELECT mapping, method, uri, status, reason, size, expires, remove_after, stored_at FROM cache_entries"
        size = stored(uri=b"https://x/u").size
        expected = [("maps", "GET", "https://x/ü", 200, "OK", size, NOW + 10, NOW + 1000, NOW)]
        self.assertEqual(self.rows(query), expected)

    async def test_uses_are_noted(self) -> None:
        """How often and when a response was last used is written down after a while, unless it is used no more."""
        self.storage.store(stored())
        self.storage.store(stored("b"))
        await self.storage.flush()
        query = "SELECT access_count, last_access FROM cache_entries ORDER BY id"
        self.clock.advance(1)
        for _ in range(3):
            await self.bodies()
        self.storage.touch(key("a"))
        self.assertEqual(self.rows(query), [(0, NOW), (0, NOW)])
        self.clock.advance(module.TOUCH_EVERY)
        self.clock.advance(writing.WRITE_AFTER)
        await self.written()
        self.assertEqual(self.rows(query), [(4, self.clock.seconds()), (0, NOW)])

    async def test_few_uses_are_noted(self) -> None:
        """Where too many are used at a time, some are not noted."""
        names = [str(number) for number in range(module.TOUCH_LIMIT + 1)]
        for name in names:
            self.storage.store(stored(name))
        for name in names + names:
            self.storage.touch(key(name))
        await self.storage.flush()
        counts = self.rows("SELECT access_count FROM cache_entries ORDER BY id")
        self.assertEqual(counts, [(2,)] * module.TOUCH_LIMIT + [(0,)])

    async def test_closed(self) -> None:
        """A closed store takes nothing and has nothing, and nobody fails for it."""
        await self.storage.close()
        self.storage.store(stored())
        self.storage.invalidate("openai", b"/")
        self.storage.touch(key("a"))
        self.assertEqual(self.storage.stats.dropped, 1)
        for coroutine in (self.storage.lookup(key("a")), self.storage.remove_expired(NOW), self.storage.clear()):
            with self.assertRaises(CacheError):
                await coroutine
        await self.storage.close()

    async def test_two_at_once(self) -> None:
        """Two stores on one file, as two processes have it, see what each other wrote, and count together."""
        other = self.open()
        self.storage.store(stored("a"))
        await self.storage.flush()
        other.store(stored("b"))
        other.invalidate("openai", stored("a").uri)
        await other.flush()
        self.assertEqual((await self.bodies("a"), await self.bodies("b")), ([], [b"hello"]))
        self.assertEqual(other.secret, self.storage.secret)
        self.storage.store(stored("c"))
        await self.storage.flush()
        self.assertEqual(self.storage.stats.entries, 2)

    def test_closed_before_start(self) -> None:
        """A store that was opened, and closed before the reactor ran, leaves nothing behind."""
        self.successResultOf(Deferred.fromCoroutine(self.storage.close()))


class LimitsTests(SqliteCase):
    async def test_max_entries(self) -> None:
        """Where there are too many, those not used for the longest time go."""
        self.storage = self.open(Limits(3, 2**30))
        for name in "abc":
            self.storage.store(stored(name))
            await self.storage.flush()
            self.clock.advance(1)
        await self.bodies("a")
        for name in "de":
            self.storage.store(stored(name))
            await self.storage.flush()
            self.clock.advance(1)
        self.assertEqual(await self.present(*"abcde"), ["a", "d", "e"])
        self.assertEqual((self.storage.stats.entries, self.storage.stats.evicted), (3, 2))

    async def test_max_bytes(self) -> None:
        """Where they are too large together, those not used for the longest time go."""
        self.storage = self.open(Limits(1000, 4 * SIZE))
        for name in "abcd":
            self.storage.store(stored(name))
        await self.storage.flush()
        self.storage.store(stored("e", b"l" * 2 * SIZE))
        self.assertEqual(await self.present(*"abcde"), ["d", "e"])
        self.assertLessEqual(self.storage.stats.size, 4 * SIZE)

    async def test_too_large(self) -> None:
        """A response larger than all there may be stays out, and pushes nothing out."""
        self.storage = self.open(Limits(1000, 4 * SIZE))
        self.storage.store(stored("a"))
        self.storage.store(stored("b", b"l" * 4 * SIZE))
        self.assertEqual(await self.present(*"ab"), ["a"])
        self.assertEqual(self.storage.stats.dropped, 1)

    async def test_evicts_in_slices(self) -> None:
        """However many are too many, they go, some at a time."""
        self.storage = self.open(Limits(7, 2**30))
        names = [str(number) for number in range(2 * SLICE + 20)]
        with self.busy_writer():
            for name in names:
                self.storage.store(stored(name))
        await self.storage.flush()
        while self.storage.stats.entries > 7:
            await self.written()
        self.storage.store(stored("last"))
        self.assertEqual(await self.present(*names, "last"), [*names[-6:], "last"])
        self.assertEqual(self.storage.stats.evicted, len(names) - 6)

    async def test_closed_while_evicting(self) -> None:
        """Closing does not wait for all that is too much to go: there is another time for that."""
        self.storage = self.open(Limits(7, 2**30))
        with self.busy_writer(), warnings() as said:
            for number in range(2 * SLICE):
                self.storage.store(stored(str(number)))
            closing = Deferred.fromCoroutine(self.storage.close())
        await closing
        self.assertEqual((said, self.storage.stats.failed), ([], 0))

    async def test_wrong_totals(self) -> None:
        """Where the totals are wrong, and there is nothing to evict, eviction ends."""
        with self.connect() as connection:
            connection.execute("INSERT INTO totals VALUES ('ghosts', 1000000, 0)")
        self.storage.store(stored())
        await self.storage.flush()
        await self.storage.flush()
        self.assertEqual(await self.present("a"), [])

    async def test_removes_in_slices(self) -> None:
        """However many are to be removed, they are, some at a time, and the file shrinks."""
        count = 3 * SLICE
        for number in range(count):
            self.storage.store(stored(str(number), b"x" * 10_000, remove_after=NOW + number))
        expired = SLICE + 1
        self.assertEqual(await self.storage.remove_expired(NOW + expired - 1), expired)
        self.assertEqual(self.storage.stats.entries, count - expired)
        self.assertEqual(await self.storage.clear(), count - expired)
        self.assertEqual(self.storage.stats.entries, 0)
        await self.storage.close()
        self.assertLess(self.path.stat().st_size, 100_000)


class WritingTests(SqliteCase):
    def count(self) -> int:
        """Return how many responses the file has."""
        return self.rows("SELECT count(*) FROM cache_entries")[0][0]

    async def test_written_together_after_a_moment(self) -> None:
        """Changes wait for company, but not long."""
        for name in "abc":
            self.storage.store(stored(name))
            self.clock.advance(writing.WRITE_AFTER / 4)
        await self.written()
        self.assertEqual(self.count(), 0)
        self.clock.advance(writing.WRITE_AFTER)
        await self.written()
        self.assertEqual(self.count(), 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_written_when_many(self) -> None:
        """Many changes wait no longer."""
        for number in range(writing.WRITE_AT + 1):
            self.storage.store(stored(str(number)))
        await self.written()
        self.assertEqual(self.count(), writing.WRITE_AT)

    async def test_many_while_writing(self) -> None:
        """What comes while others are written is written after them: at once where there is much, else in a moment."""
        with self.busy_writer():
            self.storage.store(stored("first"))
            self.clock.advance(writing.WRITE_AFTER)
            for number in range(writing.WRITE_AT):
                self.storage.store(stored(str(number)))
        await self.written()
        await self.written()
        self.assertEqual(self.count(), writing.WRITE_AT + 1)

    async def test_no_more_at_a_time(self) -> None:
        """However many have gathered, the writer is let go after so many of them."""
        with self.busy_writer():
            self.storage.store(stored("first"))
            self.clock.advance(writing.WRITE_AFTER)
            for number in range(2 * writing.WRITE_AT + 1):
                self.storage.store(stored(str(number)))
        await self.storage.flush()
        self.assertEqual((self.count(), self.storage.stats.flushes.count), (2 * writing.WRITE_AT + 2, 4))

    async def test_waits_from_the_first_on(self) -> None:
        """What came while others were written waits no longer for that."""
        with self.busy_writer():
            self.storage.store(stored("a"))
            self.clock.advance(writing.WRITE_AFTER)
            self.storage.store(stored("b"))
            self.clock.advance(writing.WRITE_AFTER / 2)
        await self.written()
        self.assertEqual(self.count(), 1)
        self.clock.advance(writing.WRITE_AFTER * 0.6)
        await self.written()
        self.assertEqual(self.count(), 2)

    async def test_replaced(self) -> None:
        """Of a response that took another's place there is nothing left: no row, no tags, no room."""
        for body, tags in ((b"old", b"a, b"), (b"newer", b"b")):
            self.storage.store(stored("a", body, tags=tags.decode()))
            await self.storage.flush()
        self.assertEqual(await self.bodies("a"), [b"newer"])
        self.assertEqual(self.rows("SELECT tag FROM cache_tags"), [("b",)])
        (held,) = await self.storage.lookup(key("a"))
        self.assertEqual((self.storage.stats.entries, self.storage.stats.size), (1, held.size))

    async def test_log_begins_anew(self) -> None:
        """A log grown long is brought into the file, by no commit, and does not stay as long."""
        log = Path(f"{self.path}-wal")
        self.storage.store(stored("large", bytes(LOG_LIMIT)))
        await self.storage.flush()
        self.assertGreater(size_of(log), LOG_LIMIT)
        while size_of(log) > LOG_LIMIT:
            self.storage.store(stored("a"))
            await self.storage.flush()
        self.assertEqual(await self.present("a", "large"), ["a", "large"])
        pragma = "PRAGMA wal_autocheckpoint"
        self.assertEqual(await self.database.write(lambda cursor: cursor.execute(pragma).fetchall()), [(0,)])

    async def test_slices_wait_for_the_log(self) -> None:
        """What is removed slice by slice waits until a long log is in the file; what others write does not."""
        event = Event()
        readers = [Deferred.fromCoroutine(self.database.read(lambda _: event.wait(30))) for _ in range(READERS)]
        self.storage.store(stored("large", bytes(LOG_LIMIT)))
        await self.storage.flush()
        removing = Deferred.fromCoroutine(self.database.remove_slice(lambda _: "done"))
        await self.written()
        self.assertNoResult(removing)
        event.set()
        self.assertEqual(await removing, "done")
        await gatherResults(readers)

    async def test_closed_while_the_log_is_long(self) -> None:
        """Closing does not come in between."""
        self.storage.store(stored("large", bytes(LOG_LIMIT)))
        await self.storage.close()
        self.assertEqual(self.count(), 1)
        self.assertEqual(size_of(Path(f"{self.path}-wal")), 0)

    async def test_flush_while_writing(self) -> None:
        """Whoever waits for what was asked until now waits for all of it."""
        with self.busy_writer():
            self.storage.store(stored("a"))
            first = Deferred.fromCoroutine(self.storage.flush())
            self.storage.store(stored("b"))
            second = Deferred.fromCoroutine(self.storage.flush())
        await first
        self.assertEqual(self.count(), 1)
        await second
        self.assertEqual(self.count(), 2)

    async def test_seen_while_written(self) -> None:
        """Stores and invalidations are seen before they are written, and while they are."""
        self.storage.store(stored("a", b"old"))
        self.storage.store(stored("b"))
        await self.storage.flush()
        with self.busy_writer():
            self.storage.store(stored("a", b"new"))
            self.storage.invalidate("openai", stored("b").uri)
            self.assertEqual((await self.bodies("a"), await self.bodies("b")), ([b"new"], []))
            self.clock.advance(writing.WRITE_AFTER)
            self.assertEqual((await self.bodies("a"), await self.bodies("b")), ([b"new"], []))
            self.storage.store(stored("b", b"again"))
            self.assertEqual(await self.bodies("b"), [b"again"])
        await self.storage.flush()
        self.assertEqual((await self.bodies("a"), await self.bodies("b")), ([b"new"], [b"again"]))

    async def test_cleared_while_written(self) -> None:
        """A cleared store is seen empty at once, whatever is being written, and the count is of all there was."""
        self.storage.store(stored("a"))
        await self.storage.flush()
        await self.written()
        with self.busy_writer():
            self.storage.store(stored("b"))
            self.clock.advance(writing.WRITE_AFTER)
            self.storage.store(stored("c"))
            clearing = Deferred.fromCoroutine(self.storage.clear())
            self.assertEqual(self.storage.stats.queued, SIZE)
            self.assertEqual([await self.bodies(name) for name in "abc"], [[], [], []])
            self.storage.store(stored("d"))
        self.assertEqual(await clearing, 3)
        self.assertEqual(await self.present(*"abcd"), ["d"])

    async def test_cleared_unwritten(self) -> None:
        """What waits when a store is cleared is never written, and counts once; what a purge before it selects does."""
        self.storage.store(stored("a"))
        await self.storage.flush()
        for name in "ab":
            self.storage.store(stored(name, b"unwritten"))
        self.assertEqual(await self.storage.clear(), 2)
        self.assertEqual(self.storage.stats.bodies.received, len(stored().body))
        self.storage.store(stored("a"))
        purging = Deferred.fromCoroutine(self.storage.purge(Selection(mapping="openai")))
        self.storage.store(stored("b"))
        self.assertEqual((await self.storage.clear(), await purging), (1, 1))
        self.assertEqual((self.storage.stats.queued, await self.present("a", "b")), (0, []))

    async def test_overtaken_lookup(self) -> None:
        """A lookup sees what was stored and invalidated after it began to read, written meanwhile or not."""
        self.storage.store(stored("a"))
        self.storage.store(stored("b"))
        await self.storage.flush()
        lookups = [Deferred.fromCoroutine(self.bodies(name)) for name in "abc"]
        self.storage.invalidate("openai", stored("a").uri)
        flush = Deferred.fromCoroutine(self.storage.flush())
        self.storage.store(stored("b", b"new"))
        self.storage.store(stored("c"))
        self.assertEqual([await lookup for lookup in lookups], [[], [b"new"], [b"hello"]])
        await flush

    async def test_queue_is_bounded(self) -> None:
        """What finds the queue full is dropped and counted, and nobody waits for it."""
        body = bytes(writing.QUEUE_LIMIT // 10)
        with self.busy_writer():
            for name in "abcdefghijk":
                self.storage.store(stored(name, body))
            self.storage.invalidate("openai", stored("c").uri)
            self.storage.store(stored("more"))
        self.assertEqual(await self.present(*"abcdefghijk", "more"), [*"abdefghi", "more"])
        self.assertEqual((self.storage.stats.stored, self.storage.stats.dropped), (10, 2))
        self.assertEqual(self.storage.stats.queued, 0)

    async def test_close_writes(self) -> None:
        """Closing writes what is queued, and what is under way."""
        with self.busy_writer():
            self.storage.store(stored("a"))
            self.clock.advance(writing.WRITE_AFTER)
            self.storage.store(stored("b"))
            closing = Deferred.fromCoroutine(self.storage.close())
        await closing
        self.assertEqual(self.count(), 2)

    async def test_unwritable_response(self) -> None:
        """A response that cannot be written down costs itself only, and is counted; what it replaces goes."""
        self.storage.store(stored("a"))
        await self.storage.flush()
        self.storage.store(stored("b"))
        self.storage.store(stored("a", mapping="no text: \ud800"))
        self.storage.store(stored("c"))
        with warnings() as said:
            self.assertEqual(await self.present(*"abc"), ["b", "c"])
        self.assertEqual([event["count"] for event in said], [1])
        self.assertEqual((self.storage.stats.dropped, self.storage.stats.failed), (1, 0))


class EachTests(SqliteCase):
    """With `each`, every store is a transaction of its own."""

    each = True

    async def traced(self) -> list[str]:
        """Return a list that the writer's commits go to from now on."""
        said: list[str] = []

        def trace(statement: str) -> None:
            if statement == "COMMIT":
                said.append(statement)

        await self.database.write(lambda cursor: cursor.connection.set_trace_callback(trace))
        return said

    async def synchronous(self) -> int:
        """Return how the writer's connection waits for the medium."""
        return await self.database.write(lambda cursor: cursor.execute("PRAGMA synchronous").fetchone()[0])

    async def test_one_transaction_each(self) -> None:
        """Each is committed by itself, in the order given, and is on the medium before the next."""
        with self.busy_writer():
            said = Deferred.fromCoroutine(self.traced())
            for number in range(5):
                self.storage.store(stored(str(number)))
        await self.storage.flush()
        self.assertEqual(await said, ["COMMIT"] * 5)
        kept = self.rows("SELECT key FROM cache_entries ORDER BY id")
        self.assertEqual(kept, [(key(str(number)),) for number in range(5)])
        self.assertEqual(await self.synchronous(), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_at_once(self) -> None:
        """The writer is given a store as soon as it is asked for, and an invalidation too."""
        self.storage.store(stored("a"))
        await self.storage.flush()
        self.storage.store(stored("b"))
        self.storage.invalidate("openai", stored("a").uri)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        await self.storage.flush()
        self.assertEqual(self.rows("SELECT key FROM cache_entries"), [(key("b"),)])

    async def test_grouped(self) -> None:
        """Otherwise they are committed together, and the medium takes its time."""
        self.each = False
        self.storage = self.open()
        with self.busy_writer():
            said = Deferred.fromCoroutine(self.traced())
            for number in range(5):
                self.storage.store(stored(str(number)))
        await self.storage.flush()
        self.assertEqual(await said, ["COMMIT"])
        self.assertEqual(await self.synchronous(), 1)

    async def test_locked(self) -> None:
        """While another process writes they wait, and none is lost or written twice."""
        with self.locked(), warnings():
            for name in "abc":
                self.storage.store(stored(name))
            with self.assertRaises(CacheError):
                await self.storage.flush()
            self.assertEqual(await self.bodies("c"), [b"hello"])
        self.assertEqual(await self.present(*"abc"), [*"abc"])
        self.assertEqual((self.storage.stats.entries, self.storage.stats.dropped), (3, 0))

    async def fail_at(self, number: int) -> None:
        """Let the store that is written `number`-th from now on fail for want of room."""
        await self.database.write(
            lambda cursor: cursor.executescript(
                f"""
                CREATE TEMP TABLE counted (number);
                CREATE TEMP TRIGGER full AFTER INSERT ON main.cache_entries BEGIN
                    INSERT INTO counted VALUES (1);
                    SELECT RAISE(ABORT, 'full') WHERE (SELECT count(*) FROM counted) = {number};
                END;
                """
            ).fetchall()
        )

    async def test_fails_half_way(self) -> None:
        """Where a store fails, those committed before it are there, and not counted as dropped."""
        await self.fail_at(3)
        with self.busy_writer(), warnings():
            for name in "abcd":
                self.storage.store(stored(name))
        with self.assertRaises(CacheError):
            await self.storage.flush()
        self.assertEqual(await self.present(*"abcd"), ["a", "b"])
        self.assertEqual((self.storage.stats.entries, self.storage.stats.dropped), (2, 2))

    async def test_locked_half_way(self) -> None:
        """Where another process comes between two stores, those committed are not written again."""
        other = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self.addCleanup(other.close)
        begun: list[str] = []

        def trace(statement: str) -> None:
            if statement == "BEGIN IMMEDIATE":
                begun.append(statement)
                if len(begun) == 3:
                    other.execute(statement)

        await self.database.write(lambda cursor: cursor.connection.set_trace_callback(trace))
        with self.busy_writer(), warnings():
            self.storage.store(stored("first"))
            self.storage.invalidate("openai", stored("a").uri)
            for name in "abc":
                self.storage.store(stored(name))
        with warnings(), self.assertRaises(CacheError):
            await self.storage.flush()
        self.assertEqual(len(self.rows("SELECT id FROM cache_entries")), 2)
        other.execute("ROLLBACK")
        self.assertEqual(await self.present(*"abc"), [*"abc"])
        self.assertEqual(self.storage.stats.bodies.received, 4 * len(stored().body))


class StatsTests(SqliteCase):
    async def test_held(self) -> None:
        """What is held, of each mapping too, is known from the start, with every write, and after cleaning."""
        for name, mapping in (("a", "one"), ("b", "one"), ("c", "two"), ("d", "three")):
            self.storage.store(stored(name, mapping=mapping, remove_after=NOW + ord(name)))
        self.assertEqual((self.storage.stats.entries, self.storage.stats.waiting), (0, 4))
        await self.storage.flush()
        held = {"one": Held(2, 2 * SIZE), "two": Held(1, SIZE), "three": Held(1, SIZE)}
        self.assertEqual(self.storage.stats.mappings, held)
        self.assertEqual((self.storage.stats.size, self.storage.stats.waiting), (4 * SIZE, 0))
        other = self.open()
        self.assertEqual((other.stats.entries, other.stats.mappings), (4, held))
        self.assertEqual(await other.remove_expired(NOW + ord("b")), 2)
        self.assertEqual(other.stats.mappings, {"two": Held(1, SIZE), "three": Held(1, SIZE)})
        self.assertEqual((other.stats.expired, other.stats.evicted), (2, 0))
        await other.purge(Selection(mapping="two"))
        self.assertEqual(other.stats.mappings, {"three": Held(1, SIZE)})

    async def test_compression_ratio(self) -> None:
        """How much smaller bodies were written than they were received, whatever became of them since."""
        self.assertIsNone(self.storage.stats.compression_ratio)
        self.storage.store(stored(body=b"x" * 10_000))
        await self.storage.flush()
        self.assertEqual(self.storage.stats.compression_ratio, 1)
        self.compression = Compression()
        self.storage = self.open()
        self.storage.store(stored(body=b"x" * 20_000))
        self.storage.store(stored("b", body=b"too short"))
        await self.storage.flush()
        written = self.rows("SELECT total(length(body)) FROM cache_entries")[0][0]
        self.assertEqual(self.storage.stats.bodies, Bodies(20_009, written))
        self.assertGreater(self.storage.stats.compression_ratio, 100)
        await self.storage.clear()
        self.assertEqual(self.storage.stats.bodies, Bodies(20_009, written))

    async def test_evicted(self) -> None:
        """What was evicted is no longer held."""
        self.storage = self.open(Limits(2, 2**30))
        for name, mapping in (("a", "one"), ("b", "two"), ("c", "two")):
            self.storage.store(stored(name, mapping=mapping))
        await self.storage.flush()
        self.assertEqual(self.storage.stats.mappings, {"two": Held(2, 2 * SIZE)})

    async def test_lookups(self) -> None:
        """Lookups that found something are told from those that did not, or failed."""
        self.storage.store(stored("a"))
        for name in "aab":
            await self.bodies(name)
        await self.storage.flush()
        await self.bodies("a")
        self.assertEqual((self.storage.stats.hits, self.storage.stats.misses), (3, 1))
        await self.storage.close()
        with self.assertRaises(CacheError):
            await self.bodies("a")
        self.assertEqual((self.storage.stats.hits, self.storage.stats.misses), (3, 2))

    async def test_waiting(self) -> None:
        """What waits, in whatever batch, is counted; so are a purge and clearing."""
        with self.busy_writer():
            self.storage.store(stored("a"))
            self.clock.advance(writing.WRITE_AFTER)
            self.storage.store(stored("b"))
            purging = Deferred.fromCoroutine(self.storage.purge(Selection(mapping="openai")))
            self.storage.invalidate("openai", b"/")
            clearing = Deferred.fromCoroutine(self.storage.clear())
            self.assertEqual(self.storage.stats.waiting, 5)
        await purging
        await clearing
        self.assertEqual(self.storage.stats.waiting, 0)

    async def test_flushes(self) -> None:
        """How often changes were written, and how long that took; a clock set back takes nothing away."""
        for number, seconds in enumerate((0.5, 0.25, 0)):
            with self.busy_writer():
                self.storage.store(stored(str(number)))
                flush = Deferred.fromCoroutine(self.storage.flush())
                self.clock.advance(seconds)
            await flush
            await self.written()
        self.assertEqual(self.storage.stats.flushes, Flushes(3, 0.75, 0.5))
        with self.busy_writer():
            self.storage.store(stored())
            flush = Deferred.fromCoroutine(self.storage.flush())
            self.clock.rightNow -= 1000
        await flush
        self.assertEqual(self.storage.stats.flushes, Flushes(4, 0.75, 0.5))

    async def test_damaged_name(self) -> None:
        """A mapping's name that is no text any more stands in nobody's way."""
        self.storage.store(stored("a"))
        await self.storage.flush()
        with self.connect() as connection:
            connection.execute("UPDATE totals SET mapping = CAST(x'6fff' AS TEXT)")
        self.storage.store(stored("b", mapping="maps"))
        await self.storage.flush()
        self.assertEqual(self.storage.stats.mappings, {"o\ufffd": Held(1, SIZE), "maps": Held(1, SIZE)})
