"""Proofs as documents: golden ones, every altered part of them, and what is no proof.

`tests/golden/proofs.json` holds proofs about the golden log: what is written once must hold for
ever. They were made once by::

    python -m tests.ledger.log.test_proof_documents > tests/golden/proofs.json
"""

from __future__ import annotations

import base64
import copy
import json
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import InvalidInput, LedgerError, NotFound, Tampered
from ledger.log.proof_document import InclusionProof, Introduced, Trust, read_proof
from ledger.log.proving import Prover
from ledger.log.rows import LedgerRow
from ledger.proofs import SubtreesOfLeaves, inclusion_path
from ledger.tree import EMPTY_ROOT
from tests.ledger.log import proofs_from_the_page
from tests.ledger.log.from_the_page import sha256
from tests.ledger.log.test_golden import made_log, read_tables, stored_in, tables, vectors

FILE = Path(__file__).parents[2] / "golden" / "proofs.json"
GOLDEN = json.loads(FILE.read_text()) if FILE.exists() else {}
LEDGER = LedgerRow(**read_tables(vectors()["log"])["ledger"][0])


def made(folder):
    """Two operators, an auditor's head, growth over the end of a signer, and nothing new."""
    prover = Prover(stored_in(folder, read_tables(vectors()["log"])), LEDGER)
    proofs = {
        "the first row": prover.inclusion(1),
        "a row in the second operator's head": prover.inclusion(4, 5),
        "an auditor's row in its own head": prover.inclusion(7, 8),
        "an auditor's row in an operator's head": prover.inclusion(7),
        "the last row": prover.inclusion(17),
        "growth over all": prover.consistency(2),
        "growth from a power of two": prover.consistency(8, 16),
        "growth from an auditor's head": prover.consistency(8, 11),
        "no growth": prover.consistency(17),
    }
    return {name: proof.as_document() for name, proof in proofs.items()}


@pytest.fixture
def prover(tmp_path):
    return Prover(stored_in(tmp_path, read_tables(vectors()["log"])), LEDGER)


def refusal(document, pinned=LEDGER.id):
    """The error that the document ends in; None where it holds. The page's checker must agree."""
    try:
        proofs_from_the_page.check(document, LEDGER.id if pinned is None else pinned)
    except Exception as error:
        by_the_page = error
    else:
        by_the_page = None
    try:
        read_proof(document).check(pinned)
    except LedgerError as error:
        assert by_the_page is not None, error
        return error
    assert by_the_page is None, by_the_page
    return None


def test_what_is_proven_of_the_golden_log_is_golden(tmp_path):
    """The documents are the stored ones, to the letter."""
    assert made(tmp_path) == GOLDEN


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_proofs_hold(name):
    """By our checker and by one written from the page alone; for no other ledger."""
    assert refusal(GOLDEN[name]) is None
    assert refusal(GOLDEN[name], b"\0" * 32).code == "proof-foreign"


def places(part, *way):
    """The way to every value in a document that is no object or list."""
    if isinstance(part, dict | list):
        items = part.items() if isinstance(part, dict) else enumerate(part)
        for key, value in items:
            yield from places(value, *way, key)
    else:
        yield way


def altered(document, way, change):
    changed = copy.deepcopy(document)
    part = changed
    for key in way[:-1]:
        part = part[key]
    part[way[-1]] = change(part[way[-1]])
    return changed


def one_off(value, at=0):
    if isinstance(value, int):
        return value + 1
    at %= len(value)
    other = "1" if value[at] == "0" else "0"
    return value[:at] + other + value[at + 1 :]


@pytest.mark.parametrize("name", GOLDEN)
def test_no_part_can_be_altered(name):
    """Each value of the document, changed in its first, middle or last character."""
    document = GOLDEN[name]
    ways = list(places(document))
    assert len(ways) > 30
    for way in ways:
        for share in (0, 0.5, 1):
            found = refusal(
                altered(document, way, lambda one, share=share: one_off(
                    one, int(share * (len(str(one)) - 1))
                ))
            )  # fmt: skip
            assert isinstance(found, InvalidInput | Tampered), way


@settings(deadline=None)
@given(st.data())
def test_no_character_can_be_altered(data):
    """Any one character of any text in a proof."""
    document = GOLDEN[data.draw(st.sampled_from(sorted(GOLDEN)))]
    way = data.draw(st.sampled_from(list(places(document))))
    changed = altered(document, way, lambda one: one_off(one, data.draw(st.integers(0, 400))))
    assert isinstance(refusal(changed), InvalidInput | Tampered)


