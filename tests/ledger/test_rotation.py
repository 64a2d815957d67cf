"""A rotation of keys: everything is resealed, others go on, and a cut-off run is finished."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace

import ledger.log.pace
from ledger.aggregates.mapping import CredentialResealed, mapping_from
from ledger.claims import parse_claim
from ledger.errors import Conflict, KeyUnavailable, Refused
from ledger.log.sqlite import SqliteStore
from ledger.log.verification import verify_log
from ledger.log.writer import Writer
from ledger.policy import Caller
from ledger.sealing.epochs import period_after, period_of, period_start
from ledger.sealing.keyring_file import KeyringFile, read_keyring
from ledger.sealing.slots import new_passphrase, passphrase
from ledger.usecases import resting
from ledger.usecases.acting import Acting
from ledger.usecases.held_keys import HeldKeys
from ledger.usecases.outcomes import Doomed
from ledger.usecases.resealing import Resealing
from ledger.usecases.resting import Creation
from ledger.usecases.rotation import Rotation
from ledger.values import FieldValue
from projections.redecide import redecide
from tests.conftest import CHEAP, unlocked_by_passphrase
from tests.faults.test_hosts_at_once import another_host

OPERATOR = Acting(reason="yearly")
OWNERS = [parse_claim(f"user:u{number}") for number in range(7)]


def values(password: str) -> dict[str, FieldValue]:
    return {"Windows User Name": FieldValue("svc"), "Windows Password": FieldValue(password)}


def read(ledger, owner, application="CRM") -> str:
    return ledger.retrieve(Caller(owner), application).fields["Windows Password"].reveal()


def rotate(ledger, **settings):
    """What a destruction says is gone is what it had foretold, whatever was cut off before."""
    destroys = settings.get("destroy_previous", False)
    foretold = ledger.doomed() if destroys else None
    outcome = ledger.rotate(OPERATOR, without_backup=True, **settings)
    if foretold is not None:
        assert foretold == Doomed(outcome.destroyed, outcome.values_gone)
    return outcome


@pytest.fixture(autouse=True, params=[2, 1], ids=["one by one", "side by side"])
def small_pages(monkeypatch, request):
    """So that a handful of mappings takes several requests, which wait for each other or do not."""
    monkeypatch.setattr(ledger.log.pace, "BUSY_ROWS", request.param)
    monkeypatch.setattr(ledger.log.pace, "CALM_ROWS", 2)
    monkeypatch.setattr(SqliteStore, "works_elsewhere", True)


def fill(house):
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    for owner in OWNERS:
        ledger.set_credentials(Acting(), "CRM", owner, values(f"of {owner}"))
    ledger.set_credentials(Acting(), "CRM", OWNERS[0], values(f"of {OWNERS[0]}"))
    ledger.create_application(Acting(), "Old", kind="group", members=("user:u0",))
    ledger.set_credentials(Acting(), "Old", None, values("ended"))
    ledger.delete_application(Acting(), "Old")
    ledger.delete_credentials(Acting(), "CRM", OWNERS[-1])
    ledger.close()


@pytest.fixture
def filled(prepared):
    return prepared(fill)


LIVE = OWNERS[:-1]


def held(house):
    return unlocked_by_passphrase(house.keyring_path)


def rows(house):
    with house.store().reading() as reading:
        return reading.rows_after(0, 1000)


def require_whole(house, epoch: int) -> None:
    """The log verifies, decisions and views agree with it, and all that is live opens."""
    assert verify_log(house.store()).ok
    ledger = house.open()
    assert ledger.status().epoch == epoch
    for owner in LIVE:
        assert read(ledger, owner) == f"of {owner}"
    again = redecide(house.store(), ledger._desk.mapper)
    assert (again["wrong"], again["unreadable"]) == ([], [])
    assert all(view["same"] for view in ledger.views.rebuild())
    assert ledger.views.epochs() == {epoch: len(LIVE)}
    ledger.close()


def test_every_live_mapping_is_resealed_at_the_same_version(filled):
    ledger = filled.open()
    before = ledger.views.credentials()
    outcome = rotate(ledger)
    assert (outcome.before, outcome.epoch, outcome.resealed) == (1, 2, len(LIVE))
    after = ledger.views.credentials()
    assert [{**one, "epoch": 2} for one in before] == after
    history = ledger.views.history("CRM", str(OWNERS[0]))
    assert [(one["event"], one["version"]) for one in history] == [
        ("set", 1),
        ("set", 2),
        ("resealed", 2),
    ]
    assert history[-1]["reason"] == "yearly"
    ledger.close()
    assert [keys.epoch for keys in held(filled).epochs] == [1, 2, 3]
    require_whole(filled, 2)


def test_rotations_follow_each_other_in_one_process(filled):
    ledger = filled.open()
    for epoch in (2, 3, 4):
        assert rotate(ledger).epoch == epoch
        assert read(ledger, OWNERS[1]) == f"of {OWNERS[1]}"
    ledger.close()
    require_whole(filled, 4)


def test_an_auditor_cannot_rotate(filled, tmp_path):
    ledger = filled.open()
    desk = replace(
        ledger._desk,
        unlocked=replace(
            ledger._desk.unlocked, slot=replace(ledger._desk.unlocked.slot, opens="auditor")
        ),
    )
    rotation = Rotation(desk, ledger._writer, ledger._held, filled.clock)
    size = ledger.head().size
    with pytest.raises(Refused, match="operator"):
        rotation.run(OPERATOR, without_backup=True, progress=None)
    assert ledger.head().size == size
    ledger.close()


class Cut(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("step", range(12))
def test_a_run_that_is_cut_off_is_finished_by_the_next(filled, monkeypatch, step):
    """Before and after the file is changed, the epoch started, each page, and the end."""
    run, write, left = Writer.run, KeyringFile.write, [step]

    def counted(work):
        def cutting(self, *asked):
            if left[0] == 0:
                raise Cut
            left[0] -= 1
            return work(self, *asked)

        return cutting

    ledger = filled.open()
    with monkeypatch.context() as patched:
        patched.setattr(Writer, "run", counted(run))
        patched.setattr(Writer, "submit", counted(Writer.submit))
        patched.setattr(KeyringFile, "write", counted(write))
        cut = False
        try:
            rotate(ledger)
        except Cut:
            cut = True
    # On how many pages something is live depends on the order of streams, which is random.
    assert cut or step >= 6, "there are fewer steps than this test knows"
    assert not cut or step < 11, "there are more steps than this test knows"
    ledger.close()
    between = filled.open()
    for owner in LIVE:
        assert read(between, owner) == f"of {owner}"
    between.close()
    if cut:
        after = filled.open()
        assert rotate(after).epoch == 2
        after.close()
    require_whole(filled, 2)
    assert [keys.epoch for keys in held(filled).epochs] == [1, 2, 3]


def test_two_runs_at_once_are_one(filled):
    """Of two hosts that start at once the log takes one start; both end well."""
    gate = threading.Barrier(2)

    def run(_):
        ledger = filled.open()
        gate.wait()
        try:
            return rotate(ledger)
        finally:
            ledger.close()

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(run, range(2)))
    epochs = {outcome.epoch for outcome in outcomes}
    assert epochs in ({2}, {2, 3})
    if epochs == {2}:
        assert sum(outcome.resealed for outcome in outcomes) == len(LIVE)
    require_whole(filled, max(epochs))


def test_what_is_set_while_a_page_is_prepared_is_not_overwritten(filled, monkeypatch):
    """The values that were read are not the newest any more when the lock is taken."""
    other = filled.open()
    prepared, changed = Resealing._prepared, []

    def preparing(self, *asked):
        request = prepared(self, *asked)
        if not changed:
            changed.append(True)
            other.set_credentials(Acting(), "CRM", OWNERS[1], values(f"of {OWNERS[1]}"))
            other.delete_credentials(Acting(), "CRM", OWNERS[2])
            other.set_credentials(Acting(), "CRM", OWNERS[2], values(f"of {OWNERS[2]}"))
        return request

    monkeypatch.setattr(ledger.log.pace, "BUSY_ROWS", 10)
    monkeypatch.setattr(Resealing, "_prepared", preparing)
    rotating = filled.open()
    assert rotate(rotating).resealed == len(LIVE) - 2
    rotating.close()
    other.close()
    versions = {one.owner: one.value_version for one in mappings(filled)}
    assert versions[str(OWNERS[1])] == versions[str(OWNERS[2])] == 2
    require_whole(filled, 2)


def test_nothing_of_an_application_that_is_deleted_meanwhile_is_sealed_anew(filled, monkeypatch):
    """It was live when its mappings were looked at, and is not any more under the lock."""
    other = filled.open()
    prepared, deleted = Resealing._prepared, []

    def preparing(self, *asked):
        request = prepared(self, *asked)
        if not deleted:
            deleted.append(other.delete_application(Acting(), "CRM"))
        return request

    monkeypatch.setattr(Resealing, "_prepared", preparing)
    rotating = filled.open()
    assert rotate(rotating).resealed == 0
    rotating.close()
    other.close()
    assert verify_log(filled.store()).ok


def test_what_is_deleted_between_two_pages_is_left(filled):
    """What is known of applications holds only as long as nobody else appends anything."""
    other, deleted = filled.open(), []

    def progress(_done, _total):
        if not deleted and rows(filled)[-1].topic == CredentialResealed.TOPIC:
            deleted.append(other.delete_application(Acting(), "CRM"))

    rotating = filled.open()
    assert 0 < rotate(rotating, progress=progress).resealed < len(LIVE)
    rotating.close()
    other.close()
    assert verify_log(filled.store()).ok


@pytest.mark.parametrize("is_waited_for", [True, False])
def test_what_is_deleted_while_a_page_is_on_its_way_is_left(filled, monkeypatch, is_waited_for):
    """Whether it had landed when the next one was looked at, and however many rows are added."""
    monkeypatch.setattr(ledger.log.pace, "BUSY_ROWS", 1)
    other, deleted = filled.open(), []
    newest, prepared = resting._newest, Resealing._prepared
    works = []

    def looking(*asked):
        for work in works:
            if is_waited_for and work._coming is not None:
                work._coming.result()
        return newest(*asked)

    def preparing(self, page):
        works[:] = [self]
        if self._coming is not None and not deleted:
            rows = self._coming.result().resealed
            for number in range(rows - 1):
                other.role_grant(Acting(), "restricted-access", f"user:u{number}")
            deleted.append(other.delete_application(Acting(), "CRM"))
        return prepared(self, page)

    monkeypatch.setattr(resting, "_newest", looking)
    monkeypatch.setattr(Resealing, "_prepared", preparing)
    rotating = filled.open()
    rotate(rotating)
    rotating.close()
    other.close()
    ended = max(row.position for row in rows(filled) if row.topic == "application.deleted")
    resealed = [row.position for row in rows(filled) if row.topic == CredentialResealed.TOPIC]
    assert resealed
    assert max(resealed) < ended


@pytest.mark.parametrize("together", [50, 3])
def test_mappings_are_sealed_anew_in_order_of_their_streams(filled, monkeypatch, together):
    """As many as are held at a time, wherever they lie in the log; on a server as they do there."""
    monkeypatch.setattr(resting, "_HELD_ROWS_MAX", together)
    monkeypatch.setattr("ledger.log.following.PAGE_ROWS", 2)
    monkeypatch.setattr("ledger.log.following._PAGE_COMMITTED_ROWS", 2)
    rotating = filled.open()
    reached: list[tuple[int, int]] = []
    before = rows(filled)
    assert rotate(rotating, progress=lambda *told: reached.append(told)).resealed == len(LIVE)
    lies_by_stream = rotating._writer.store.lies_by_stream
    rotating.close()
    assert reached == sorted(reached)
    newest = {row.stream: row.position for row in before}
    after = (row for row in rows(filled)[len(before) :] if row.topic == CredentialResealed.TOPIC)
    order = [row.stream if lies_by_stream else newest[row.stream] for row in after]
    falls = sum(later < earlier for earlier, later in pairwise(order))
    assert falls == 0 if together == 50 or not lies_by_stream else falls <= len(before) // together
    require_whole(filled, 2)


def mappings(house):
    """The newest event of each mapping."""
    found = {}
    ledger = house.open()
    for row in rows(house):
        if row.topic.startswith("credential."):
            found[row.stream] = mapping_from(ledger._desk.mapper.open(row))
    ledger.close()
    return list(found.values())


def test_a_month_that_ends_meanwhile_is_no_obstacle(filled, monkeypatch):
    """What was sealed for the month before is sealed once more for the new one."""
    prepared, moved = Resealing._prepared, []

    def preparing(self, *asked):
        request = prepared(self, *asked)
        if not moved:
            moved.append(True)
            now = filled.clock()
            filled.clock.offset_us += period_start(period_after(period_of(now), 1)) - now
        return request

    monkeypatch.setattr(Resealing, "_prepared", preparing)
    rotating = filled.open()
    assert rotate(rotating).resealed == len(LIVE)
    rotating.close()
    filled.clock.offset_us = 0
    require_whole(filled, 2)


def test_a_month_that_ends_within_a_page_parts_it(filled, monkeypatch):
    """What would lie beyond the month for which its values were sealed is sealed once more."""
    monkeypatch.setattr(ledger.log.pace, "BUSY_ROWS", 10)
    prepared, ends = Resealing._prepared, []

    def preparing(self, page):
        if not ends and len(page.live) > 1:
            stands = time.time_ns()
            patched.setattr(time, "time_ns", lambda: stands)
            ends.append(period_start(period_after(period_of(filled.clock()), 1)))
            filled.clock.offset_us = ends[0] - 1 - filled.clock()
        return prepared(self, page)

    with monkeypatch.context() as patched:
        patched.setattr(Resealing, "_prepared", preparing)
        rotating = filled.open()
        assert rotate(rotating).resealed == len(LIVE)
        rotating.close()
    filled.clock.offset_us = 0
    resealed = [row for row in rows(filled) if row.topic == CredentialResealed.TOPIC]
    assert {row.period for row in resealed if row.recorded_at >= ends[0]} == {period_of(ends[0])}
    assert max(row.recorded_at for row in resealed if row.recorded_at < ends[0]) == ends[0] - 1
    require_whole(filled, 2)


def test_applications_are_known_by_all_that_happened_to_them(filled):
    """Those whose mappings are sealed anew are looked up together, however long their streams."""
    ledger = filled.open()
    for number in range(12):
        ledger.grant(Acting(), "CRM", "administrator", f"user:boss{number}")
    ledger.close()
    ledger = filled.open()
    assert rotate(ledger).resealed == len(LIVE)
    ledger.close()
    require_whole(filled, 2)


def test_others_read_and_write_meanwhile(filled):
    """Readers, writers and strangers in other processes' places, all through two rotations."""
    stop, failures = threading.Event(), []

    def work(number):
        ledger = filled.open()
        try:
            while not stop.is_set():
                owner = LIVE[number % len(LIVE)]
                assert read(ledger, owner) == f"of {owner}"
                ledger.set_credentials(Acting(), "CRM", owner, values(f"of {owner}"))
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            ledger.close()

    with ThreadPoolExecutor(3) as pool:
        workers = [pool.submit(work, number) for number in range(3)]
        rotating = filled.open()
        try:
            for _ in range(2):
                rotate(rotating)
        finally:
            stop.set()
            rotating.close()
        for worker in workers:
            worker.result()
    assert failures == []
    require_whole(filled, 3)


