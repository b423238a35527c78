"""What was removed from a file on request, written down for whoever else has it open.

Theory of operation. A process answers from its memory, and cannot know that another has removed from the file what it
holds there. So what is invalidated or purged is written down too, with who did it, and everybody looks now and then for
what the others did. An invalidation says what it removed; after a purge, anything may be gone. Only the last of it is
kept: who finds that something is missing between what was there when it last looked and what is there now lets go of
everything. Evictions, and what is of no more use, are nobody else's concern.

An answer may be on its way to one process while another sees a change of its resource. So it is written down, too, when
something was removed, and whoever stores looks, in the transaction that stores, for what others removed since it asked.
That is by the clock, which is the same for all: they share a file, so they share a machine.

A purge is written down twice. The first time is before anything is removed, so that a backup in the making is given up,
which a reader began to make before. The second time is after everything is removed, so that nobody has it from the file
again who heard of the first.
"""

from collections.abc import Collection, Iterable, Mapping
from secrets import token_bytes
from sqlite3 import Connection, Cursor

from attrs import field, frozen

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.storage.shelf import SPARED

Place = tuple[str, bytes]
"""A mapping, and a URI of which everything stored but answers to POST is gone."""

KEPT = 1000
"""How many of the last removals are there to be looked up; the schema has the number too."""

_NOTE = "INSERT INTO removals (remover, mapping, uri, removed_at) VALUES (?, ?, ?, ?)"
_SINCE = "SELECT remover, CAST(mapping AS BLOB), CAST(uri AS BLOB) FROM removals WHERE id > ?"
_LATER = """
    SELECT remover, CAST(mapping AS BLOB), CAST(uri AS BLOB), CAST(removed_at AS REAL)
    FROM removals WHERE removed_at >= ? ORDER BY removed_at
"""


def new_remover() -> bytes:
    """Return a name that nobody else has."""
    return token_bytes(8)


@frozen
class Heard:
    """What others removed since it was last asked for."""

    last: int
    """The number of the last removal there is."""
    places: tuple[Place, ...] | None = ()
    """What is gone, or None where anything may be."""

    def and_also(self, places: Collection[Place]) -> "Heard":
        """Return this with `places` among what is gone."""
        return self if self.places is None else Heard(self.last, (*self.places, *places))


@frozen
class Removed:
    """What others removed, and when, in seconds since the epoch."""

    places: Mapping[Place, float] = field(factory=dict)
    """When each was last."""
    anything: float | None = None
    """When anything there was may have been, the last time."""

    def covers(self, stored: StoredResponse) -> bool:
        """Return whether `stored` was asked for before its like was removed."""
        if self.anything is not None and stored.request_time <= self.anything:
            return True
        removed = self.places.get((stored.mapping, stored.uri))
        return removed is not None and stored.method != SPARED and stored.request_time <= removed


def note(cursor: Cursor, remover: bytes, places: Iterable[Place], now: float) -> None:
    """Write down that `remover` removed `places` at `now`."""
    cursor.executemany(_NOTE, ((remover, mapping, uri.decode("latin-1"), now) for mapping, uri in places))


def note_purge(cursor: Cursor, remover: bytes, now: float) -> None:
    """Write down that `remover` removes anything there may be, at `now`."""
    cursor.execute(_NOTE, (remover, None, None, now))


def last(cursor: Cursor) -> int:
    """Return the number of the last removal there is."""
    number: int = cursor.execute("SELECT coalesce(max(id), 0) FROM removals").fetchone()[0]
    return number


def last_purge(connection: Connection) -> int:
    """Return the number of the last purge, 0 where there was none."""
    number: int = connection.execute("SELECT coalesce(max(id), 0) FROM removals WHERE uri IS NULL").fetchone()[0]
    return number


def heard_since(cursor: Cursor, known: int, remover: bytes) -> Heard:
    """Return what others than `remover` removed since the removal numbered `known`."""
    # A state of its own, so that the two queries agree; whoever runs this ends it.
    cursor.execute("BEGIN")
    rows = cursor.execute(_SINCE, (known,)).fetchall()
    now = last(cursor)
    if len(rows) != now - known:
        return Heard(now, None)
    try:
        return Heard(now, tuple(_place(row[1], row[2]) for row in rows if row[0] != remover))
    except (AttributeError, ValueError):
        # Anything but a place: a purge, or damage.
        return Heard(now, None)


def removed_since(cursor: Cursor, since: float, remover: bytes) -> Removed:
    """Return what others than `remover` removed at `since` or later."""
    rows = cursor.execute(_LATER, (since,)).fetchall()
    theirs = [row[1:] for row in rows if row[0] != remover]
    # There may have been more, and what they were of is no longer known.
    anything = rows[0][3] if theirs and len(rows) >= KEPT else None
    places = {}
    for mapping, uri, removed_at in theirs:
        try:
            places[_place(mapping, uri)] = removed_at
        except (AttributeError, ValueError):
            anything = removed_at
    return Removed(places, anything)


def _place(mapping: bytes, uri: bytes) -> Place:
    return mapping.decode(), uri.decode().encode("latin-1")
