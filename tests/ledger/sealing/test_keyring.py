"""A keyring as a value: slots come and go, the keys stay, auditors get their own."""

from __future__ import annotations

import hashlib

import pytest
from msgspec.structs import replace

from ledger.errors import Conflict, InvalidInput, KeyUnavailable, NotFound, Refused
from ledger.sealing.auditors_keyring import export_auditor
from ledger.sealing.epochs import KeyName, commitments, new_epoch
from ledger.sealing.keyring import SLOTS_MAX, GivenUp, create_keyring
from ledger.sealing.keyring_parsing import parse_keyring
from ledger.sealing.slots import key_file
from ledger.sealing.wrapped_keys import WrappedKeys
from tests.ledger.sealing.counted import CHEAP, KEY, OTHER_KEY, WORDS, Counted


def _refusal(call, family):
    with pytest.raises(family) as caught:
        call()
    return caught.value.code


def test_a_new_keyring_holds_the_first_epoch_and_the_next():
    """Epoch 2 is there before anybody rotates."""
    unlocked = create_keyring("first", KEY, created_at=1, random=Counted(), cost=CHEAP)
    assert [keys.epoch for keys in unlocked.epochs] == [1, 2]
    assert unlocked.is_operator
    assert unlocked.keyring.generation == 1


def test_the_ledger_id_is_bound_to_the_first_signer(unlocked):
    """Whoever pins the id pins the first operator's key."""
    signer = unlocked.signing_key.public_key().public_bytes_raw()
    text = b"credledger/v1/ledger" + signer + unlocked.keyring.salt
    assert unlocked.ledger_id == hashlib.sha256(text).digest()


def test_a_keyring_is_the_same_after_its_file(unlocked):
    """Parsing undoes writing, and what opens is what was there."""
    parsed = parse_keyring(unlocked.keyring.to_bytes())
    assert parsed == unlocked.keyring
    opened = parsed.unlock(KEY)
    assert (opened.root, opened.stream_key, opened.epochs) == (
        unlocked.root,
        unlocked.stream_key,
        unlocked.epochs,
    )


def test_each_operator_opens_the_same_keys_with_a_signature_of_their_own(unlocked, add):
    """A second slot needs nothing of the first one's holder."""
    keyring, slot, exported = add("second", "operator", WORDS)
    assert exported is None
    opened = parse_keyring(keyring.to_bytes()).unlock(WORDS)
    assert opened.slot.id == slot.id == 2
    assert opened.epochs == unlocked.epochs
    assert opened.slot.signing_public_key != unlocked.slot.signing_public_key
    assert keyring.unlock(KEY).slot.id == 1


def test_the_fitting_slot_is_found_among_several_of_a_kind(add):
    """A key file opens its own slot whichever it is, or the named one only."""
    keyring, _, _ = add("second", "operator", OTHER_KEY)
    assert keyring.unlock(OTHER_KEY).slot.id == 2
    assert keyring.unlock(KEY).slot.id == 1
    assert keyring.unlock(KEY, 1).slot.id == 1
    assert _refusal(lambda: keyring.unlock(KEY, 2), KeyUnavailable) == "wrong-key-file"
    assert _refusal(lambda: keyring.unlock(KEY, 3), KeyUnavailable) == "no-such-slot"
    assert _refusal(lambda: keyring.unlock(WORDS), KeyUnavailable) == "wrong-passphrase"


@pytest.mark.parametrize("order", [1, -1])
def test_a_slot_that_opens_onto_damage_is_not_called_a_wrong_key(add, order):
    """Damage behind the right key is told, wherever the slot stands."""
    keyring, slot, _ = add("second", "operator", OTHER_KEY)
    broken = replace(slot, sealed_root=bytes(80))
    slots = (keyring.slots[0], broken)[::order]
    call = lambda: replace(keyring, slots=slots).unlock(OTHER_KEY)
    assert _refusal(call, KeyUnavailable) == "keyring-damaged"


