"""Questions asked of an archive: the same answers, nothing recorded, nothing left behind."""

from __future__ import annotations

import json
import tempfile

import pytest

from tests.tools.conftest import auditor_of, found
from tests.tools.test_reports import Page

QUESTIONS = (
    ("audit", "access"),
    ("audit", "access", "--unusual", "--bulk", "2/1h"),
    ("audit", "access", "--self-granted"),
    ("audit", "changes"),
    ("audit", "explain", "{denied}"),
    ("audit", "recheck"),
    ("audit", "exposure", "user:ann"),
    ("audit", "who-can", "mail"),
    ("audit", "who-can", "--all"),
    ("audit", "who-can", "--user", "user:ann"),
    ("audit", "who-can", "--user", "user:ann", "--position", "4"),
    ("audit", "exposure", "user:ann", "--position", "5"),
    ("audit", "review", "--list"),
    ("leaver", "user:ann", "--dry-run", "--position", "5"),
    ("replay", "state", "--position", "5"),
    ("replay", "diff", "1", "5"),
)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary files go."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def archive(cli):
    cli.ok("app", "create", "Mail", "--kind", "individual", "--field", "Password:password")
    cli.set("Mail", "user:ann", Password="m")
    cli.ok("credential", "get", "Mail", "--as", "user:ann")
    cli.denied = cli.fails(4, "access-denied", "credential", "get", "None", "--as", "user:ann")
    cli.auditor = auditor_of(cli)
    cli.archive = str(cli.home / "archive")
    cli.answers = [cli.ok(*said(cli, question)) for question in QUESTIONS]
    cli.ok("backup", "create", cli.archive)
    cli.ok("credential", "get", "Mail", "--as", "user:ann")


@pytest.fixture
def archived(begun):
    """A read and a refusal in an archive, and one read more in the store; with its auditor."""
    return begun(found, archive)


def said(cli, question):
    return [word.format(denied=cli.denied["position"]) for word in question]


def keyrings(cli):
    return [(cli.home / place / "keyring").read_bytes() for place in ("keys", "auditor")]


def test_each_answers_as_the_store_did_and_is_not_recorded(archived, scratch):
    """For an operator and for an auditor; said on standard error; no file is left anywhere."""
    before = archived.ok("status")["position"]
    before_that = keyrings(archived)
    for who in (archived, archived.auditor):
        for question, expected in zip(QUESTIONS, archived.answers, strict=True):
            answer = who(*said(archived, question), "--archive", archived.archive)
            assert answer.code == 0, answer.err
            assert answer.json == expected, question
            assert "was not recorded: an archive was asked" in answer.err
            assert list(scratch.iterdir()) == []
    assert archived.ok("status")["position"] == before
    assert keyrings(archived) == before_that


def test_it_needs_no_store(archived, scratch):
    """The keyring and the archive are enough."""
    archived.environment["CREDLEDGER_STORE"] = f"sqlite://{archived.home}/nowhere/ledger.db"
    (row, *_) = archived.ok(
        "audit", "access", "--outcome", "granted", "--archive", archived.archive
    )
    assert row["application"] == "Mail"
    assert list(scratch.iterdir()) == []


def test_an_export_of_an_archive_ends_where_it_does(archived):
    """Every row that the archive has, and the later ones not."""
    answer = archived("audit", "export", "--format", "jsonl", "--archive", archived.archive)
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert answer.code == 0
    assert [one["position"] for one in rows] == list(range(1, len(rows) + 1))
    assert "access.granted" in {one["event"] for one in rows}
    assert len(rows) < archived.ok("status")["position"]


def test_whoever_requires_a_record_is_refused(archived, scratch):
    """Before the archive is read."""
    ask = ("audit", "access", "--require-record", "--archive")
    archived.fails(7, "query-unrecorded", *ask, archived.archive)
    archived.fails(7, "query-unrecorded", *ask, str(archived.home / "none"))
    assert list(scratch.iterdir()) == []


def test_a_damaged_archive_answers_nothing(archived, scratch):
    """Exit 8, and nothing on standard output; where there is none, exit 3."""
    (segment,) = (archived.home / "archive").glob("*.segment")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.chmod(0o600)
    segment.write_bytes(content)
    answer = archived("audit", "access", "--archive", archived.archive)
    assert (answer.code, answer.out) == (8, b"")
    archived.fails(3, "no-archive", "audit", "recheck", "--archive", str(archived.home / "none"))
    assert list(scratch.iterdir()) == []


