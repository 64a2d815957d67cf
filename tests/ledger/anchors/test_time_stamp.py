"""Time stamps, made by the tests' own authority: believed only under the root that is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.anchors.cosignature import WitnessKey
from ledger.anchors.signed_note import NoteSignature, read_notes
from ledger.anchors.time_stamp import (
    is_stamp,
    read_certificates,
    stamp_line,
    stamp_request,
    time_stamped,
)
from ledger.errors import InvalidInput
from ledger.log.checkpoint import head_text
from tests.authority import Authority

TEXT = head_text(bytes(32), 7, b"r" * 32, b"s" * 32)
MOMENT = datetime(2026, 11, 23, 9, 0, 0, tzinfo=UTC)
MOMENT_US = int(MOMENT.timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def answer(authority):
    return authority.answer(stamp_request(TEXT), MOMENT)


def test_a_stamp_tells_when_its_text_was_there(authority, answer):
    assert time_stamped(TEXT, answer, [authority.root]) == MOMENT_US
    other = Authority(name="other")
    assert time_stamped(TEXT, answer, [other.root, authority.root]) == MOMENT_US


def test_another_text_another_root_and_no_root_are_refused(authority, answer):
    assert time_stamped(TEXT + b"x", answer, [authority.root]) is None
    assert time_stamped(TEXT, answer, [Authority().root]) is None
    assert time_stamped(TEXT, answer, []) is None


def test_a_certificate_for_something_else_stamps_nothing():
    server = Authority(purpose=ExtendedKeyUsageOID.SERVER_AUTH)
    stamped = server.answer(stamp_request(TEXT), MOMENT)
    assert time_stamped(TEXT, stamped, [server.root]) is None


def test_a_certificate_counts_as_of_the_stamped_time(authority):
    """So a stamp outlives its certificate, and none is believed from outside its validity."""
    later = authority.answer(stamp_request(TEXT), datetime.now(UTC) + timedelta(days=4000))
    assert time_stamped(TEXT, later, [authority.root]) is None


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_answer_proves_no_other_time(authority, answer, data):
    """Bits outside of what is signed may change; the text and the time that are told may not."""
    altered = bytearray(answer)
    for _ in range(data.draw(st.integers(1, 3))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.sampled_from([len(altered), data.draw(st.integers(0, len(altered)))]))
    assert time_stamped(TEXT, bytes(altered[:end]), [authority.root]) in {None, MOMENT_US}


@pytest.mark.parametrize("content", [b"", b"\x30", b"\x30\x84\xff\xff\xff\xff", b"hello" * 100])
def test_what_is_no_answer_proves_nothing(authority, content):
    assert time_stamped(TEXT, content, [authority.root]) is None


def test_a_stamp_is_a_line_like_others_and_is_told_from_them(answer):
    line = stamp_line("tsa.example", answer)
    (note,) = read_notes(TEXT + b"\n" + line.line().encode())
    assert note.signatures == (line,)
    assert is_stamp(line)
    assert not is_stamp(NoteSignature("tsa.example", WitnessKey("tsa.example", bytes(32)).id, b"x"))


def test_a_file_without_a_certificate_is_refused():
    with pytest.raises(InvalidInput) as caught:
        read_certificates(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert caught.value.code == "invalid-certificate"
