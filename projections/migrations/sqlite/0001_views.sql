-- Views: keyed digests, positions and numbers only; two tables each, so that one can be rebuilt
-- while the other serves.
CREATE TABLE views (
    name         TEXT PRIMARY KEY,
    fold_version BIGINT NOT NULL,
    active       TEXT NOT NULL CHECK (active IN ('a', 'b')),
    position     BIGINT NOT NULL
);

CREATE TABLE credential_view_a (
    stream        BLOB PRIMARY KEY,
    application   BLOB NOT NULL,
    owner         BLOB NOT NULL,
    position      BIGINT NOT NULL,
    value_version BIGINT NOT NULL,
    epoch         BIGINT NOT NULL,
    set_at        BIGINT NOT NULL
);
CREATE INDEX credential_view_a_application ON credential_view_a (application);
CREATE INDEX credential_view_a_owner ON credential_view_a (owner);
CREATE TABLE access_history_a (
    position    BIGINT PRIMARY KEY,
    caller      BLOB NOT NULL,
    owner       BLOB NOT NULL,
    application BLOB NOT NULL,
    outcome     BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL
);
CREATE INDEX access_history_a_caller ON access_history_a (caller, position);
CREATE INDEX access_history_a_owner ON access_history_a (owner, position);
CREATE INDEX access_history_a_application ON access_history_a (application, position);
CREATE INDEX access_history_a_outcome ON access_history_a (outcome, position);
CREATE INDEX access_history_a_recorded_at ON access_history_a (recorded_at);
CREATE TABLE application_catalogue_a (
    stream   BLOB PRIMARY KEY,
    position BIGINT NOT NULL,
    creation BIGINT NOT NULL
);
CREATE TABLE key_inventory_a (
    stream      BLOB PRIMARY KEY,
    application BLOB NOT NULL,
    epoch       BIGINT NOT NULL
);
CREATE INDEX key_inventory_a_epoch ON key_inventory_a (epoch);
CREATE INDEX key_inventory_a_application ON key_inventory_a (application);

CREATE TABLE credential_view_b (
    stream        BLOB PRIMARY KEY,
    application   BLOB NOT NULL,
    owner         BLOB NOT NULL,
    position      BIGINT NOT NULL,
    value_version BIGINT NOT NULL,
    epoch         BIGINT NOT NULL,
    set_at        BIGINT NOT NULL
);
CREATE INDEX credential_view_b_application ON credential_view_b (application);
CREATE INDEX credential_view_b_owner ON credential_view_b (owner);
CREATE TABLE access_history_b (
    position    BIGINT PRIMARY KEY,
    caller      BLOB NOT NULL,
    owner       BLOB NOT NULL,
    application BLOB NOT NULL,
    outcome     BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL
);
CREATE INDEX access_history_b_caller ON access_history_b (caller, position);
CREATE INDEX access_history_b_owner ON access_history_b (owner, position);
CREATE INDEX access_history_b_application ON access_history_b (application, position);
CREATE INDEX access_history_b_outcome ON access_history_b (outcome, position);
CREATE INDEX access_history_b_recorded_at ON access_history_b (recorded_at);
CREATE TABLE application_catalogue_b (
    stream   BLOB PRIMARY KEY,
    position BIGINT NOT NULL,
    creation BIGINT NOT NULL
);
CREATE TABLE key_inventory_b (
    stream      BLOB PRIMARY KEY,
    application BLOB NOT NULL,
    epoch       BIGINT NOT NULL
);
CREATE INDEX key_inventory_b_epoch ON key_inventory_b (epoch);
CREATE INDEX key_inventory_b_application ON key_inventory_b (application);
