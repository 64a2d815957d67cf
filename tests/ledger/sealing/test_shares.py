"""Recovery shares: any k of n words give a slot's private half again, and nothing else does."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import traceback
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shamir_mnemonic import Share, generate_mnemonics

from ledger.errors import InvalidInput, KeyUnavailable
from ledger.sealing.keyring_parsing import parse_keyring
from ledger.sealing.shares import Scheme, combine, read_share, split
from ledger.sealing.slots import open_slot, shares_of
from tests.ledger.sealing.counted import CHEAP, KEY, OTHER_KEY

HALF = bytes(range(50, 82))


def read(*words):
    return [read_share(one, number) for number, one in enumerate(words, 1)]


def refusal(call, family=InvalidInput):
    with pytest.raises(family) as caught:
        call()
    return caught.value


@pytest.mark.parametrize(("threshold", "count"), [(2, 2), (2, 3), (3, 5), (16, 16), (2, 16)])
def test_any_k_of_n_give_the_half_again(threshold, count):
    """In any order, and with more than are needed."""
    words = split(HALF, Scheme(threshold, count))
    assert len(set(words)) == count
    for some in list(combinations(words, threshold))[:20]:
        assert combine(read(*some)) == shares_of(HALF)
        assert combine(read(*reversed(some))) == shares_of(HALF)
    assert combine(read(*words)) == shares_of(HALF)


def test_capitals_and_blanks_do_not_matter():
    """As people write words down."""
    one, two = split(HALF, Scheme(2, 2))
    assert combine(read(f"  {one.upper()}\t", two.replace(" ", "   "))) == shares_of(HALF)


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (1, 3), (3, 2), (0, 0), (2, 17), (-1, 3)])
def test_schemes_that_protect_nothing_are_refused(threshold, count):
    """One share that opens alone is a key file."""
    assert refusal(lambda: Scheme(threshold, count)).code == "invalid-scheme"


def test_too_few_are_told_how_many_are_needed():
    """None at all as well."""
    words = split(HALF, Scheme(3, 5))
    error = refusal(lambda: combine(read(*words[:2])))
    assert (error.code, "3" in error.message) == ("too-few-shares", True)
    assert refusal(lambda: combine([])).code == "too-few-shares"


def test_shares_of_two_sets_do_not_mix():
    """Told by their number where they tell themselves, and by the digest where they do not."""
    ours, theirs = split(HALF, Scheme(2, 3)), split(HALF, Scheme(2, 3))
    error = refusal(lambda: combine(read(ours[0], theirs[1])))
    assert (error.code, "Share 2" in error.message) == ("shares-differ", True)
    # The same 15-bit number of a set by chance: only the digest inside tells.
    first, other = (read_share(one, 1).parsed for one in (ours[0], theirs[1]))
    forged = Share(**{**vars(other), "identifier": first.identifier}).mnemonic()
    assert refusal(lambda: combine(read(ours[0], forged))).code == "shares-differ"
    further = refusal(lambda: combine(read(ours[0], ours[2], forged)))
    assert (further.code, "Share 3" in further.message) == ("shares-differ", True)
    same_place = Share(**{**vars(other), "identifier": first.identifier, "index": 0}).mnemonic()
    assert refusal(lambda: combine(read(ours[0], same_place))).code == "shares-differ"


def test_a_share_counts_once():
    """Given twice it is not two."""
    words = split(HALF, Scheme(2, 3))
    assert refusal(lambda: combine(read(words[0], words[0]))).code == "share-repeated"


@pytest.mark.parametrize("place", [0, 3, 17, 32])
def test_a_mistyped_word_is_told_by_its_place_and_quoted_nowhere(place):
    """A word that is in no list, one that is, two that changed places, one too few."""
    words = split(HALF, Scheme(2, 3))[0].split()
    unlisted = [*words[:place], "zzcanary", *words[place + 1 :]]
    other = "acid" if words[place] != "acid" else "acne"
    listed = [*words[:place], other, *words[place + 1 :]]
    short = words[:place] + words[place + 1 :]
    for typed in (unlisted, listed, short, [*words, "acid"], []):
        error = refusal(lambda typed=typed: read_share(" ".join(typed), 7))
        assert error.code == "share-mistyped"
        assert "hare 7" in error.message
        said = "".join(traceback.format_exception(error)) + error.hint
        assert "zzcanary" not in said
        assert f" {words[5]} " not in error.message + error.hint
        assert error.__context__ is None
    assert str(place + 1) in refusal(lambda: read_share(" ".join(unlisted), 1)).message


def test_two_words_that_changed_places_are_noticed():
    """The checksum depends on the order."""
    words = split(HALF, Scheme(2, 3))[0].split()
    place = next(n for n in range(7, 30) if words[n] != words[n + 1])
    words[place], words[place + 1] = words[place + 1], words[place]
    assert refusal(lambda: read_share(" ".join(words), 1)).code == "share-mistyped"


@pytest.mark.parametrize(
    "made",
    [
        (1, [(1, 1)], HALF, 0),
        (1, [(2, 3)], HALF, 1),
        (2, [(2, 3), (2, 3)], HALF, 0),
        (1, [(2, 3)], HALF, 9),
    ],
)
def test_shares_of_another_kind_are_told_before_anything_is_derived(made):
    """One that asks for many iterations would keep a host busy."""
    groups, members, secret, exponent = made
    words = generate_mnemonics(groups, members, secret, iteration_exponent=exponent)[0][0]
    assert refusal(lambda: read_share(words, 1)).code == "share-foreign"


def test_shares_of_another_length_are_no_shares():
    """Wallets have secrets of 16 bytes too."""
    words = generate_mnemonics(1, [(2, 3)], HALF[:16])[0][0]
    assert refusal(lambda: read_share(words, 1)).code == "share-mistyped"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_refused(text):
    """In our words."""
    assert refusal(lambda: read_share(text, 1)).code == "share-mistyped"


def test_shares_open_their_slot_and_no_other(unlocked, add):
    """The slot of shares has no private half in the file; other kinds do not open it."""
    keyring, slot, _ = add("recovery", "operator", shares_of(HALF))
    assert (slot.kind, slot.sealed_private_key) == ("shares", b"")
    keyring = parse_keyring(keyring.to_bytes())
    opened = keyring.unlock(combine(read(*split(HALF, Scheme(2, 2)))))
    assert (opened.root, opened.slot.id) == (unlocked.root, 2)
    assert keyring.unlock(KEY).root == unlocked.root
    for holding in (shares_of(bytes(32)), shares_of(KEY.secret)):
        error = refusal(lambda holding=holding: keyring.unlock(holding), KeyUnavailable)
        assert error.code == "wrong-shares"
    wrong = refusal(lambda: keyring.unlock(shares_of(HALF), 1), KeyUnavailable)
    assert wrong.code == "wrong-shares"
    assert refusal(lambda: keyring.unlock(OTHER_KEY, 2), KeyUnavailable).code == "wrong-key-file"
    assert HALF not in keyring.to_bytes()


def test_shares_survive_a_new_root_and_end_with_their_slot(unlocked, add, counted):
    """The root is sealed to the slot's public half, and no longer when the slot is removed."""
    keyring, _, _ = add("recovery", "operator", shares_of(HALF))
    held = keyring.unlock(KEY)
    keyring, third, _ = held.add_slot(
        "third", "operator", OTHER_KEY, created_at=3, random=counted, cost=CHEAP
    )
    renewed, root = keyring.unlock(KEY).remove_slot(third.id, counted)
    assert root != unlocked.root
    assert renewed.unlock(shares_of(HALF)).root == root
    ended, _ = renewed.unlock(KEY).remove_slot(2, counted)
    assert refusal(lambda: ended.unlock(shares_of(HALF)), KeyUnavailable).code == "wrong-shares"