def test_a_host_whose_epoch_the_log_did_not_choose_drops_it_and_asks_for_the_file(filled, tmp_path):
    """Two hosts add an epoch each; the log takes one, and the other cannot rotate on its own."""
    other = another_host(filled, tmp_path / "other")
    loser = other.open()
    with loser._held.changing(lambda: loser._writer.look(loser._desk.key_history)) as (file, _):
        after = file.held.with_next_epoch(loser._desk.random)
        file.write(after.keyring, after.root)
    winner = filled.open()
    rotate(winner)
    winner.close()
    assert read(loser, OWNERS[1]) == f"of {OWNERS[1]}"
    size = loser.head().size
    with pytest.raises(KeyUnavailable) as caught:
        rotate(loser)
    assert caught.value.code == "next-epoch-missing"
    assert loser.head().size == size
    loser.close()
    assert [keys.epoch for keys in held(other).epochs] == [1, 2]
    require_whole(other, 2)
    other.keyring_path.write_bytes(filled.keyring_path.read_bytes())
    again = other.open()
    assert rotate(again).epoch == 3
    again.close()
    require_whole(other, 3)


def test_a_running_process_follows_any_number_of_rotations_by_its_keyring(filled):
    """It reads the file again when the log is in an epoch that it does not know."""
    running = filled.open()
    assert read(running, OWNERS[0]) == f"of {OWNERS[0]}"
    for _ in range(3):
        rotating = filled.open()
        rotate(rotating)
        rotating.close()
    assert read(running, OWNERS[0]) == f"of {OWNERS[0]}"
    running.set_credentials(Acting(), "CRM", OWNERS[0], values(f"of {OWNERS[0]}"))
    assert read(running, OWNERS[0]) == f"of {OWNERS[0]}"
    running.close()
    require_whole(filled, 4)