def test_a_keyring_of_another_ledger_opens_nothing(archived, tmp_path, scratch):
    """Told as that, and nothing is left."""
    archived.environment["CREDLEDGER_KEYRING"] = f"{tmp_path}/other/keyring"
    archived.environment["CREDLEDGER_KEY_FILE"] = f"{tmp_path}/other-key/key"
    archived.environment["CREDLEDGER_STORE"] = f"sqlite://{tmp_path}/other-store/ledger.db"
    archived.ok("init", "--label", "eve")
    ask = ("audit", "access", "--archive", archived.archive)
    archived.fails(6, "keyring-foreign", *ask)
    assert list(scratch.iterdir()) == []


def test_without_a_scratch_place_it_says_so(archived, monkeypatch):
    """Exit 7, and what to name instead."""
    monkeypatch.setattr(tempfile, "tempdir", str(archived.home / "none"))
    ask = ("audit", "access", "--archive", archived.archive)
    assert "TMPDIR" in archived.fails(7, "scratch-not-writable", *ask)["hint"]


def page_of(cli, file, *options):
    """A report's page, without the section that tells how the log was checked."""
    made = cli("audit", "report", str(file), *options)
    assert made.code == 0, made.err
    return made, Page(file.read_text(encoding="utf-8").partition('<section id="verification">')[0])


def test_a_report_of_an_archive_is_that_of_its_log_and_is_not_recorded(archived, scratch):
    """Up to its end, for an operator and for an auditor, and with no store there at all."""
    last = archived.ok("log", "verify", "--archive", archived.archive)["size"]
    folder = archived.home / "pages"
    folder.mkdir()
    _, expected = page_of(archived, folder / "store.html", "--position", str(last))
    assert ["Mail", "1", "0", "0"] in [row[:-1] for row in expected.rows]
    before = archived.ok("status")["position"]
    keyrings_before = keyrings(archived)
    for name, who in (("operator", archived), ("auditor", archived.auditor)):
        file = folder / f"{name}.html"
        made, page = page_of(who, file, "--archive", archived.archive)
        assert made.json["position"] == made.json["rows"] == last
        assert page.rows == expected.rows
        assert "was not recorded: an archive was asked" in made.err
        assert file.stat().st_mode & 0o777 == 0o600
        assert list(scratch.iterdir()) == []
    assert archived.ok("status")["position"] == before
    assert keyrings(archived) == keyrings_before
    archived.environment["CREDLEDGER_STORE"] = f"sqlite://{archived.home}/nowhere/ledger.db"
    _, page = page_of(archived, folder / "alone.html", "--archive", archived.archive)
    assert page.rows == expected.rows


def test_no_report_is_made_of_an_archive_that_is_damaged_or_must_be_recorded(archived, scratch):
    """What lies at its place stays."""
    file = archived.home / "page.html"
    file.write_text("of last month")
    ask = ("audit", "report", str(file), "--force", "--archive", archived.archive)
    archived.fails(7, "query-unrecorded", *ask, "--require-record")
    (segment,) = (archived.home / "archive").glob("*.segment")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.chmod(0o600)
    segment.write_bytes(content)
    archived.fails(8, "archive-damaged", *ask)
    assert file.read_text() == "of last month"
    assert list(scratch.iterdir()) == []


def test_no_pack_with_access_is_made_of_an_archive_where_it_must_be_recorded(archived, scratch):
    """Before any key opens anything; without that it is made, and said not to be recorded."""
    folder = archived.home / "packs" / "one"
    ask = ("audit", "pack", str(folder), "--with-access", "--archive", archived.archive)
    for who in (archived, archived.auditor):
        refused = who.fails(7, "query-unrecorded", *ask, "--require-record")
        assert "without --require-record" in refused["hint"]
    wrong = ("--key-file", str(archived.home / "nowhere"))
    archived.fails(7, "query-unrecorded", *ask, "--require-record", *wrong)
    assert not folder.parent.exists()
    made = archived.auditor(*ask)
    assert (made.code, made.json["accesses"]) == (0, 2), made.err
    assert "is not recorded" in made.err
    assert list(scratch.iterdir()) == []
