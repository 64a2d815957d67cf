"""Numbers beyond all bounds: whatever takes one refuses them, and no store ever sees one."""

from __future__ import annotations

import click
import pytest

from tests.tools.conftest import found
from tools.cli.main import program
from tools.cli.number import COUNT, NUMBER, InDigits, Whole
from tools.numbers import NUMBER_MAX

NO_NUMBERS = ("", " ", "nan", "inf", "1e3", "0x10", "1.5", "--1", "\u00b2", "9" * 5000)
NO_DIGITS = ("1_0", "+1", " 1", "\uff11", "\u0661")
"""What Python takes for a number, and a place in the log is not written as."""
BEYOND = (NUMBER_MAX + 1, 2**63, 2**64, 10**30, -(2**63) - 1)
WITH_POINT = {"1e3", "1.5"}
BY_THE_LEDGER = {
    "app create --ticket-timeout": ("new", "--kind", "individual"),
    "app update --ticket-timeout": ("payroll",),
    "key retention set --access-older-than": (),
}
"""What takes any whole number, as the ledger has a bound of its own, and what it wants besides."""
BESIDES = {
    "audit export": ("--format", "jsonl"),
    "audit exposure": ("user:alice",),
    "audit pack": ("FOLDER/pack",),
    "audit report": ("FOLDER/report.html",),
    "audit review": ("--list",),
    "audit who-can": ("--all",),
    "backup restore": ("FOLDER/archive",),
    "backup verify": ("FOLDER/archive",),
    "credential restore": ("payroll", "--owner", "user:alice"),
    "key slot export-auditor": ("FOLDER/auditor",),
    "key slot remove": ("--yes",),
    "leaver": ("user:alice", "--dry-run"),
    "log proof --size": ("1",),
    "log proof --to": ("--from", "1"),
    "replay restore": ("--all", "--dry-run"),
}
"""What a command wants besides a number, or besides this one."""


def commands(command=program, path=()):
    """Every command with the words that call it."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*path, name))
    else:
        yield path, command


def numbers():
    """Every option and argument that takes a number: its command's words, and itself."""
    for path, command in commands():
        for one in command.params:
            if isinstance(one.type, (click.types.IntParamType, click.types.FloatParamType)):
                yield path, one


def name_of(path, one):
    return " ".join((*path, one.opts[0]))


def said(one, value):
    """The words that give it this value; behind `--` none is taken for an option."""
    return (f"{one.opts[0]}={value}",) if isinstance(one, click.Option) else ("--", str(value))


def wrong_for(kind):
    """What an option of this type must not take."""
    if hasattr(kind, "max"):
        yield from (kind.max + 1, kind.min - 1, *BEYOND)
    is_whole = isinstance(kind, InDigits)
    yield from (text for text in NO_DIGITS if is_whole)
    yield from (text for text in NO_NUMBERS if is_whole or text not in WITH_POINT)


def test_what_is_no_number_or_out_of_bounds_is_a_usage_error(bare):
    """Of every option of every command: exit 2, before anything is looked for or asked."""
    unbounded, kinds = set(), set()
    for path, one in numbers():
        assert isinstance(one.type, (InDigits, click.types.FloatParamType)), name_of(path, one)
        wrong = list(wrong_for(one.type))
        if not hasattr(one.type, "max"):
            unbounded.add(name_of(path, one))
        else:
            assert one.type.max <= NUMBER_MAX, name_of(path, one)
        for value in wrong[:1] if one.type in kinds else wrong:
            error = bare.fails(2, "usage", *path, *said(one, value))
            assert error["message"].startswith("Invalid value for "), (path, one.name, error)
        kinds.add(one.type)
    assert unbounded == set(BY_THE_LEDGER)
    assert {NUMBER, COUNT} < kinds
    assert list(bare.home.iterdir()) == []


def fill(cli):
    """An application, one mapping and one read of it, and an archive."""
    fields = ("--field", "User:user-name", "--field", "Password:password")
    cli.ok("app", "create", "payroll", "--kind", "individual", *fields)
    cli.set("payroll", "user:alice", User="ann", Password="canary-5d1f")
    cli.ok("credential", "get", "payroll", "--as", "user:alice")
    cli.ok("backup", "create", str(cli.home / "archive"))


