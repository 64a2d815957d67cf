-- The log: four append-only tables in the ledger's own schema. Triggers guard against accidents;
-- signatures are the protection. Row triggers only, and none that looks at a table: they hold on
-- every node of a cluster. None looks at inserts either: the keys suffice against a second row,
-- and a trigger on the inserts into `log` would halve COPY.
CREATE TABLE ledger (
    one    BIGINT PRIMARY KEY CHECK (one = 1),
    id     BYTEA NOT NULL CHECK (length(id) = 32),
    format BIGINT NOT NULL,
    salt   BYTEA NOT NULL
);
CREATE TABLE signers (
    ordinal       BIGINT PRIMARY KEY,
    public_key    BYTEA NOT NULL CHECK (length(public_key) = 32),
    class         TEXT NOT NULL CHECK (class IN ('operator', 'auditor')),
    change        TEXT NOT NULL CHECK (change IN ('begin', 'end')),
    from_size     BIGINT NOT NULL,
    introduced_by BYTEA NOT NULL,
    signature     BYTEA NOT NULL,
    UNIQUE (public_key, change)
);
CREATE TABLE log (
    position    BIGINT PRIMARY KEY CHECK (position >= 1),
    stream      BYTEA NOT NULL CHECK (length(stream) = 16),
    version     BIGINT NOT NULL CHECK (version >= 1),
    topic       TEXT NOT NULL,
    epoch       BIGINT NOT NULL,
    period      BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    sealed      BYTEA NOT NULL,
    leaf        BYTEA NOT NULL CHECK (length(leaf) = 32),
    UNIQUE (stream, version)
);
CREATE TABLE commits (
    size      BIGINT PRIMARY KEY,
    root      BYTEA NOT NULL CHECK (length(root) = 32),
    frontier  BYTEA NOT NULL,
    signer    BYTEA NOT NULL,
    signature BYTEA NOT NULL CHECK (length(signature) = 64)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER ledger_keep BEFORE UPDATE ON ledger
FOR EACH ROW EXECUTE FUNCTION refuse_change('the ledger row never changes');
CREATE TRIGGER ledger_stay BEFORE DELETE ON ledger
FOR EACH ROW EXECUTE FUNCTION refuse_change('the ledger row is never deleted');
CREATE TRIGGER signers_keep BEFORE UPDATE ON signers
FOR EACH ROW EXECUTE FUNCTION refuse_change('signers never change');
CREATE TRIGGER signers_stay BEFORE DELETE ON signers
FOR EACH ROW EXECUTE FUNCTION refuse_change('signers are never deleted');
CREATE TRIGGER log_keep BEFORE UPDATE ON log
FOR EACH ROW EXECUTE FUNCTION refuse_change('events never change');
CREATE TRIGGER log_stay BEFORE DELETE ON log
FOR EACH ROW EXECUTE FUNCTION refuse_change('events are never deleted');
CREATE TRIGGER commits_keep BEFORE UPDATE ON commits
FOR EACH ROW EXECUTE FUNCTION refuse_change('commits never change');
CREATE TRIGGER commits_stay BEFORE DELETE ON commits
FOR EACH ROW EXECUTE FUNCTION refuse_change('commits are never deleted');

-- What writers lock until there is a row in `ledger` to lock.
CREATE TABLE founding (
    one BIGINT PRIMARY KEY CHECK (one = 1)
);
INSERT INTO founding (one) VALUES (1);
CREATE TRIGGER founding_keep BEFORE UPDATE ON founding
FOR EACH ROW EXECUTE FUNCTION refuse_change('the founding lock never changes');
CREATE TRIGGER founding_stay BEFORE DELETE ON founding
FOR EACH ROW EXECUTE FUNCTION refuse_change('the founding lock is never deleted');
