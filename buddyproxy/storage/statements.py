"""What is done to the table of stored responses, each function one transaction of the writer's.

Runs in the writer's thread, with the cursor it is given; it sees finished batches and never the queue. Whatever removes
many rows does so a slice at a time, each a transaction of its own and as large as the pace allows (see `pace.py`), so
that nobody waits long for the writer.
"""

from collections.abc import Iterable, Mapping
from sqlite3 import Cursor
from struct import error as StructError

from attrs import field, frozen

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.storage.changes import Changes, Part
from buddyproxy.storage.compression import Compression
from buddyproxy.storage.pace import ROW_COST, Pace
from buddyproxy.storage.removals import note
from buddyproxy.storage.rows import INSERT, Row, encode
from buddyproxy.storage.shelf import VARIANTS
from buddyproxy.storage.stats import Bodies, Held

_FORGET = "DELETE FROM cache_entries WHERE mapping = ? AND uri = ? AND method <> 'POST'"
_DISCARD = "DELETE FROM cache_entries WHERE id = ? AND CAST(checksum AS BLOB) IS CAST(? AS BLOB)"
_TAG = "INSERT OR IGNORE INTO cache_tags (tag, entry) SELECT ?, id FROM cache_entries WHERE key = ? AND variant = ?"
_REPLACED = "DELETE FROM cache_entries WHERE key = ? AND variant = ?"
_CROWDED = """
    DELETE FROM cache_entries WHERE key = ?1
    AND id <= (SELECT id FROM cache_entries WHERE key = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)
"""
_TOUCH = "UPDATE cache_entries SET last_access = ?, access_count = access_count + ? WHERE key = ?"
# As bytes: what a damaged file has for a name may be no text.
_TOTALS = "SELECT CAST(mapping AS BLOB), total(entries), total(bytes) FROM totals GROUP BY mapping"
# The cast: a damaged file may hold anything.
_OLDEST = "SELECT id, CAST(size AS INTEGER) FROM cache_entries ORDER BY last_access, id LIMIT ?"
_REMOVE = "DELETE FROM cache_entries WHERE id = ?"
_EXPIRED = "SELECT id, CAST(size AS INTEGER) FROM cache_entries WHERE remove_after <= ? ORDER BY remove_after LIMIT ?"
_LAST = "SELECT coalesce(max(id), 0) FROM cache_entries"
_UNTIL = "SELECT id, CAST(size AS INTEGER) FROM cache_entries WHERE id <= ? ORDER BY id LIMIT ?"


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
    """What of it belongs to each mapping."""

    def within(self, limits: Limits) -> bool:
        """Return whether that is no more than it may hold."""
        return self.entries <= limits.max_entries and self.size <= limits.max_bytes


@frozen
class Written:
    """What writing a batch came to: what the store holds now, perhaps too much, and what that took."""

    totals: Totals
    bodies: Bodies = Bodies()
    unwritable: int = 0
    """How many responses were left out because they could not be written down."""
    evicted: int = 0
    """How many went because their key had too many."""


@frozen
class Evicted:
    """What evicting came to: what the store holds now, and how many responses went for it."""

    totals: Totals
    count: int


def write(
    cursor: Cursor, part: Part, now: float, compression: Compression | None = None, remover: bytes = b""
) -> Written:
    """Make the changes of `part` at `now`; others hear from `remover` what is removed."""
    # Before the lock is taken, which the first change does: it may take a while.
    encoded = [(stored, _encoded(stored, now, compression)) for stored in part.stored]
    rows = [(stored, row) for stored, row in encoded if row is not None]
    forget(cursor, part, remover)
    cursor.executemany(INSERT, [row for _, row in rows])
    # What it was to replace is no longer what the origin says.
    cursor.executemany(_REPLACED, [(stored.key, stored.variant) for stored, row in encoded if row is None])
    crowded = cursor.executemany(_CROWDED, [(key, VARIANTS) for key in {stored.key for stored in part.stored}]).rowcount
    tagged = ((tag.decode("ascii"), stored.key, stored.variant) for stored in part.stored for tag in stored.tags)
    cursor.executemany(_TAG, tagged)
    cursor.executemany(_TOUCH, [(now, uses, key) for key, uses in part.touched.items()])
    bodies = Bodies(sum(len(stored.body) for stored, _ in rows), sum(len(row[-1]) for _, row in rows))
    return Written(read_totals(cursor), bodies, len(encoded) - len(rows), crowded)


