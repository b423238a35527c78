"""Purging in SQL: the same as a selection comes to in memory, from indexes, in slices, and whatever the medium does."""

import sqlite3
from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.errors import CacheError
from buddyproxy.storage import statements, writing
from buddyproxy.storage.changes import Changes
from buddyproxy.storage.files import prepare
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.storage.purging import find_rows, query_for
from buddyproxy.storage.rows import find
from buddyproxy.storage.selection import Selection
from buddyproxy.storage.statements import Limits
from buddyproxy.storage.tiered import TieredStorage
from tests.storage.contract import PURGES
from tests.storage.open import SqliteCase
from tests.storage.samples import NOW, key, stored, whole

_URIS = st.text("ab[]*?\\\xe9\xff", max_size=5).map(lambda text: text.encode("latin-1"))
_CRITERIA = {
    "mapping": st.sampled_from(("a", "b")),
    "uri": _URIS,
    "prefix": _URIS,
    "glob": _URIS,
    "key": st.sampled_from((key("0"), key("1"))),
    "tag": st.sampled_from((b"s", b"t")),
    "method": st.sampled_from((b"GET", b"POST")),
    "before": st.sampled_from((NOW, NOW - 1)),
}
_SELECTIONS = st.fixed_dictionaries({}, optional=_CRITERIA).filter(bool).map(lambda given: Selection(**given))
_RESPONSES = st.lists(
    st.builds(
        stored,
        st.integers(0, 5).map(str),
        mapping=_CRITERIA["mapping"],
        uri=_URIS,
        method=_CRITERIA["method"],
        response_time=_CRITERIA["before"],
        tags=st.sampled_from(("", "s", "t", "s, t")),
    ),
    max_size=6,
)


class QueryTests(SynchronousTestCase):
    def setUp(self) -> None:
        path = Path(self.mktemp())
        prepare(path, 0.05)
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(self.connection.close)

    @settings(derandomize=True, database=None, max_examples=300, deadline=None)
    @given(_RESPONSES, _SELECTIONS)
    def test_same_as_in_memory(self, responses, selection) -> None:
        """The rows found are those of the responses that the selection matches, whatever its criteria."""
        cursor = self.connection.cursor()
        storing = Changes()
        for response in responses:
            storing.store(response)
        statements.write(cursor, whole(storing), NOW)
        ids = find_rows(cursor, query_for(selection))
        self.connection.text_factory = bytes
        found = {response for name in "012345" for response in find(cursor, key(name)).responses}
        self.connection.text_factory = str
        self.assertEqual(len(ids), sum(map(selection.matches, found)))
        for row in ids:
            (uri,) = cursor.execute("SELECT uri FROM cache_entries WHERE id = ?", (row,)).fetchone()
            self.assertIn(uri.encode("latin-1"), {one.uri for one in found if selection.matches(one)})
        self.connection.rollback()

    def test_indexes(self) -> None:
        """No purge reads through the table, and one that knows where to look looks nowhere else."""
        for selection, _ in PURGES:
            query = query_for(selection)
            plan = self.connection.execute(f"EXPLAIN QUERY PLAN {query.sql}", query.parameters).fetchall()
            steps = [step[3] for step in plan if "cache_entries" in step[3]]
            self.assertEqual(len(steps), 1, plan)
            self.assertTrue(steps[0].startswith("SEARCH"), plan)
            if selection.key is not None:
                self.assertIn("cache_entries_by_key (key=?", steps[0])
            elif selection.tag is not None:
                self.assertIn("PRIMARY KEY (rowid=?)", steps[0])
            else:
                self.assertIn("COVERING INDEX cache_entries_by_uri (mapping=?", steps[0])
            if not (selection.key or selection.tag) and (selection.uri or selection.prefix):
                self.assertRegex(steps[0], r"mapping=\? AND uri[=>]")
        (plan,) = self.connection.execute("EXPLAIN QUERY PLAN SELECT entry FROM cache_tags WHERE tag = ''").fetchall()
        self.assertIn("SEARCH", plan[3])


class UpgradeTests(SynchronousTestCase):
    def test_from_the_first(self) -> None:
        """A file of the first schema keeps its responses, but for those whose tags it did not know."""
        path = Path(self.mktemp())
        first = Path(statements.__file__).parent / "schema" / "001_stored_responses.sql"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(first.read_text())
            connection.executescript(
                "CREATE TABLE cache_tags (tag, entry); CREATE TABLE removals (remover, mapping, uri, removed_at)"
            )
            storing = Changes()
            for name, tags in (("plain", ""), ("tagged", "t"), ("another", "")):
                storing.store(stored(name, body=b"Cache-Tag: no field", tags=tags))
            statements.write(connection.cursor(), whole(storing), NOW)
            connection.executescript("DROP TABLE cache_tags; DROP TABLE removals")
            connection.execute("PRAGMA user_version = 1")
            connection.commit()
        self.assertEqual(prepare(path, 0.05).totals.entries, 2)
        with closing(sqlite3.connect(path)) as connection:
            kept = connection.execute("SELECT key FROM cache_entries ORDER BY id").fetchall()
            self.assertEqual(kept, [(key("plain"),), (key("another"),)])


