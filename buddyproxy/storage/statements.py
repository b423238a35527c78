"""What is done to the table of stored responses, each function one transaction of the writer's.

Runs in the writer's thread, with the cursor it is given; it sees finished batches and never the queue. Whatever removes
many rows does so a slice at a time, so that nobody waits long for the writer.
"""

from collections.abc import Mapping
from sqlite3 import Cursor

from attrs import field, frozen

from buddyproxy.storage.changes import Changes
from buddyproxy.storage.rows import INSERT, encode
from buddyproxy.storage.stats import Held

SLICE = 500
"""Rows removed in one transaction."""
VACUUM_SLICE = 1000
"""Pages given back to the file system in one transaction."""

_FORGET = "DELETE FROM cache_entries WHERE mapping = ? AND uri = ? AND method IN ('GET', 'HEAD')"
_DISCARD = "DELETE FROM cache_entries WHERE id = ? AND CAST(checksum AS BLOB) IS CAST(? AS BLOB)"
_REPLACED = "DELETE FROM cache_entries WHERE key = ? AND variant = ?"
_TAG = "INSERT OR IGNORE INTO cache_tags (tag, entry) SELECT ?, id FROM cache_entries WHERE key = ? AND variant = ?"
_TOUCH = "UPDATE cache_entries SET last_access = ?, access_count = access_count + ? WHERE key = ?"
# As bytes: what a damaged file has for a name may be no text.
_TOTALS = "SELECT CAST(mapping AS BLOB), total(entries), total(bytes) FROM totals GROUP BY mapping"
_OLDEST = "SELECT id, size FROM cache_entries ORDER BY last_access, id LIMIT ?"
_REMOVE = "DELETE FROM cache_entries WHERE id = ?"
_REMOVE_EXPIRED = (
    "DELETE FROM cache_entries WHERE id IN "
    "(SELECT id FROM cache_entries WHERE remove_after <= ? ORDER BY remove_after LIMIT ?)"
)
_LAST = "SELECT coalesce(max(id), 0) FROM cache_entries"
_REMOVE_UNTIL = "DELETE FROM cache_entries WHERE id IN (SELECT id FROM cache_entries WHERE id <= ? ORDER BY id LIMIT ?)"


@frozen
class Limits:
    """How much a store may hold."""

    max_entries: int
    max_bytes: int


@frozen
class Totals:
    """How much a store holds."""

    entries: int
    size: int
    mappings: Mapping[str, Held] = field(factory=dict, eq=False)
    """What of it belongs to each mapping, where that is known."""

    def within(self, limits: Limits) -> bool:
        """Return whether that is no more than it may hold."""
        return self.entries <= limits.max_entries and self.size <= limits.max_bytes


@frozen
class Written:
    """What writing came to: what the store holds now, and how many responses were evicted for it."""

    totals: Totals
    evicted: int


def write(cursor: Cursor, changes: Changes, now: float, limits: Limits) -> Written:
    """Make `changes`, all but clearing, at `now`, and evict what is then too much, up to a slice of it."""
    cursor.executemany(_FORGET, [(mapping, uri.decode("latin-1")) for mapping, uri in changes.forgotten])
    cursor.executemany(_DISCARD, changes.damaged.items())
    cursor.executemany(_REPLACED, [(stored.key, stored.variant) for stored in changes.stored])
    cursor.executemany(INSERT, (encode(stored, now) for stored in changes.stored))
    tagged = ((tag.decode("ascii"), stored.key, stored.variant) for stored in changes.stored for tag in stored.tags)
    cursor.executemany(_TAG, tagged)
    cursor.executemany(_TOUCH, [(now, uses, key) for key, uses in changes.touched.items()])
    return evict(cursor, limits)


def write_through(cursor: Cursor, changes: Changes, now: float, limits: Limits) -> Written:
    """Make `changes` as `write` does; they are on the medium, not only on their way there, once it is committed."""
    # Holds for the connection's life; SQLite takes it between transactions only, and this one has not changed anything.
    cursor.execute("PRAGMA synchronous = FULL")
    return write(cursor, changes, now, limits)


def evict(cursor: Cursor, limits: Limits) -> Written:
    """Remove what was used longest ago until the store is within `limits`, up to a slice of it."""
    totals = read_totals(cursor)
    if totals.within(limits):
        return Written(totals, 0)
    victims = []
    left = totals
    for row, size in cursor.execute(_OLDEST, (SLICE,)).fetchall():
        if left.within(limits):
            break
        victims.append((row,))
        left = Totals(left.entries - 1, left.size - size)
    cursor.executemany(_REMOVE, victims)
    return Written(read_totals(cursor), len(victims))


def read_totals(cursor: Cursor) -> Totals:
    """Return what the store holds, other processes' changes included."""
    held = {
        name.decode("utf-8", "replace"): Held(int(entries), int(size))
        for name, entries, size in cursor.execute(_TOTALS).fetchall()
        if entries
    }
    return Totals(sum(one.entries for one in held.values()), sum(one.size for one in held.values()), held)


def remove_expired(cursor: Cursor, now: float) -> int:
    """Remove a slice of what is of no more use at `now`; return how many rows."""
    return cursor.execute(_REMOVE_EXPIRED, (now, SLICE)).rowcount


def last_row(cursor: Cursor) -> int:
    """Return the id of the row last stored."""
    row: int = cursor.execute(_LAST).fetchone()[0]
    return row


def remove_until(cursor: Cursor, last: int) -> int:
    """Remove a slice of the rows up to `last`; return how many."""
    return cursor.execute(_REMOVE_UNTIL, (last, SLICE)).rowcount


def vacuum(cursor: Cursor) -> int:
    """Give a slice of the free pages back; return how many are left."""
    # Each step frees one page, so all of them must be fetched.
    cursor.execute(f"PRAGMA incremental_vacuum({VACUUM_SLICE})").fetchall()
    left: int = cursor.execute("PRAGMA freelist_count").fetchone()[0]
    return left
