"""`credledger issuer`: whose tokens are trusted, and how strictly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tools.cli.command import Run, command
from tools.cli.noun import Noun
from tools.cli.number import Range

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
TYPES = ("at+jwt", "JWT")
_SHAPE = (
    '{"issuer", "audience", "algorithms", "keys": [kid], "keys_url", "token_type", "user_claim",'
    ' "groups_claim", "application_claim", "clock_skew_s", "longest_life_s", "case_blind",'
    ' "speaks_for_local", "refuses_replay", "encrypted_only", "added_at", "changed_at", "position"}'
)


@click.group(cls=Noun)
def issuer() -> None:
    """Manage trusted issuers of tokens."""


def _settings(function: Callable[..., None]) -> Callable[..., None]:
    """The settings of an issuer, none of which needs to be said."""
    for option in reversed(
        (
            click.option("--keys", metavar="FILE", help="Its public keys as a JWKS; - is stdin."),
            click.option("--keys-url", metavar="URL", help="Where its JWKS is fetched from."),
            click.option(
                "--algorithm",
                "algorithms",
                multiple=True,
                type=click.Choice(ALGORITHMS),
                help="How its tokens may be signed; repeatable, all four unless told.",
            ),
            click.option(
                "--token-type",
                type=click.Choice(TYPES),
                help="What `typ` they have; at+jwt (RFC 9068) unless told.",
            ),
            click.option("--user-claim", metavar="NAME", help="Names the user; sub unless told."),
            click.option("--groups-claim", metavar="NAME", help="Lists the user's groups."),
            click.option(
                "--application-claim", metavar="NAME", help="Binds a token to one application."
            ),
            click.option(
                "--clock-skew",
                type=Range(0, 300),
                metavar="SECONDS",
                help="How far clocks may be apart; 30 unless told.",
            ),
            click.option(
                "--longest-life",
                type=Range(1, 86400),
                metavar="SECONDS",
                help="The longest life of a token; 3600 unless told.",
            ),
            click.option(
                "--speaks-for-local/--speaks-for-itself",
                default=None,
                help="Whether its claims are local ones; at most one issuer's are.",
            ),
            click.option(
                "--refuse-replay/--accept-replay",
                default=None,
                help="Whether a token is good for one use only.",
            ),
            click.option(
                "--encrypted-only/--signed-is-enough",
                default=None,
                help="Whether tokens must be encrypted to the service's key pair.",
            ),
        )
    ):
        function = option(function)
    return function


@command(
    issuer,
    "add",
    example=(
        "credledger issuer add https://sts.contoso.example --audience credledger"
        " --keys-url https://sts.contoso.example/keys"
    ),
    appends=True,
    answers='{"changed", "version", "position"}',
)
@click.argument("url", metavar="ISSUER")
@click.option("--audience", required=True, metavar="TEXT", help="Must stand in a token's `aud`.")
@_settings
@click.option(
    "--case-blind", is_flag=True, help="Its values are the same in any case; fixed once said."
)
def add(run: Run, url: str, audience: str, case_blind: bool, **said: Any) -> None:
    """Trust the tokens of an issuer.

    ISSUER is the exact `iss` of its tokens. They are checked after RFC 8725 and RFC 9068 in every
    claim. Its users are written ISSUER#user:NAME, unless it speaks for local.
    """
    from ledger.aggregates.issuers import Settings
    from tools.issuers import changed_settings
    from tools.shapes import outcome_document

    bare = Settings(audience, ALGORITHMS, "", "", case_blind=case_blind)
    settings = changed_settings(bare, _said(run, said))
    with run.session() as session:
        outcome = session.ledger.trust.add(run.acting(), url, settings)
    run.print(
        outcome_document(outcome), sentence="Trusted." if outcome.changed else "Trusted already."
    )


@command(
    issuer,
    "update",
    example="credledger issuer update https://sts.contoso.example --keys jwks.json",
    appends=True,
    answers='{"changed", "version", "position"}',
)
@click.argument("url", metavar="ISSUER")
@click.option("--audience", metavar="TEXT", help="Must stand in a token's `aud`.")
@_settings
def update(run: Run, url: str, audience: str | None, **said: Any) -> None:
    """Change how an issuer's tokens are verified; what is not said stays.

    From the change's position on, tokens count only if they are verified by the new settings.
    """
    from tools.issuers import changed_settings
    from tools.shapes import outcome_document

    changes = {**_said(run, said), "audience": audience}
    with run.session() as session:
        outcome = session.ledger.trust.change(
            run.acting(), url, lambda settings: changed_settings(settings, changes)
        )
    run.print(outcome_document(outcome), sentence="Changed." if outcome.changed else "So already.")


@command(
    issuer,
    "remove",
    example="credledger issuer remove https://sts.contoso.example --reason 'moved away'",
    appends=True,
    answers='{"changed", "version", "position"}',
)
@click.argument("url", metavar="ISSUER")
def remove(run: Run, url: str) -> None:
    """Trust the tokens of an issuer no more; also those that were verified before."""
    from tools.shapes import outcome_document

    with run.session() as session:
        outcome = session.ledger.trust.remove(run.acting(), url)
    run.print(outcome_document(outcome), sentence="Not trusted any more.")


@command(issuer, "list", example="credledger issuer list --json", answers=f"[{_SHAPE}]")
def list_(run: Run) -> None:
    """List the trusted issuers."""
    from tools.issuers import COLUMNS, issuer_document

    with run.session(operator=False) as session:
        trusted = session.ledger.trust.issuers().trusted
    run.print([issuer_document(trusted[url]) for url in sorted(trusted)], COLUMNS)


@command(
    issuer,
    "show",
    example="credledger issuer show https://sts.contoso.example",
    answers=_SHAPE,
)
@click.argument("url", metavar="ISSUER")
def show(run: Run, url: str) -> None:
    """Show how an issuer's tokens are verified."""
    from tools.issuers import issuer_document

    with run.session(operator=False) as session:
        found = session.ledger.trust.issuers().get(url)
    run.print(issuer_document(found))


def _said(run: Run, said: dict[str, Any]) -> dict[str, Any]:
    """The options as settings; None where nothing was said."""
    from tools.issuers import told_keys

    keys = said["keys"]
    return {
        "keys": None if keys is None else told_keys(keys, run.standard_input),
        "keys_url": said["keys_url"],
        "algorithms": said["algorithms"] or None,
        "token_type": said["token_type"],
        "user_claim": said["user_claim"],
        "groups_claim": said["groups_claim"],
        "application_claim": said["application_claim"],
        "skew_s": said["clock_skew"],
        "life_s_max": said["longest_life"],
        "speaks_for_local": said["speaks_for_local"],
        "refuses_replay": said["refuse_replay"],
        "requires_encryption": said["encrypted_only"],
    }
