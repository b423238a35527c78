"""Slices: as large as the writer can take without being held for long."""

import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.storage import statements
from buddyproxy.storage.changes import Changes
from buddyproxy.storage.files import prepare
from buddyproxy.storage.pace import AIM, HOLD_LIMIT, ROW_COST, Pace, removing, vacuuming
from buddyproxy.storage.statements import Limits
from tests.storage.samples import NOW, stored, whole


class PaceTests(SynchronousTestCase):
    def test_learns(self) -> None:
        """The next slice is what the last one's time says: cut at once, grown step by step, within its bounds."""
        cases = (
            ("quick, and all used", 100, 100, AIM / 4, 200),
            ("quick, and another one was too much", 100, 51, AIM / 4, 200),
            ("quick, but little used", 100, 49, AIM / 4, 100),
            ("about right", 100, 100, AIM * 0.9, 100),
            ("twice as long", 100, 100, 2 * AIM, 50),
            ("twice as long, with one large piece", 100, 1000, 2 * AIM, 50),
            ("twice as long, half used", 100, 50, 2 * AIM, 25),
            ("much too long", 100, 100, 1000 * AIM, 10),
            ("at the top", 900, 900, 0.0, 1000),
        )
        for case, budget, done, seconds, expected in cases:
            pace = Pace(budget, 10, 1000)
            pace.took(done, seconds)
            self.assertEqual(pace.budget, expected, case)

    def test_settles(self) -> None:
        """On a medium of any steady speed, slices soon take less than they may, and are not needlessly small."""
        for speed in (2_000_000, 20_000_000, 400_000_000):
            pace = removing()
            for _ in range(12):
                pace.took(pace.budget, pace.budget / speed)
            self.assertLessEqual(pace.budget / speed, HOLD_LIMIT, speed)
            if pace.budget < pace.most:
                self.assertGreaterEqual(pace.budget / speed, AIM / 2, speed)


class SlicesTests(SynchronousTestCase):
    """Slices of a real table, on a disk whose speed is the test's."""

    seconds_a_row = 0.0

    def setUp(self) -> None:
        path = Path(self.mktemp())
        prepare(path, 0.05)
        connection = sqlite3.connect(path, isolation_level="IMMEDIATE")
        self.addCleanup(connection.close)
        self.cursor = connection.cursor()
        other = sqlite3.connect(path)
        self.addCleanup(other.close)
        self.other = other
        self.before = 0

    def timer(self) -> float:
        """Return a time that passes with the rows removed."""
        return -self.seconds_a_row * self.count()

    def count(self) -> int:
        """Return how many rows the connection sees."""
        return self.cursor.connection.execute("SELECT count(*) FROM cache_entries").fetchone()[0]

    def fill(self, count: int, body: bytes = b"") -> None:
        changes = Changes()
        for number in range(count):
            changes.store(stored(str(number), body, remove_after=NOW))
        statements.write(self.cursor, whole(changes), NOW)
        self.cursor.connection.commit()

    def test_adapts(self) -> None:
        """Slices grow while they are quick and shrink when they are not, until all is gone."""
        self.fill(1000)
        pace = removing(self.timer)
        slices = [statements.remove_expired(self.cursor, NOW, pace) for _ in range(2)]
        self.assertGreaterEqual(slices[1], 2 * slices[0])
        self.seconds_a_row = HOLD_LIMIT / 10
        while removed := statements.remove_expired(self.cursor, NOW, pace):
            slices.append(removed)
        # The first of them could not know; the others take what they may.
        self.assertLessEqual(max(slices[3:]) * self.seconds_a_row, HOLD_LIMIT)
        self.assertEqual(sum(slices), 1000)

    def test_large_ones(self) -> None:
        """A slice is bounded in bytes too, and has one row at least, however large."""
        pace = removing(self.timer)
        self.fill(10, bytes(pace.budget // 3))
        self.assertEqual(statements.remove_until(self.cursor, 10, pace), 2)
        pace.budget = pace.least
        self.assertEqual(statements.remove_until(self.cursor, 10, pace), 1)

    def test_others_get_in_between(self) -> None:
        """Between two slices another connection can write."""
        self.fill(1000)
        removed = statements.remove_until(self.cursor, 1000, removing())
        with closing(self.other.cursor()) as cursor:
            cursor.execute("DELETE FROM cache_entries WHERE id = 1000")
            self.other.commit()
        self.assertEqual(self.count(), 1000 - removed - 1)

    def test_evicts_no_more_than_needed(self) -> None:
        """Eviction stops where there is no longer too much, in the middle of a slice."""
        self.fill(10)
        evicted = statements.evict(self.cursor, Limits(7, 2**30), removing())
        self.assertEqual((evicted.count, evicted.totals.entries, self.count()), (3, 7, 7))

    def test_vacuum(self) -> None:
        """Pages are given back a slice at a time, and the pace learns from what was done."""
        self.fill(100, bytes(10 * ROW_COST))
        while statements.remove_expired(self.cursor, NOW, removing()):
            pass
        pace = vacuuming(self.timer)
        budget = pace.budget
        left = [statements.vacuum(self.cursor, pace) for _ in range(2)]
        self.assertEqual(left[0] - left[1], 2 * budget)
