"""Claims have one canonical form, made before anything is decided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.claims import TYPES, Claim, parse_caller, parse_claim, parse_owner
from ledger.errors import InvalidInput

ISSUERS = st.sampled_from(["", "https://sts.contoso.example#", "urn:x#", "CORP#", "local#"])
VALUES = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=60
)
CLAIM_TEXTS = st.builds(
    lambda issuer, kind, value: f"{issuer}{kind}:{value}", ISSUERS, st.sampled_from(TYPES), VALUES
).filter(lambda text: bool(text.partition("#")[2] or text) and _parses(text))


def _parses(text: str) -> bool:
    try:
        parse_claim(text)
    except InvalidInput:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "issuer", "kind", "value"),
    [
        ("user:alice", "local", "user", "alice"),
        (" user:Alice ", "local", "user", "alice"),
        ("user: alice", "local", "user", "alice"),
        ("group:Finance", "local", "group", "finance"),
        ("service:report-job", "local", "service", "report-job"),
        ("user:CONTOSO\\Alice", "local", "user", "contoso\\alice"),
        ("user:i:0#.w|contoso\\alice", "local", "user", "i:0#.w|contoso\\alice"),
        ("user:x#group:y", "local", "user", "x#group:y"),
        ("local#user:Alice", "local", "user", "alice"),
        (
            "https://sts.contoso.example#user:Alice",
            "https://sts.contoso.example",
            "user",
            "Alice",
        ),
        ("https://a.example#user:b#c:d", "https://a.example", "user", "b#c:d"),
        ("LOCAL#user:Alice", "LOCAL", "user", "Alice"),
    ],
)
def test_a_claim_is_issuer_type_and_value(text, issuer, kind, value):
    """A text that begins with a type is local; else the issuer ends at the first `#`."""
    assert parse_claim(text) == Claim(issuer, kind, value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        ":alice",
        "user:",
        "user: ",
        "user",
        "USER:alice",
        "person:alice",
        "#user:alice",
        " #user:alice",
        "https://a.example#person:alice",
        "https://a.example#user:",
        "https://a.example",
        "user:a\nb",
        "user:a\0b",
        "user:a\u2028b",
        "user:\ud800",
        "user:\x7f",
        "user:" + "a" * 1020,
    ],
)
def test_what_is_no_claim_gets_our_error(text):
    """Unknown types, empty parts, control characters and long texts are refused."""
    with pytest.raises(InvalidInput) as caught:
        parse_claim(text)
    assert caught.value.code == "invalid-claim"


def test_claims_of_different_issuers_never_match():
    """The same name from somebody else is somebody else."""
    ours, theirs = parse_claim("user:alice"), parse_claim("https://a.example#user:alice")
    assert ours != theirs
    assert parse_claim("https://b.example#user:alice") != theirs


def test_only_local_values_are_casefolded():
    """Another issuer's values are compared exactly, after NFC."""
    assert parse_claim("user:ALICE") == parse_claim("user:alice")
    assert parse_claim("https://a#user:ALICE") != parse_claim("https://a#user:alice")
    assert parse_claim("https://a#user:e\u0301") == parse_claim("https://a#user:\xe9")


@pytest.mark.parametrize("text", ["group:finance", "role:admin", "https://a.example#group:x"])
def test_groups_and_roles_own_nothing(text):
    """Owners are users and services."""
    with pytest.raises(InvalidInput) as caught:
        parse_owner(text)
    assert caught.value.code == "invalid-owner"
    assert parse_owner("service:job").type == "service"


@pytest.mark.parametrize("text", ["group:finance", "role:dba"])
def test_nobody_acts_as_a_group_and_is_told_how_to_name_one(text):
    """The group application that they want to read has no owner to be named."""
    with pytest.raises(InvalidInput) as caught:
        parse_caller(text)
    assert caught.value.code == "invalid-caller"
    assert "--with" in caught.value.hint


@given(CLAIM_TEXTS)
def test_the_text_of_a_claim_parses_back(text):
    """What is stored in an event reads back to an equal claim."""
    claim = parse_claim(text)
    assert parse_claim(str(claim)) == claim
    assert str(parse_claim(str(claim))) == str(claim)


@given(st.text(max_size=60))
def test_any_text_is_a_claim_or_our_error(text):
    """No text leads to any other failure."""
    try:
        claim = parse_claim(text)
    except InvalidInput as error:
        assert error.code == "invalid-claim"
    else:
        assert claim.type in TYPES
        assert claim.value
        assert claim.issuer
