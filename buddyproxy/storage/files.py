"""Database files: made ready for use before anybody is waiting, and moved aside where they are damaged.

Everything here is synchronous: it runs at start-up, or once while running, when a damaged file is replaced. It knows
the schema's files and their numbers, and of what is in the tables no more than that start-up needs.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from secrets import token_bytes

from attrs import field, frozen
from twisted.logger import Logger

from buddyproxy.errors import CacheError
from buddyproxy.storage.backup import backup_path, connect, copy, is_lost, restore, restored_at
from buddyproxy.storage.removals import last as last_removal
from buddyproxy.storage.statements import Totals, read_totals
from buddyproxy.storage.trouble import FAILURES, Damaged, translated

MAGIC = b"SQLite format 3\0"
FORMATS = (b"\1\1", b"\2\2")
"""How a database says who may write and read it; of another, SQLite might find only later that it may not write it."""
SECRET_LENGTH = 32
LOCK_TIMEOUT = 5.0
"""Seconds that one process waits for another to put a file in the place of a damaged one."""

# As bytes: what a damaged file has for a name may be no text.
_PARTS = """
    SELECT CAST(part.type AS BLOB), CAST(part.name AS BLOB), CAST(ifnull(field.name, '') AS BLOB)
    FROM sqlite_schema part LEFT JOIN pragma_table_info(part.name) field
"""

_log = Logger()

Inode = tuple[int, int]
"""What tells a file from another of the same name."""

Restored = Callable[[Path], bool]
"""Puts a backup in the place of the file that was at a path; returns whether there was one."""


@frozen
class Prepared:
    """A file that is ready, and what is in it that belongs to the store as a whole."""

    secret: bytes = field(repr=False)
    inode: Inode
    totals: Totals
    removals: int
    """The number of the last removal that was written down."""
    restored_at: float | None
    """When it was restored from a backup, in seconds since the epoch, if it ever was."""


def prepare_or_restore(path: Path, now: float, timeout: float) -> tuple[Prepared, bool]:
    """Make the file at `path` ready, a lost or damaged one's backup in its place; else as `prepare_or_replace`.

    A sound backup is read from end to end, which takes its time.
    """

    def restored(path: Path) -> bool:
        return restore(path, now, lambda backup: prepare(backup, timeout))

    if is_lost(path) and backup_path(path).exists():
        with alone(path):
            # Another process may have been here first.
            if is_lost(path) and restored(path):
                _log.warn("The store's file {path} was lost: its backup takes its place", path=str(path))
    return prepare_or_replace(path, now, timeout, restored=restored)


def prepare_or_replace(
    path: Path, now: float, timeout: float, secret: bytes | None = None, restored: Restored = lambda _: False
) -> tuple[Prepared, bool]:
    """Make the file at `path` ready, in place of a damaged one if need be; return it, and whether that was so.

    A new one gets `secret`, or a secret of its own.

    Raises `CacheError` where it cannot be written, is locked for `timeout` seconds, belongs to another program or was
    written by a newer buddyproxy.
    """
    moved = False
    while True:
        inode = inode_of(path)
        try:
            return prepare(path, timeout, secret), moved
        except Damaged as error:
            if moved:
                raise
            moved = move_aside(path, inode, now, str(error), restored)
        except CacheError:
            # Unless it was another process that moved the file aside just now.
            if inode_of(path) == inode:
                raise


def prepare(path: Path, timeout: float, secret: bytes | None = None) -> Prepared:
    """Make the file at `path` ready, creating it if need be; a new one gets `secret`, or a secret of its own.

    Raises `Damaged` where it is no sound database, and otherwise what `prepare_or_replace` does.
    """
    try:
        _create(path)
        _check(path)
        inode = _inode(path)
    except OSError as error:
        raise CacheError(f"{path}: the store cannot be opened: {error.strerror}") from error
    try:
        with closing(connect(path, timeout)) as connection:
            upgrade(connection, path, dict(_schemas()))
            return _inspect(connection, path, inode, secret)
    except FAILURES as error:
        raise translated(error, path) from error


def inode_of(path: Path) -> Inode | None:
    """Return which file is at `path`, if any."""
    try:
        return _inode(path)
    except OSError:
        return None


def size_of(path: Path) -> int:
    """Return how many bytes the file at `path` has; none where there is no such file."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _inode(path: Path) -> Inode:
    found = path.stat()
    return found.st_dev, found.st_ino