ODD = {
    "no object": lambda _: [],
    "another format": lambda one: one | {"format": "tlog"},
    "no format": lambda one: {key: one[key] for key in one if key != "format"},
    "another kind": lambda one: one | {"kind": "absence"},
    "a part more": lambda one: one | {"remark": "paid"},
    "a part less": lambda one: {key: one[key] for key in one if key != "size"},
    "a version that is true": lambda one: one | {"version": True},
    "a size that is no number": lambda one: altered(one, ("head", "size"), str),
    "a size below zero": lambda one: altered(one, ("head", "size"), lambda size: -size),
    "a size beyond all": lambda one: altered(one, ("head", "size"), lambda size: size + 2**64),
    "capital digits": lambda one: altered(one, ("head", "root"), str.upper),
    "blanks between digits": lambda one: altered(one, ("path", 0), lambda path: path[:-1] + " "),
    "a hash too short": lambda one: altered(one, ("path", 0), lambda path: path[:-2]),
    "a path without end": lambda one: one | {"path": one["path"] * 100},
    "a path that is no list": lambda one: one | {"path": "00"},
    "a header cut off": lambda one: altered(one, ("row", "header"), lambda header: header[:60]),
    "a header with a longer topic": lambda one: altered(
        one, ("row", "header"), lambda header: header + "00"
    ),
    "a time beyond all": lambda one: altered(
        one, ("row", "header"), lambda header: header[:-16] + "7f" + "ff" * 7
    ),
    "a note that is none": lambda one: altered(one, ("head", "note"), lambda _: "none"),
    "a note in another code": lambda one: altered(one, ("head", "note"), lambda note: note + "é"),
    "signers that are no list": lambda one: one | {"signers": {}},
    "half a letter": lambda one: altered(one, ("signers", 0, "class"), lambda _: "\ud800"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_proof_is_invalid(name):
    """It is told apart from one that does not hold."""
    found = refusal(ODD[name](GOLDEN["the first row"]))
    assert (found.family, found.code) == ("invalid", "not-a-proof")


def test_a_newer_version_is_told():
    """What a later version wrote is neither called damaged nor guessed at."""
    assert refusal(GOLDEN["the last row"] | {"version": 2}).code == "proof-newer"


WRONG = {
    "another index": (lambda one: one | {"index": 3}, "proof-altered"),
    "an index with a point": (lambda one: one | {"index": float(one["index"])}, "proof-altered"),
    "no path": (lambda one: one | {"path": []}, "proof-row-astray"),
    "a hash more": (lambda one: one | {"path": [*one["path"], "00" * 32]}, "proof-row-astray"),
    "hashes in another order": (lambda one: one | {"path": one["path"][::-1]}, "proof-row-astray"),
    "no signers": (lambda one: one | {"signers": []}, "proof-altered"),
    "signers in another order": (
        lambda one: one | {"signers": one["signers"][::-1]},
        "proof-altered",
    ),
    "a blank at the note's end": (
        lambda one: altered(one, ("head", "note"), lambda note: note + "\n"),
        "proof-altered",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_hold_has_a_reason(name):
    """Each is tampered, with the code that the page tells."""
    change, code = WRONG[name]
    found = refusal(change(GOLDEN["the first row"]))
    assert (found.family, found.code) == ("tampered", code)


@pytest.mark.parametrize(
    ("name", "part"), [("the last row", "head"), ("growth over all", "from"), ("no growth", "to")]
)
def test_each_head_needs_its_signature(name, part):
    """One bit changed in it leaves a note that is written as notes are, and signed by nobody."""
    document = GOLDEN[name]
    line = document[part]["note"].splitlines()[-1]
    told = bytearray(base64.b64decode(line.split(" ")[-1]))
    told[20] ^= 1
    other = line.rpartition(" ")[0] + " " + base64.b64encode(told).decode()
    changed = altered(document, (part, "note"), lambda note: note.replace(line, other))
    found = refusal(changed)
    assert (found.family, found.code) == ("tampered", "bad-signature")


def test_another_rows_sealed_bytes_do_not_fit(prover):
    """A receipt is of one content: with another row's digest, the leaf is not in the tree."""
    one, other = prover.inclusion(12), prover.inclusion(13)
    forged = InclusionProof(one.trust, one.head, one.header, other.sealed_digest, one.path)
    assert refusal(forged.as_document()).code == "proof-row-astray"


def test_heads_of_two_logs_are_not_consistent(prover):
    """A log that was written anew by its own operator does not begin with the one before."""
    other = made_log()
    other.commit("ann", ("access.granted", "access"))
    old = prover.consistency(16, 17)
    fork = made_log()
    fork.rows[-1:], fork.commits[-1:] = [], []
    fork.tree = type(fork.tree)().extend(row.leaf for row in fork.rows)
    fork.commit("ann", ("access.denied", "other"), ("access.denied", "other"))
    forged = type(old)(old.trust, old.second, fork.commits[-1], old.path)
    assert refusal(forged.as_document()).code == "proof-heads-astray"


def test_an_auditors_head_proves_no_operators_row():
    """Whoever holds only an auditor's key cannot make a receipt of a release."""
    log = made_log()
    log.commit("cleo", ("access.granted", "made up"))
    leaves = [row.leaf for row in log.rows]
    signers = tuple(Introduced(row, root_at(log, row.from_size)) for row in log.signers)
    row = log.rows[-1]
    path = tuple(inclusion_path(SubtreesOfLeaves(leaves), len(leaves) - 1, len(leaves)))
    digest = sha256(row.sealed)
    forged = InclusionProof(
        Trust(log.ledger, signers), log.commits[-1], row.header(log.ledger.id), digest, path
    )
    forged.require_fit()
    assert refusal(forged.as_document()).code == "out-of-class"


def root_at(log, size):
    return next((one.root for one in log.commits if one.size == size), EMPTY_ROOT)


def test_a_signer_whom_nobody_introduced_signs_nothing():
    """A head signed with a key of one's own needs an operator who introduced it."""
    log = made_log()
    log.commit("mallory", ("access.granted", "access"))
    log.signers.append(log.change("mallory", "mallory", "operator", "begin"))
    document = GOLDEN["the last row"]
    signers = tuple(Introduced(row, root_at(log, row.from_size)) for row in log.signers)
    proof = read_proof(document)
    forged = InclusionProof(
        Trust(log.ledger, signers), log.commits[-1], proof.header, proof.sealed_digest, proof.path
    )
    assert refusal(forged.as_document()).code == "bad-signer"


def test_only_sizes_that_were_signed_for_have_proofs(prover):
    """The hint names the next one, or the newest."""
    with pytest.raises(NotFound) as caught:
        prover.inclusion(3, 4)
    assert (caught.value.code, caught.value.hint) == (
        "no-signed-head",
        "The next size that was signed for is 5.",
    )
    with pytest.raises(NotFound) as caught:
        prover.consistency(2, 18)
    assert caught.value.hint == "The newest size that was signed for is 17."
    with pytest.raises(NotFound) as caught:
        prover.inclusion(18)
    assert caught.value.code == "no-such-position"


def test_sizes_must_fit_what_is_asked(prover):
    """A log that ends before the row, or before it began, proves nothing."""
    for ask in (lambda: prover.inclusion(6, 5), lambda: prover.consistency(8, 5)):
        with pytest.raises(InvalidInput) as caught:
            ask()
        assert caught.value.code == "size-too-small"


def test_an_auditors_size_is_refused_for_others_rows(prover):
    """The hint names a size that an operator signed for."""
    with pytest.raises(InvalidInput) as caught:
        prover.inclusion(4, 8)
    assert (caught.value.code, caught.value.hint) == (
        "auditors-head",
        "An operator signed for size 17.",
    )


def test_an_auditors_newest_question_is_proven_by_its_own_head(tmp_path):
    """No operator has signed for it yet."""
    log = made_log()
    log.commit("cleo", ("audit.queried", "cleo"))
    log.commit("cleo", ("audit.queried", "cleo"))
    prover = Prover(stored_in(tmp_path, tables(log)), log.ledger)
    proof = prover.inclusion(18)
    assert (proof.head.size, proof.check(log.ledger.id)) == (18, "auditor")
    assert prover.inclusion(17).check(log.ledger.id) == "operator"
    assert prover.consistency(2).second.size == 17


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        json.dump(made(Path(place)), sys.stdout, indent=1)
    sys.stdout.write("\n")
