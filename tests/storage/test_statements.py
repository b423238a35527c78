"""What is done to the table, without threads around it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.storage import statements
from buddyproxy.storage.changes import Changes
from buddyproxy.storage.files import prepare
from tests.storage.samples import NOW, stored, whole


class StatementsTests(SynchronousTestCase):
    def test_discards_only_what_was_damaged(self) -> None:
        """A damaged row is removed by its checksum too: its number may be another's by then."""
        path = Path(self.mktemp())
        prepare(path, 0.05)
        with closing(sqlite3.connect(path)) as connection:
            storing = Changes()
            storing.store(stored())
            written = statements.write(connection.cursor(), whole(storing), NOW)
            connection.commit()
            self.assertEqual(written.totals, statements.Totals(1, stored().size))
            ((row, checksum),) = connection.execute("SELECT id, checksum FROM cache_entries").fetchall()
            for given, left in ((b"another's", 1), (checksum, 0)):
                discarding = Changes()
                discarding.discard(row, given)
                written = statements.write(connection.cursor(), whole(discarding), NOW)
                self.assertEqual(written.totals.entries, left)