def test_a_slot_of_shares_can_be_given_a_passphrase(unlocked, add, counted):
    """Its private half is sealed then like any other."""
    keyring, slot, _ = add("recovery", "operator", shares_of(HALF))
    changed = keyring.unlock(shares_of(HALF)).change_holding(
        shares_of(HALF), OTHER_KEY, random=counted, cost=CHEAP
    )
    opened = parse_keyring(changed.to_bytes()).unlock(OTHER_KEY)
    assert (opened.slot.id, opened.root) == (slot.id, unlocked.root)
    assert open_slot(unlocked.ledger_id, opened.slot, OTHER_KEY)


def test_what_holds_words_is_neither_printed_nor_stored():
    """A share that was read keeps its words to itself."""
    (share,) = read(split(HALF, Scheme(2, 2))[0])
    shown = repr(share)
    assert not [word for word in share.parsed.words()[7:] if f" {word} " in shown]
    assert share.parsed.value.hex() not in shown
    with pytest.raises(TypeError, match="never stored"):
        pickle.dumps(share)
    with pytest.raises(TypeError, match="never stored"):
        copy.deepcopy(share)


def test_the_package_is_loaded_only_where_shares_are():
    """A command that needs none of it starts without it."""
    told = (
        "import sys, tools.cli.key, tools.wiring, tools.recovering.recovery;"
        " print('shamir_mnemonic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert done.stdout == "False\n"
