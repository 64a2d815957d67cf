"""`credledger leaver`: take everything from somebody who leaves, and say what they know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ledger.errors import InvalidInput
from tools.cli.command import Run, command
from tools.cli.moment import as_of

if TYPE_CHECKING:
    from ledger.claims import Claim


@command(
    None,
    "leaver",
    example="credledger leaver user:alice --dry-run",
    asks=True,
    of_archives=True,
    destroys=True,
    answers=(
        '{"claim", "dry_run", "position", "revoked": [{"application", "role"}], "rights": [],'
        ' "nobody_reads": [application], "to_change": [as audit exposure], "own": [{"application", "version"}]}'
    ),
)
@click.argument("claim")
@click.option("--dry-run", is_flag=True, help="Show it; change nothing. An auditor may, too.")
@as_of
def leaver(run: Run, claim: str, dry_run: bool, at: str | None, position: int | None) -> None:
    """Take every role and right from a claim, and list what it saw that was not changed since.

    With --dry-run it is a question, recorded as one; --at and --position ask what would have been
    taken and listed at that moment. They, --archive and --require-record need --dry-run.
    """
    from ledger.claims import parse_claim
    from tools.leaving import leave
    from tools.retaining import erased_in_answer

    leaving = parse_claim(claim)
    if dry_run:
        _print(run, *_look(run, leaving, at, position))
        return
    if (at, position, run.archive) != (None, None, None) or run.require_record:
        raise InvalidInput(
            "dry-run-only",
            "--at, --position, --archive and --require-record ask, and nothing is taken then.",
            hint="Give --dry-run with them.",
        )
    run.consent(f"Take every role and right from {claim}?")
    with run.session() as session:
        document = leave(session, run.acting(), leaving, dry_run=False)
        erased = erased_in_answer(session)
    _print(run, document, erased)


def _print(run: Run, document: dict[str, Any], erased: str | None) -> None:
    from tools.showing.show import print_note

    run.print(document)
    if erased is not None:
        print_note(erased)


def _look(
    run: Run, leaving: Claim, at: str | None, position: int | None
) -> tuple[dict[str, Any], str | None]:
    """What would be taken, now or at a moment, and what is erased; recorded before it is shown."""
    from tools.asking.moments import stretch_of
    from tools.leaving import leave, left_then
    from tools.retaining import erased_in_answer

    with run.asking() as session:
        moment = stretch_of(session, None, at, position, "--at")
        if (at, position) == (None, None):
            document = leave(session, run.acting(), leaving, dry_run=True)
        else:
            document = left_then(session, leaving, moment)
        asked = {"at": at, "position": position}
        question = f"leaver {document['claim']} --dry-run"
        erased = erased_in_answer(session)
        run.record(session, question, asked, len(document["to_change"]))
    return document, erased
