"""`credledger log proof` and receipts of retrievals, as commands on a ledger in a file."""

from __future__ import annotations

import json
import stat

import pytest

from ledger.errors import Unavailable
from ledger.log.proof_document import read_proof
from tests.ledger.log import proofs_from_the_page
from tests.tools.conftest import Cli
from tools.evidence.receipts import receipt_in

SECRET = "canary-7f31"


@pytest.fixture
def read(payroll):
    """Rows up to 5, the last of them a release to Ann."""
    payroll.set("payroll", "user:ann", User="ann", Password=SECRET)
    assert get(payroll).code == 0
    return payroll


def get(cli, *said, who="user:ann"):
    return cli("credential", "get", "payroll", "--as", who, "--reason", "canary-reason", *said)


def ledger_id(cli):
    return cli.ok("status")["ledger_id"]


def size(cli):
    return cli.ok("log", "checkpoint")["size"]


def without_keys(cli):
    """The same store on a host without any keyring."""
    other = Cli(cli.home)
    other.environment = {
        "CREDLEDGER_STORE": cli.environment["CREDLEDGER_STORE"],
        "CREDLEDGER_KEYRING": f"{cli.home}/none/keyring",
    }
    return other


def anywhere(folder):
    """A machine without a ledger."""
    other = Cli(folder)
    other.environment = {
        "CREDLEDGER_STORE": f"sqlite://{folder}/none/ledger.db",
        "CREDLEDGER_KEYRING": f"{folder}/none/keyring",
    }
    return other


def test_a_row_is_proven_without_a_key_and_checked_anywhere(read, tmp_path_factory):
    """The document goes to standard output; the check needs nothing but it and the pinned id."""
    document = without_keys(read).ok("log", "proof", "5")
    proofs_from_the_page.check(document, bytes.fromhex(ledger_id(read)))
    elsewhere = anywhere(tmp_path_factory.mktemp("elsewhere"))
    told = json.dumps(document).encode()
    found = elsewhere.ok("log", "proof", "--check", "-", "--ledger-id", ledger_id(read), stdin=told)
    head = read.ok("log", "checkpoint")
    row = read.ok("log", "events", "--after", "4")[0]
    assert found == {
        "ok": True,
        "ledger_id": ledger_id(read),
        "pinned": True,
        "position": 5,
        "topic": "access.granted",
        "recorded_at": row["recorded_at"],
        "sealed_sha256": document["row"]["sealed_sha256"],
        "size": head["size"],
        "root": head["root"],
        "signer": document["head"]["signer"],
        "signer_class": "operator",
    }
    assert document["head"]["note"] == head["note"]


def test_growth_is_proven_from_one_checkpoint_to_the_next(read):
    """Each of two checkpoints stands in the proof as it was handed out."""
    old = read.ok("log", "checkpoint")
    get(read)
    new = read.ok("log", "checkpoint")
    document = read.ok("log", "proof", "--from", str(old["size"]), "--to", str(new["size"]))
    assert [document[one]["note"] for one in ("from", "to")] == [old["note"], new["note"]]
    proofs_from_the_page.check(document, bytes.fromhex(ledger_id(read)))
    found = read.ok("log", "proof", "--check", "-", stdin=json.dumps(document).encode())
    assert (found["from_size"], found["from_root"]) == (old["size"], old["root"])
    assert (found["size"], found["root"], found["pinned"]) == (new["size"], new["root"], False)


def test_out_writes_the_document_and_prints_nothing(read):
    """For people a file is enough; with --json it is printed as well."""
    file = read.home / "proof.json"
    answer = read("log", "proof", "5", "--out", str(file), json_wanted=False)
    assert (answer.code, answer.out) == (0, b"")
    again = ("log", "proof", "5", "--out", str(file), "--force")
    assert read.ok(*again) == json.loads(file.read_text())


