"""A store's file cleared by somebody who does not serve from it: beside processes that do, or on a full disk.

Synchronous, for a process that does nothing else. It removes a slice at a time, as a running store does, so that others
may write in between and the log begins anew before it has grown long.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from buddyproxy.storage import pace, statements
from buddyproxy.storage.backup import connect, remove_backups
from buddyproxy.storage.files import prepare
from buddyproxy.storage.removals import new_remover, note_purge
from buddyproxy.storage.reserve import Reserve, reserve_path
from buddyproxy.storage.trouble import FAILURES, translated


def clear_file(path: Path, now: float, timeout: float = 5.0) -> int:
    """Remove every stored response from the file at `path`, and its backups, at `now`; return how many there were.

    Whoever else has it open hears of that (see `removals.py`).

    Raises `CacheError` as `prepare` does, and leaves the file alone then: who wants less in it does not want another in
    its place.
    """
    reserve = Reserve(reserve_path(path))
    # To remove takes room too, even to open the file does.
    held = reserve.release()
    try:
        prepare(path, timeout)
        with closing(connect(path, timeout)) as connection:
            return _clear(connection, path, now)
    except FAILURES as error:
        raise translated(error, path) from error
    finally:
        if held:
            reserve.establish()


def _clear(connection: sqlite3.Connection, path: Path, now: float) -> int:
    cursor, remover, removing = connection.cursor(), new_remover(), pace.removing()
    note_purge(cursor, remover, now)
    # First, as what is gone from there is gone for good.
    remove_backups(path)
    last, count = statements.last_row(cursor), 0
    while removed := statements.remove_until(cursor, last, removing):
        count += removed
    note_purge(cursor, remover, now)
    # A backup that was begun in between.
    remove_backups(path)
    # A step frees one page; a script takes all of them.
    cursor.executescript("PRAGMA incremental_vacuum")
    return count
