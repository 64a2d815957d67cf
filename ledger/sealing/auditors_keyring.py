"""An auditor's own keyring: a second file of the same format, with a root of its own.

It has no `secret` keys and none of the service's pairs. The operator's file keeps the slot's public
half and its sealed private half as opaque bytes, so that the auditor's file can be made again.
"""

from __future__ import annotations

from ledger.errors import InvalidInput
from ledger.replacing import replace
from ledger.sealing.epochs import KEY_BYTES
from ledger.sealing.keyring import Keyring, UnlockedKeyring
from ledger.sealing.slots import AUDITOR, Random, Slot, seal_root


def auditors_slot(held: UnlockedKeyring, slot_id: int) -> Slot:
    """An auditor's slot as this file keeps it; `no-such-slot`, `not-an-auditor`."""
    held.require_operator()
    slot = held.slot_numbered(slot_id)
    if slot.opens != AUDITOR:
        raise InvalidInput("not-an-auditor", "That slot is an operator's, not an auditor's.")
    return slot


def with_auditors_half(held: UnlockedKeyring, slot_id: int, theirs: Keyring) -> UnlockedKeyring:
    """The held keyring with the sealed private half from an auditor's own file.

    `not-this-auditors-file` unless it is a file of this ledger for this slot and its keys.
    Nothing proves that the half opens: only the auditor can try.
    """
    ours = auditors_slot(held, slot_id)
    found = theirs.slots[0]
    its_own = (
        theirs.kind == AUDITOR
        and theirs.ledger_id == held.ledger_id
        and (found.id, found.public_key, found.signing_public_key)
        == (ours.id, ours.public_key, ours.signing_public_key)
    )
    if not its_own:
        raise InvalidInput(
            "not-this-auditors-file",
            "The file is not this auditor's own keyring.",
            hint="Give the file that the auditor unlocks with; nothing was changed.",
        )
    newer = replace(found, label=ours.label, created_at=ours.created_at, sealed_root=b"")
    newer = replace(newer, opens=AUDITOR, sealed_signing_key=ours.sealed_signing_key)
    slots = tuple(newer if slot is ours else slot for slot in held.keyring.slots)
    return replace(held, keyring=held.keyring.with_slots(slots, held.root))


def export_auditor(
    held: UnlockedKeyring, slot_id: int, random: Random, generation: int | None = None
) -> Keyring:
    """An auditor's own keyring, made anew without the auditor's passphrase."""
    slot = auditors_slot(held, slot_id)
    root = random(KEY_BYTES)
    sealed = replace(slot, sealed_root=seal_root(held.ledger_id, slot, root))
    return held.auditors_file(sealed, root, generation)
