"""Keyed names of streams."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.sealing.streams import StreamNames

NAMES = StreamNames(bytes(32))
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


def _all(names):
    return [
        names.application("erp"),
        names.mapping("erp", None),
        names.mapping("erp", ""),
        names.mapping("erp", "user:alice"),
        names.roles(),
        names.issuers(),
        names.keyring(),
        names.access(bytes(16)),
        names.audit(b"2" * 32),
        names.audit(b"3" * 32),
    ]


def test_every_kind_has_a_name_of_its_own():
    """Nothing collides; a group's mapping is not that of an owner without a name."""
    found = _all(NAMES)
    assert len(set(found)) == len(found)
    assert {len(name) for name in found} == {16}


def test_another_key_gives_other_names():
    """Two ledgers have no name in common."""
    assert not set(_all(NAMES)) & set(_all(StreamNames(b"\x01" * 32)))


@given(TEXT, TEXT, TEXT, TEXT)
def test_parts_cannot_slide_into_each_other(application, owner, application2, owner2):
    """Two mappings share a name only if application and owner are the same."""
    same = (application, owner) == (application2, owner2)
    assert (NAMES.mapping(application, owner) == NAMES.mapping(application2, owner2)) is same


def test_derived_keys_differ_from_each_other_and_from_the_stream_key():
    """Views, host memory and streams have a key each."""
    assert len({bytes(32), NAMES.views_key(), NAMES.memory_key()}) == 3


def test_names_are_remembered_within_bounds(monkeypatch):
    """Many names do not fill the memory, and stay the same."""
    monkeypatch.setattr("ledger.sealing.streams._CACHED_MAX", 8)
    names = StreamNames(bytes(32))
    before = names.application("0")
    for number in range(50):
        names.application(str(number))
        assert len(names._known) <= 8
    assert names.application("0") == before
