"""`credledger key backup` and `key restore`: copies of the keyring."""

from __future__ import annotations

from pathlib import Path

import click

from tools.cli.command import Run, command
from tools.cli.default import GroupWithDefault
from tools.cli.number import NUMBER

BACKUP_COLUMNS = {
    "position": "Position",
    "recorded_at": "Recorded",
    "path": "Path",
    "epochs": "Epochs",
    "slots": "Slots",
    "digest": "SHA-256",
    "replaced": "Replaced",
}


@command(
    None,
    "backup",
    example="credledger key backup /media/safe/keyring",
    appends=True,
    answers='{"path", "epoch", "digest", "position"}',
)
@click.argument("destination", metavar="DEST")
def backup_create(run: Run, destination: str) -> None:
    """Copy the keyring to DEST, read it back, and record that it is there.

    DEST is a new file, and lies neither with the database nor with a backup of it. From a keyring
    that lacks the next epoch it is made with a warning, and no rotation counts on it. `key backup
    list` and `key backup attest-replaced` look after those that were made.
    """
    from tools.recovering.key_backups import back_up
    from tools.showing import show

    with run.session() as session:
        document, beside, lacks_next = back_up(session, run.acting(), destination)
    run.print(document)
    if lacks_next:
        show.print_note(
            f"This backup is not enough: it lacks epoch {int(str(document['epoch'])) + 1}, which"
            " another host holds ready for the next rotation. Make one on the host that rotated"
            " last."
        )
    if beside:
        show.print_note(
            "It lies on the same device as the keyring or the database: what harms that device"
            " takes both. Carry it elsewhere, or make another one."
        )


backup = GroupWithDefault(backup_create)
"""`key backup DEST`, and what is done with those that were made."""


@command(
    backup,
    "list",
    example="credledger key backup list",
    answers='[{"position", "recorded_at", "by", "path", "digest", "epochs": [], "slots": [],'
    ' "replaced"}]',
)
@click.option("--all", "all_", is_flag=True, help="Those that were replaced or destroyed too.")
def backup_list(run: Run, all_: bool) -> None:
    """List the recorded key backups that may still exist."""
    from tools.recovering.key_backups import backup_document

    with run.session() as session:
        made = session.ledger.key_backups.history().made
    run.print([backup_document(one) for one in made if all_ or one.stands], BACKUP_COLUMNS)


@command(
    backup,
    "attest-replaced",
    example="credledger key backup attest-replaced 4 --reason 'stick shredded'",
    appends=True,
    answers='{"backup", "position"}',
)
@click.argument("backup_position", type=NUMBER, metavar="POSITION")
def backup_attest_replaced(run: Run, backup_position: int) -> None:
    """Attest that the key backup recorded at POSITION was destroyed or replaced.

    It is no longer listed as holding old keys. The ledger cannot look: it is your word, recorded.
    """
    with run.session() as session:
        position = session.ledger.key_backups.attest_replaced(run.acting(), backup_position)
    run.print(
        {"backup": backup_position, "position": position},
        sentence=f"The end of the key backup recorded at position {backup_position} is attested.",
    )


@command(
    None,
    "restore",
    example="credledger key restore /media/safe/keyring",
    appends=True,
    answers='{"path", "epoch", "digest", "position", "source", "kept"}',
)
@click.argument("source", metavar="SRC")
@click.option("--shares", is_flag=True, help="Unlock with recovery shares, typed.")
@click.option("--shares-file", metavar="FILE", help="Unlock with those in a file; - is stdin.")
def restore(run: Run, source: str, shares: bool, shares_file: str | None) -> None:
    """Put the key backup SRC in the keyring's place, for when the keyring is lost.

    It unlocks as it did when it was made. A keyring that is there is kept under another name; one
    that opens as well, or holds keys that the backup lacks, stays where it is.
    """
    from tools.recovering.key_backups import restore_from

    document, lacks_next = restore_from(
        Path(source),
        lambda unlock: run.session(unlock=unlock, of_key_backup=True),
        run.acting(),
        shares=shares,
        shares_file=shares_file,
    )
    run.print(document)
    note_restored(lacks_next=lacks_next)


def note_restored(*, lacks_next: bool) -> None:
    """What somebody must know who has put a key backup back."""
    from tools.showing import show

    if lacks_next:
        show.print_note(
            "It lacks the epoch after the current one, which is held ready for a rotation: until a"
            " newer keyring is found, keys cannot be rotated. If there is none, run"
            " `credledger key replace-next`."
        )
    show.print_note("Slots added or passphrases changed since that backup are not in it.")
