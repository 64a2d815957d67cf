"""`credledger backup`: archives of the database; the keyring has its own under `key`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ledger.errors import InvalidInput, Tampered
from tools.cli.command import Run, command
from tools.cli.key_backup import note_restored
from tools.cli.noun import Noun
from tools.cli.number import NUMBER
from tools.cli.revived import note_revived
from tools.cli.streams import ending_with
from tools.exits import DONE, exit_code
from tools.showing import show

VIEW_COLUMNS = {
    "name": "View",
    "digest_before": "Archived",
    "digest_after": "Folded anew",
    "same": "Same",
}
CHECK_COLUMNS = {"name": "Check", "ok": "Holds", "detail": "Detail"}
_NOTED = {"views", "gone", "other_branch", "revived", "keyring", "lost", "still_in"}
"""What people are told in other ways than as a line of facts."""
_PART = click.option(
    "--part",
    "parts",
    multiple=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where an archive lies that this one goes on from; repeatable.",
)
_POSITION = click.option(
    "--position",
    type=NUMBER,
    metavar="N",
    help="The newest archive there that ends at position N or before.",
)
_DIRECTORY = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))


@click.group(cls=Noun)
def backup() -> None:
    """Archive the database, and bring it back."""


@command(
    backup,
    "create",
    example="credledger backup create /mnt/backup/monday",
    appends=True,
    answers='{"directory", "position", "root", "bytes", "kind", "after", "digest", "taken_up"?}',
)
@_DIRECTORY
@click.option("--since-backup", is_flag=True, help="Only what the newest backup does not hold.")
@click.option(
    "--base-elsewhere",
    is_flag=True,
    help="What --since-backup goes on from is kept elsewhere; you vouch for it.",
)
def create(run: Run, directory: Path, since_backup: bool, base_elsewhere: bool) -> None:
    """Write an archive of the log while others go on, check it and record it.

    If it was cut off, run it again with the same folder: what is whole there is taken up. With
    --since-backup it is worth nothing without the archives that it goes on from, so those are
    looked for first: where they were put, and beside the new one.
    """
    from tools.recovering.backups import create_backup

    if base_elsewhere and not since_backup:
        raise InvalidInput("usage", "--base-elsewhere belongs to --since-backup.")
    acting = run.acting()
    with run.session() as session:
        document = create_backup(
            session,
            directory,
            acting,
            since_backup=since_backup,
            base_elsewhere=base_elsewhere,
        )
    run.print(document)
    if "taken_up" in document:
        show.print_note(
            f"An archive up to position {document['taken_up']} lay there that was cut off before it"
            " was recorded; it was checked, and is recorded now."
        )
    show.print_note("Keep it apart from the keyring: both together are the credentials.")


@command(
    backup,
    "verify",
    example="credledger backup verify /mnt/backup/monday",
    answers=(
        '{"ok", "position", "root", "seconds", "views": [as replay rebuild],'
        ' "checks": [{"name", "ok", "detail"}]}'
    ),
)
@_DIRECTORY
@_PART
@_POSITION
@click.option("--ledger-id", metavar="ID", help="The pinned ledger id, in hex.")
def verify(
    run: Run,
    directory: Path,
    parts: tuple[Path, ...],
    position: int | None,
    ledger_id: str | None,
) -> None:
    """Check a whole archive without any key."""
    from tools.evidence.verifying import parse_ledger_id, verify_archive

    pinned = None if ledger_id is None else parse_ledger_id(ledger_id)
    document = verify_archive(
        run.settings(), directory, parts, pinned, position
    ).as_backup_document()
    with ending_with(DONE if document["ok"] else exit_code(Tampered.family)):
        if run.json:
            run.print(document)
        else:
            checks = document.pop("checks")
            run.print(checks, CHECK_COLUMNS)
            _print_facts(run, document)


@command(
    backup,
    "restore",
    example="credledger backup restore /mnt/backup/monday --store sqlite:///srv/new/ledger.db",
    appends=True,
    answers='{"ok", "position", "root", "seconds", "views": [], "gone": {"from", "to"}?,'
    ' "other_branch": POSITION?, "revived": [{"slot", "label"}], "keyring": as key restore?, "lost": [{"epoch", "mappings"}], "still_in": []}',
)
@_DIRECTORY
@_PART
@_POSITION
@click.option(
    "--key-backup",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Put this key backup in the keyring's place: both were lost.",
)
@click.option("--shares", is_flag=True, help="Unlock the key backup with recovery shares, typed.")
@click.option("--shares-file", metavar="FILE", help="Unlock it with those in a file; - is stdin.")
def restore(
    run: Run,
    directory: Path,
    parts: tuple[Path, ...],
    position: int | None,
    key_backup: Path | None,
    shares: bool,
    shares_file: str | None,
) -> None:
    """Bring an archive into an empty store, of either engine; run it again if it was cut off.

    Where the keyring was lost as well, --key-backup brings both back. The keyring must hold the
    keys of every epoch that the archive knows, which is looked at before the first row is brought;
    it may be any number of rotations ahead. Slots that were removed after the archive was taken
    live again in its log, and are named.
    """
    from tools.recovering.backups import restore_backup
    from tools.recovering.key_backups import presented

    if key_backup is None and (shares or shares_file is not None):
        raise InvalidInput("usage", "Recovery shares unlock a key backup: give --key-backup.")
    found = None
    if key_backup is not None:
        found = presented(key_backup, shares=shares, shares_file=shares_file)
    settings, acting = run.settings(), run.acting()
    document: dict[str, Any] = restore_backup(
        settings, run.standard_input, directory, parts, acting, found, position
    )
    _print_restored(run, document)
    _note_not_compared(document)
    gone = document["gone"]
    if isinstance(gone, dict):
        one = gone["from"] == gone["to"]
        which = (
            f"is position {gone['to']}" if one else f"are positions {gone['from']} to {gone['to']}"
        )
        show.print_note(
            f"Gone {which}, which this host remembers and the archive does not hold;"
            " that is recorded."
        )
    if document["other_branch"] is not None:
        show.print_note(
            "This host remembers another branch of the log, up to position"
            f" {document['other_branch']}: what was recorded in that one alone is gone; that is"
            " recorded."
        )
    note_revived(document["revived"])
    _note_lost(document)
    keyring = document["keyring"]
    if isinstance(keyring, dict):
        show.print_note(f"The key backup is the keyring now: {keyring['path']}.")
        note_restored(lacks_next=keyring["lacks_next"])


@command(
    backup,
    "drill",
    example="credledger backup drill --scratch /var/tmp",
    appends=True,
    answers=(
        '{"ok", "position", "root", "seconds", "views": [{"name", "digest_before",'
        ' "digest_after", "same"}], "directory"}'
    ),
)
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@_PART
@click.option(
    "--scratch",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where there is room for the whole database for a while.",
)
def drill(run: Run, directory: Path | None, parts: tuple[Path, ...], scratch: Path | None) -> None:
    """Restore the newest backup into a scratch place, compare, and record that it was done."""
    from tools.recovering.backups import drill_backup

    acting = run.acting()
    with run.session() as session:
        document = drill_backup(session, directory, parts, scratch, acting)
    _print_restored(run, document)
    _note_not_compared(document)


def _note_not_compared(document: dict[str, Any]) -> None:
    """Views that were folded anew, and that the archive gave nothing to hold against."""
    views = document["views"]
    names = [one["name"] for one in views if one["same"] is None and not one["erased_since"]]
    if any(one["erased_since"] for one in views):
        show.print_note(
            "Access records in the archive were erased since it was taken: nobody opens them any"
            " more, so the view of accesses was not compared. The log itself was checked."
            " Where it was restored, it does not tell of the policy and the erasure any more:"
            " `credledger key retention set` and `apply` record them again."
        )
    if names:
        show.print_note(
            f"Not compared, because the archive has no digest of this fold: {', '.join(names)}."
            " The log itself was checked."
        )


def _note_lost(document: dict[str, Any]) -> None:
    """Values that are there and that nobody can open with this keyring."""
    for one in document["lost"]:
        show.print_note(
            f"LOST: {one['mappings']} credentials rest on epoch {one['epoch']}, whose key of values"
            " this keyring does not hold."
        )
    if document["lost"] and document["still_in"]:
        show.print_note(
            "A key backup that holds it, as far as is recorded: "
            f"{', '.join(document['still_in'])}. Put it back with `credledger key restore` before"
            " keys are rotated; the keyring of now is kept aside."
        )
    elif document["lost"]:
        show.print_note(
            "No key backup is recorded that holds it, as far as this log tells. With none, delete"
            " those credentials (`credledger credential list` shows the epoch of each), run"
            " `credledger key rotate`, and set them anew."
        )


def _print_restored(run: Run, document: dict[str, object]) -> None:
    if run.json:
        run.print(document)
        return
    run.print(document["views"], VIEW_COLUMNS)
    _print_facts(run, document)


def _print_facts(run: Run, document: dict[str, object]) -> None:
    run.print({name: value for name, value in document.items() if name not in _NOTED})