SECOND = "second passphrase of theirs"


def add_second_slot(house):
    ledger = house.open()
    ledger.add_slot(
        Acting(), label="ben", opens="operator", holding=new_passphrase(SECOND), cost=CHEAP
    )
    ledger.close()


@pytest.fixture
def two_slots(prepared):
    return prepared(fill, add_second_slot)


def test_a_removed_slots_holder_has_none_of_the_keys_that_are_used_from_then_on(two_slots):
    """Its keyring held the current epoch and the next one; two further are started."""
    kept = read_keyring(two_slots.keyring_path).unlock(passphrase(SECOND))
    ledger = two_slots.open()
    size = ledger.head().size
    with pytest.raises(Refused) as caught:
        ledger.remove_slot(Acting(), 2, mislaid=False)
    assert caught.value.code == "database-backup-needed"
    assert ledger.head().size == size
    removal = ledger.remove_slot(Acting(), 2, mislaid=False, without_backup=True)
    assert removal.rotated_to == 3
    assert {keys.epoch for keys in kept.epochs} == {1, 2}
    with pytest.raises(Conflict) as caught:
        ledger.remove_slot(Acting(), 2, mislaid=False, without_backup=True)
    assert caught.value.code == "slot-removed-already"
    ledger.close()
    with pytest.raises(KeyUnavailable):
        read_keyring(two_slots.keyring_path).unlock(passphrase(SECOND))
    require_whole(two_slots, 3)


