"""What the docs show is what the program prints."""

from __future__ import annotations

import click
import pytest

from ledger.log.postgresql.store import PostgresqlStore
from tests.transcripts.forked import forked_program
from tests.transcripts.transcript import SHOWN_SERVER, commands_of, pages, recorded, run
from tools.cli.default import GroupWithDefault
from tools.cli.main import program

INSTALLED = {"a-report-logs-in", "ask-the-service", "first-ledger"}
"""Shown by the program as it is installed, services among them, for a shell has to end those; the
other pages by one that is forked."""
PAGES = pages()
# A page that copies the store's file is about files, and one that moves has its own server.
ON_A_SERVER = [
    page
    for page in PAGES
    if "cp store/" not in (text := page.read_text(encoding="utf-8")) and SHOWN_SERVER not in text
]
OF_THE_STORE = {
    *("audit", "keep-and-erase", "rotate-keys", "tickets", "who-could-read"),
}
"""Pages whose answers come out of the log and its views: the others are tried on a server by the
torture alone, for each takes as long there as a dozen other tests."""


def pytest_generate_tests(metafunc):
    if metafunc.function is test_a_page_shows_the_same_on_a_server:
        torture = metafunc.config.getoption("--torture")
        asked = [page for page in ON_A_SERVER if torture or page.stem in OF_THE_STORE]
        metafunc.parametrize("page", asked, ids=lambda page: page.stem)


@pytest.fixture(scope="module")
def forked():
    with forked_program() as program:
        yield program


@pytest.fixture
def program_found(request, page):
    """What the page's shell needs to find the program."""
    return None if page.stem in INSTALLED else request.getfixturevalue("forked")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_what_its_commands_print(page, program_found, request):
    text = page.read_text(encoding="utf-8")
    server = None
    if SHOWN_SERVER in text:
        schema = request.getfixturevalue("postgres_schema")
        server = f"{request.getfixturevalue('postgres_server').dsn()}&ledger={schema}"
    outputs = run(commands_of(text), server=server, program=program_found)
    assert len(outputs) == len(commands_of(text))
    assert recorded(text, outputs) == text


def test_a_page_shows_the_same_on_a_server(page, program_found, postgres_server, postgres_schema):
    text = page.read_text(encoding="utf-8")
    url = f"{postgres_server.dsn()}&ledger={postgres_schema}"
    outputs = run(commands_of(text), url, PostgresqlStore(url).address, program=program_found)
    assert recorded(text, outputs) == text


def test_every_command_is_shown_in_a_transcript():
    shown = " ".join(
        command for page in pages() for command in commands_of(page.read_text(encoding="utf-8"))
    )
    listed = [" ".join(path) for path in _walk(program, ())]
    assert len(listed) > 30
    assert [command for command in listed if f"credledger {command}" not in shown] == []


def _walk(group, path):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, GroupWithDefault):
            yield (*path, name)
        if isinstance(command, click.Group):
            yield from _walk(command, (*path, name))
        else:
            yield (*path, name)
