"""`credledger key`: epochs, slots, passphrases; key backups and shares have their own modules."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ledger.errors import InvalidInput
from tools.cli.command import Run, command
from tools.cli.key_backup import backup, restore
from tools.cli.key_host import host
from tools.cli.key_service import service
from tools.cli.key_shares import shares
from tools.cli.key_sheet import sheet
from tools.cli.noun import Noun
from tools.cli.number import NUMBER
from tools.cli.retention import hold, retention

if TYPE_CHECKING:
    from ledger.usecases.outcomes import SlotOutcome

EPOCH_COLUMNS = {
    "epoch": "Epoch",
    "state": "State",
    "created_at": "Created",
    "mappings": "Mappings",
    "secrets": "Secrets",
    "in_backups": "In key backups",
}
SLOT_COLUMNS = {
    "id": "Slot",
    "label": "Label",
    "kind": "Kind",
    "opens": "Opens",
    "created_at": "Created",
}


@click.group(cls=Noun)
def key() -> None:
    """Manage epochs, slots, passphrases, and how long access records are kept."""


for _part in (backup, restore, service, shares, sheet, host, retention, hold):
    key.add_command(_part)


@command(
    key,
    "status",
    example="credledger key status --json",
    answers=(
        '{"epoch", "epochs": [{"epoch", "state", "created_at", "mappings", "secrets": "held"'
        ' or "destroyed", "in_backups"}], "slots": [{"id", "label", "kind", "opens",'
        ' "created_at"}], "erased": [{"position", "until"}], "kept_files": [{"path",'
        ' "epochs": []}]}'
    ),
)
def status(run: Run) -> None:
    """Show the epochs of keys, what rests on each, and the slots."""
    from tools.shapes import key_document
    from tools.showing import show

    with run.session(operator=False) as session:
        document = key_document(session)
    if run.json:
        run.print(document)
        return
    show.print_line(f"Current epoch: {document['epoch']}")
    show.print_table(document["epochs"], EPOCH_COLUMNS)
    show.print_table(document["slots"], SLOT_COLUMNS)
    for erasure in document["erased"]:
        show.print_line(
            f"Access records up to position {erasure['until']} are erased by policy"
            f" at position {erasure['position']}."
        )
    for file in document["kept_files"]:
        show.print_line(
            f"Not final: the file {file['path']} beside the keyring opens what is destroyed of"
            f" epoch {', '.join(map(str, file['epochs']))}."
        )


@command(
    key,
    "rotate",
    example="credledger key rotate --reason 'yearly rotation'",
    appends=True,
    destroys=True,
    answers=(
        '{"from", "to", "resealed", "destroyed_previous": [epoch], "values_gone", "still_in":'
        ' [{"position", "path"}], "kept_files": [path], "backup_needed_from", "seconds"}'
    ),
)
@click.option(
    "--without-backup", is_flag=True, help="Go on without the backups; it is recorded that you did."
)
@click.option(
    "--destroy-previous", is_flag=True, help="Destroy the keys of all earlier values; asks first."
)
def rotate(run: Run, without_backup: bool, destroy_previous: bool) -> None:
    """Start the next epoch of keys and seal every credential under it.

    Others read and write meanwhile. A rotation that was cut off is finished, and no other started;
    so is a destruction, of the keys that it was to destroy. With --destroy-previous, values that
    were replaced before can never be restored again; who saw what and when stays readable. How
    many they are is told before it asks.
    """
    from tools.rotating import doom_question, rotate_keys
    from tools.showing import show

    asks = destroy_previous and run.must_ask()
    with run.session() as session:
        if asks:
            run.consent(doom_question(session))
        document = rotate_keys(
            session, run.acting(), without_backup=without_backup, destroy_previous=destroy_previous
        )
    run.print(
        document,
        sentence=f"Epoch {document['to']} is current."
        f" Credentials resealed: {document['resealed']}.",
    )
    if document["backup_needed_from"]:
        show.print_note(
            "First of all run `credledger backup create DIR`: archives up to position"
            f" {document['backup_needed_from'] - 1} rest on the keys that are destroyed, and lose"
            " their values with the last key backup that holds them."
        )
    if document["destroyed_previous"]:
        epochs = ", ".join(map(str, document["destroyed_previous"]))
        show.print_note(
            f"The keys of values of epoch {epochs} are destroyed in this keyring; values that are"
            f" gone with them: {document['values_gone']}."
        )
    for copy in document["still_in"]:
        show.print_note(
            f"The key backup recorded at position {copy['position']} still holds such a key:"
            f" {copy['path']}. Once there are new backups of database and keyring, destroy it, then"
            f" run `credledger key backup attest-replaced {copy['position']}`."
        )
    for path in document["kept_files"]:
        show.print_note(
            f"The file {path}, kept beside the keyring, still holds such a key. Once there is a new"
            f" database backup, destroy it with `rm {shlex.quote(path)}`; `credledger doctor` says if"
            " it holds keys of a log that was given up as well."
        )
    show.print_note("Back up the keyring and copy it to the other hosts: it holds another epoch.")


@command(
    key,
    "replace-next",
    example="credledger key replace-next --reason 'the keyring is lost, the backup is older'",
    appends=True,
    destroys=True,
    answers='{"epoch", "position"}',
)
def replace_next(run: Run) -> None:
    """Make other keys for the next epoch, in place of keys that are lost.

    For when no rotation is possible any more: the keyring that held the next epoch is gone, and so
    is every key backup of it. Nothing was sealed under it, so nothing is lost. Keyrings of other
    hosts cannot rotate until they get a copy of this one.
    """
    from tools.showing import show

    run.consent("Are the keys of the next epoch lost, on every host and in every key backup?")
    with run.session() as session:
        outcome = session.ledger.next_epoch.replace(run.acting())
    run.print(
        {"epoch": outcome.epoch, "position": outcome.position},
        sentence=f"Other keys are held ready for epoch {outcome.epoch}.",
    )
    show.print_note("Back up the keyring and copy it to the other hosts: only it can rotate.")


@command(
    key,
    "passphrase",
    example="credledger key passphrase --new-passphrase-file new.txt",
    appends=True,
    new_passphrase=True,
    answers='{"slot", "position"}',
)
def passphrase(run: Run, argon2_memory: int) -> None:
    """Change the passphrase of the slot that unlocks.

    An old copy of the keyring file still opens with the old passphrase.
    """
    from ledger.usecases.slots import require_passphrase
    from tools.people.holdings import argon2_cost, new_passphrase
    from tools.recovering.key_backups import RENEW_COPIES
    from tools.showing import show

    with run.session(operator=False) as session:
        require_passphrase(session.holding)
        new = new_passphrase(session.settings, run.standard_input)
        outcome = session.ledger.change_passphrase(
            run.acting(), session.holding, new, argon2_cost(argon2_memory)
        )
    _print_slot(run, outcome, f"Slot {outcome.slot} has a new passphrase.")
    show.print_note("An old copy of the keyring file still opens with the old passphrase.")
    if session.unlocked.is_operator:
        show.print_note(RENEW_COPIES)


@key.group()
def slot() -> None:
    """Manage the ways to unlock the keyring."""


@command(
    slot,
    "list",
    example="credledger key slot list",
    answers='[{"id", "label", "kind", "opens", "created_at"}]',
)
def slot_list(run: Run) -> None:
    """List the slots."""
    from tools.shapes import key_document

    with run.session(operator=False) as session:
        run.print(key_document(session)["slots"], SLOT_COLUMNS)


@command(
    slot,
    "add",
    example="credledger key slot add passphrase --label bob --new-passphrase-file bob.txt",
    appends=True,
    new_passphrase=True,
    answers='{"slot", "position"}',
)
@click.argument("kind", metavar="KIND", type=click.Choice(["passphrase", "key-file"]))
@click.option("--auditor", is_flag=True, help="Opens metadata and records, never secrets.")
@click.option("--label", help="Whose slot it is.")
@click.option("--new-key-file", metavar="FILE", help="The new slot's key file; made if missing.")
@click.option("--auditor-file", metavar="FILE", help="Where an auditor's own keyring is written.")
def slot_add(
    run: Run,
    kind: str,
    auditor: bool,
    label: str | None,
    new_key_file: str | None,
    auditor_file: str | None,
    argon2_memory: int,
) -> None:
    """Add a way to unlock the keyring: a KIND of passphrase or key-file.

    Only in a keyring that holds the next epoch: on a host that is behind, copy the newer one first.
    """
    from ledger.sealing.slots import AUDITOR, OPERATOR
    from tools.people.holdings import argon2_cost, new_holding
    from tools.recovering.key_backups import RENEW_COPIES
    from tools.showing import show

    if (kind == "key-file") != (new_key_file is not None):
        raise InvalidInput("usage", "A key-file slot needs --new-key-file, and only that one.")
    if auditor_file is not None and not auditor:
        raise InvalidInput("usage", "--auditor-file belongs to --auditor.")
    with run.session() as session:
        outcome = session.ledger.add_slot(
            run.acting(),
            label=label or ("auditor" if auditor else "operator"),
            opens=AUDITOR if auditor else OPERATOR,
            holding=new_holding(
                session.settings, run.standard_input, Path(new_key_file) if new_key_file else None
            ),
            cost=argon2_cost(argon2_memory),
            auditor_file=None if auditor_file is None else Path(auditor_file).resolve(),
        )
    _print_slot(run, outcome, f"Added slot {outcome.slot}.")
    show.print_note(RENEW_COPIES)


@command(
    slot,
    "remove",
    example="credledger key slot remove 2 --yes",
    appends=True,
    destroys=True,
    answers='{"slot", "position", "epoch"}; "epoch" is null with --mislaid',
)
@click.argument("slot_id", type=NUMBER, metavar="ID")
@click.option("--mislaid", is_flag=True, help="Nobody else has it: rotate nothing.")
@click.option("--without-backup", is_flag=True, help="Rotate without the backups; it is recorded.")
def slot_remove(run: Run, slot_id: int, mislaid: bool, without_backup: bool) -> None:
    """Remove a slot; its holder can no longer unlock the new keyring.

    Keys are rotated twice, so that no key which the holder may have kept seals anything any more.
    Whoever kept an old keyring file, its passphrase and a copy of the database reads what was
    readable before: change those passwords.
    """
    from tools.recovering.key_backups import RENEW_COPIES
    from tools.rotating import remove_slot
    from tools.showing import show

    if mislaid and without_backup:
        raise InvalidInput("usage", "--without-backup is for rotations, and --mislaid has none.")
    run.consent(f"Remove slot {slot_id}?")
    with run.session() as session:
        outcome = remove_slot(
            session, run.acting(), slot_id, mislaid=mislaid, without_backup=without_backup
        )
    sentence = f"Removed slot {outcome.slot}."
    if not outcome.recorded:
        sentence = (
            f"Took slot {outcome.slot} out of the keyring; as a live slot it was never recorded,"
            " or it was recorded as removed before."
        )
    if outcome.rotated_to is not None:
        sentence += f" Epoch {outcome.rotated_to} is current."
    run.print(
        {
            "slot": outcome.slot,
            "position": outcome.position,
            "epoch": outcome.rotated_to,
        },
        sentence=sentence,
    )
    show.print_note(
        "Whoever kept an old keyring, its passphrase and a copy of the database still reads"
        " what was readable before: change those passwords."
    )
    show.print_note(RENEW_COPIES)


@command(
    slot,
    "export-auditor",
    example="credledger key slot export-auditor 2 /media/usb/auditor-keyring",
    appends=True,
    answers='{"slot", "position"}',
)
@click.argument("slot_id", type=NUMBER, metavar="ID")
@click.argument("file")
@click.option(
    "--from", "present", metavar="FILE", help="The auditor's present file; FILE is a new one."
)
def slot_export_auditor(run: Run, slot_id: int, file: str, present: str | None) -> None:
    """Write an auditor's own keyring anew, without the auditor's passphrase.

    An auditor who changed the passphrase changed it in their own file: --from takes the newest
    sealed key from there.
    """
    with run.session() as session:
        outcome = session.ledger.export_auditor(
            run.acting(),
            slot_id,
            Path(file).resolve(),
            None if present is None else Path(present).resolve(),
        )
    _print_slot(run, outcome, f"Exported slot {outcome.slot}.")


def _print_slot(run: Run, outcome: SlotOutcome, sentence: str) -> None:
    run.print({"slot": outcome.slot, "position": outcome.position}, sentence=sentence)
