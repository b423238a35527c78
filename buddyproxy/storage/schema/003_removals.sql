-- What was removed on request, whether it was there or not: whoever else has the file open looks here for what to let go
-- of. A row without a URI is a purge: anything may be gone.
CREATE TABLE removals (
    id      INTEGER PRIMARY KEY,                 -- without gaps among the last thousand
    remover BLOB NOT NULL,                       -- who it was: random, new each time the file is opened
    mapping TEXT,
    uri     TEXT
);
-- The last purge stays: a backup in the making is of no use if there was one since it was begun.
CREATE TRIGGER removals_bounded AFTER INSERT ON removals BEGIN
    DELETE FROM removals WHERE id <= new.id - 1000 AND (uri IS NOT NULL OR new.uri IS NULL);
END;
