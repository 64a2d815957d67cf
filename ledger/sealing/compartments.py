"""The three compartments, each with keys of its own.

`state` holds applications, mappings' metadata, keys and roles; `access` the access records and an
auditor's questions; `secret` the field values. An auditor's keyring opens the first two.
"""

from __future__ import annotations

from enum import Enum


class Compartment(Enum):
    """Whose keys seal something."""

    STATE = "state"
    ACCESS = "access"
    SECRET = "secret"
