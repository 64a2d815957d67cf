"""Archives of today stay readable for ever, by the ledger and by the page that tells their format.

`tests/golden/archive` holds a full archive of 5 rows and one of 3 that goes on from it, of format
1, with the keyring and key file of the ledger. They were made once with `backup create full` and
`backup create part --since-backup`. `second`, of 10 rows, and `third`, of 3 that go on from it, are
of format 2, made likewise of the ledger that was restored from `part`. None is ever made again.
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
    "second": (10, "6eafa87754f00616c5a0139669e9abdd4fec6a8d899af056488215f87069aa41"),
    "third": (13, "7752cf04d0644dbee36f584debf2e54b8c4d3748d4c5e59b463ef961dcbf1f30"),
}
DIGESTS = {
    "full": "1a937a911bfd5819b89427c62ef727ae3ee1df7fb1582a472635235c617b50f8",
    "part": "fd9cada5583640eecde018f50a5c256d141c5433080a48215ed971b5c7fe56b6",
    "second": "7de4947f9826050f0d9fd5ebf2fa77253991e872859218cbadaa4b5c90d875d5",
    "third": "b55b415a932a3b61269e5233ca1258ae5c43708f64245bb9bec6e2cde46e1257",
}
KEYRINGS = {"full": None, "part": None, "second": (1, 2, 10), "third": ()}


@pytest.mark.parametrize("name", ROOTS)
def test_a_golden_archive_verifies(name):
    """To the head and digest that were printed when it was made."""
    archive = open_archive(GOLDEN / name)
    found = verify_log(archive, pinned=bytes.fromhex(LEDGER_ID))
    assert found.ok, found.checks
    assert (found.size, found.root.hex()) == ROOTS[name]
    archive.require_head()
    assert archive.manifest.digest.hex() == DIGESTS[name]
    assert archive.manifest.keyring == KEYRINGS[name]


@pytest.mark.parametrize("names", [("full", "part"), ("second", "third")])
def test_the_page_reads_a_golden_archive(names):
    """A reader written from the page alone gives a log that a verifier from its page accepts."""
    log = page.read(*(GOLDEN / name for name in names))
    size, root = log_page.verify(log)
    assert (size, root.hex()) == ROOTS[names[-1]]
    for name in names:
        digest, said = page.manifest_in(next((GOLDEN / name).glob("*.manifest")))
        assert digest.hex() == DIGESTS[name]
        told = said.get("keyring")
        assert told == (KEYRINGS[name] if told is None else list(KEYRINGS[name]))


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


@pytest.mark.parametrize(
    ("name", "password", "compared"), [("part", "golden-2", 3), ("third", "golden-3", 5)]
)
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_golden_archive_is_restored_and_opens(
    engine, name, password, compared, tmp_path, request
):
    """Into either engine, to the same views, and its credentials are read."""
    cli = Cli(tmp_path)
    for file, place in (("keyring", "keys"), ("key", "secret")):
        (tmp_path / place).mkdir(mode=0o700)
        shutil.copy(GOLDEN / file, tmp_path / place / file)
        (tmp_path / place / file).chmod(0o600)
    if engine == "postgresql":
        server = request.getfixturevalue("postgres_server")
        schema = request.getfixturevalue("postgres_schema")
        cli.environment["CREDLEDGER_STORE"] = f"{server.dsn()}&ledger={schema}"
    answer = cli.ok("backup", "restore", str(GOLDEN / name))
    assert (answer["position"], answer["root"]) == ROOTS[name]
    same = {view["name"]: view["same"] for view in answer["views"]}
    if name == "part":
        # One view has had another fold since, and one was not there: nothing to compare them with.
        assert same.pop("access_history") is same.pop("application_claims") is None
    assert list(same.values()) == [True] * compared
    assert answer["gone"] is None
    got = cli.ok("credential", "get", "CRM", "--as", "user:bob")
    assert got["fields"] == {"Password": password}
    assert cli.ok("audit", "access")[-1]["reason"] == "golden"
    assert cli.ok("audit", "recheck")["wrong"] == []
    verified = cli.ok("log", "verify", "--views")
    assert verified["ok"], json.dumps(verified)
