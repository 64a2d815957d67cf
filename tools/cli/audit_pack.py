"""`credledger audit pack`: evidence that is checked on another machine, without the ledger."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.errors import InvalidInput
from tools.cli.anchor_options import anchor_options, given_anchors
from tools.cli.command import Run, command
from tools.cli.number import NUMBER
from tools.showing.show import print_note

if TYPE_CHECKING:
    from tools.packing.anchored import Anchored
    from tools.packing.packs import Opener

CHECK_COLUMNS = {"name": "Check", "ok": "Holds", "detail": "Detail"}


@command(
    None,
    "pack",
    example="credledger audit pack /media/handover/november",
    asks=True,
    answers='{"directory", "position", "root", "bytes", "digest", "accesses", "closed",'
    ' "anchored_to", "witnessed_to", "stamped_to", "witness_keys", "unchecked", "checks": [{"name",'
    ' "ok", "detail"}]}',
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--until",
    type=NUMBER,
    metavar="POSITION",
    help="Up to the last head at this position or before; else up to the newest.",
)
@click.option("--with-access", is_flag=True, help="Open the access records in it (unlocks).")
@anchor_options
@click.option(
    "--archive",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Pack the log of an archive of `backup create` instead of the store's.",
)
def pack(
    run: Run,
    directory: Path,
    until: int | None,
    with_access: bool,
    anchors: tuple[str, ...],
    witness_keys: tuple[str, ...],
    roots: tuple[str, ...],
    archive: Path | None,
) -> None:
    """Write evidence of the whole log for somebody who has neither the ledger nor a key.

    DIR is a new folder, or an empty one. It holds the rows' headers and digests, all signed heads,
    who may sign, a report and a verifier that needs Python and `cryptography` only; nothing that is
    sealed. With --with-access, an operator's or auditor's unlock opens the access records, which is
    recorded, and each lies there with what anybody needs to compare it with the log. Anchors must
    hold as `log verify` has it, and go with it. Before the folder gets its name, the verifier must
    have confirmed all of it.
    """
    from tools.packing.anchored import anchors_to_pack
    from tools.packing.packs import create_pack, log_source

    settings = run.settings()
    if not with_access and (run.checked_reason() or run.require_record):
        raise InvalidInput(
            "usage",
            "Only --with-access records anything, hence a reason, or that it must be recorded.",
        )
    kept = given_anchors(run, anchors, witness_keys, roots)
    anchored = None if kept is None else anchors_to_pack(kept)
    if not with_access:
        with log_source(settings, archive) as source:
            document = create_pack(
                settings, source, directory, until=until, anchored=anchored, opener=None
            )
    elif archive is not None:
        run.refuse_unrecorded()
        document = _of_archive(run, directory, archive, until, anchored)
    else:
        from tools.packing.packs import Opener

        with run.asking() as session:
            record = partial(run.record, session, "pack", {"until": until})
            opener = Opener(session.mapper, record)
            document = create_pack(
                settings, session.store, directory, until=until, anchored=anchored, opener=opener
            )
    _print(run, document)
    if closed := sum((document["closed"] or {}).values()):
        print_note(f"{closed} access records are closed in it: whoever receives it has your word.")
    for key in document["witness_keys"]:
        print_note(f"Who receives the pack checks the cosignatures with --witness {key}.")
    for what in document["unchecked"]:
        print_note(f"{what[0].upper()}{what[1:]}.")


def _of_archive(
    run: Run, directory: Path, archive: Path, until: int | None, anchored: Anchored | None
) -> dict[str, Any]:
    """An archive cannot be appended to, so nothing records that its access is opened."""
    from ledger.archive.reading import open_archive
    from tools.packing.packs import Opener, create_pack
    from tools.wiring import archive_opener

    settings, opened = run.settings(), open_archive(archive)
    mapper = archive_opener(settings, run.standard_input, opened)
    opener: Opener = Opener(mapper, lambda _: _unrecorded())
    return create_pack(settings, opened, directory, until=until, anchored=anchored, opener=opener)


def _unrecorded() -> None:
    print_note(
        "An archive cannot be written to: that its access records are opened is not recorded."
    )


def _print(run: Run, document: dict[str, Any]) -> None:
    if run.json:
        run.print(document)
        return
    apart = {"checks", "closed", "unchecked", "witness_keys"}
    run.print(document["checks"], CHECK_COLUMNS)
    run.print({name: value for name, value in document.items() if name not in apart})
    if document["accesses"] is not None:
        print_note("Who has this pack can read who asked for what: hand it over as you would that.")
