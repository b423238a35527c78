"""Copies of a store's file: made while it is in use, kept beside it, and put in its place when it is lost.

Theory of operation. A copy is made from one state of the file, which a reader holds for as long as that takes: whoever
writes need not wait, and need not be undone. It gets its name when it is whole and found sound, so that there is always
either the last copy or the one before.

A copy knows nothing of what was invalidated after it was made. So it is written down when it is restored, and what was
asked for before serves only once it is validated, unless no change could have invalidated it (see `sqlite.py`). What is
purged by hand must not come back at all. It is purged from the backup
too, before it is from the file; a copy being made meanwhile, by whatever process, is given up; and clearing a store
ends its copies.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from glob import escape
from pathlib import Path
from stat import S_ISREG

from twisted.logger import Logger

from buddyproxy.errors import CacheError
from buddyproxy.storage import pace
from buddyproxy.storage.purging import Purging, change_rows, find_rows
from buddyproxy.storage.removals import last_purge
from buddyproxy.storage.trouble import FAILURES

PAGES = 500
"""Pages copied before it is asked whether to go on."""

_NOTE_RESTORED = "INSERT OR REPLACE INTO properties (name, value) VALUES ('restored_at', ?)"
_RESTORED = "SELECT CAST(value AS REAL) FROM properties WHERE name = 'restored_at'"

_log = Logger()


def backup_path(path: Path) -> Path:
    """Return where the backup of the file at `path` is."""
    return Path(f"{path}.backup")


def backup_age(path: Path, now: float) -> float:
    """Return how many seconds old the backup of the file at `path` is; infinitely many where there is none."""
    try:
        return now - backup_path(path).stat().st_mtime
    except OSError:
        return float("inf")


def remove_backups(path: Path) -> None:
    """Remove all copies of the file at `path` that were made here; raises `CacheError` where one stays."""
    try:
        # Those of schemas before, and of a backup's before it was restored, among them.
        for ending in (".backup*", ".before-*"):
            for copied in path.parent.glob(escape(path.name) + ending):
                copied.unlink(missing_ok=True)
    except OSError as error:
        raise CacheError(f"{path}: its backup cannot be removed: {error.strerror}") from error


def back_up(cursor: sqlite3.Cursor, path: Path, given_up: Callable[[], bool]) -> None:
    """Copy the file at `path`, as `cursor` sees it, to its backup; in steps, until it is `given_up`.

    Raises `CacheError` where that is so, or the copy cannot be made; the one before then stays.
    """
    # One state for as long as this takes: without, each change by another connection would begin it anew.
    cursor.execute("BEGIN")
    purged = last_purge(cursor.connection)
    copy(cursor.connection, backup_path(path), given_up, lambda: _unpurged_since(purged, path))


@contextmanager
def _unpurged_since(purged: int, path: Path) -> Iterator[None]:
    """Have nobody purge the file at `path` meanwhile; raises `CacheError` where there was one after that `purged`."""
    with closing(connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        if last_purge(connection) != purged:
            raise CacheError(f"{path}: something was purged while it was backed up")
        yield


def connect(path: Path, timeout: float = 5.0) -> sqlite3.Connection:
    """Return a connection to the file at `path`, which must be there; it waits for others for `timeout` seconds."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=timeout, isolation_level=None)


def purge_backup(path: Path, purging: Purging) -> None:
    """Purge the backup of the file at `path`, if there is one; where that fails, it is removed."""
    backup = backup_path(path)
    try:
        found = backup.stat()
        # The cursor too: with one open, SQLite leaves it for later to finish the file.
        with closing(connect(backup)) as connection, closing(connection.cursor()) as cursor:
            change_rows(cursor, find_rows(cursor, purging.query), pace.purging(), soft=purging.purge.soft)
        # It is no newer for that.
        os.utime(backup, ns=(found.st_atime_ns, found.st_mtime_ns))
    except FileNotFoundError:
        return
    except (OSError, *FAILURES) as error:
        _log.warn("The store's backup cannot be purged, so it is removed: {error}", error=str(error))
        _give_up(backup)


def _give_up(backup: Path) -> None:
    try:
        _remove(backup)
    except OSError as error:
        _log.error("The store's backup cannot be removed, and keeps what was purged: {error}", error=error.strerror)


def copy(
    connection: sqlite3.Connection,
    target: Path,
    given_up: Callable[[], bool] = lambda: False,
    placing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Copy what `connection` has open to `target`, readable by its owner only, in place of what is there.

    It gets its name within `placing`.

    Raises `CacheError`, or `sqlite3.Error` where SQLite fails.
    """

    def go_on(*_: object) -> None:
        if given_up():
            raise CacheError(f"{target}: the copy was given up")

    partial = Path(f"{target}.partial")
    try:
        _remove(partial)
        try:
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            with closing(sqlite3.connect(partial)) as copied:
                connection.backup(copied, pages=PAGES, progress=go_on)
                check(copied, partial)
            go_on()
            with placing():
                # What is left of a purge of the one before must not be taken for this one's.
                _remove_beside(target)
                partial.replace(target)
        finally:
            _remove(partial)
    except OSError as error:
        raise CacheError(f"{target}: the copy cannot be made: {error.strerror}") from error


def _remove(path: Path) -> None:
    """Remove the file at `path`, and SQLite's own beside it, if they are there."""
    path.unlink(missing_ok=True)
    _remove_beside(path)


def _remove_beside(path: Path) -> None:
    for suffix in ("-journal", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `CacheError` where what `connection` has open is not sound."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise CacheError(f"{path}: it is damaged: {found}")


def restore(path: Path, now: float, prepare: Callable[[Path], object]) -> bool:
    """Put the backup in the place of the file at `path`, which is lost, at `now`; return whether there was a sound one.

    It is sound if SQLite finds it so and if `prepare`, which raises `CacheError`, can make it ready.
    """
    backup = backup_path(path)
    if not backup.is_file():
        return False
    try:
        prepare(backup)
        with closing(sqlite3.connect(backup)) as connection:
            check(connection, backup)
            connection.execute(_NOTE_RESTORED, (now,))
            connection.commit()
        # What a lost file left behind must not be taken for the log of this one.
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        backup.rename(path)
    except (CacheError, OSError, *FAILURES) as error:
        _log.warn("The store's backup cannot be used: {error}", error=str(error))
        return False
    return True


def restored_at(connection: sqlite3.Connection) -> float | None:
    """Return when the file was last restored from a backup, in seconds since the epoch; None where it never was."""
    row = connection.execute(_RESTORED).fetchone()
    return None if row is None else float(row[0])


def is_lost(path: Path) -> bool:
    """Return whether nothing is at `path`, or a file with nothing in it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        # Whoever opens it will say why it cannot be.
        return False
    return S_ISREG(found.st_mode) and found.st_size == 0