def _create(path: Path) -> None:
    """Create the file, empty, and the directories it is in: readable by their owner only, as responses are secret."""
    for directory in reversed(path.parents):
        if not directory.exists():
            directory.mkdir(mode=0o700, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _check(path: Path) -> None:
    """Raise `CacheError` where the file at `path` cannot be a store, and `Damaged` where it is none."""
    if not path.is_file():
        raise CacheError(f"{path}: the store must be a file")
    if not os.access(path.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise CacheError(f"{path}: the store's directory must be writable too")
    # SQLite would find the same, and then remove the log beside the file, which should be kept with it.
    with path.open("rb") as file:
        start = file.read(len(MAGIC) + 4)
    if start and not (start.startswith(MAGIC) and start[-2:] in FORMATS):
        raise Damaged(f"{path}: file is not a database")


def upgrade(connection: sqlite3.Connection, path: Path, schemas: dict[int, str]) -> None:
    """Bring the schema of the file at `path` up to date, all of it or nothing; an older one is copied before."""
    # In this order: another process may be making the file.
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    known = max(schemas)
    if not tables:
        # Before the first page is written, which the change to WAL does.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    elif _pragma(connection, "application_id") != _application_id(schemas[1]):
        raise CacheError(f"{path}: this is another program's database; name another file for the store")
    version = _pragma(connection, "user_version")
    if version > known:
        raise CacheError(f"{path}: a newer buddyproxy wrote this store; upgrade, or name another file for it")
    if version < 0:
        raise Damaged(f"{path}: no buddyproxy wrote this store")
    _have_log(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    if version < known:
        _apply(connection, path, schemas)


def _have_log(connection: sqlite3.Connection) -> None:
    """Have changes written to a log first; where another process does so just now, wait for it."""
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError:
        # For this SQLite does not always wait as long as it should; for a lock it does, and then the log is there.
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("ROLLBACK")
        connection.execute("PRAGMA journal_mode = WAL")


def _apply(connection: sqlite3.Connection, path: Path, schemas: dict[int, str]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    # Asked again, now that no other process can be at it too.
    version = _pragma(connection, "user_version")
    if 0 < version < max(schemas):
        _keep(path, version)
    for number in range(version + 1, max(schemas) + 1):
        for statement in _statements(schemas[number]):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
    connection.execute("COMMIT")


def _keep(path: Path, version: int) -> None:
    """Copy the file at `path`, which is about to be upgraded; where there is no room for that, it must do without."""
    kept = Path(f"{path}.before-{version + 1:03}")
    try:
        # A connection that is writing cannot be copied from.
        with closing(sqlite3.connect(path)) as connection:
            copy(connection, kept)
    except (CacheError, *FAILURES) as error:
        _log.warn("The store is upgraded without a copy: {error}", error=str(error))
    else:
        _log.info("The store is upgraded, and kept as it was as {kept}", kept=str(kept))


def _inspect(connection: sqlite3.Connection, path: Path, inode: Inode, secret: bytes | None) -> Prepared:
    """Read what belongs to the store as a whole; raises `Damaged` where a part of the schema is missing."""
    if missing := _whole() - _parts(connection):
        # Though it is up to date by its number.
        raise Damaged(f"{path}: it has no {b' '.join(min(missing)).decode()}")
    kept = _secret(connection, secret)
    if not isinstance(kept, bytes) or len(kept) != SECRET_LENGTH:
        raise Damaged(f"{path}: the store's secret is damaged")
    cursor = connection.cursor()
    return Prepared(kept, inode, read_totals(cursor), last_removal(cursor), restored_at(connection))


@cache
def _whole() -> frozenset[tuple[bytes, ...]]:
    """Return all parts of the schema."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for _, schema in sorted(_schemas()):
            connection.executescript(schema)
        return _parts(connection)


def _parts(connection: sqlite3.Connection) -> frozenset[tuple[bytes, ...]]:
    """Return the kind and name of each table, index and trigger that `connection` has, and of a table each column."""
    return frozenset(connection.execute(_PARTS))


def _secret(connection: sqlite3.Connection, secret: bytes | None) -> object:
    """Return the store's secret, making it where the store is new."""
    select = "SELECT value FROM properties WHERE name = 'secret'"
    if connection.execute(select).fetchone() is None:
        # Where two processes come at once, both get the first one's.
        fresh = secret or token_bytes(SECRET_LENGTH)
        connection.execute("INSERT OR IGNORE INTO properties (name, value) VALUES ('secret', ?)", (fresh,))
    return connection.execute(select).fetchone()[0]


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _schemas() -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each schema file: `001_what_it_adds.sql`."""
    for file in (resources.files("buddyproxy.storage") / "schema").iterdir():
        number, _, rest = file.name.partition("_")
        if rest.endswith(".sql"):
            yield int(number), file.read_text("utf-8")


def _application_id(schema: str) -> int:
    """Return the number that marks a file as ours; the first schema states it."""
    return int(schema.partition("application_id = ")[2].partition(";")[0])


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of `script`; `executescript` would end the transaction it should be part of."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def move_aside(path: Path, inode: Inode | None, now: float, why: str, restored: Restored = lambda _: False) -> bool:
    """Give the damaged file at `path`, and SQLite's two beside it, a name that nothing has yet; return whether it was.

    `restored` puts its backup in its place, where there is one.

    Another process may have met the same damage: the file is left alone unless it is still the one with `inode`.
    """
    if inode is None or inode_of(path) != inode:
        return False
    with alone(path):
        if inode_of(path) != inode:
            return False
        aside = _rename(path, now)
        successor = "its backup takes its place" if restored(path) else "a new one is made"
    message = "The store was damaged ({why}): it is kept as {aside}, and {successor}"
    _log.warn(message, why=why, aside=str(aside), successor=successor)
    return True


@contextmanager
def alone(path: Path, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Put another file in the place of the one at `path`, and have no other process do so meanwhile.

    Raises `CacheError` where one still does after `timeout` seconds. The lock is one of SQLite's, on an empty file that
    stays; a process that dies holds it no longer.
    """
    try:
        with closing(sqlite3.connect(f"{path}.lock", timeout=timeout, isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            yield
    except FAILURES as error:
        raise translated(error, path) from error


def _rename(path: Path, now: float) -> Path:
    """Give the file at `path`, and SQLite's two beside it, a name that nothing has yet; return it."""
    try:
        aside = _reserve(path, now)
        # Its log before itself: a new file that another process makes must not lose one of its own.
        for suffix in ("-wal", "-shm", ""):
            source = Path(f"{path}{suffix}")
            if source.exists():
                source.rename(f"{aside}{suffix}")
    except OSError as error:
        raise CacheError(f"{path}: the damaged store cannot be moved aside: {error.strerror}") from error
    return aside


def _reserve(path: Path, now: float) -> Path:
    """Create an empty file with a new name, so that nobody else takes it."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S")
    name, number = Path(f"{path}.damaged-{stamp}"), 1
    while True:
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            number += 1
            name = Path(f"{path}.damaged-{stamp}-{number}")
        else:
            return name