class PurgingTests(SqliteCase):
    async def test_in_slices(self) -> None:
        """However many are selected, they go, some at a time; other work goes on, and the file shrinks."""
        count = 401
        with self.busy_writer():
            for number in range(count):
                self.storage.store(stored(str(number), b"x" * 10_000, tags="t"))
            self.storage.store(stored("other"))
            soft = Deferred.fromCoroutine(self.storage.purge(Selection(tag=b"t"), soft=True))
            hard = Deferred.fromCoroutine(self.storage.purge(Selection(mapping="openai", tag=b"t")))
            self.storage.store(stored("later", tags="t"))
            self.assertEqual((await self.bodies("7"), await self.bodies("later")), ([], [b"hello"]))
        self.assertEqual((await soft, await hard), (count, count))
        self.assertEqual(await self.present("7", "other", "later"), ["other", "later"])
        self.assertEqual(self.rows("SELECT tag FROM cache_tags"), [("t",)])
        self.assertEqual(self.storage.stats.entries, 2)
        await self.storage.close()
        self.assertLess(self.path.stat().st_size, 150_000)

    async def test_lasting(self) -> None:
        """What was marked is still marked when the file is opened again, and found by its tags."""
        self.storage.store(stored("a", tags="t, u"))
        self.storage.store(stored("b", tags="u"))
        self.assertEqual(await self.storage.purge(Selection(tag=b"t"), soft=True), 1)
        await self.storage.close()
        self.storage = self.open()
        self.assertEqual(list(await self.storage.lookup(key("a"))), [stored("a", tags="t, u").marked_outdated()])
        self.assertEqual(await self.storage.purge(Selection(tag=b"u"), soft=True), 1)
        self.assertEqual(await self.storage.purge(Selection(tag=b"u")), 2)

    async def test_counts_both_tiers(self) -> None:
        """What only memory has, what only the disk has and what both have counts once each, read or cleared at once."""
        tiered = TieredStorage(MemoryStorage(2**20), self.open(Limits(1000, 5000)))
        for settled in (True, False):
            for purge in (
                lambda: tiered.purge(Selection(prefix=b"https://api")),
                lambda: tiered.purge(Selection(mapping="openai"), soft=True),
                lambda: tiered.purge(Selection(everything=True)),
                tiered.clear,
            ):
                await tiered.clear()
                for name in "ab":
                    await tiered.lookup(key(name))
                tiered.store(stored("a"))
                tiered.store(stored("b", b"too large for the disk" * 1000))
                self.storage.store(stored("c", request_time=NOW + 1))
                await self.storage.flush()
                if settled:
                    await tiered.disk.flush()
                self.assertEqual(await purge(), 3)

    async def test_another_store(self) -> None:
        """What another process stored is purged too."""
        other = self.open()
        other.store(stored("a", tags="t"))
        await other.flush()
        self.assertEqual(await self.storage.purge(Selection(tag=b"t")), 1)
        self.assertEqual(await other.lookup(key("a")), ())

    async def test_overtaken_lookup(self) -> None:
        """A lookup sees what was purged after it began to read, and what was stored after that."""
        self.storage.store(stored("a"))
        self.storage.store(stored("b"))
        await self.storage.flush()
        lookups = [Deferred.fromCoroutine(self.storage.lookup(key(name))) for name in "ab"]
        purging = Deferred.fromCoroutine(self.storage.purge(Selection(mapping="openai")))
        self.storage.store(stored("b", b"new"))
        self.assertEqual([await lookup for lookup in lookups], [(), (stored("b", b"new"),)])
        self.assertEqual(await purging, 2)

    async def test_while_locked(self) -> None:
        """What could not be purged yet stays out of sight, and is purged later."""
        for soft in (True, False):
            self.storage.store(stored("a"))
            await self.storage.flush()
            with self.locked():
                with self.assertRaises(CacheError):
                    await self.storage.purge(Selection(mapping="openai"), soft=soft)
                found = await self.storage.lookup(key("a"))
                self.assertEqual([one.outdated for one in found], [True] if soft else [])
            self.clock.advance(writing.RETRY_AFTER)
            await self.storage.flush()
            expected = [(float("-inf"),)] if soft else []
            self.assertEqual(self.rows("SELECT expires FROM cache_entries"), expected)

    async def test_while_the_disk_is_full(self) -> None:
        """What was purged while nothing could be written does not come back when it can."""
        self.storage.store(stored("a"))
        await self.storage.flush()
        await self.limit(1)
        self.storage.store(stored("b", b"x" * 100_000))
        with self.assertRaises(CacheError):
            await self.storage.purge(Selection(mapping="openai"))
        self.assertEqual(await self.bodies("a"), [])
        await self.limit(1_000_000)
        self.assertEqual(await self.present("a", "b"), [])

    async def limit(self, pages: int) -> None:
        """Let the file have `pages` at most."""
        await self.database.write(lambda cursor: cursor.execute(f"PRAGMA max_page_count = {pages}").fetchall())

    async def test_closed(self) -> None:
        """A closed store purges nothing, which is said."""
        await self.storage.close()
        with self.assertRaises(CacheError):
            await self.storage.purge(Selection(mapping="openai"))
