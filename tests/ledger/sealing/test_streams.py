"""Keyed names of streams."""

from __future__ import annotations

import hmac

from hypothesis import given
from hypothesis import strategies as st

from ledger.sealing.streams import StreamNames
from ledger.sealing.tickets import Ticket

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
        names.ticket(b"2" * 32),
        names.ticket(b"3" * 32),
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
    """Views, host memory, tickets and streams have a key each."""
    assert len({bytes(32), NAMES.views_key(), NAMES.memory_key(), NAMES.tickets_key()}) == 4


def test_a_ticket_is_named_as_the_page_says():
    """Its digest is keyed, and names its stream; neither is kept in memory."""
    bits = bytes(range(32))
    # HKDF-Expand of one block, and the names of streams, written out (RFC 5869, section 2.3).
    key = hmac.digest(bytes(32), b"credledger/v1/tickets" + b"\x01", "sha256")
    digest = hmac.digest(key, bits, "sha256")
    named = b"\0\0\0\x06ticket" + b"\0\0\0\x20" + digest
    stream = hmac.digest(bytes(32), named, "sha256")[:16]
    names = StreamNames(bytes(32))
    assert Ticket(bits).digest(names.tickets_key()) == digest
    assert names.ticket(digest) == stream
    assert not names._known


def test_names_are_remembered_within_bounds(monkeypatch):
    """Many names do not fill the memory, and stay the same."""
    monkeypatch.setattr("ledger.sealing.streams._CACHED_MAX", 8)
    names = StreamNames(bytes(32))
    before = names.application("0")
    for number in range(50):
        names.application(str(number))
        assert len(names._known) <= 8
    assert names.application("0") == before
