"""Sealing, keys and keyrings."""