def test_no_removed_slot_that_a_key_backup_brought_back_gets_new_keys(two_slots):
    before = two_slots.keyring_path.read_bytes()
    ledger = two_slots.open()
    ledger.remove_slot(Acting(), 2, mislaid=True)
    ledger.close()
    two_slots.keyring_path.write_bytes(before)
    ledger = two_slots.open()
    assert rotate(ledger).epoch == 2
    ledger.close()
    keyring = read_keyring(two_slots.keyring_path)
    assert [slot.id for slot in keyring.slots] == [1]
    with pytest.raises(KeyUnavailable):
        keyring.unlock(passphrase(SECOND))
    require_whole(two_slots, 2)


def test_a_slot_that_another_host_removed_meanwhile_rotates_nothing(two_slots, tmp_path):
    other = another_host(two_slots, tmp_path / "other")
    theirs = other.open_with(read_keyring(other.keyring_path).unlock(passphrase(SECOND)))
    ledger = two_slots.open()
    ledger._slots.remove(Acting(), 2)
    before = other.keyring_path.read_bytes()
    with pytest.raises(KeyUnavailable) as caught:
        rotate(theirs)
    assert caught.value.code == "slot-removed"
    assert other.keyring_path.read_bytes() == before
    theirs.close()
    assert rotate(ledger).epoch == 2
    ledger.close()
    require_whole(two_slots, 2)


