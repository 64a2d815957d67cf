"""`credledger log witness`: a second key in a second place, which signs what it has checked."""

from __future__ import annotations

from pathlib import Path

import click

from ledger.errors import InvalidInput
from tools.cli.command import Run, command
from tools.cli.noun import Noun

AUTHORITY = "time-stamping-authority"
_FOLDER = click.Path(path_type=Path)
_WITNESS = '{"ledger_id", "name", "witness_key", "size", "root", "signed_at"}'


@click.group(cls=Noun)
def witness() -> None:
    """Sign heads on another host, without a keyring; have them stamped with a time."""


@command(
    witness,
    "init",
    example="credledger log witness init /var/lib/witness --ledger-id 3f2a... --name w.example/1",
    answers=_WITNESS,
)
@click.argument("directory", metavar="DIR", type=_FOLDER)
@click.option("--ledger-id", required=True, metavar="ID", help="The ledger to watch, in hex.")
@click.option("--name", metavar="NAME", help="What its signatures are under; else the host's.")
def init(run: Run, directory: Path, ledger_id: str, name: str | None) -> None:
    """Make a witness: a key of its own, and a memory that is empty.

    Do this on another host than the ledger's, and give the witness key to whoever checks.
    """
    from tools.evidence.verifying import parse_ledger_id
    from tools.evidence.witnessing import make_witness

    run.print(make_witness(directory, parse_ledger_id(ledger_id), name))


@command(
    witness,
    "sign",
    example="credledger log witness sign /var/lib/witness --out /srv/anchors/contoso",
    answers='{"size", "root", "signed_at", "note"}',
)
@click.argument("directory", metavar="DIR", type=_FOLDER)
@click.option("--archive", metavar="DIR", type=_FOLDER, help="Read an archive, not the store.")
@click.option("--out", metavar="FILE", type=_FOLDER, help="Add the signed note to this file.")
def sign(run: Run, directory: Path, archive: Path | None, out: Path | None) -> None:
    """Check the log since the last time, and sign its newest head.

    A log that is shorter than the witness has seen it, or does not go on from there, is refused
    (exit 8), and so is one with anything that was not signed by who may.
    """
    from tools.evidence.witnessing import sign_newest

    document = sign_newest(run.settings(), directory, archive, out)
    if run.json:
        run.print(document)
    elif out is None:
        click.echo(document["note"], nl=False)


@command(witness, "show", example="credledger log witness show /var/lib/witness", answers=_WITNESS)
@click.argument("directory", metavar="DIR", type=_FOLDER)
def show(run: Run, directory: Path) -> None:
    """Show a witness's public key, and how far it has seen the log."""
    from tools.evidence.witnessing import show_witness

    run.print(show_witness(directory))


@command(
    witness,
    "stamp",
    example="credledger log witness stamp anchors --url https://tsa.example/ --root tsa-root.pem",
    answers='{"size", "authority", "stamped_at"}` or, with --request, `{"size", "request"}',
)
@click.argument("anchors", metavar="ANCHORS")
@click.option("--request", metavar="FILE", type=_FOLDER, help="Write what to ask, and stop.")
@click.option("--response", metavar="FILE", help="Take the authority's answer from this file.")
@click.option("--url", metavar="URL", help="Ask the authority here.")
@click.option("--root", metavar="FILE", help="The authority's root certificate, in PEM.")
@click.option(
    "--name", default=AUTHORITY, show_default=True, metavar="NAME", help="What to call it."
)
def stamp(
    run: Run,
    anchors: str,
    request: Path | None,
    response: str | None,
    url: str | None,
    root: str | None,
    name: str,
) -> None:
    """Put a time stamp (RFC 3161) of an authority under the newest note of a file of anchors.

    Either ask at --url, or write the question with --request, carry it there, and give the answer
    with --response. The answer is checked before it is kept.
    """
    from tools.evidence.anchors import root_certificates
    from tools.evidence.time_stamps import add_answer, answer_in, ask_authority, write_request

    if sum(given is not None for given in (request, response, url)) != 1:
        raise InvalidInput("usage", "Give one of --request, --response and --url.")
    if request is not None:
        run.print(write_request(anchors, request, run.standard_input))
        return
    if root is None:
        raise InvalidInput("usage", "--response and --url need --root.")
    roots = root_certificates(root, run.standard_input)
    if url is not None:
        answer = ask_authority(url, anchors, run.standard_input)
    else:
        assert response is not None
        answer = answer_in(response, run.standard_input)
    run.print(add_answer(anchors, answer, roots, name, run.standard_input))
