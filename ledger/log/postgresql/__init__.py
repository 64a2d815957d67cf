"""PostgreSQL as a store: one ledger in one schema."""
