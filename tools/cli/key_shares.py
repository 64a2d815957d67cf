"""`credledger key shares`: recovery shares of a slot of their own."""

from __future__ import annotations

from pathlib import Path

import click

from ledger.errors import InvalidInput
from tools.cli.command import Run, command
from tools.cli.noun import Noun

_FILE = click.option("--shares-file", metavar="FILE", help="One share a line; - is stdin.")


@click.group(cls=Noun)
def shares() -> None:
    """Recovery shares, for the day when nobody can unlock any more."""


@command(
    shares,
    "create",
    example="credledger key shares create 3/5",
    appends=True,
    answers='{"slot", "label", "threshold", "count", "shares": [words], "position"}',
)
@click.argument("scheme", metavar="K/N")
@click.option("--label", help="What the slot is called.")
def shares_create(run: Run, scheme: str, label: str | None) -> None:
    """Make a slot that any K of N recovery shares open, and show their words once.

    Give each share to another person, on paper. Try them with `key shares verify`. Removing the
    slot ends them.
    """
    from tools.recovering.key_backups import RENEW_COPIES
    from tools.recovering.recovery import parse_scheme, print_shares, shares_document
    from tools.showing import show
    from tools.wiring import SHARES_LABEL

    wanted = parse_scheme(scheme)
    with run.session() as session:
        made = session.ledger.shares.create(run.acting(), wanted, label or SHARES_LABEL)
        ledger_id = session.unlocked.ledger_id.hex()
    if run.json:
        run.print(shares_document(made))
    else:
        print_shares(made, ledger_id)
    show.print_note(RENEW_COPIES)


@command(
    shares,
    "verify",
    example="credledger key shares verify",
    answers='{"slot", "label", "threshold", "count", "given"}',
)
@_FILE
def shares_verify(run: Run, shares_file: str | None) -> None:
    """Tell which slot recovery shares open; nothing is changed.

    All that are given are tried, also those beyond the number needed.
    """
    from tools.recovering.recovery import SharesGiven

    given = SharesGiven(shares_file)
    with run.session(unlock=given.unlock) as session:
        found = session.ledger.shares.unlocked()
    run.print(
        {
            "slot": found.slot,
            "label": found.label,
            "threshold": found.threshold,
            "count": found.count,
            "given": given.count,
        },
        sentence=f"The {given.count} shares fit, and open slot {found.slot} ({found.label}).",
    )


@command(
    shares,
    "restore",
    example="credledger key shares restore --label ann-again",
    appends=True,
    new_passphrase=True,
    answers='{"slot", "opened_by", "position"}',
)
@_FILE
@click.option("--label", default="restored", show_default=True, help="Whose slot the new one is.")
@click.option("--new-key-file", metavar="FILE", help="A key file instead of a passphrase.")
def shares_restore(
    run: Run,
    shares_file: str | None,
    label: str,
    new_key_file: str | None,
    argon2_memory: int,
) -> None:
    """Unlock with recovery shares and add a slot with a new passphrase or key file."""
    from tools.people.holdings import argon2_cost, new_holding
    from tools.recovering.key_backups import RENEW_COPIES
    from tools.recovering.recovery import SharesGiven
    from tools.showing import show

    if new_key_file is not None and run.given.new_passphrase_file is not None:
        raise InvalidInput("usage", "Give --new-passphrase-file or --new-key-file, not both.")
    with run.session(unlock=SharesGiven(shares_file).unlock) as session:
        outcome = session.ledger.shares.restore(
            run.acting(),
            label=label,
            holding=new_holding(
                session.settings, run.standard_input, Path(new_key_file) if new_key_file else None
            ),
            cost=argon2_cost(argon2_memory),
        )
        opened_by = session.unlocked.slot.id
    run.print(
        {"slot": outcome.slot, "opened_by": opened_by, "position": outcome.position},
        sentence=f"Added slot {outcome.slot}.",
    )
    show.print_note(
        "The shares still open their slot, and have been in one place: make new ones, and then"
        f" `credledger key slot remove {opened_by} --mislaid`."
    )
    show.print_note(RENEW_COPIES)
