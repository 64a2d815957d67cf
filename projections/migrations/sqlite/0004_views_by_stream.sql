-- Mappings lie in order of their streams, as a rotation goes through them and digests are made: what
-- is next to each other is then read and written together.

CREATE TABLE credential_view_a_by_stream (
    stream        BLOB PRIMARY KEY,
    application   BLOB NOT NULL,
    owner         BLOB NOT NULL,
    position      BIGINT NOT NULL,
    value_version BIGINT NOT NULL,
    epoch         BIGINT NOT NULL,
    set_at        BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO credential_view_a_by_stream SELECT * FROM credential_view_a;
DROP TABLE credential_view_a;
ALTER TABLE credential_view_a_by_stream RENAME TO credential_view_a;
CREATE INDEX credential_view_a_application ON credential_view_a (application, stream);
CREATE INDEX credential_view_a_owner ON credential_view_a (owner, stream);

CREATE TABLE key_inventory_a_by_stream (
    stream      BLOB PRIMARY KEY,
    application BLOB NOT NULL,
    epoch       BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO key_inventory_a_by_stream SELECT * FROM key_inventory_a;
DROP TABLE key_inventory_a;
ALTER TABLE key_inventory_a_by_stream RENAME TO key_inventory_a;
CREATE INDEX key_inventory_a_epoch ON key_inventory_a (epoch);
CREATE INDEX key_inventory_a_application ON key_inventory_a (application);

CREATE TABLE credential_view_b_by_stream (
    stream        BLOB PRIMARY KEY,
    application   BLOB NOT NULL,
    owner         BLOB NOT NULL,
    position      BIGINT NOT NULL,
    value_version BIGINT NOT NULL,
    epoch         BIGINT NOT NULL,
    set_at        BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO credential_view_b_by_stream SELECT * FROM credential_view_b;
DROP TABLE credential_view_b;
ALTER TABLE credential_view_b_by_stream RENAME TO credential_view_b;
CREATE INDEX credential_view_b_application ON credential_view_b (application, stream);
CREATE INDEX credential_view_b_owner ON credential_view_b (owner, stream);

CREATE TABLE key_inventory_b_by_stream (
    stream      BLOB PRIMARY KEY,
    application BLOB NOT NULL,
    epoch       BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO key_inventory_b_by_stream SELECT * FROM key_inventory_b;
DROP TABLE key_inventory_b;
ALTER TABLE key_inventory_b_by_stream RENAME TO key_inventory_b;
CREATE INDEX key_inventory_b_epoch ON key_inventory_b (epoch);
CREATE INDEX key_inventory_b_application ON key_inventory_b (application);