@pytest.mark.parametrize("evidence", [("proof", "5"), ("checkpoint",)], ids=lambda words: words[0])
def test_what_is_there_is_replaced_on_purpose_only(read, evidence):
    """It may be evidence that is kept nowhere else."""
    file = read.home / "kept"
    file.write_text("precious")
    read.fails(5, "file-exists", "log", *evidence, "--out", str(file))
    assert file.read_text() == "precious"
    made = read.ok("log", *evidence, "--out", str(file), "--force")
    written = file.read_text()
    assert written == made.get("note") or json.loads(written) == made
    read.fails(5, "file-exists", "log", *evidence, "--out", str(read.home))
    read.fails(7, "file-not-writable", "log", *evidence, "--out", str(read.home), "--force")
    read.fails(7, "file-not-writable", "log", *evidence, "--out", str(read.home / "no/file"))


def test_a_person_is_told_to_compare_the_ledger_id(read):
    """Unpinned, a proof vouches for its own ledger only."""
    file = read.home / "proof.json"
    read("log", "proof", "5", "--out", str(file))
    answer = read("log", "proof", "--check", str(file), json_wanted=False)
    assert answer.code == 0
    assert "Compare the ledger id" in answer.err
    assert "pinned: no" in answer.text
    answer = read(
        "log", "proof", "--check", str(file), "--ledger-id", ledger_id(read), json_wanted=False
    )
    assert (answer.code, answer.err) == (0, "")


def test_a_proof_that_does_not_hold_is_tampered(read):
    """Exit 8 with a reason; 2 for what is no proof; 3 for a file that is not there."""
    file = read.home / "proof.json"
    document = read.ok("log", "proof", "5", "--out", str(file))
    read.fails(8, "proof-foreign", "log", "proof", "--check", str(file), "--ledger-id", "00" * 32)
    document["row"]["topic"] = "access.denied"
    file.write_text(json.dumps(document))
    assert (
        "`row`" in read.fails(8, "proof-altered", "log", "proof", "--check", str(file))["message"]
    )
    file.write_text("{}")
    read.fails(2, "not-a-proof", "log", "proof", "--check", str(file))
    file.write_text("{")
    read.fails(2, "invalid-json", "log", "proof", "--check", str(file))
    file.write_bytes(b"\xff\xfe\xfd")
    read.fails(2, "not-text", "log", "proof", "--check", str(file))
    file.write_text("[" * 100_000)
    read.fails(2, "invalid-json", "log", "proof", "--check", str(file))
    file.write_bytes(b" " * (4 * 1024 * 1024 + 1))
    read.fails(2, "too-large", "log", "proof", "--check", str(file))
    read.fails(3, "no-such-file", "log", "proof", "--check", str(read.home / "none"))


@pytest.mark.parametrize(
    "said",
    [
        (),
        ("5", "--from", "5"),
        ("5", "--check", "-"),
        ("5", "--to", "5"),
        ("--from", "2", "--size", "5"),
        ("--check", "-", "--out", "file"),
        ("5", "--force"),
        ("--size", "5"),
        ("0",),
        ("--from", str(2**63)),
        ("-1",),
    ],
)
def test_what_does_not_go_together_is_refused(read, said):
    """Usage errors, before any store is looked at."""
    answer = read("log", "proof", *said)
    assert (answer.code, answer.error["code"]) == (2, "usage")


def test_sizes_that_nobody_signed_for_have_a_hint(read):
    """The first two rows have one head."""
    error = read.fails(3, "no-signed-head", "log", "proof", "1", "--size", "1")
    assert error["hint"] == "The next size that was signed for is 2."
    error = read.fails(3, "no-signed-head", "log", "proof", "--from", "2", "--to", "900")
    assert error["hint"] == f"The newest size that was signed for is {size(read)}."
    read.fails(3, "no-such-position", "log", "proof", "900")
    read.fails(2, "size-too-small", "log", "proof", "5", "--size", "4")
    read.fails(2, "size-too-small", "log", "proof", "--from", "5", "--to", "4")
    read.fails(2, "invalid-ledger-id", "log", "proof", "5", "--ledger-id", "00")
    read.fails(8, "altered-ledger", "log", "proof", "5", "--ledger-id", "00" * 32)


