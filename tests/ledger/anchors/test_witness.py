"""A witness signs what goes on from all it has seen, remembers it first, and signs nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ledger.anchors.head import noted_head
from ledger.anchors.signed_note import read_notes
from ledger.anchors.witness import cosign_newest
from ledger.anchors.witness_folder import WitnessFolder
from ledger.archive.reading import open_archive
from ledger.errors import Conflict, KeyUnavailable, LedgerError, NotFound, Tampered, Unavailable
from ledger.log.postgresql.store import PostgresqlStore
from ledger.log.verification import verify_log
from ledger.sealing.keyring_file import read_keyring
from ledger.usecases.acting import Acting
from tests.conftest import new_house
from tests.faults.hosts import copied
from tests.faults.test_hosts_memory import create, put_back, size_of
from tests.faults.test_tampering import attack
from tests.ledger.anchors.from_the_page import cosigned_at, head_of, notes_of, witness_key
from tests.ledger.archive.conftest import archived

NOW_US = 1_800_000_000_000_000


class Clock:
    def __init__(self):
        self.us = NOW_US

    def __call__(self):
        return self.us


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def witness(house, tmp_path):
    """A witness of the house's ledger, in a folder of its own."""
    folder = WitnessFolder(tmp_path / "witness")
    folder.found(read_keyring(house.keyring_path).ledger_id, "witness.example/w1")
    return folder


def sign(witness, source, clock) -> str:
    handed = []
    cosigned = cosign_newest(witness, source, clock, handed.append)
    assert handed == [cosigned.note]
    return cosigned.note


def refused(witness, source, clock) -> tuple[str, int | None]:
    """The refusal, after which the witness remembers what it did before and has told nothing."""
    before = (witness.path / "memory").read_bytes()
    handed = []
    with pytest.raises(Tampered) as caught:
        cosign_newest(witness, source, clock, handed.append)
    assert handed == []
    assert (witness.path / "memory").read_bytes() == before
    assert "witness" in caught.value.hint
    return caught.value.code, caught.value.position


def grow(house, *names) -> None:
    ledger = house.open()
    for name in names:
        create(ledger, name)
    ledger.close()


def test_a_note_says_by_the_page_alone_what_the_log_is_and_when_it_was_seen(house, witness, clock):
    """The log's own signature comes first; the witness's is over the whole text and a time."""
    store = house.store()
    for number, name in enumerate(("A", "B")):
        grow(house, name)
        clock.us += 1_000_000
        ((body, signatures),) = notes_of(sign(witness, store, clock))
        found = verify_log(store)
        head = head_of(body)
        assert (head["size"], head["root"]) == (found.size, found.root)
        assert head["ledger_id"] == read_keyring(house.keyring_path).ledger_id
        own, cosignature = signatures
        assert own[0] == body.splitlines()[0]
        key = witness_key(witness.recall().key.to_text())
        assert cosigned_at(body, cosignature, key) == NOW_US // 1_000_000 + number + 1


def test_the_same_head_is_signed_again_at_a_later_time(house, witness, clock):
    store = house.store()
    first = sign(witness, store, clock)
    clock.us += 60_000_000
    second = sign(witness, store, clock)
    assert first != second
    (one,), (other,) = read_notes(first.encode()), read_notes(second.encode())
    assert one.text == other.text
    assert witness.recall().signed_at == NOW_US // 1_000_000 + 60


def test_a_clock_set_back_never_makes_a_time_go_backwards(house, witness, clock):
    store = house.store()
    sign(witness, store, clock)
    clock.us -= 3_600_000_000
    grow(house, "A")
    ((body, (_, cosignature)),) = notes_of(sign(witness, store, clock))
    key = witness_key(witness.recall().key.to_text())
    assert cosigned_at(body, cosignature, key) == NOW_US // 1_000_000


def test_a_shorter_log_is_refused(house, witness, clock):
    store = house.store()
    grow(house, "A", "B")
    sign(witness, store, clock)
    size = size_of(house)
    put_back(house, size - 1)
    assert refused(witness, store, clock) == ("rolled-back", size)


def test_a_log_that_grew_again_is_refused_at_the_same_size_and_beyond(house, witness, clock):
    store = house.store()
    grow(house, "A")
    size = size_of(house)
    grow(house, "Lost")
    sign(witness, store, clock)
    put_back(house, size)
    elsewhere = copied(house, "elsewhere")
    grow(elsewhere, "Other")
    assert verify_log(store).ok
    assert refused(witness, store, clock) == ("forked", size + 1)
    grow(elsewhere, "More")
    assert verify_log(store).ok
    assert refused(witness, store, clock) == ("forked", size + 1)
    # Without the head that would tell, the rows after the one before it do.
    attack(house, f"DELETE FROM commits WHERE size = {size + 1}")
    assert refused(witness, store, clock)[0] == "forked"


