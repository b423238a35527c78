"""What SQLite complains of, told apart by what we do about it."""

import sqlite3

from buddyproxy.errors import CacheError

FAILURES = (sqlite3.Error, UnicodeDecodeError)
"""What Python's module raises where SQLite fails; the second where SQLite's message quotes a damaged schema."""


class Busy(CacheError):
    """Another process holds the file, or it is being replaced; it will work again by itself."""


class Damaged(CacheError):
    """The file is not a database, or not a sound one: it must be replaced."""


class Full(CacheError):
    """The disk has no room; what gives room back may still be done, from the reserve."""


_KINDS = {
    # What we ask for is right where the schema is what it should be.
    sqlite3.SQLITE_ERROR: Damaged,
    sqlite3.SQLITE_BUSY: Busy,
    sqlite3.SQLITE_LOCKED: Busy,
    sqlite3.SQLITE_CORRUPT: Damaged,
    sqlite3.SQLITE_NOTADB: Damaged,
    sqlite3.SQLITE_FULL: Full,
}


def translated(error: sqlite3.Error | UnicodeDecodeError, path: object) -> CacheError:
    """Return `error`, met in the file at `path`, in our words; SQLite's own messages hold no values."""
    if isinstance(error, UnicodeDecodeError):
        return Damaged(f"{path}: the schema is damaged")
    # The low byte is the kind, the rest tells more of it. Python's own errors have no code.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return _KINDS.get(code, CacheError)(f"{path}: {error}")