def test_nothing_is_recorded_by_proving(read):
    """A proof tells what is in clear only, and appends nothing."""
    before = size(read)
    read.ok("log", "proof", "5")
    read.ok("log", "proof", "--from", "2")
    assert size(read) == before


def test_no_store_no_proof(bare):
    """Where nobody made a ledger there is nothing to prove."""
    bare.fails(3, "no-ledger", "log", "proof", "1")


def receipt_of(cli):
    return cli.home / "receipt.json"


def test_a_receipt_proves_the_record_of_a_release(read):
    """It is a proof of the very position that the answer names, and holds at once."""
    file = receipt_of(read)
    answer = get(read, "--receipt", str(file))
    assert (answer.code, answer.json["fields"]["Password"]) == (0, SECRET)
    document = json.loads(file.read_text())
    proofs_from_the_page.check(document, bytes.fromhex(ledger_id(read)))
    assert document["row"]["position"] == answer.json["position"]
    assert document["row"]["topic"] == "access.granted"
    found = read.ok("log", "proof", "--check", str(file), "--ledger-id", ledger_id(read))
    assert found["position"] == answer.json["position"]


def test_a_receipt_is_private_and_holds_nothing_secret(read):
    """Mode 0600, no value, name, reason or claim; nothing else is left in the folder."""
    file = receipt_of(read)
    before = set(read.home.iterdir())
    get(read, "--receipt", str(file), "--field", "Password")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(read.home.iterdir()) - before == {file}
    content = file.read_text()
    for word in (SECRET, "canary", "ann", "payroll", "Password"):
        assert word not in content


def test_a_refusal_has_a_receipt_too(read):
    """It names the reference number, and says as little as the refusal."""
    file = receipt_of(read)
    answer = get(read, "--receipt", str(file), who="user:mal")
    assert answer.code in {3, 4}
    document = json.loads(file.read_text())
    assert document["row"]["position"] == answer.error["position"]
    assert document["row"]["topic"] in {"access.denied", "access.not-set"}


def test_a_place_that_is_taken_or_not_there_releases_nothing(read):
    """Looked at before anything is recorded; what lay there stays."""
    before, file = size(read), receipt_of(read)
    file.write_text("mine")
    assert (get(read, "--receipt", str(file)).error["code"]) == "receipt-exists"
    answer = get(read, "--receipt", str(read.home / "none" / "receipt.json"))
    assert (answer.code, answer.error["code"]) == (7, "receipt-not-writable")
    taken = get(read, "--receipt", str(read.home))
    assert (taken.code, taken.error["code"]) == (5, "receipt-exists")
    assert (size(read), file.read_text()) == (before, "mine")


def test_an_error_before_the_record_leaves_no_receipt(read):
    """Nothing was recorded, so there is nothing to prove."""
    file = receipt_of(read)
    before = size(read)
    answer = read("credential", "get", "no/app", "--as", "user:ann", "--receipt", str(file))
    assert (answer.code, file.exists(), size(read)) == (2, False, before)


def test_an_answer_is_not_lost_with_its_receipt(tmp_path, capsys):
    """What keeps the receipt from being written once all is recorded is told and no more."""
    file = tmp_path / "receipt.json"

    def failing(position):
        raise Unavailable("store-unreachable", "The store went away.")

    with receipt_in(str(file), failing) as keep:
        keep(17)
    told = capsys.readouterr().err
    assert "there is no receipt: The store went away." in told
    assert "credledger log proof 17 --out FILE" in told
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_meanwhile_stays_as_it_is(read, capsys):
    """Somebody else's file of that name is not written over."""
    file = receipt_of(read)
    with receipt_in(str(file), lambda position: proof_of(read, position).as_document()) as keep:
        file.write_text("theirs")
        keep(5)
    assert "there is no receipt" in capsys.readouterr().err
    assert file.read_text() == "theirs"
    assert [one.name for one in read.home.iterdir() if one.name.endswith(".new")] == []


def proof_of(cli, position):
    return read_proof(cli.ok("log", "proof", str(position)))
