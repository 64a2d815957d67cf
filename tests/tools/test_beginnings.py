"""What a test begins with is put back for each, whatever the one before has done to it."""

from __future__ import annotations

import shutil

from tests.tools.conftest import found


def note(cli):
    cli.noted = [cli.ok("app", "create", "Mail", "--kind", "group")]
    (cli.home / "note").write_text("as it was")


def everything(cli):
    return (
        cli.home,
        list(cli.noted),
        (cli.home / "note").read_text(),
        sorted(path.name for path in cli.home.iterdir()),
        cli.ok("log", "verify")["root"],
    )


def test_each_finds_what_the_steps_left_and_nothing_of_another_test(begun):
    """Folder, store, this host's memory and what a step noted, at the same place."""
    first = begun(found, note)
    wanted = everything(first)
    first.ok("app", "delete", "Mail", "--yes")
    first.noted.append("more")
    (first.home / "note").write_text("changed")
    (first.home / "new").touch()
    first.environment["CREDLEDGER_STORE"] = first.empty()
    assert everything(begun(found, note)) == wanted
    shutil.rmtree(first.home)
    assert everything(begun(found, note)) == wanted


def test_a_step_more_leaves_the_one_before_as_it_was(begun):
    """Steps are taken once, each from what the one before has left."""
    taken = []

    def grant(cli):
        taken.append(cli.ok("app", "grant", "Mail", "member", "user:ann")["position"])

    before = everything(begun(found, note))
    for _ in range(2):
        more = everything(begun(found, note, grant))
        assert (more != before, len(taken)) == (True, 1)
    assert everything(begun(found, note)) == before
