"""Backups of database and keyring, and every way back from them or to a moment."""