@pytest.fixture
def filled(begun):
    return begun(found, fill)


def asked_of_a_store():
    """Each number that a store may come to see; one of the many `--slot` is enough."""
    shown = {name_of(path, one): (path, one) for path, one in numbers()}
    slots = [name for name in shown if name.endswith(" --slot") and name != "status --slot"]
    return [
        (path, one)
        for name, (path, one) in shown.items()
        if name not in slots and isinstance(one.type, Whole)
    ]


def test_the_largest_number_is_taken_for_one_on_each_kind_of_store(filled):
    """It is done, or refused with our error; no store finds it too large."""
    tried = set()
    for path, one in asked_of_a_store():
        name, number = name_of(path, one), str(one.type.max)
        besides = BESIDES.get(name) or BESIDES.get(" ".join(path), ())
        besides = [word.replace("FOLDER", str(filled.home)) for word in besides]
        if isinstance(one, click.Option):
            answer = filled(*path, *besides, one.opts[0], number)
        else:
            answer = filled(*path, number, *besides)
        assert answer.code in {0, 3, 5, 6}, (name, answer)
        assert answer.code == 0 or answer.error["code"] != "usage"
        tried |= {name, " ".join(path)}
    assert tried >= set(BESIDES)


@pytest.mark.parametrize("name", BY_THE_LEDGER)
def test_a_number_that_the_ledger_bounds_is_refused_by_it(payroll, name):
    """However large or small, with an error of its own, and nothing changes."""
    before = payroll.ok("status")["position"]
    *path, option = name.split()
    for number in (-(10**30), -1, 0, NUMBER_MAX, 10**30):
        answer = payroll(*path, *BY_THE_LEDGER[name], f"{option}={number}")
        assert answer.code == 2, (number, answer)
        assert answer.error["code"].startswith("invalid-"), answer
    assert payroll.ok("status")["position"] == before


@pytest.mark.parametrize("number", ["-1", "0", "1" + "0" * 30, "1.5", "inf", "nan", "true", '"60"'])
def test_a_number_in_a_file_of_applications_is_no_other(payroll, tmp_path, number):
    """What is no whole number, or one beyond the bound, is refused, and nothing changes."""
    before = payroll.ok("status")["position"]
    file = tmp_path / "applications.toml"
    file.write_text(f'[application."new"]\nkind = "individual"\nticket_timeout_s = {number}\n')
    answer = payroll("app", "apply", str(file))
    assert answer.code == 2, answer
    assert answer.error["code"].startswith("invalid-"), answer
    assert payroll.ok("status")["position"] == before


LONG = "9" * 5000


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        (3, "beyond-the-log", ("replay", "diff", LONG, "1")),
        (3, "beyond-the-log", ("replay", "diff", "1", LONG)),
        (3, "beyond-the-log", ("replay", "state", "--at", LONG)),
        (2, "invalid-time", ("audit", "access", "--since", LONG)),
        (2, "invalid-time", ("audit", "access", "--since", LONG + "d")),
        (2, "future-time", ("audit", "access", "--since", "9999-12-31T23:59:59-23:59")),
        (2, "invalid-span", ("credential", "list", "--older-than", LONG + "d")),
        (2, "invalid-bulk", ("audit", "access", "--unusual", "--bulk", f"{LONG}/1h")),
        (2, "invalid-hours", ("audit", "access", "--unusual", "--hours", f"07:00-{LONG}:00")),
    ],
)
def test_a_number_in_a_text_is_bounded_too(payroll, code, error, said):
    """A place, a time, a span or a rule; each has its error."""
    payroll.fails(code, error, *said)


def test_a_time_before_all_times_is_the_first_one(payroll, tmp_path):
    """A span or a date of before any calendar reaches back to the beginning."""
    payroll.set("payroll", "user:alice", User="ann", Password="canary-5d1f")
    for since in ("999999999w", "0001-01-01T00:00:00+23:59"):
        payroll.ok("audit", "report", str(tmp_path / f"{len(since)}.html"), "--since", since)
        assert len(payroll.ok("audit", "changes", "--since", since)) == 4
    assert payroll.ok("credential", "list", "--older-than", "999999999w") == []