def test_numbers_of_slots_are_never_used_twice(unlocked, add, counted):
    """The number of a slot that was removed, even the highest, stays with it."""
    keyring, _, _ = add("second", "operator", OTHER_KEY)
    keyring, root = keyring.unlock(KEY).remove_slot(2, counted)
    assert keyring.next_slot == 3
    keyring = keyring.unlock(KEY).change_holding(KEY, KEY, random=counted, cost=CHEAP)
    _, slot, _ = add("third", "operator", OTHER_KEY, keyring.unlock(KEY))
    assert slot.id == 3
    assert root != unlocked.root


def test_a_removed_slot_does_not_open_the_new_file(unlocked, add, counted):
    """The root is new, those who stay open it without their passphrases, the keys are the same."""
    keyring, gone, _ = add("second", "operator", OTHER_KEY)
    changed, root = keyring.unlock(KEY).remove_slot(2, counted)
    assert _refusal(lambda: changed.unlock(OTHER_KEY), KeyUnavailable) == "wrong-key-file"
    assert changed.unlock(KEY).root == root
    assert changed.unlock(KEY).epochs == unlocked.epochs
    grafted = replace(changed, slots=(*changed.slots, gone))
    assert _refusal(lambda: grafted.unlock(OTHER_KEY), KeyUnavailable) == "keyring-damaged"


def test_the_last_operator_stays(add, counted):
    """An auditor's slot does not count."""
    keyring, _, _ = add("audit", "auditor", WORDS)
    call = lambda: keyring.unlock(KEY).remove_slot(1, counted)
    assert _refusal(call, Refused) == "last-operator-slot"
    assert _refusal(lambda: keyring.unlock(KEY).remove_slot(9, counted), NotFound) == "no-such-slot"


def test_an_auditors_file_has_no_secret_key(unlocked, add):
    """It opens `state`, `access` and streams, under a root of its own."""
    _, slot, exported = add("audit", "auditor", WORDS)
    auditor = parse_keyring(exported.to_bytes()).unlock(WORDS)
    assert exported.kind == "auditor"
    assert not auditor.is_operator
    assert auditor.root != unlocked.root
    assert auditor.stream_key == unlocked.stream_key
    assert [keys.state for keys in auditor.epochs] == [keys.state for keys in unlocked.epochs]
    assert [keys.access for keys in auditor.epochs] == [keys.access for keys in unlocked.epochs]
    assert {keys.secret for keys in auditor.epochs} == {None}
    call = lambda: auditor.secret_box().open(1, b"", b"")
    assert _refusal(call, KeyUnavailable) == "secret-key-missing"
    assert slot.sealed_root == b""


def test_an_auditor_cannot_open_the_operators_file(add):
    """The root there was never sealed to the auditor."""
    keyring, slot, exported = add("audit", "auditor", WORDS)
    assert _refusal(lambda: keyring.unlock(WORDS), KeyUnavailable) == "wrong-passphrase"
    assert _refusal(lambda: keyring.unlock(WORDS, slot.id), KeyUnavailable) == "no-such-slot"
    grafted = replace(keyring, slots=(keyring.slots[0], exported.slots[0]))
    assert _refusal(lambda: grafted.unlock(WORDS), KeyUnavailable) == "keyring-damaged"


def test_an_auditor_changes_nothing_but_the_own_passphrase(add, counted):
    """What an operator may do with slots, an auditor may not."""
    _, _, exported = add("audit", "auditor", WORDS)
    auditor = exported.unlock(WORDS)
    for call in (
        lambda: add("more", "operator", KEY, auditor),
        lambda: auditor.remove_slot(2, counted),
        lambda: export_auditor(auditor, 2, counted),
    ):
        assert _refusal(call, Refused) == "operator-needed"
    changed = auditor.change_holding(WORDS, KEY, random=counted, cost=CHEAP)
    assert changed.unlock(KEY).epochs == auditor.epochs