def leave_pending(house):
    """A rotation is killed between file and log; what an operator then copies from the file."""
    ledger = house.open()
    with pytest.MonkeyPatch.context() as patched, pytest.raises(Cut):
        patched.setattr(ledger._writer, "run", cutting)
        rotate(ledger)
    ledger.close()
    kept = read_keyring(house.keyring_path).unlock(passphrase(SECOND))
    assert [keys.epoch for keys in kept.epochs] == [1, 2, 3]
    return kept


def require_unknown(house, kept):
    """The keys that are used now, and those that come next, are none of these."""
    known = {key for keys in kept.epochs for key in (keys.state, keys.secret, *keys.access)}
    current, following = held(house).epochs[-2:]
    for keys in (current, following):
        assert not known & {keys.state, keys.secret, *keys.access}


@pytest.mark.parametrize("cut", [None, 2, 3, 4, 5, 6])
def test_epochs_that_the_log_does_not_know_are_not_used_once_a_slot_is_removed(two_slots, cut):
    """Its holder copied the file that a killed rotation left; the removal may be cut off too."""
    kept = leave_pending(two_slots)
    ledger, left = two_slots.open(), [cut]

    def counted(work):
        def sometimes(self, *asked):
            left[0] -= 1
            if left[0] == 0:
                raise Cut
            return work(self, *asked)

        return sometimes

    if cut is None:
        ledger.remove_slot(Acting(), 2, mislaid=False, without_backup=True)
    else:
        with pytest.MonkeyPatch.context() as patched, pytest.raises(Cut):
            patched.setattr(Writer, "run", counted(Writer.run))
            patched.setattr(Writer, "submit", counted(Writer.submit))
            ledger.remove_slot(Acting(), 2, mislaid=False, without_backup=True)
    ledger.close()
    again = two_slots.open()
    if cut is not None:
        if again.key_history().started_since(again.key_history().removed_where[2]) < 2:
            again.remove_slot(Acting(), 2, mislaid=False)
        else:
            rotate(again)
    assert again.status().epoch == 3
    again.close()
    require_unknown(two_slots, kept)
    require_whole(two_slots, 3)


