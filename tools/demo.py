"""The main job once, from an empty folder to equal digests, with the real program.

Everything happens in `.demo/`: store, keys and passphrase file in folders of their own. A second
run starts anew. With a PostgreSQL database the store is a new schema there instead; one that is
named and not free is refused before the folder is cleared, for the keyring of its ledger may be
what lies there. Each command is shown before it runs, so that what the demo does can be typed.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click

from ledger.errors import NotFound
from ledger.log.file_urls import sqlite_url
from tools.exits import exit_code
from tools.generate import mappings, people
from tools.people.documents import StandardInput
from tools.settings import Given, decide
from tools.wiring import open_session

_FOLDER = Path(".demo")
_MANIFEST = Path("docs/examples/contoso.toml")
_PEOPLE = 1000


Start = Callable[[list[str], dict[str, str]], "subprocess.CompletedProcess[str]"]
"""Runs the program with these words and settings, and gives what it left."""


def start_process(words: list[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tools.cli.main", *words],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


class Demo:
    """Runs the program and holds every answer against what it must be."""

    def __init__(self, folder: Path, store: str | None, start: Start = start_process) -> None:
        self.folder = folder
        self._folder = folder.resolve()
        self._program = start
        self.environment = {
            "CREDLEDGER_STORE": store or sqlite_url(self._folder / "store" / "ledger.db"),
            "CREDLEDGER_KEYRING": f"{self._folder}/keys/keyring",
            "CREDLEDGER_PASSPHRASE_FILE": f"{self._folder}/passphrase/passphrase",
        }

    def require_free(self) -> None:
        """Stop, with everything left as it is, unless the store is there to be made a ledger of."""
        done = self._start("log events")
        if done.returncode != exit_code(NotFound.family):
            taken = "A ledger lies there already; with another ledger=NAME, or none, one is made."
            raise SystemExit(f"{done.stderr.strip() or taken}\nThe demo has changed nothing.")

    def prepare(self) -> None:
        """Begin anew, with a fresh random passphrase in a private file."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for name in ("store", "keys", "passphrase"):
            (self._folder / name).mkdir(parents=True, mode=0o700)
        file = self._folder / "passphrase" / "passphrase"
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24) + "\n", encoding="utf-8")
        imports = self._folder / "mappings.jsonl"
        imports.touch(mode=0o600)
        with imports.open("w", encoding="utf-8") as lines:
            for line in mappings(_PEOPLE):
                lines.write(json.dumps(line) + "\n")

    def run(self, command: str, *, expect: int = 0, show: bool = True) -> str:
        """Run one command; stop the demo if it ends otherwise than expected."""
        click.secho(f"\n$ credledger {command}", bold=True)
        done = self._start(command)
        if show or done.returncode != expect:
            click.echo(done.stdout.rstrip() or done.stderr.rstrip())
        if done.returncode != 0:
            click.secho(f"(exit {done.returncode})", dim=True)
        if done.returncode != expect:
            raise SystemExit(f"The demo expected exit {expect}.")
        return done.stdout

    def _start(self, command: str) -> subprocess.CompletedProcess[str]:
        return self._program(shlex.split(command), self.environment)


def _say(text: str) -> None:
    click.secho(f"\n# {text}", fg="cyan")


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=_FOLDER)
@click.option("--store", metavar="URL", help="A PostgreSQL database to make the ledger in.")
def main(folder: Path, store: str | None) -> None:
    """Show the main job."""
    demo = Demo(folder, named_anew(store) if store else None)
    if store:
        demo.require_free()
    show(demo)


def show(demo: Demo) -> None:
    """Do the main job in the demo's folder, which is made anew."""
    folder = demo.folder
    demo.prepare()
    alma = people(_PEOPLE)[0]
    _say("A new ledger: a store and a keyring, kept apart.")
    passphrase = demo.environment["CREDLEDGER_PASSPHRASE_FILE"]
    demo.run(f"init --label operator --new-passphrase-file {shlex.quote(passphrase)}")
    _say("Applications as code, and two thousand credentials.")
    demo.run(f"app apply {_MANIFEST}", show=False)
    demo.run("app list")
    demo.run(f"credential import {shlex.quote(str(folder / 'mappings.jsonl'))}")
    _say("People read their own; each read is recorded before it is answered.")
    demo.run(f"credential get payroll --as user:{alma} --with group:payroll --reason 'monthly run'")
    demo.run(
        f"credential get 'Warehouse Connector' --as user:{alma} --with group:sales"
        " --field 'Windows User Name'"
    )
    _say("Whoever may not, does not; nor does the administrator who is no member.")
    demo.run("credential get payroll --as user:mallory", expect=4)
    demo.run("credential get payroll --as user:petra --reason curious", expect=4)
    demo.run("credential get payroll --as user:newcomer --with group:payroll", expect=3)
    _say("Who saw the payroll login this week?")
    demo.run("audit access --app payroll --since 7d")
    _say("The log holds: every row, every signature, this host's memory.")
    demo.run("log verify")
    _say("Every view is dropped and folded anew from the log.")
    _drop_views(demo)
    views = demo.run("replay rebuild").splitlines()[1:]
    if not views or not all(view.endswith("\tyes") for view in views):
        raise SystemExit("The digests differ.")
    (folder / "mappings.jsonl").unlink()
    _say("It stays here to play with:")
    for name, value in demo.environment.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo("\nThen, for example:  .venv/bin/credledger audit access --user user:mallory")


def named_anew(store: str) -> str:
    """The database, with a schema that no earlier run has used; nobody's schema is dropped."""
    if "ledger=" in store:
        return store
    joint = "&" if "?" in store else "?"
    return f"{store}{joint}ledger=demo_{secrets.token_hex(4)}"


def _drop_views(demo: Demo) -> None:
    """Empty all views, keeping their digests to compare with."""
    settings = decide(Given(), {**os.environ, **demo.environment})
    with open_session(settings, StandardInput()) as session:
        session.views.bring_forward()
        before = session.views.digests()
        session.views.drop_all()
        session.views.bring_forward()
        after = session.views.digests()
    click.echo("\n(views dropped and brought forward from the log)")
    if before != after:
        raise SystemExit("The digests differ after the drop.")


if __name__ == "__main__":
    main()