def test_an_auditors_file_is_made_again_without_the_auditor(add, counted):
    """The same passphrase opens it, the signing key is the same, the root is new."""
    keyring, slot, exported = add("audit", "auditor", WORDS)
    operator = parse_keyring(keyring.to_bytes()).unlock(KEY)
    again = export_auditor(operator, slot.id, counted).unlock(WORDS)
    first = exported.unlock(WORDS)
    assert again.root != first.root
    assert again.slot.signing_public_key == first.slot.signing_public_key
    assert again.epochs == first.epochs
    assert _refusal(lambda: export_auditor(operator, 1, counted), InvalidInput) == "not-an-auditor"
    assert _refusal(lambda: export_auditor(operator, 9, counted), NotFound) == "no-such-slot"


def test_an_auditors_slot_survives_the_removal_of_another(add, counted):
    """A new root leaves the opaque bytes as they are."""
    keyring, _, _ = add("audit", "auditor", WORDS)
    keyring, _, _ = add("second", "operator", OTHER_KEY, keyring.unlock(KEY))
    changed, _ = keyring.unlock(KEY).remove_slot(3, counted)
    assert changed.slots[1] == keyring.slots[1]
    assert export_auditor(changed.unlock(KEY), 2, counted).unlock(WORDS).epochs


def test_a_changed_holding_takes_the_place_of_the_old_one(unlocked, counted):
    """The new one opens the new file; an old file still opens with the old one."""
    changed = unlocked.change_holding(KEY, WORDS, random=counted, cost=CHEAP)
    assert changed.unlock(WORDS).epochs == unlocked.epochs
    assert _refusal(lambda: changed.unlock(KEY), KeyUnavailable) == "wrong-key-file"
    assert unlocked.keyring.unlock(KEY).epochs == unlocked.epochs
    call = lambda: unlocked.change_holding(OTHER_KEY, WORDS, random=counted, cost=CHEAP)
    assert _refusal(call, KeyUnavailable) == "wrong-key-file"


def test_labels_are_used_once_and_slots_are_counted(unlocked, add):
    """A second slot of a label and a 65th slot are refused."""
    assert _refusal(lambda: add("first", "operator", WORDS), Conflict) == "slot-exists"
    keyring = unlocked.keyring
    for number in range(SLOTS_MAX - 1):
        holding = key_file(number.to_bytes(32, "big"))
        keyring, _, _ = add(f"slot {number}", "operator", holding, keyring.opened_by(unlocked))
    assert len(parse_keyring(keyring.to_bytes()).slots) == SLOTS_MAX
    call = lambda: add("one more", "operator", WORDS, keyring.opened_by(unlocked))
    assert _refusal(call, InvalidInput) == "too-many-slots"


def test_an_unlock_goes_on_with_the_file_as_it_is_now(unlocked, add, counted):
    """Changes by others are taken up; the own removal ends the unlock."""
    keyring, _, _ = add("second", "operator", OTHER_KEY)
    assert len(keyring.opened_by(unlocked).keyring.slots) == 2
    second = keyring.unlock(OTHER_KEY)
    without_first, _ = second.remove_slot(1, counted)
    assert _refusal(lambda: without_first.opened_by(unlocked), KeyUnavailable) == "slot-removed"
    without_second, _ = keyring.unlock(KEY).remove_slot(2, counted)
    # Whoever made the keyring in this process has no private half at hand.
    assert _refusal(lambda: without_second.opened_by(unlocked), Conflict) == "keyring-changed"


def test_a_new_root_is_opened_by_the_slots_private_half(add, counted):
    """It is sealed to the slots that stay; keys that were destroyed meanwhile may be missing."""
    keyring, _, _ = add("second", "operator", OTHER_KEY)
    running = keyring.unlock(KEY)
    removed, root = keyring.unlock(KEY).remove_slot(2, counted)
    assert root != running.root
    went_on = removed.opened_by(running)
    assert (went_on.root, went_on.epochs, went_on.slot.id) == (root, running.epochs, 1)
    longer = removed.unlock(KEY).with_next_epoch(counted)
    gone = GivenUp(frozenset({KeyName(1, "secret")}))
    fewer = longer.without(gone).keyring.opened_by(running)
    assert [keys.epoch for keys in fewer.epochs] == [1, 2, 3]
    assert fewer.epochs[0].secret is None
    assert fewer.keyring.opened_by(went_on).epochs == fewer.epochs


