"""Sealing: who can open what, down to the bytes. Pure but for `keyring_file`."""
