"""`credledger key service`: the key pair that issuers encrypt tokens to."""

from __future__ import annotations

import json

import click

from ledger.errors import NotFound
from tools.cli.command import Run, command
from tools.cli.noun import Noun


@click.group(cls=Noun)
def service() -> None:
    """Manage the key pair that tokens are encrypted to."""


@command(
    service,
    "rotate",
    example="credledger key service rotate --reason yearly",
    appends=True,
    answers='{"made_at", "kids": [kid], "position"}',
)
def rotate(run: Run) -> None:
    """Make a new key pair, or the first one.

    Tokens for the pair before it are opened still, until the pair after this one is made: publish
    the new keys with `key service jwks` meanwhile. Other hosts need a copy of the keyring.
    """
    from tools.recovering.key_backups import RENEW_COPIES
    from tools.showing import show
    from tools.when import to_text

    with run.session() as session:
        made = session.ledger.trust.new_service_pair(run.acting())
    run.print(
        {"made_at": to_text(made.made_at), "kids": list(made.kids), "position": made.position}
    )
    show.print_note(RENEW_COPIES)


@command(
    service,
    "list",
    example="credledger key service list",
    answers='[{"made_at", "kids": [kid], "state": "published|opens still", "position"}]',
)
def list_(run: Run) -> None:
    """List the pair that is published and the one before it."""
    from tools.when import to_text

    with run.session(operator=False) as session:
        pairs = session.ledger.trust.published()
    rows = [
        {
            "made_at": to_text(pair.made_at),
            "kids": list(pair.kids),
            "state": "published" if pair is pairs.newest() else "opens still",
            "position": pair.position,
        }
        for pair in pairs.kept
    ]
    columns = {"made_at": "Made", "state": "State", "kids": "Keys", "position": "Position"}
    run.print(rows, columns)


@command(
    service,
    "jwks",
    example="credledger key service jwks > jwks.json",
    answers='{"keys": [JWK]}',
)
def jwks(run: Run) -> None:
    """Print the public keys as a JWKS, for issuers that encrypt tokens."""
    with run.session(operator=False) as session:
        published = session.ledger.trust.published().newest()
    if published is None:
        raise NotFound(
            "no-service-key",
            "There is no key pair that tokens could be encrypted to.",
            hint="Make one with `credledger key service rotate`.",
        )
    click.echo(json.dumps(json.loads(published.jwks), indent=None if run.json else 2))
