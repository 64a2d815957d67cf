"""Field values do not show, and come in and go out unchanged."""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidInput, Tampered
from ledger.values import (
    FIELD_TYPES,
    FIELDS_MAX,
    MASKED_TYPES,
    VALUE_BYTES_MAX,
    FieldValue,
    pack_values,
    unpack_values,
    value_to_json,
    values_from_json,
)

CANARY = "canary-7f3a"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
CONTENTS = TEXTS | st.binary(max_size=200)


def code_of(action) -> str:
    with pytest.raises(InvalidInput) as caught:
        action()
    assert CANARY not in f"{caught.value.message}{caught.value.hint}"
    return caught.value.code


def test_there_are_nine_types_and_five_are_masked_without_being_told():
    """The types are those of the Secure Store Service."""
    assert len(FIELD_TYPES) == len(set(FIELD_TYPES)) == 9
    assert {
        "password",
        "windows-password",
        "pin",
        "key",
        "certificate-password",
    } == MASKED_TYPES
    assert set(FIELD_TYPES) > MASKED_TYPES


@pytest.mark.parametrize("content", [CANARY, CANARY.encode()])
def test_a_value_never_shows(content):
    """No way of printing, and no container's way, tells a value."""
    value = FieldValue(content)
    shown = [
        str(value),
        repr(value),
        f"{value}",
        f"{value!r}",
        f"{value:>40}",
        "%s %r" % (value, value),  # noqa: UP031
        repr({"Password": value}),
        repr([value]),
        str(ValueError(value)),
    ]
    assert not any(CANARY in text for text in shown)
    assert not hasattr(value, "__dict__")


def test_a_value_is_not_stored_by_accident():
    """Pickle, copy, JSON and msgpack all refuse it, and it has no hash."""
    value = FieldValue(CANARY)
    for store in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgpack.packb, hash):
        with pytest.raises(TypeError) as caught:
            store(value)
        assert CANARY not in str(caught.value)


def test_equal_means_same_content_of_the_same_kind():
    """Text and the same bytes are different values."""
    assert FieldValue("a") == FieldValue("a")
    assert FieldValue("a") != FieldValue("b")
    assert FieldValue("a") != FieldValue("aa")
    assert FieldValue("a") != FieldValue(b"a")
    assert FieldValue("a") != "a"


def test_the_limit_is_in_bytes():
    """64 KiB are allowed and one byte more is not; text counts as UTF-8."""
    assert FieldValue("x" * VALUE_BYTES_MAX).is_text
    FieldValue(b"x" * VALUE_BYTES_MAX)
    assert code_of(lambda: FieldValue("x" * (VALUE_BYTES_MAX + 1))) == "value-too-long"
    assert code_of(lambda: FieldValue(b"x" * (VALUE_BYTES_MAX + 1))) == "value-too-long"
    assert code_of(lambda: FieldValue("é" * (VALUE_BYTES_MAX // 2 + 1))) == "value-too-long"


def test_text_that_is_no_unicode_is_refused():
    """A lone surrogate, as JSON can carry it, cannot be stored."""
    assert code_of(lambda: FieldValue(f"{CANARY}\ud800")) == "invalid-value"
    document = json.loads('{"Password": "\\udfff"}')
    assert code_of(lambda: values_from_json(document)) == "invalid-value"


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        CANARY,
        7,
        {"Password": None},
        {"Password": 7},
        {"Password": True},
        {"Password": [CANARY]},
        {"Password": {}},
        {"Password": {"text": CANARY}},
        {"Password": {"base64": 7}},
        {"Password": {"base64": CANARY + "!"}},
        {"Password": {"base64": "é"}},
        {"Password": {"base64": "YQ==", "file": "x"}},
        {"Password": {"file": "x"}},
        {f"f{number}": "x" for number in range(FIELDS_MAX + 1)},
    ],
)
def test_malformed_documents_get_our_error(document):
    """Whatever is in the document, the answer is one code that tells no value."""
    assert code_of(lambda: values_from_json(document)) == "invalid-values"


def test_a_file_is_read_as_bytes_only_where_a_folder_is_given(tmp_path):
    """`{"file": PATH}` is for input from the command line, relative to the document."""
    (tmp_path / "key.pem").write_bytes(b"\xff\x00key")
    values = values_from_json({"Key": {"file": "key.pem"}}, tmp_path)
    assert values["Key"].reveal() == b"\xff\x00key"


@pytest.mark.parametrize("name", ["absent", ".", "a\0b"])
def test_a_file_that_cannot_be_read_gets_our_error(tmp_path, name):
    """Missing files, folders and impossible names are the caller's to mend."""
    assert code_of(lambda: values_from_json({"Key": {"file": name}}, tmp_path)) == "invalid-values"


def test_a_pipe_is_not_waited_for(tmp_path):
    """Whoever names one, in a line of an import perhaps, is told so."""
    os.mkfifo(tmp_path / "pipe")
    piped = lambda: values_from_json({"Key": {"file": "pipe"}}, tmp_path)
    assert code_of(piped) == "invalid-values"


def test_a_file_that_is_too_long_is_refused_without_reading_it_all(tmp_path):
    """At most one byte more than the limit is read."""
    (tmp_path / "long").write_bytes(b"x" * (VALUE_BYTES_MAX * 4))
    long = lambda: values_from_json({"Key": {"file": "long"}}, tmp_path)
    assert code_of(long) == "value-too-long"


@given(CONTENTS)
def test_json_form_reads_back(content):
    """Text is kept exactly as given; bytes travel as base64."""
    shown = value_to_json(FieldValue(content))
    again = values_from_json(json.loads(json.dumps({"Password": shown})))
    assert again["Password"].reveal() == content
    if isinstance(content, bytes):
        assert shown == {"base64": base64.b64encode(content).decode()}


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), CONTENTS))
def test_packed_values_read_back_in_order(contents):
    """What is sealed opens to the same names, values and kinds, in the same order."""
    values = {name: FieldValue(content) for name, content in contents.items()}
    again = unpack_values(pack_values(values))
    assert {name: value.reveal() for name, value in again.items()} == contents
    assert list(again) == list(values)


@pytest.mark.parametrize(
    "packed", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x81", b"\x81\xa1a\x07", b"\x81\xa1a\xc0"]
)
def test_malformed_sealed_values_are_tampered(packed):
    """Bytes that no ledger sealed are told as damage, not as a crash."""
    with pytest.raises(Tampered) as caught:
        unpack_values(packed)
    assert caught.value.code == "values-unreadable"