def test_another_ledgers_log_is_refused(house, witness, clock, tmp_path):
    other = new_house(tmp_path / "other")
    other.found()
    assert refused(witness, other.store(), clock) == ("another-ledger", None)
    other.close()


ALTERED = {
    "a row": "UPDATE log SET recorded_at = recorded_at + 1 WHERE position = {last}",
    "a leaf": "UPDATE log SET leaf = zeroblob(32) WHERE position = {last}",
    "a signature": "UPDATE commits SET signature = zeroblob(64) WHERE size = {last}",
    "a signature below the newest": (
        "UPDATE commits SET signature = zeroblob(64) WHERE size = {last} - 1"
    ),
    "a signer": "UPDATE commits SET signer = zeroblob(32) WHERE size = {last}",
    "a root": "UPDATE commits SET root = zeroblob(32) WHERE size = {last}",
    "the newest head": "DELETE FROM commits WHERE size = {last}",
    "the newest row": "DELETE FROM log WHERE position = {last}",
    "who may sign": "DELETE FROM signers",
    "the ledger's row": "DELETE FROM ledger",
}


@pytest.mark.parametrize("name", ALTERED)
def test_anything_that_is_not_as_it_was_signed_is_refused(house, witness, clock, name):
    store = house.store()
    sign(witness, store, clock)
    grow(house, "A", "B")
    attack(house, ALTERED[name].format(last=size_of(house)))
    refused(witness, store, clock)


def test_a_head_that_was_seen_and_is_no_longer_signed_is_not_signed_again(house, witness, clock):
    store = house.store()
    sign(witness, store, clock)
    size = size_of(house)
    attack(house, f"UPDATE commits SET signature = zeroblob(64) WHERE size = {size}")
    assert refused(witness, store, clock) == ("bad-signature", size)


def test_a_head_between_others_that_is_gone_is_no_fork(house, witness, clock):
    """The tree that goes on from it says the same."""
    store = house.store()
    grow(house, "A")
    sign(witness, store, clock)
    size = size_of(house)
    grow(house, "B")
    attack(house, f"DELETE FROM commits WHERE size = {size}")
    assert verify_log(store).ok
    assert noted_head(read_notes(sign(witness, store, clock).encode())[0]).size == size + 1


def test_an_archive_is_witnessed_like_a_store_and_an_older_one_is_refused(
    house, witness, clock, tmp_path
):
    grow(house, "A")
    archived(house, tmp_path / "first")
    grow(house, "B")
    archived(house, tmp_path / "second")
    assert "credledger/" in sign(witness, open_archive(tmp_path / "first"), clock)
    sign(witness, open_archive(tmp_path / "second"), clock)
    code, _ = refused(witness, open_archive(tmp_path / "first"), clock)
    assert code == "rolled-back"


def test_two_that_sign_at_once_sign_one_after_the_other(house, witness, clock):
    store = house.store()
    inside, go_on, order = threading.Event(), threading.Event(), []

    def first_out(note):
        inside.set()
        assert go_on.wait(30)
        order.append("first")

    threads = [
        threading.Thread(target=cosign_newest, args=(witness, store, clock, first_out)),
        threading.Thread(
            target=lambda: cosign_newest(
                WitnessFolder(witness.path), house.store(), clock, lambda _: order.append("second")
            )
        ),
    ]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    threads[1].join(0.3)
    assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert order == ["first", "second"]


def test_who_waits_too_long_is_told(house, witness, clock, monkeypatch):
    monkeypatch.setattr("ledger.anchors.witness_folder.LOCK_TIMEOUT_S", 0.05)
    with witness.held(), pytest.raises(Unavailable) as caught:
        cosign_newest(WitnessFolder(witness.path), house.store(), clock, print)
    assert caught.value.code == "witness-busy"


def test_it_is_remembered_before_it_is_handed_out(house, witness, clock):
    """Whoever could not write it down has a witness that has seen it all the same."""

    def full(_):
        raise OSError(28, "No space left on device")

    grow(house, "A")
    with pytest.raises(OSError, match="No space"):
        cosign_newest(witness, house.store(), clock, full)
    assert witness.recall().head.size == size_of(house)
    put_back(house, 2)
    assert refused(witness, house.store(), clock) == ("rolled-back", 3)


def code_of(action) -> str:
    with pytest.raises(LedgerError) as caught:
        action()
    return caught.value.code


def test_a_memory_altered_anywhere_signs_nothing(prepared_file, tmp_path, clock):
    house = prepared_file()
    witness = WitnessFolder(tmp_path / "witness")
    witness.found(read_keyring(house.keyring_path).ledger_id, "w")
    sign(witness, house.store(), clock)
    memory = witness.path / "memory"
    content = memory.read_bytes()
    newlines = {content.index(b"\n"), len(content) - 1}
    for at in sorted({*range(0, len(content), 7)} - newlines):
        altered = bytearray(content)
        altered[at] ^= 1
        memory.write_bytes(bytes(altered))
        assert code_of(lambda: sign(witness, house.store(), clock)) in {
            "witness-damaged",
            "witness-newer",
        }, at
    for end in range(0, len(content) - 1, 31):
        memory.write_bytes(content[:end])
        assert code_of(lambda: sign(witness, house.store(), clock)) == "witness-damaged"


