"""Names and reasons of others as people are shown them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.showing.csv_table import print_csv
from tools.showing.letters import spelled
from tools.showing.show import printed

SHOWN = {
    "usual letters": ("user:ann {}<>&\\", "user:ann {}<>&\\"),
    "letters of other scripts": ("user:Анна-7 Ωμέγα علي 工", "user:Анна-7 Ωμέγα علي 工"),
    "letters of alphabets": ("user:Žofie Łódź-Đặng Ærø", "user:Žofie Łódź-Đặng Ærø"),
    "letters in two parts": ("user:กำ नेहा क़", "user:กำ नेहा क़"),
    "scripts that are no twins": ("user:Tシャツ", "user:Tシャツ"),
    "a Cyrillic twin": ("user:\u0430nn", "user:\\u0430nn"),
    "a Greek twin": ("user:j\u03bfe", "user:j\\u03bfe"),
    "an Armenian twin": ("user:j\u0585e", "user:j\\u0585e"),
    "a wide twin": ("user:\uff41nn", "user:\\uff41nn"),
    "a bold twin": ("user:\U0001d41ann", "user:\\U0001d41ann"),
    "a twin behind a mark": ("user:\u0430\u0301nn", "user:\\u0430\u0301nn"),
    "a word beside a Latin one": ("“вход” в SAP — O’Brien", "“вход” в SAP — O’Brien"),
    "a claim in a sentence": ("To (user:Анна), see", "To (user:Анна), see"),
    "a twin in such a claim": ("To (user:\u0430nn), see", "To (user:\\u0430nn), see"),
    "a twin behind a digit": ("user:j0\u0435", "user:j0\\u0435"),
    "a twin before a hyphen": ("user:\u0430-team", "user:\\u0430-team"),
    "a twin before a blank": ("user:\u0430 team", "user:\\u0430 team"),
    "a twin in an issuer's name": ("h\u0443#user:Анна", "h\\u0443#user:Анна"),
    "a twin in a type": ("us\u0435r:ann", "us\\u0435r:ann"),
    "a Lisu twin": ("a\ua4f2ice", "a\\ua4f2ice"),
    "a Roman numeral": ("user:a\u217cice", "user:a\\u217cice"),
    "a script l": ("pet\u2113a", "pet\\u2113a"),
    "a phonetic a": ("\u0251lice", "\\u0251lice"),
    "a dotless i": ("a\u0131ice", "a\\u0131ice"),
    "a long s, alone": ("\u017f", "\\u017f"),
    "a click": ("user:a\u01c0ice", "user:a\\u01c0ice"),
    "a colon that is a sign": ("user\ua789alice", "user\\ua789alice"),
    "a colon that is a letter": ("user\u02d0alice", "user\\u02d0alice"),
    "a colon that is Hebrew": ("user\u05c3alice", "user\\u05c3alice"),
    "another apostrophe in a name": ("user:O\u2019Neil", "user:O\\u2019Neil"),
    "another script's digit": ("user:10\u09ea", "user:10\\u09ea"),
    "another script's digit in a name of it": ("user:علي٥", "user:علي٥"),
    "wide letters alone": ("\uff41\uff42", "\\uff41\\uff42"),
    "a jamo beside Latin": ("user:a\u1175ice", "user:a\\u1175ice"),
    "private use": ("user:Анна\ue000\U000f0000", "user:Анна\\ue000\\U000f0000"),
    "a note without a head": ("\U0001d159", "\\U0001d159"),
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


def test_the_name_of_an_application_is_one_name(capsys):
    """A word of it that looks Latin stands beside the others; in a reason it is a word alone."""
    row = {"application": "\u0422\u0435 Mail", "reason": "\u0422\u0435 Mail"}
    assert printed(row["application"], "application") == "\\u0422\\u0435 Mail"
    print_csv([row], list(row))
    assert capsys.readouterr().out.splitlines()[1] == "\\u0422\\u0435 Mail,\u0422\u0435 Mail"


MOVES = (
    *range(0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F),
    *range(0x2066, 0x206A), *range(0xFFF9, 0xFFFC), *range(0x1D173, 0x1D17B),
)  # fmt: skip
"""What controls a terminal, ends a line or turns one round."""
BLANK = (
    0xA0, 0x34F, 0x115F, 0x1160, 0x1680, 0x17B4, 0x17B5, *range(0x180B, 0x1810),
    *range(0x2000, 0x200E), 0x202F, *range(0x205F, 0x2066), 0x2800, 0x3000, 0x3164,
    *range(0xFE00, 0xFE10), 0xFEFF, 0xFFA0, *range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4),
    0x1D159, *range(0xE0000, 0xE1000),
)  # fmt: skip
"""What takes no room, or shows nothing: Unicode's default-ignorable characters, and its blanks."""


@pytest.mark.parametrize("around", ["{}", "user:a{}b", "Анна{}", "7 {} 工"])
def test_nothing_that_moves_or_shows_nothing_is_shown(around):
    """Alone, within a Latin name, behind one of another script, and between blanks."""
    for code in (*MOVES, *BLANK):
        assert chr(code) not in spelled(around.format(chr(code))), hex(code)


@given(st.text(st.characters(codec=None)), st.booleans())
def test_of_any_text_nothing_is_shown_that_moves_or_shows_nothing(text, is_name):
    """Wherever it stood."""
    assert not set(map(ord, spelled(text, is_name=is_name))) & {*MOVES, *BLANK}
