"""`credledger key retention` and `key hold`: how long access records are kept."""

from __future__ import annotations

import shlex

import click

from ledger.errors import InvalidInput
from tools.cli.command import Run, command
from tools.cli.noun import Noun
from tools.cli.number import ANY

HOLD_COLUMNS = {
    "name": "Hold",
    "set_at": "Set",
    "by": "By",
    "reason": "Reason",
    "position": "Position",
}
NOT_OTHERS = (
    "Other hosts drop the keys with the next thing they do. A copy of a keyring from before, or an"
    " auditor's old file, opens the records as long as somebody keeps it."
)


@click.group(cls=Noun)
def retention() -> None:
    """Keep access records for a time, then destroy their keys."""


@command(
    retention,
    "set",
    example="credledger key retention set --access-older-than 730 --reason 'two years, by law'",
    answers='{"access_older_than_days", "changed", "position"}',
    appends=True,
)
@click.option(
    "--access-older-than",
    "days",
    type=ANY,
    metavar="DAYS",
    help="Whole months older than this may be erased; 31 at least.",
)
@click.option("--keep", is_flag=True, help="Keep access records for good.")
def set_(run: Run, days: int | None, keep: bool) -> None:
    """Say how long access records are kept; `apply` erases them."""
    if keep == (days is not None):
        raise InvalidInput("usage", "Give either --access-older-than DAYS or --keep.")
    with run.session() as session:
        outcome = session.ledger.retention.set_policy(run.acting(), days)
    kept = "for good" if days is None else f"for {days} days"
    run.print(
        {
            "access_older_than_days": days,
            "changed": outcome.changed,
            "position": outcome.position,
        },
        sentence=f"Access records are kept {kept}{'' if outcome.changed else ' already'}.",
    )


@command(
    retention,
    "show",
    example="credledger key retention show --json",
    answers='{"access_older_than_days", "set_at", "set_by", "holds": [], "erased_until",'
    ' "erasures": [{"position", "until", "recorded_at", "by"}],'
    ' "key_backups": [{"position", "path"}], "kept_files": [], "unfinished", "final"}',
)
def show(run: Run) -> None:
    """Show the policy, the holds and what was erased."""
    from tools.retaining import retention_document

    with run.session(operator=False) as session:
        document = retention_document(session)
    run.print(document)


@command(
    retention,
    "apply",
    example="credledger key retention apply --yes",
    answers='{"dry_run", "access_older_than_days", "holds": [], "months": [], "keys", "records",'
    ' "until", "position", "finishes", "key_backups": [{"position", "path"}], "kept_files": [], "unfinished", "final"}',
    appends=True,
    destroys=True,
)
@click.option("--dry-run", is_flag=True, help="Only show what would be erased.")
def apply(run: Run, dry_run: bool) -> None:
    """Destroy the keys of months of access records that are older than the policy keeps them.

    The log keeps its rows and verifies as before; nobody opens these records any more. The current
    month always stays. Refused while a hold is set, but for what was decided before and cut off:
    that is finished. Meant to be run regularly, for example by cron.
    """
    from tools.retaining import erasure_document, erasure_sentence, standing_copies
    from tools.showing.show import print_note

    with run.session() as session:
        outcome = session.ledger.retention.planned()
        if not dry_run:
            if outcome.months and not outcome.holds:
                planned = erasure_sentence(erasure_document(outcome, dry_run=True))
                run.consent(f"{planned} For good?")
            outcome = session.ledger.retention.apply(run.acting())
            session.views.bring_forward()  # sweeps the rows away that nobody sees any more
        document = {**erasure_document(outcome, dry_run=dry_run), **standing_copies(session)}
    run.print(document, sentence=erasure_sentence(document))
    if outcome.position is not None or (outcome.finishes is not None and not dry_run):
        print_note(NOT_OTHERS)
        for backup in document["key_backups"]:
            print_note(
                f"The key backup at {backup['path']} (position {backup['position']}) opens them"
                " too: once there is a newer one, destroy it, then attest it with"
                " `credledger key backup attest-replaced`."
            )
        for path in document["kept_files"]:
            print_note(
                f"The file {path}, kept beside the keyring, opens them too: destroy it with"
                f" `rm {shlex.quote(path)}`; `credledger doctor` says if it holds keys of a log that"
                " was given up as well."
            )
    elif outcome.holds:
        print_note("A hold is set, so nothing is erased until it is released.")


@click.group(cls=Noun)
def hold() -> None:
    """Stop every erasure of access records until a hold is released."""


@command(
    hold,
    "set",
    example="credledger key hold set 'Case 4711' --reason 'asked for by counsel'",
    answers='{"name", "position", "decided"}',
    appends=True,
)
@click.argument("name")
def hold_set(run: Run, name: str) -> None:
    """Set a hold; why is the reason.

    An erasure that was decided before and is not finished yet is not stopped; you are told.
    """
    from tools.showing.show import print_note

    with run.session() as session:
        outcome = session.ledger.retention.hold(run.acting(), name)
    document = {"name": outcome.name, "position": outcome.position, "decided": outcome.decided}
    if outcome.decided is None:
        run.print(document, sentence=f"Nothing is erased while the hold {outcome.name} is set.")
        return
    run.print(
        document,
        sentence=f"Nothing more is erased while the hold {outcome.name} is set.",
    )
    print_note(
        f"The erasure decided at position {outcome.decided} came before it and cannot be stopped:"
        " hosts let its keys go with the next thing they do. `credledger key retention apply`"
        " finishes it."
    )


@command(
    hold,
    "release",
    example="credledger key hold release 'Case 4711' --reason 'closed'",
    answers='{"name", "position"}',
    appends=True,
)
@click.argument("name")
def hold_release(run: Run, name: str) -> None:
    """Release a hold; others stay."""
    with run.session() as session:
        outcome = session.ledger.retention.release(run.acting(), name)
    run.print(
        {"name": outcome.name, "position": outcome.position},
        sentence=f"Released the hold {outcome.name}.",
    )


@command(
    hold,
    "list",
    example="credledger key hold list",
    answers='[{"name", "set_at", "by", "reason", "position"}]',
)
def hold_list(run: Run) -> None:
    """List the holds that are set."""
    from tools.retaining import hold_document

    with run.session(operator=False) as session:
        documents = [hold_document(one) for one in session.ledger.retention.holds()]
    run.print(documents, HOLD_COLUMNS)
