"""Names are compared in one form, however they are written."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidInput
from ledger.identifiers import application_key, display_name, field_key

NAMES = st.text("abcxyzABCXYZ0189-_. éÉßñ日本Ωж", min_size=1, max_size=40).filter(str.strip)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Payroll", "PAYROLL"),
        (" payroll ", "payroll"),
        ("Straße", "STRASSE"),
        ("Caf\N{LATIN SMALL LETTER E WITH ACUTE}", "Cafe\N{COMBINING ACUTE ACCENT}"),
        ("\N{KELVIN SIGN}eys", "keys"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
    ],
)
def test_forms_of_one_name_compare_equal(one, other):
    """Case, Unicode form and blanks around make no other name."""
    assert application_key(one) == application_key(other)
    assert field_key(one) == field_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pay roll", "payroll"),
        ("pay  roll", "pay roll"),
        ("a.b", "a-b"),
        ("paypal", "p\N{CYRILLIC SMALL LETTER A}ypal"),
    ],
)
def test_different_names_stay_different(one, other):
    """Inner blanks, marks and look-alike letters tell names apart."""
    assert application_key(one) != application_key(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a/b",
        "a:b",
        "a#b",
        "a\nb",
        "a\tb",
        "a\0b",
        "a\u200bb",
        "\ud800",
        "é" * 129,
        "💰",
        " " * 1024 + "a",
    ],
)
def test_what_is_no_name_gets_our_error(text):
    """Anything else is refused with the code of its kind."""
    with pytest.raises(InvalidInput) as caught:
        application_key(text)
    assert caught.value.code == "invalid-application-id"
    with pytest.raises(InvalidInput) as caught:
        field_key(text)
    assert caught.value.code == "invalid-field-name"


def test_the_limit_counts_characters_of_the_shown_form():
    """128 characters are allowed, whatever casefolding makes of them."""
    assert application_key("ß" * 128) == "s" * 256
    assert application_key(" " + "x" * 128 + " ") == "x" * 128


def test_a_name_is_shown_as_first_written():
    """Only blanks around go, and the Unicode form becomes NFC."""
    assert display_name(" PayRoll e\N{COMBINING ACUTE ACCENT} ") == "PayRoll é"


@given(NAMES)
def test_a_key_is_its_own_key(name):
    """Comparing a name and comparing its canonical form is the same thing."""
    key = application_key(name)
    assert application_key(key) == key
    assert application_key(display_name(name)) == key


@given(NAMES)
def test_case_and_form_never_matter(name):
    """Every form of a name that people can type has the same key."""
    key = application_key(name)
    assert application_key(name.casefold()) == key
    assert application_key(unicodedata.normalize("NFD", name).strip()) == key


@given(st.text(max_size=200))
def test_any_text_is_a_name_or_our_error(text):
    """No text leads to any other failure."""
    try:
        assert application_key(text)
    except InvalidInput as error:
        assert error.code == "invalid-application-id"
