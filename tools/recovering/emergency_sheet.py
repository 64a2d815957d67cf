"""The emergency sheet: one page for the day when something is lost, without a secret on it.

It is for paper, so it is plain text of short lines where paths allow. It names the ledger,
where its parts lie, who can unlock, and the commands for each kind of loss; it opens nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ledger.errors import Conflict, Unavailable
from ledger.private_files import create_private_file
from tools.recovering.key_backups import backup_document
from tools.settings import real_path
from tools.showing.show import printable
from tools.when import to_local_text, to_text

if TYPE_CHECKING:
    from tools.wiring import Session

_WIDTH = 79


def sheet_document(session: Session) -> dict[str, Any]:
    """What the sheet tells, in its JSON shape."""
    status = session.ledger.status()
    schemes = session.ledger.shares.history().schemes
    backups = session.ledger.key_backups.history().standing()
    return {
        "ledger_id": status.ledger_id.hex(),
        "position": status.position,
        "epoch": status.epoch,
        "written_at": to_text(session.now()),
        "written_by": status.unlocked_by,
        "store": session.store.address,
        "keyring": str(session.settings.keyring),
        "slots": [
            {
                "id": slot,
                "label": label,
                "kind": kind,
                "opens": opens,
                "threshold": schemes[slot][0] if slot in schemes else None,
                "count": schemes[slot][1] if slot in schemes else None,
            }
            for slot, label, kind, opens, _ in status.slots
        ],
        "key_backups": [backup_document(backup) for backup in reversed(backups)],
        "database_backups": [
            {
                "directory": one.directory,
                "position": one.position,
                "recorded_at": to_text(one.recorded_at),
                "kind": one.kind,
                "digest": one.digest.hex(),
            }
            for one in reversed(session.ledger.backups.known().chain)
        ],
    }


def sheet_text(document: dict[str, Any]) -> str:
    """The page."""
    operators = [slot for slot in document["slots"] if slot["opens"] == "operator"]
    shares = [slot for slot in operators if slot["kind"] == "shares"]
    written = to_local_text(document["written_at"])
    lines = [
        "EMERGENCY SHEET OF A CREDLEDGER LEDGER",
        "There is no secret on this page. Print it again after each change of slots",
        "and each backup of the keyring or the database.",
        "",
        f"Ledger id    {document['ledger_id']}",
        f"Written      {written}, at position {document['position']}",
        f"Written by   {document['written_by']}",
        f"Store        {document['store']}",
        f"Keyring      {document['keyring']}",
        "",
        *_heading("Who can unlock"),
        *(_slot_line(slot) for slot in operators),
        *(
            f"  slot {slot['id']}  {slot['label']}: an auditor, with a keyring of their own"
            for slot in document["slots"]
            if slot["opens"] != "operator"
        ),
        "",
        *_heading("Key backups, the newest first"),
        *(line for backup in document["key_backups"] for line in _backup_lines(backup)),
    ]
    if not document["key_backups"]:
        lines.append("  None is recorded. Make one: credledger key backup /media/safe/keyring")
    archives = document["database_backups"]
    lines += ["", *_heading("Database backups, the newest first")]
    lines += [line for archive in archives for line in _archive_lines(archive)]
    if not archives:
        lines.append("  None is recorded. Make one: credledger backup create /media/tape/full")
    elif len(archives) > 1:
        lines.append("  The newest goes on from the others and needs all of them.")
    lines += [
        "",
        *_heading("A passphrase or key file is lost, and another slot still opens"),
        "  Unlock with the other slot, and:",
        "    credledger key slot add passphrase --label NAME",
        "    credledger key slot remove NUMBER --mislaid",
        "    credledger key backup PATH",
        "  The older key backups may open by the slot that was removed only.",
        "",
        *_heading("No slot opens any more"),
        *_shares_lines(shares),
        "  Or, if the passphrase of an earlier day is remembered, with a key backup",
        "  of that day:",
        "    credledger key restore PATH",
        "",
        *_heading("The keyring is lost or damaged"),
        "  Mount the medium of a key backup from above, the newest first, and:",
        "    credledger key restore PATH",
        "  It opens with the passphrase of its time, or with recovery shares:",
        "    credledger key restore PATH --shares",
        "",
        *_heading("The database is lost or damaged"),
        "  Keep what is left of it. The keyring stays where it is. Mount the newest",
        "  database backup from above; the store must be an empty place, best a new one:",
        "    credledger backup restore DIR",
        f"    credledger log verify --ledger-id {document['ledger_id']}",
        "  What a backup goes on from is found beside it, or named with --part DIR.",
        "  On every other host: credledger log accept-rollback --reason TEXT",
        "",
        *_heading("Everything on this host is lost"),
        "  Install credledger, set --store and --keyring to new places, mount a database",
        "  backup and a key backup from above, the newest first, and name both at once:",
        "    credledger backup restore DIR --key-backup PATH",
        f"    credledger log verify --ledger-id {document['ledger_id']}",
        "    credledger doctor",
        "  It opens with the passphrase of the key backup's time, or with recovery",
        "  shares (--shares). Then make a new backup of each.",
    ]
    return "".join(f"{printable(line)}\n" for line in lines)


def write_sheet(file: str, text: str) -> str:
    """Write the page to a new file, whole or not at all; its path."""
    path = real_path(file)
    try:
        create_private_file(path, text.encode())
    except FileExistsError as error:
        raise Conflict(
            "sheet-exists",
            "There is something at the sheet's place already.",
            hint="Name a file that is not there yet.",
        ) from error
    except OSError as error:
        raise Unavailable(
            "sheet-not-writable",
            "The sheet cannot be written there.",
            hint="Check the folder's rights and the free space of its disk.",
        ) from error
    return str(path)


def _heading(text: str) -> tuple[str, str]:
    return text.upper(), "-" * min(len(text), _WIDTH)


def _slot_line(slot: dict[str, Any]) -> str:
    how = {
        "passphrase": "by a passphrase",
        "key-file": "by a key file",
        "shares": f"by any {slot['threshold']} of {slot['count']} recovery shares, on paper",
    }[slot["kind"]]
    return f"  slot {slot['id']}  {slot['label']}: {how}"


def _backup_lines(backup: dict[str, Any]) -> tuple[str, ...]:
    made, epochs = to_local_text(backup["recorded_at"]), backup["epochs"]
    return (
        f"  {backup['path']}",
        f"    {made}, by {backup['by']}, epochs {epochs[0]} to {epochs[-1]}",
        f"    opens by slot {', '.join(map(str, backup['slots']))}, as it was then",
        f"    SHA-256 {backup['digest']}",
    )


def _archive_lines(archive: dict[str, Any]) -> tuple[str, ...]:
    made = to_local_text(archive["recorded_at"])
    return (
        f"  {archive['directory']}",
        f"    {made}, {archive['kind']}, up to position {archive['position']}",
        f"    SHA-256 {archive['digest']}",
    )


def _shares_lines(shares: list[dict[str, Any]]) -> list[str]:
    if not shares:
        return [
            "  There are no recovery shares. Make some while a slot opens:",
            "    credledger key shares create 3/5",
        ]
    needed = " or ".join(f"{one['threshold']} shares of slot {one['id']}" for one in shares)
    return [
        f"  Bring {needed} together, and:",
        "    credledger key shares restore --label NAME",
    ]
