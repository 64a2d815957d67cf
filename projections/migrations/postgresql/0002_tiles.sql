-- Roots of full tiles of the log's tree: no secrets, and made anew from the log where they lack.
CREATE TABLE tiles (
    level  BIGINT NOT NULL,
    number BIGINT NOT NULL,
    root   BYTEA NOT NULL CHECK (length(root) = 32),
    PRIMARY KEY (level, number)
);