def test_another_host_that_rotates_meanwhile_does_not_use_them_either(two_slots, tmp_path):
    """Its copy of the file still holds what the removed slot's holder has put there."""
    kept = leave_pending(two_slots)
    other = another_host(two_slots, tmp_path / "other")
    ledger = two_slots.open()
    ledger._slots.remove(Acting(), 2)
    theirs = other.open()
    assert rotate(theirs).epoch == 2
    assert rotate(theirs).epoch == 3
    theirs.close()
    ledger.close()
    require_unknown(other, kept)
    require_whole(other, 3)


def test_a_slot_that_is_removed_while_keys_are_chosen_stops_the_rotation(two_slots, tmp_path):
    """On another host; the file may hold what the holder knows. Run again, it is replaced."""
    kept = leave_pending(two_slots)
    other = another_host(two_slots, tmp_path / "other")
    ledger, theirs = two_slots.open(), other.open()
    run = Writer.run

    def running(self, request):
        patched.undo()
        ledger._slots.remove(Acting(), 2)
        return run(self, request)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(theirs._writer, "run", running.__get__(theirs._writer))
        with pytest.raises(Conflict) as caught:
            rotate(theirs)
    assert caught.value.code == "slot-removed-meanwhile"
    assert theirs.key_history().current == 1
    assert [rotate(theirs).epoch for _ in range(2)] == [2, 3]
    theirs.close()
    ledger.close()
    require_unknown(other, kept)
    require_whole(other, 3)


def test_an_epoch_that_a_killed_rotation_left_is_used_where_no_slot_was_removed(two_slots):
    """Other hosts may have copied the file since."""
    kept = leave_pending(two_slots)
    ledger = two_slots.open()
    rotate(ledger)
    ledger.close()
    assert held(two_slots).epochs[2].state == kept.epochs[2].state
    require_whole(two_slots, 2)


def test_a_mislaid_slot_is_removed_without_any_rotation(two_slots):
    ledger = two_slots.open()
    assert ledger.remove_slot(Acting(), 2, mislaid=True).rotated_to is None
    ledger.close()
    require_whole(two_slots, 1)


@pytest.mark.parametrize("step", range(1, 6))
def test_a_removal_that_is_cut_off_before_its_rotations_goes_on_with_them(
    two_slots, monkeypatch, step
):
    ledger = two_slots.open()
    left = [step]

    def counted(work):
        def cutting(self, *asked):
            if left[0] == 0:
                raise Cut
            left[0] -= 1
            return work(self, *asked)

        return cutting

    with monkeypatch.context() as patched, pytest.raises(Cut):
        patched.setattr(Writer, "run", counted(Writer.run))
        patched.setattr(Writer, "submit", counted(Writer.submit))
        ledger.remove_slot(Acting(), 2, mislaid=False, without_backup=True)
    ledger.close()
    again = two_slots.open()
    if again.key_history().started_since(0) < 3:
        assert again.remove_slot(Acting(), 2, mislaid=False).rotated_to == 3
    else:
        assert rotate(again).epoch == 3
    again.close()
    require_whole(two_slots, 3)


def sealed_values(house, ledger):
    """(epoch, sealed values, associated data of the row) of every row that has any."""
    for row in rows(house):
        if row.topic in ("credential.set", "credential.restored", CredentialResealed.TOPIC):
            mapping = mapping_from(ledger._desk.mapper.open(row))
            place = ledger._desk.mapper.associated_data(row)
            yield row.epoch, mapping.secret, place


def opens(key: bytes, sealed: bytes, place: bytes) -> bool:
    try:
        AESGCM(key).decrypt(sealed[:12], sealed[12:], b"credledger/v1/secret" + place)
    except InvalidTag:
        return False
    return True


