"""What was removed from a file on request, written down for whoever else has it open.

Theory of operation. A process answers from its memory, and cannot know that another has removed from the file what it
holds there. So what is invalidated or purged is written down too, with who did it, and everybody looks now and then for
what the others did. An invalidation says what it removed; after a purge, anything may be gone. Only the last of it is
kept: who finds that something is missing between what was there when it last looked and what is there now lets go of
everything. Evictions, and what is of no more use, are nobody else's concern.

A purge is written down twice. The first time is before anything is removed, so that a backup in the making is given up,
which a reader began to make before. The second time is after everything is removed, so that nobody has it from the file
again who heard of the first.
"""

from collections.abc import Iterable
from secrets import token_bytes
from sqlite3 import Connection, Cursor

from attrs import frozen

Place = tuple[str, bytes]
"""A mapping, and a URI of which everything stored but answers to POST is gone."""

_NOTE = "INSERT INTO removals (remover, mapping, uri) VALUES (?, ?, ?)"
_SINCE = "SELECT remover, CAST(mapping AS BLOB), CAST(uri AS BLOB) FROM removals WHERE id > ?"


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


def note(cursor: Cursor, remover: bytes, places: Iterable[Place]) -> None:
    """Write down that `remover` removed `places`."""
    cursor.executemany(_NOTE, ((remover, mapping, uri.decode("latin-1")) for mapping, uri in places))


def note_purge(cursor: Cursor, remover: bytes) -> None:
    """Write down that `remover` removes anything there may be."""
    cursor.execute(_NOTE, (remover, None, None))


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


def _place(mapping: bytes, uri: bytes) -> Place:
    return mapping.decode(), uri.decode().encode("latin-1")
