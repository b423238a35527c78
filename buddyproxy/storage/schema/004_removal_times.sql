-- When it was removed, in seconds since the epoch: what another process asked for before that is not to be stored after
-- it.
ALTER TABLE removals ADD COLUMN removed_at REAL NOT NULL DEFAULT 0;
CREATE INDEX removals_by_time ON removals (removed_at);
