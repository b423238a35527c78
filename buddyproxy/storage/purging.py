"""Purging in SQL: which rows a selection selects, and what is done to them, each function one transaction.

Theory of operation. The rows are looked up once, by a reader, and then removed or marked a slice at a time by the
writer, so that nobody waits long for it however many rows there are. No lookup touches a body: a key and a tag have
indexes of their own, and all the other criteria are answered from one index that holds all of them, ordered by mapping
and URI. Where no mapping is named, SQLite tries each there is, of which the totals have a list.
"""

from array import array
from collections.abc import Awaitable, Collection, Iterator, Sequence
from sqlite3 import Cursor

from attrs import define, field, frozen

from buddyproxy.cache.stored import NEVER
from buddyproxy.storage.pace import Pace
from buddyproxy.storage.selection import Purge, Selection
from buddyproxy.storage.shelf import Identity

Above = Awaitable[Collection[Identity]]
"""What a tier above changes, as soon as it has."""

_BATCH = 1000
"""Rows fetched at a time."""
_REMOVE = "DELETE FROM cache_entries WHERE id = ?"
_MARK = "UPDATE cache_entries SET expires = ? WHERE id = ? AND expires > ?"
_ROW = "SELECT id FROM cache_entries WHERE key = ? AND variant = ?"
_TAGGED = "id IN (SELECT entry FROM cache_tags WHERE tag = ?)"


@frozen
class Query:
    """A statement that gives the ids of rows, with its parameters."""

    sql: str
    parameters: tuple[object, ...]


@define(eq=False)
class Purging:
    """A purge on its way."""

    purge: Purge
    _above: Above | None = None
    _changed_above: Collection[Identity] = field(default=(), init=False)
    query: Query = field(init=False)
    only_above: int | None = field(default=None, init=False)
    """How many of those that changed in a tier above are not to be changed here; None before that is known."""
    count: int = field(default=0, init=False)
    """How many stored responses it has changed so far."""

    def __attrs_post_init__(self) -> None:
        # Now, so that whoever asked for what cannot be asked is told.
        self.query = query_for(self.purge.selection)

    async def changed_above(self) -> Collection[Identity]:
        """Return what changed in a tier above, once it has."""
        if self._above is not None:
            # Once only: there is nothing in it a second time.
            self._changed_above, self._above = await self._above, None
        return self._changed_above


def query_for(selection: Selection) -> Query:
    """Return the query for the rows that `selection` selects."""
    terms = [*_terms(selection)]
    index = ""
    if selection.key is not None:
        terms.insert(0, ("key = ?", (selection.key,)))
    elif selection.tag is None:
        # SQLite might prefer to read through the table.
        index = " INDEXED BY cache_entries_by_uri"
    if selection.tag is not None:
        terms.insert(0, (_TAGGED, (selection.tag.decode("latin-1"),)))
    narrow = selection.key is not None or selection.tag is not None
    if selection.mapping is not None:
        # The sign keeps SQLite from an index that would narrow it down less.
        terms.append(("+mapping = ?" if narrow else "mapping = ?", (selection.mapping,)))
    elif not narrow:
        terms.append(("mapping IN (SELECT mapping FROM totals)", ()))
    where = " AND ".join(sql for sql, _ in terms)
    parameters = tuple(parameter for _, given in terms for parameter in given)
    return Query(f"SELECT id FROM cache_entries{index} WHERE {where}", parameters)  # noqa: S608 - our own words only


def _terms(selection: Selection) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield the terms that no index but the one by mapping and URI answers."""
    if selection.uri is not None:
        yield "uri = ?", (selection.uri.decode("latin-1"),)
    if selection.prefix is not None:
        yield from _begins_with(selection.prefix)
    if selection.glob is not None:
        yield from _begins_with(selection.glob.partition(b"*")[0].partition(b"?")[0])
        # Brackets mean something to SQLite, unless they stand in brackets.
        yield "uri GLOB ?", (selection.glob.decode("latin-1").replace("[", "[[]"),)
    if selection.method is not None:
        yield "method = ?", (selection.method.decode("latin-1"),)
    if selection.before is not None:
        yield "response_time <= ?", (selection.before,)


def _begins_with(prefix: bytes) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield a range of URIs, which an index can look up; each byte is one character there, up to U+00FF."""
    if prefix:
        text = prefix.decode("latin-1")
        yield "uri >= ? AND uri < ?", (text, text[:-1] + chr(ord(text[-1]) + 1))


def find_rows(cursor: Cursor, query: Query) -> Sequence[int]:
    """Return the ids of the rows that `query` finds."""
    ids = array("q")
    cursor.execute(query.sql, query.parameters)
    while rows := cursor.fetchmany(_BATCH):
        ids.extend(row for (row,) in rows)
    return ids


def count_missing(cursor: Cursor, identities: Collection[Identity], ids: Sequence[int] | None = None) -> int:
    """Return how many of `identities` have no row, or none among those with `ids`."""
    rows = {row for identity in identities for (row,) in cursor.execute(_ROW, identity).fetchall()}
    return len(identities) - len(rows if ids is None else rows.intersection(ids))


def change_rows(cursor: Cursor, ids: Sequence[int], pace: Pace, *, soft: bool) -> int:
    """Remove the rows with `ids`, or mark them as stale; return how many that changed."""
    with pace.holding(cursor) as note:
        note(len(ids))
        if soft:
            return cursor.executemany(_MARK, ((NEVER, row, NEVER) for row in ids)).rowcount
        return cursor.executemany(_REMOVE, ((row,) for row in ids)).rowcount