def test_keys_that_are_not_its_own_or_lie_open_are_refused(house, witness, clock, tmp_path):
    store = house.store()
    other = WitnessFolder(tmp_path / "other")
    other.found(witness.recall().ledger_id, "w2")
    key = witness.path / "key"
    kept = key.read_bytes()
    key.write_bytes((other.path / "key").read_bytes())
    assert code_of(lambda: sign(witness, store, clock)) == "witness-key-foreign"
    key.write_bytes(kept)
    key.chmod(0o640)
    assert code_of(lambda: sign(witness, store, clock)) == "witness-key-too-open"
    key.chmod(0o600)
    key.write_bytes(kept[:40])
    assert code_of(lambda: sign(witness, store, clock)) == "witness-key-damaged"
    key.unlink()
    with pytest.raises(KeyUnavailable) as caught:
        sign(witness, store, clock)
    assert caught.value.code == "witness-key-missing"


def test_the_folder_is_its_owners_and_is_made_once(tmp_path):
    folder = WitnessFolder(tmp_path / "deep" / "witness")
    with pytest.raises(NotFound):
        folder.recall()
    seen = folder.found(bytes(32), "w")
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.path.iterdir()} == {
        "key": 0o600,
        "memory": 0o600,
        "lock": 0o600,
    }
    with pytest.raises(Conflict):
        folder.found(bytes(32), "w")
    assert folder.recall() == seen


def test_an_init_that_was_cut_off_goes_on_with_its_key(tmp_path):
    folder = WitnessFolder(tmp_path / "witness")
    folder.found(bytes(32), "w")
    key = (folder.path / "key").read_bytes()
    (folder.path / "memory").unlink()
    seen = folder.found(bytes(32), "w")
    assert (folder.path / "key").read_bytes() == key
    assert folder.recall() == seen


def test_a_folder_that_cannot_be_written_signs_nothing(prepared_file, tmp_path, clock, monkeypatch):
    house = prepared_file()
    witness = WitnessFolder(tmp_path / "witness")
    witness.found(read_keyring(house.keyring_path).ledger_id, "w")
    replace = Path.replace

    def refusing(path, target):
        if path.parent == witness.path:
            raise PermissionError(13, "denied")
        return replace(path, target)

    before = (witness.path / "memory").read_bytes()
    monkeypatch.setattr(Path, "replace", refusing)
    assert code_of(lambda: sign(witness, house.store(), clock)) == "witness-not-writable"
    assert (witness.path / "memory").read_bytes() == before
    taken = tmp_path / "file"
    taken.write_bytes(b"")
    assert code_of(lambda: WitnessFolder(taken).found(bytes(32), "w")) == "witness-not-writable"


def test_a_witness_loads_nothing_that_writes_a_log_or_answers_from_views():
    script = (
        "import sys; import tools.evidence.witnessing; "
        "print([name for name in sys.modules if name.startswith("
        "('ledger.usecases', 'ledger.log.writer', 'projections'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
        env={"PATH": os.environ["PATH"]},
    )
    assert done.stdout.strip() == "[]"


def test_an_acting_operator_goes_on_while_a_witness_signs(house, witness, clock):
    """A witness holds no lock of the ledger: between two of its looks the log grows."""
    ledger = house.open()
    create(ledger, "A")
    note = sign(witness, house.store(), clock)
    ledger.grant(Acting(), "A", "member", "user:ann")
    later = sign(witness, house.store(), clock)
    assert noted_head(read_notes(later.encode())[0]).size == (
        noted_head(read_notes(note.encode())[0]).size + 1
    )
    ledger.close()


def test_a_role_that_may_only_read_the_log_is_enough_for_a_witness(
    postgres_server, postgres_schema, tmp_path, clock
):
    house = new_house(tmp_path)
    house.store_url = f"{postgres_server.dsn()}&ledger={postgres_schema}"
    house.found()
    grow(house, "A")
    witness = WitnessFolder(tmp_path / "witness")
    witness.found(read_keyring(house.keyring_path).ledger_id, "w")
    role, tables = f"reader_{os.getpid()}", "ledger, signers, log, commits, schema_migrations"
    named = ", ".join(f"{postgres_schema}.{table}" for table in tables.split(", "))
    postgres_server.execute(
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA {postgres_schema} TO {role}",
        f"GRANT SELECT ON {named} TO {role}",
    )
    store = PostgresqlStore(f"{postgres_server.dsn(role)}&ledger={postgres_schema}")
    try:
        note = sign(witness, store, clock)
        assert noted_head(read_notes(note.encode())[0]).size == size_of(house)
    finally:
        store.close()
        house.close()
        postgres_server.execute(f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")
