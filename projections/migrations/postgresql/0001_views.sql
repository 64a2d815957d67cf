-- Views: keyed digests, positions and numbers only; two tables each, so that one can be rebuilt
-- while the other serves.
CREATE TABLE views (
    name          TEXT PRIMARY KEY,
    fold_version  BIGINT NOT NULL,
    active        TEXT NOT NULL CHECK (active IN ('a', 'b')),
    position      BIGINT NOT NULL,
    floor         BIGINT NOT NULL,
    key_check     BYTEA NOT NULL,
    idle_position BIGINT NOT NULL,
    idle_floor    BIGINT NOT NULL
);

CREATE TABLE credential_view_a (
    stream        BYTEA PRIMARY KEY,
    application   BYTEA NOT NULL,
    owner         BYTEA NOT NULL,
    position      BIGINT NOT NULL,
    value_version BIGINT NOT NULL,
    epoch         BIGINT NOT NULL,
    set_at        BIGINT NOT NULL
);
CREATE INDEX credential_view_a_application ON credential_view_a (application, stream);
CREATE INDEX credential_view_a_owner ON credential_view_a (owner, stream);
CREATE TABLE access_history_a (
    position    BIGINT PRIMARY KEY,
    caller      BYTEA NOT NULL,
    on_behalf   BYTEA,
    owner       BYTEA NOT NULL,
    application BYTEA NOT NULL,
    outcome     BIGINT NOT NULL
);
CREATE INDEX access_history_a_caller ON access_history_a (caller, position);
CREATE INDEX access_history_a_on_behalf ON access_history_a (on_behalf, position)
    WHERE on_behalf IS NOT NULL;
CREATE INDEX access_history_a_owner ON access_history_a (owner, position);
CREATE INDEX access_history_a_application ON access_history_a (application, position);
-- Most attempts are granted (1) and found by position; the others are few and looked for.
CREATE INDEX access_history_a_outcome ON access_history_a (outcome, position) WHERE outcome <> 1;
CREATE TABLE application_catalogue_a (
    stream   BYTEA PRIMARY KEY,
    position BIGINT NOT NULL,
    creation BIGINT NOT NULL
);
CREATE TABLE key_inventory_a (
    stream      BYTEA PRIMARY KEY,
    application BYTEA NOT NULL,
    epoch       BIGINT NOT NULL
);
CREATE INDEX key_inventory_a_epoch ON key_inventory_a (epoch);
CREATE INDEX key_inventory_a_application ON key_inventory_a (application);

CREATE TABLE credential_view_b (
    stream        BYTEA PRIMARY KEY,
    application   BYTEA NOT NULL,
    owner         BYTEA NOT NULL,
    position      BIGINT NOT NULL,
    value_version BIGINT NOT NULL,
    epoch         BIGINT NOT NULL,
    set_at        BIGINT NOT NULL
);
CREATE INDEX credential_view_b_application ON credential_view_b (application, stream);
CREATE INDEX credential_view_b_owner ON credential_view_b (owner, stream);
CREATE TABLE access_history_b (
    position    BIGINT PRIMARY KEY,
    caller      BYTEA NOT NULL,
    on_behalf   BYTEA,
    owner       BYTEA NOT NULL,
    application BYTEA NOT NULL,
    outcome     BIGINT NOT NULL
);
CREATE INDEX access_history_b_caller ON access_history_b (caller, position);
CREATE INDEX access_history_b_on_behalf ON access_history_b (on_behalf, position)
    WHERE on_behalf IS NOT NULL;
CREATE INDEX access_history_b_owner ON access_history_b (owner, position);
CREATE INDEX access_history_b_application ON access_history_b (application, position);
-- Most attempts are granted (1) and found by position; the others are few and looked for.
CREATE INDEX access_history_b_outcome ON access_history_b (outcome, position) WHERE outcome <> 1;
CREATE TABLE application_catalogue_b (
    stream   BYTEA PRIMARY KEY,
    position BIGINT NOT NULL,
    creation BIGINT NOT NULL
);
CREATE TABLE key_inventory_b (
    stream      BYTEA PRIMARY KEY,
    application BYTEA NOT NULL,
    epoch       BIGINT NOT NULL
);
CREATE INDEX key_inventory_b_epoch ON key_inventory_b (epoch);
CREATE INDEX key_inventory_b_application ON key_inventory_b (application);
