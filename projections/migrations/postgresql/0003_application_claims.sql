-- Which claims can reach which application, by digest; two tables, as every view has.

CREATE TABLE application_claims_a (
    place    BYTEA PRIMARY KEY,
    claim    BYTEA NOT NULL,
    stream   BYTEA NOT NULL,
    position BIGINT NOT NULL
);
CREATE INDEX application_claims_a_claim ON application_claims_a (claim, stream);
CREATE INDEX application_claims_a_stream ON application_claims_a (stream);

CREATE TABLE application_claims_b (
    place    BYTEA PRIMARY KEY,
    claim    BYTEA NOT NULL,
    stream   BYTEA NOT NULL,
    position BIGINT NOT NULL
);
CREATE INDEX application_claims_b_claim ON application_claims_b (claim, stream);
CREATE INDEX application_claims_b_stream ON application_claims_b (stream);
