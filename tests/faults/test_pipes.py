"""A pipe with a name where a file should be: refused at once, never waited for."""

from __future__ import annotations

import os

import pytest

from ledger.errors import InvalidInput, KeyUnavailable
from ledger.private_files import read_private
from ledger.sealing.keyring_file import read_keyring
from tools.people.documents import StandardInput, read_bytes


@pytest.fixture
def pipe(tmp_path):
    place = tmp_path / "pipe"
    os.mkfifo(place, 0o600)
    return place


def test_a_pipe_is_no_keyring_and_no_key_file(pipe):
    with pytest.raises(KeyUnavailable) as caught:
        read_keyring(pipe)
    assert caught.value.code == "keyring-damaged"
    assert read_private(pipe, "key-file", bytes_max=10) == b""


def test_a_pipe_is_no_file_with_a_passphrase_values_or_applications(pipe):
    with pytest.raises(InvalidInput) as caught:
        read_bytes(str(pipe), "the passphrase", 100, StandardInput())
    assert caught.value.code == "not-a-file"


def test_a_pipe_that_a_shell_hands_over_is_read():
    reading, writing = os.pipe()
    os.write(writing, b"handed over")
    os.close(writing)
    assert (
        read_bytes(f"/dev/fd/{reading}", "the passphrase", 100, StandardInput()) == b"handed over"
    )
    os.close(reading)
