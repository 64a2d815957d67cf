-- Roots of full tiles of the log's tree: no secrets, and made anew from the log where they lack.
CREATE TABLE tiles (
    level  INTEGER NOT NULL,
    number INTEGER NOT NULL,
    root   BLOB NOT NULL CHECK (length(root) = 32),
    PRIMARY KEY (level, number)
) WITHOUT ROWID;
