"""Names and reasons of others as people are shown them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.showing.letters import spelled

SHOWN = {
    "usual letters": ("user:ann {}<>&\\", "user:ann {}<>&\\"),
    "letters of one script": ("user:Анна Ωμέγα علي 工 Žofie", "user:Анна Ωμέγα علي 工 Žofie"),
    "scripts that are no twins": ("user:Tシャツ", "user:Tシャツ"),
    "a Cyrillic twin": ("user:\u0430nn", "user:\\u0430nn"),
    "a Greek twin": ("user:j\u03bfe", "user:j\\u03bfe"),
    "an Armenian twin": ("user:j\u0585e", "user:j\\u0585e"),
    "a wide twin": ("user:\uff41nn", "user:\\uff41nn"),
    "a bold twin": ("user:\U0001d41ann", "user:\\U0001d41ann"),
    "a twin behind a mark": ("user:\u0430\u0301nn", "user:\\u0430\u0301nn"),
    "a word beside a Latin one": ("Анна smith", "Анна smith"),
    "a turned line": ("user:\u202egnp.exe", "user:\\u202egnp.exe"),
    "a cursor that moves": ("user:\x1b[2Jann\r\n", "user:\\u001b[2Jann\\u000d\\u000a"),
    "a space of no width": ("user:a\u200bnn", "user:a\\u200bnn"),
    "another space": ("user:ann\u00a0b", "user:ann\\u00a0b"),
    "a variation of a letter": ("user:ann\ufe0f", "user:ann\\ufe0f"),
    "one more of them": ("user:ann\U000e0101", "user:ann\\U000e0101"),
    "letters that show nothing": ("user:a\u3164n\u115fn", "user:a\\u3164n\\u115fn"),
    "a joiner": ("user:an\u034fn", "user:an\\u034fn"),
    "an empty pattern": ("user:an\u2800n", "user:an\\u2800n"),
    "no letter yet": ("user:ann\u2065", "user:ann\\u2065"),
    "half a letter": ("user:\ud800", "user:\\ud800"),
    "three marks": ("a\u0301\u0302\u0303b", "a\u0301\u0302\u0303b"),
    "too many marks": ("a" + "\u0301" * 5, "a\u0301\u0301\u0301\\u0301\\u0301"),
    "marks upon nothing": ("\u0301" * 4, "\u0301\u0301\u0301\\u0301"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize("what", SHOWN)
def test_what_moves_hides_or_passes_for_another_is_spelled_out(what):
    """Other letters stay as they are."""
    text, shown = SHOWN[what]
    assert spelled(text) == shown


@given(st.text(st.characters(codec=None)))
def test_nothing_that_is_shown_moves_anything_or_shows_nothing(text):
    kinds = {unicodedata.category(letter) for letter in spelled(text).replace(" ", "")}
    assert not kinds & {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp", "Zs"}
