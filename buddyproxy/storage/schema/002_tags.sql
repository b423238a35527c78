-- The tags of each stored response, for purging by them; `cache_entries.tags` stays empty, as text could not be looked
-- up by one of several.
CREATE TABLE cache_tags (
    tag   TEXT    NOT NULL,
    entry INTEGER NOT NULL,                      -- cache_entries.id
    PRIMARY KEY (tag, entry)
) WITHOUT ROWID;
CREATE INDEX cache_tags_by_entry ON cache_tags (entry);
CREATE TRIGGER cache_entries_untagged AFTER DELETE ON cache_entries BEGIN
    DELETE FROM cache_tags WHERE entry = old.id;
END;

-- Holds all that people purge by, but for the key and tags, so that nobody need read through the bodies.
DROP INDEX cache_entries_by_uri;
CREATE INDEX cache_entries_by_uri ON cache_entries (mapping, uri, method, response_time);

-- Only Python can read tags out of the fields. A response that has some, stored before, would never be found by them,
-- so it goes.
DELETE FROM cache_entries WHERE instr(lower(CAST(headers AS TEXT)), 'cache-tag')
    OR instr(lower(CAST(headers AS TEXT)), 'surrogate-key') OR instr(lower(CAST(headers AS TEXT)), 'cache-groups');