def test_no_remaining_key_opens_an_earlier_value_once_keys_are_destroyed(filled):
    """Shown from the stored bytes with every key there is, while who and when stay readable."""
    ledger = filled.open()
    for owner in LIVE:
        read(ledger, owner)
    seen = ledger.views.accesses.newest(limit=0)
    outcome = rotate(ledger, destroy_previous=True)
    # The first value of one owner, that of the deleted application, and the deleted one.
    assert (outcome.destroyed, outcome.values_gone) == ((1,), 3)
    ledger.close()
    unlocked = held(filled)
    keys = [unlocked.root, unlocked.stream_key]
    for epoch in unlocked.epochs:
        keys += [key for key in (epoch.state, epoch.secret, *epoch.access) if key is not None]
    again = filled.open()
    tried = list(sealed_values(filled, again))
    assert {epoch for epoch, _, _ in tried} == {1, 2}
    for epoch, sealed, place in tried:
        assert any(opens(key, sealed, place) for key in keys) == (epoch == 2)
    assert again.views.accesses.newest(limit=0) == seen
    assert [one["event"] for one in again.views.history("CRM", str(OWNERS[0]))][:2] == [
        "set",
        "set",
    ]
    with pytest.raises(KeyUnavailable) as caught:
        again.restoring.credentials(Acting(), "CRM", OWNERS[0], version=1)
    assert caught.value.code == "key-destroyed"
    again.restoring.credentials(Acting(), "CRM", OWNERS[0], version=2)
    again.close()
    require_whole(filled, 2)


def test_a_rotation_passes_over_what_ended_and_is_destroyed(filled):
    """The values of a deleted application are gone with their key, and nobody misses them."""
    ledger = filled.open()
    rotate(ledger, destroy_previous=True)
    outcome = rotate(ledger, destroy_previous=True)
    assert (outcome.resealed, outcome.destroyed) == (len(LIVE), (2,))
    ledger.close()
    require_whole(filled, 3)


def test_what_is_gone_already_is_not_counted_again(filled):
    """A later destruction counts what only its own keys opened: lived on, set, or restored."""
    ledger = filled.open()
    assert rotate(ledger, destroy_previous=True).values_gone == 3
    assert rotate(ledger, destroy_previous=True).values_gone == 0
    rotate(ledger)
    ledger.set_credentials(Acting(), "CRM", LIVE[0], values("next"))
    ledger.set_credentials(Acting(), "CRM", LIVE[0], values("after that"))
    ledger.restoring.credentials(Acting(), "CRM", LIVE[0], version=3)
    outcome = rotate(ledger, destroy_previous=True)
    # What lived on until then, and both that were set since; what was restored lives on.
    assert (outcome.destroyed, outcome.values_gone) == ((3, 4), 3)
    ledger.close()


def test_every_host_drops_destroyed_keys_when_it_opens(filled, tmp_path):
    other = another_host(filled, tmp_path / "other")
    rotating = filled.open()
    rotate(rotating, destroy_previous=True)
    rotating.close()
    for _ in range(2):  # a host that meets the log just now leaves its file alone
        assert held(other).epochs[0].secret is not None
        opened = other.open()
        assert opened.status().epochs[0][3] is False
        opened.close()
    assert held(other).epochs[0].secret is None
    require_whole(other, 2)


def test_nothing_is_destroyed_while_anything_rests_on_it(filled):
    """The look under the lock has the last word, whatever was found before."""
    ledger = filled.open()
    rotated = rotate(ledger)
    missed = Rotation._reseal
    with pytest.MonkeyPatch.context() as patched:
        live = Creation("CRM", mappings(filled)[0].creation)
        patched.setattr(Rotation, "_reseal", lambda *asked: (0, missed(*asked)[1] | {live}))
        with pytest.raises(Conflict) as caught:
            ledger._rotation.destroy_previous(OPERATOR, rotated)
    assert caught.value.code == "mappings-resting"
    ledger.close()
    assert held(filled).epochs[0].secret is not None
    require_whole(filled, 2)


@pytest.fixture
def cut_off_destruction(two_slots):
    """A destruction of epochs 1 and 2, killed after its intent; then a slot removed, to epoch 5."""
    ledger = two_slots.open()
    rotate(ledger)
    with pytest.MonkeyPatch.context() as patched, pytest.raises(Cut):
        patched.setattr(HeldKeys, "destroy", cutting)
        rotate(ledger, destroy_previous=True)
    for owner in LIVE:
        ledger.set_credentials(Acting(), "CRM", owner, values(f"of {owner}"))
    ledger.close()
    again = two_slots.open()
    assert again.remove_slot(Acting(), 2, mislaid=False, without_backup=True).rotated_to == 5
    yield again
    again.close()


def cutting(*_):
    raise Cut


