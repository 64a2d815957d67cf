"""Events to sealed rows and back.

What is sealed of one event is a msgpack map, padded and encrypted under its compartment's key::

    "e"  the event's fields, with "v", their schema number
    "b"  who acted: [claim, slot, label, account]
    "r"  the reason given, as text
    "c"  the clock's own reading in microseconds, only where it was behind the log
    "q"  a client's retry key, only where one was given

The compartment follows from the topic alone, so a row cannot choose weaker keys for itself:
`access.`, `audit.`, `import.` and `ticket.` are `access`, all others are `state`.
"""

from __future__ import annotations

from typing import Any

import msgpack

from ledger.aggregates.actor import Actor
from ledger.aggregates.event import Event, from_payload, payload
from ledger.aggregates.recorded import Recorded
from ledger.codec.header import encode_associated_data
from ledger.errors import Tampered
from ledger.log.rows import LogRow
from ledger.sealing.compartments import Compartment
from ledger.sealing.envelope import open_sealed, seal
from ledger.sealing.epochs import period_of
from ledger.sealing.keys import KeySet
from ledger.tree import leaf_hash

_ACCESS_PREFIXES = ("access.", "audit.", "import.", "ticket.")


def compartment_of(topic: str) -> Compartment:
    """Whose keys seal events of this topic."""
    return Compartment.ACCESS if topic.startswith(_ACCESS_PREFIXES) else Compartment.STATE
