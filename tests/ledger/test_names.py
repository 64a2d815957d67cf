"""Names and claims: one canonical form, made once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.claims import Claim, parse_claim, parse_owner
from ledger.errors import InvalidInput
from ledger.identifiers import application_key

NAMES = st.text(min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("user:alice", Claim("local", "user", "alice")),
        ("user:CONTOSO\\Alice", Claim("local", "user", "contoso\\alice")),
        ("user:i:0#.w|contoso\\alice", Claim("local", "user", "i:0#.w|contoso\\alice")),
        (
            "https://sts.contoso.example#user:Alice",
            Claim("https://sts.contoso.example", "user", "Alice"),
        ),
        ("group: Finance ", Claim("local", "group", "finance")),
    ],
)
def test_a_claim_is_read_as_the_rules_say(text, claim):
    assert parse_claim(text) == claim


@pytest.mark.parametrize(
    "text", ["", "alice", "user:", "person:x", "#user:x", "user:a\nb", "x" * 2000]
)
def test_a_malformed_claim_is_refused(text):
    with pytest.raises(InvalidInput):
        parse_claim(text)


def test_groups_own_nothing():
    with pytest.raises(InvalidInput):
        parse_owner("group:finance")


@given(st.sampled_from(["user", "group", "role", "service"]), NAMES)
def test_a_claims_text_reads_back_as_the_same_claim(kind, value):
    try:
        claim = parse_claim(f"{kind}:{value}")
    except InvalidInput:
        return
    assert parse_claim(str(claim)) == claim


@given(NAMES)
def test_the_form_in_which_ids_are_compared_is_stable(text):
    try:
        key = application_key(text)
    except InvalidInput:
        return
    assert application_key(key) == key


@pytest.mark.parametrize("text", ["", " ", "a/b", "a\x00b", "a:b", "x" * 129])
def test_a_malformed_id_is_refused(text):
    with pytest.raises(InvalidInput):
        application_key(text)