def _encoded(stored: StoredResponse, now: float, compression: Compression | None) -> Row | None:
    """Return the row that `stored` makes, or None where it makes none, which must not cost the others of its batch."""
    try:
        return encode(stored, now, compression)
    except (StructError, ValueError):
        return None


def forget(cursor: Cursor, changes: Changes | Part, remover: bytes) -> None:
    """Remove what `changes` is to remove, all but clearing and purging; others hear of it from `remover`."""
    cursor.executemany(_FORGET, [(mapping, uri.decode("latin-1")) for mapping, uri in changes.forgotten])
    note(cursor, remover, changes.forgotten)
    cursor.executemany(_DISCARD, changes.damaged.items())


def write_through(
    cursor: Cursor, part: Part, now: float, compression: Compression | None = None, remover: bytes = b""
) -> Written:
    """Make changes as `write` does; once committed, they are on the medium, not only on their way there."""
    # Holds for the connection's life; SQLite takes it between transactions only, and this one has not changed anything.
    cursor.execute("PRAGMA synchronous = FULL")
    return write(cursor, part, now, compression, remover)


def evict(cursor: Cursor, limits: Limits, pace: Pace) -> Evicted:
    """Remove what was used longest ago until the store is within `limits`, up to a slice of it."""
    with pace.holding(cursor) as note:
        left = read_totals(cursor)
        victims = []
        for row, size in _slice(cursor.execute(_OLDEST, (_most(pace),)), pace):
            if left.within(limits):
                break
            victims.append((row, size))
            left = Totals(left.entries - 1, left.size - size)
        note(_remove(cursor, victims))
        totals = read_totals(cursor)
    return Evicted(totals, len(victims))


def read_totals(cursor: Cursor) -> Totals:
    """Return what the store holds, other processes' changes included."""
    held = {
        name.decode("utf-8", "replace"): Held(int(entries), int(size))
        for name, entries, size in cursor.execute(_TOTALS).fetchall()
        if entries
    }
    return Totals(sum(one.entries for one in held.values()), sum(one.size for one in held.values()), held)


def remove_expired(cursor: Cursor, now: float, pace: Pace) -> int:
    """Remove a slice of what is of no more use at `now`; return how many rows."""
    return _remove_slice(cursor, _EXPIRED, now, pace)


def last_row(cursor: Cursor) -> int:
    """Return the id of the row last stored."""
    row: int = cursor.execute(_LAST).fetchone()[0]
    return row


def remove_until(cursor: Cursor, last: int, pace: Pace) -> int:
    """Remove a slice of the rows up to `last`; return how many."""
    return _remove_slice(cursor, _UNTIL, last, pace)


def _remove_slice(cursor: Cursor, select: str, bound: float, pace: Pace) -> int:
    with pace.holding(cursor) as note:
        victims = _slice(cursor.execute(select, (bound, _most(pace))), pace)
        note(_remove(cursor, victims))
    return len(victims)


def _most(pace: Pace) -> int:
    """Return how many rows a slice may have."""
    return max(1, pace.budget // ROW_COST)


def _slice(rows: Iterable[tuple[int, int]], pace: Pace) -> list[tuple[int, int]]:
    """Return the first of `rows`, ids and sizes: one at least, and as many as use the pace up, not more."""
    left = pace.budget
    taken: list[tuple[int, int]] = []
    for row, size in rows:
        left -= ROW_COST + size
        if taken and left < 0:
            break
        taken.append((row, size))
    return taken


def _remove(cursor: Cursor, victims: list[tuple[int, int]]) -> int:
    """Remove the rows of `victims`; return what that cost."""
    cursor.executemany(_REMOVE, [(row,) for row, _ in victims])
    return sum(ROW_COST + size for _, size in victims)


def vacuum(cursor: Cursor, pace: Pace) -> int:
    """Give a slice of the free pages back; return how many are left."""
    with pace.holding(cursor) as note:
        before = _free_pages(cursor)
        # A step frees one page, and Python's module takes one step: it returns no rows that could be fetched.
        for _ in range(min(before, pace.budget)):
            cursor.execute("PRAGMA incremental_vacuum(1)")
        left = _free_pages(cursor)
        note(before - left)
    return left


def _free_pages(cursor: Cursor) -> int:
    pages: int = cursor.execute("PRAGMA freelist_count").fetchone()[0]
    return pages
