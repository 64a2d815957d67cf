"""Archives of today stay readable for ever, by the ledger and by the page that tells their format.

`tests/golden/archive` holds a full archive of 5 rows and one of 3 that goes on from it, with the
keyring and key file of the ledger. They were made once with `backup create full` and
`backup create part --since-backup`, and are never made again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ledger.archive.reading import open_archive
from ledger.log.verification import verify_log
from tests.ledger.archive import from_the_page as page
from tests.ledger.archive.conftest import archived, tables
from tests.ledger.log import from_the_page as log_page
from tests.tools.conftest import Cli

GOLDEN = Path(__file__).parents[2] / "golden" / "archive"
LEDGER_ID = "1075a3e5849937557315fc854c234cbdbdad9112224f5b6d2b26003e99e4891e"
ROOTS = {
    "full": (5, "f3088d5b8cc5f55a8998325aed5261d1a944eaf048d403d9f142a0af92405438"),
    "part": (8, "bf29d4ca767589cd88c27d36078e807124094591392713021a3e29b790dad079"),
}
DIGESTS = {
    "full": "1a937a911bfd5819b89427c62ef727ae3ee1df7fb1582a472635235c617b50f8",
    "part": "fd9cada5583640eecde018f50a5c256d141c5433080a48215ed971b5c7fe56b6",
}


@pytest.mark.parametrize("name", ROOTS)
def test_a_golden_archive_verifies(name):
    """To the head and digest that were printed when it was made."""
    archive = open_archive(GOLDEN / name)
    found = verify_log(archive, pinned=bytes.fromhex(LEDGER_ID))
    assert found.ok, found.checks
    assert (found.size, found.root.hex()) == ROOTS[name]
    archive.require_head()
    assert archive.manifest.digest.hex() == DIGESTS[name]


def test_the_page_reads_a_golden_archive():
    """A reader written from the page alone gives a log that a verifier from its page accepts."""
    log = page.read(GOLDEN / "full", GOLDEN / "part")
    size, root = log_page.verify(log)
    assert (size, root.hex()) == ROOTS["part"]
    assert page.manifest_in(next((GOLDEN / "part").glob("*.manifest")))[0].hex() == DIGESTS["part"]


def test_the_page_reads_what_is_written_today(filled, small, tmp_path):
    """Rows, commits and signers are those of the store."""
    archived(filled, tmp_path / "archive")
    log = page.read(tmp_path / "archive")
    ledger, signers, rows, commits = tables(filled.store())
    assert [tuple(row.values()) for row in log["log"]] == rows
    assert [tuple(row.values()) for row in log["commits"]] == commits
    assert [tuple(row.values()) for row in log["signers"]] == list(signers)
    assert log["ledger"] == [{"id": ledger.id, "format": ledger.format, "salt": ledger.salt}]
    log_page.verify(log)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_golden_archive_is_restored_and_opens(engine, tmp_path, request):
    """Into either engine, to the same views, and its credentials are read."""
    cli = Cli(tmp_path)
    for name, place in (("keyring", "keys"), ("key", "secret")):
        (tmp_path / place).mkdir(mode=0o700)
        shutil.copy(GOLDEN / name, tmp_path / place / name)
        (tmp_path / place / name).chmod(0o600)
    if engine == "postgresql":
        server = request.getfixturevalue("postgres_server")
        schema = request.getfixturevalue("postgres_schema")
        cli.environment["CREDLEDGER_STORE"] = f"{server.dsn()}&ledger={schema}"
    answer = cli.ok("backup", "restore", str(GOLDEN / "part"))
    assert (answer["position"], answer["root"]) == ROOTS["part"]
    # One view has had another fold since, and one was not there: nothing to compare them with.
    same = {view["name"]: view["same"] for view in answer["views"]}
    assert same.pop("access_history") is same.pop("application_claims") is None
    assert list(same.values()) == [True] * 3
    assert answer["gone"] is None
    got = cli.ok("credential", "get", "CRM", "--as", "user:bob")
    assert got["fields"] == {"Password": "golden-2"}
    assert cli.ok("audit", "access")[-1]["reason"] == "golden"
    assert cli.ok("audit", "recheck")["wrong"] == []
    verified = cli.ok("log", "verify", "--views")
    assert verified["ok"], json.dumps(verified)
