-- The log: four append-only tables. Triggers guard against accidents; signatures protect.
CREATE TABLE ledger (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    id     BLOB NOT NULL CHECK (length(id) = 32),
    format INTEGER NOT NULL,
    salt   BLOB NOT NULL
);
CREATE TABLE signers (
    ordinal       INTEGER PRIMARY KEY,
    public_key    BLOB NOT NULL CHECK (length(public_key) = 32),
    class         TEXT NOT NULL CHECK (class IN ('operator', 'auditor')),
    change        TEXT NOT NULL CHECK (change IN ('begin', 'end')),
    from_size     INTEGER NOT NULL,
    introduced_by BLOB NOT NULL,
    signature     BLOB NOT NULL,
    UNIQUE (public_key, change)
);
CREATE TABLE log (
    position    INTEGER PRIMARY KEY CHECK (position >= 1),
    stream      BLOB NOT NULL CHECK (length(stream) = 16),
    version     INTEGER NOT NULL CHECK (version >= 1),
    topic       TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    period      INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    sealed      BLOB NOT NULL,
    leaf        BLOB NOT NULL CHECK (length(leaf) = 32),
    UNIQUE (stream, version)
);
CREATE TABLE commits (
    size      INTEGER PRIMARY KEY,
    root      BLOB NOT NULL CHECK (length(root) = 32),
    frontier  BLOB NOT NULL,
    signer    BLOB NOT NULL,
    signature BLOB NOT NULL CHECK (length(signature) = 64)
);

CREATE TRIGGER ledger_keep BEFORE UPDATE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger row never changes'); END;
CREATE TRIGGER ledger_stay BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger row is never deleted'); END;
CREATE TRIGGER ledger_once BEFORE INSERT ON ledger WHEN (SELECT count(*) FROM ledger) > 0
BEGIN SELECT RAISE(ABORT, 'there is a ledger already'); END;
CREATE TRIGGER signers_keep BEFORE UPDATE ON signers
BEGIN SELECT RAISE(ABORT, 'signers never change'); END;
CREATE TRIGGER signers_stay BEFORE DELETE ON signers
BEGIN SELECT RAISE(ABORT, 'signers are never deleted'); END;
CREATE TRIGGER signers_next BEFORE INSERT ON signers
WHEN NEW.ordinal IS NOT (SELECT coalesce(max(ordinal), 0) + 1 FROM signers)
  OR EXISTS (SELECT 1 FROM signers WHERE public_key = NEW.public_key AND change = NEW.change)
BEGIN SELECT RAISE(ABORT, 'signers are appended in order, once'); END;
CREATE TRIGGER log_keep BEFORE UPDATE ON log
BEGIN SELECT RAISE(ABORT, 'events never change'); END;
CREATE TRIGGER log_stay BEFORE DELETE ON log
BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
-- INSERT OR REPLACE slips past the two triggers above, so an insert is checked as well.
CREATE TRIGGER log_next BEFORE INSERT ON log
WHEN NEW.position IS NOT (SELECT coalesce(max(position), 0) + 1 FROM log)
  OR EXISTS (SELECT 1 FROM log WHERE stream = NEW.stream AND version = NEW.version)
BEGIN SELECT RAISE(ABORT, 'events are appended at the next position, at a new version'); END;
CREATE TRIGGER commits_keep BEFORE UPDATE ON commits
BEGIN SELECT RAISE(ABORT, 'commits never change'); END;
CREATE TRIGGER commits_stay BEFORE DELETE ON commits
BEGIN SELECT RAISE(ABORT, 'commits are never deleted'); END;
CREATE TRIGGER commits_next BEFORE INSERT ON commits
WHEN NEW.size <= (SELECT coalesce(max(size), 0) FROM commits)
BEGIN SELECT RAISE(ABORT, 'commits only grow'); END;