def test_a_new_root_over_other_keys_is_not_believed(add, counted):
    """Whoever can write the file can seal one to a public half."""
    keyring, _, _ = add("second", "operator", OTHER_KEY)
    running = keyring.unlock(KEY)
    removed, root = keyring.unlock(KEY).remove_slot(2, counted)
    first, second = running.epochs
    other = bytes(32)
    for stream_key, epochs in (
        (other, running.epochs),
        (running.stream_key, (first,)),
        (running.stream_key, (second,)),
        (running.stream_key, (first, new_epoch(2, counted))),
        (running.stream_key, (replace(first, state=other), second)),
        (running.stream_key, (replace(first, secret=other), second)),
        (running.stream_key, (first, replace(second, access=(other, *second.access[1:])))),
    ):
        forged = removed.wrapping(root, WrappedKeys(stream_key, epochs))
        call = lambda forged=forged: forged.opened_by(running)
        assert _refusal(call, Conflict) == "keyring-changed"
    sealed_to_another = replace(removed.slots[0], sealed_root=keyring.slots[1].sealed_root)
    strange = replace(removed, slots=(sealed_to_another,))
    assert _refusal(lambda: strange.opened_by(running), Conflict) == "keyring-changed"


def _log(unlocked, *numbers):
    return {keys.epoch: commitments(keys) for keys in unlocked.epochs if keys.epoch in numbers}


def test_a_keyring_that_fits_the_log_passes(unlocked, add):
    """Operator's and auditor's, with the next epoch committed to or not."""
    unlocked.check(_log(unlocked, 1, 2), 1)
    unlocked.check(_log(unlocked, 1), 1)
    unlocked.check(_log(unlocked, 1, 2), 2)
    _, _, exported = add("audit", "auditor", WORDS)
    exported.unlock(WORDS).check(_log(unlocked, 1, 2), 1)


def test_a_keyring_one_pending_epoch_ahead_passes(unlocked):
    """As a rotation leaves it that was killed before the log heard of it; two are too many."""
    third, fourth = new_epoch(3, Counted("3")), new_epoch(4, Counted("4"))
    ahead = replace(unlocked, epochs=(*unlocked.epochs, third))
    ahead.check(_log(unlocked, 1, 2), 1)
    too_far = replace(ahead, epochs=(*ahead.epochs, fourth))
    call = lambda: too_far.check(_log(unlocked, 1, 2), 1)
    assert _refusal(call, KeyUnavailable) == "keyring-ahead"


def test_a_keyring_behind_the_log_is_refused_by_name(unlocked):
    """The message names the epoch that is missing."""
    with pytest.raises(KeyUnavailable, match="epoch 3") as caught:
        unlocked.check(_log(unlocked, 1, 2), 3)
    assert caught.value.code == "keyring-behind"


def test_another_ledgers_keyring_is_refused(unlocked):
    """One key that the log did not commit to is enough, also among those not yet started."""
    other = create_keyring("first", KEY, created_at=1, random=Counted("other"), cost=CHEAP)
    call = lambda: other.check(_log(unlocked, 1, 2), 1)
    assert _refusal(call, KeyUnavailable) == "keyring-foreign"
    mixed = replace(unlocked, epochs=(unlocked.epochs[0], other.epochs[1]))
    call = lambda: mixed.check(_log(unlocked, 1, 2), 1)
    assert _refusal(call, KeyUnavailable) == "keyring-foreign"


def test_equal_content_gives_an_equal_file(unlocked):
    """Writing the same again changes no byte, and another generation changes the nonce."""
    keyring, root = unlocked.keyring, unlocked.root
    assert keyring.bumped(root, 7).to_bytes() == keyring.bumped(root, 7).to_bytes()
    assert keyring.bumped(root, 7).wrapped[:12] != keyring.bumped(root, 8).wrapped[:12]
