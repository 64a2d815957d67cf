-- A row here: an archive is being restored into this store, and has not come to its end.
CREATE TABLE restoring (
    one INTEGER PRIMARY KEY CHECK (one = 1)
);
