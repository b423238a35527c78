-- 0x62756464, "budd": tells a store of ours from another program's database.
PRAGMA application_id = 1651860580;

-- One row for each stored response. An ordinary table, not WITHOUT ROWID: there, bodies inside the index made storing
-- 2.5 times slower and the file twice as large. The large columns stand last, so that what is asked about the others
-- need not read through them.
CREATE TABLE cache_entries (
    id            INTEGER PRIMARY KEY,           -- grows with every store: the last stored has the highest
    key           BLOB    NOT NULL,
    variant       BLOB    NOT NULL,
    mapping       TEXT    NOT NULL,
    method        TEXT    NOT NULL,              -- wire bytes as Latin-1 text, like uri and reason
    uri           TEXT    NOT NULL,
    status        INTEGER NOT NULL,
    reason        TEXT    NOT NULL,
    size          INTEGER NOT NULL,              -- bytes, as every tier counts them
    request_time  REAL    NOT NULL,              -- times are seconds since the epoch
    response_time REAL    NOT NULL,
    expires       REAL    NOT NULL,
    remove_after  REAL    NOT NULL,
    stored_at     REAL    NOT NULL,
    last_access   REAL    NOT NULL,
    access_count  INTEGER NOT NULL DEFAULT 0,
    tags          TEXT    NOT NULL DEFAULT '',
    checksum      BLOB    NOT NULL,
    selecting     BLOB    NOT NULL,
    headers       BLOB    NOT NULL,
    body          BLOB    NOT NULL
);
CREATE UNIQUE INDEX cache_entries_by_key ON cache_entries (key, variant);
CREATE INDEX cache_entries_by_uri ON cache_entries (mapping, uri);
CREATE INDEX cache_entries_by_remove_after ON cache_entries (remove_after);
CREATE INDEX cache_entries_by_last_access ON cache_entries (last_access);

-- What there is of each mapping, kept by the triggers below, so that nobody need count a million rows to know, whoever
-- else writes to the file.
CREATE TABLE totals (
    mapping TEXT    NOT NULL PRIMARY KEY,
    entries INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
);
CREATE TRIGGER cache_entries_inserted AFTER INSERT ON cache_entries BEGIN
    INSERT INTO totals (mapping, entries, bytes) VALUES (new.mapping, 1, new.size)
        ON CONFLICT (mapping) DO UPDATE SET entries = entries + 1, bytes = bytes + new.size;
END;
CREATE TRIGGER cache_entries_deleted AFTER DELETE ON cache_entries BEGIN
    UPDATE totals SET entries = entries - 1, bytes = bytes - old.size WHERE mapping = old.mapping;
END;

-- Figures over time: one row for each name, label and period.
CREATE TABLE metrics (
    id          INTEGER PRIMARY KEY,
    recorded_at REAL    NOT NULL,
    mapping     TEXT    NOT NULL DEFAULT '',
    name        TEXT    NOT NULL,
    value       REAL    NOT NULL
);
CREATE INDEX metrics_by_time ON metrics (recorded_at);

-- Configurations that were in force, without their secrets.
CREATE TABLE config_history (
    id            INTEGER PRIMARY KEY,
    applied_at    REAL    NOT NULL,
    source        TEXT    NOT NULL DEFAULT '',
    digest        BLOB    NOT NULL,
    configuration TEXT    NOT NULL
);

-- What belongs to the store as a whole: `secret`.
CREATE TABLE properties (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
);
