-- A row here: an archive is being restored into this store, and has not come to its end.
CREATE TABLE restoring (
    one BIGINT PRIMARY KEY CHECK (one = 1)
);
-- Every start asks; a writer that was given its rights before this table came would fail.
GRANT SELECT ON restoring TO PUBLIC;