def states(ledger):
    """What became of each epoch's key of values, in the log and in the file."""
    secrets = {keys.epoch: keys.secret is not None for keys in ledger._held.unlocked.epochs}
    history = ledger.key_history()
    return [(history.state_of(epoch), secrets[epoch]) for epoch in range(1, history.current)]


def test_finishing_a_destruction_destroys_what_its_intent_named_and_no_more(
    two_slots, cut_off_destruction
):
    """A plain run was asked for nothing else; it starts no epoch either."""
    ledger = cut_off_destruction
    outcome = ledger.rotate(OPERATOR)
    assert (outcome.before, outcome.epoch, outcome.resealed) == (4, 5, 0)
    assert outcome.destroyed == (1, 2)
    # The first value of one owner, those of the deleted application and mapping.
    assert outcome.values_gone == 3
    assert states(ledger) == [("destroyed", False)] * 2 + [("previous", True)] * 2
    assert not ledger.key_history().is_destroying
    size, unchanged = ledger.head().size, replace(outcome, destroyed=(), values_gone=0)
    assert ledger._rotation.finish_destruction(OPERATOR, unchanged) == unchanged
    assert ledger.head().size == size
    ledger.close()
    require_whole(two_slots, 5)


def test_a_destruction_that_is_asked_for_again_takes_in_what_came_since(
    two_slots, cut_off_destruction
):
    """With the flag, and so with consent, all earlier epochs go; still no epoch is started."""
    outcome = rotate(cut_off_destruction, destroy_previous=True)
    assert (outcome.epoch, outcome.destroyed) == (5, (1, 2, 3, 4))
    assert states(cut_off_destruction) == [("destroyed", False)] * 4
    cut_off_destruction.close()
    require_whole(two_slots, 5)


def test_a_rotation_that_was_cut_off_with_a_destruction_is_finished_with_it(
    two_slots, cut_off_destruction
):
    """Both are unfinished, and one plain run ends both."""
    ledger = cut_off_destruction
    with pytest.MonkeyPatch.context() as patched, pytest.raises(Cut):
        patched.setattr(Rotation, "_finish", cutting)
        ledger._rotation.run(OPERATOR, without_backup=True, progress=None)
    assert ledger.key_history().is_rotating
    outcome = ledger.rotate(OPERATOR)
    assert (outcome.epoch, outcome.resealed, outcome.destroyed) == (6, len(LIVE), (1, 2))
    assert states(ledger) == [("destroyed", False)] * 2 + [("previous", True)] * 3
    ledger.close()
    require_whole(two_slots, 6)


def test_nothing_is_destroyed_by_what_was_found_before_a_further_epoch(filled):
    """Another host rotates between the look through the log and the intent."""
    ledger, other = filled.open(), filled.open()
    rotated = rotate(ledger)
    look = Rotation._reseal

    def looking(self, *asked):
        found = look(self, *asked)
        patched.undo()
        rotate(other)
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Rotation, "_reseal", looking)
        with pytest.raises(Conflict) as caught:
            ledger._rotation.destroy_previous(OPERATOR, rotated)
    assert caught.value.code == "mappings-resting"
    assert not ledger.key_history().destroying
    ledger.close()
    other.close()
    require_whole(filled, 3)


@pytest.mark.parametrize("step", range(3))
def test_a_destruction_that_is_cut_off_is_finished_by_the_next(filled, monkeypatch, step):
    """After the intent, after the file, before the record."""
    ledger = filled.open()
    rotated = rotate(ledger)
    run, write, left = Writer.run, KeyringFile.write, [step + 1]

    def counted(work):
        def cutting(self, *asked):
            left[0] -= 1
            if left[0] == 0:
                raise Cut
            return work(self, *asked)

        return cutting

    with monkeypatch.context() as patched, pytest.raises(Cut):
        # The first call of `run` only looks through what ended; it has one page here.
        patched.setattr(Rotation, "_reseal", lambda *_: (0, frozenset()))
        patched.setattr(Writer, "run", counted(run))
        patched.setattr(Writer, "submit", counted(Writer.submit))
        patched.setattr(KeyringFile, "write", counted(write))
        ledger._rotation.destroy_previous(OPERATOR, rotated)
    ledger.close()
    again = filled.open()
    again._rotation.destroy_previous(OPERATOR, rotated)
    assert again.key_history().state_of(1) == "destroyed"
    again.close()
    assert held(filled).epochs[0].secret is None
    require_whole(filled, 2)
