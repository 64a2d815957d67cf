r"""Which letters of a recorded text people are shown, and which are spelled out as `\u0430`.

Whoever asks for a credential chooses a name, and a reason. So that neither moves a cursor, hides,
covers its neighbours or passes for somebody else's, these are spelled out wherever they stand:

- control and format characters, surrogates, what ends a line, private use, what no letter is yet;
- what takes no room or shows nothing: fillers, variation selectors, spaces that are not the usual;
- marks upon a letter that has three already;
- other forms of a character (NFKC), such as wide, bold and Roman ones, but for those that a script
  has of its own letters;
- Latin letters that no language's alphabet has, and the dotless i, which looks like one with a dot.

In a name that has a Latin letter, all else but Latin letters with their marks, ASCII, and the signs
of Han, kana and Hangul are spelled out too; and beside an ASCII digit, those of other scripts. A
name is what stands behind a claim's type, or a whole ID of an application. In other texts it is
what blanks surround, and there typographic punctuation stays: people write reasons in it.

What is left: a name without any Latin letter stays as it is, whatever it looks like, as do Latin
letters that look like each other (`l` and `I`, `\u0111` and `\u00f0`). That is not told from a
table of letters that look alike (UTS 39), which would have to be kept as new as the fonts that
people have: what is allowed beside Latin letters is a short list, so a new letter is not on it.
JSON, which is for programs, has each text as it was recorded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from ledger.claims import TYPES

_KINDS = {"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp", "Zs"}
_NOTHING = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc\U00013441\U00013442\U00016fe4\U0001d159"
    + "".join(map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
_LATIN = frozenset("ÆæØøŒœßẞÐðÞþĐđĦħŁłŊŋƏəƁɓƊɗƘƙƳƴƐɛƆɔƎǝ")
"""Letters of alphabets that are no ASCII letter with marks, and look like none."""
_CLAIM = re.compile(rf"(?<!\w)((?:[^\s#:]*#)?)((?:{'|'.join(sorted(TYPES))}):)")
_MARKS_MAX = 3


def spelled(text: str, *, is_name: bool = False) -> str:
    """The text as people are shown it; `is_name` where all of it is one name."""
    if text.isascii() and text.isprintable():
        return text
    if is_name or (_CLAIM.match(text) is not None):
        return _claim(text, is_name=True)
    return " ".join(_claim(word, is_name=False) for word in text.split(" "))


def _claim(text: str, *, is_name: bool) -> str:
    """A claim by its parts, as its type is Latin whoever it is; any other text as it is."""
    found = _CLAIM.search(text)
    if found is None:
        return _name(text, is_name=is_name)
    before, (issuer, kind), value = text[: found.start()], found.groups(), text[found.end() :]
    return (
        _name(before, is_name=is_name)
        + _name(issuer, is_name=True)
        + kind
        + _name(value, is_name=True)
    )


def _name(name: str, *, is_name: bool) -> str:
    beside_latin = any(_script(letter) == "LATIN" for letter in name)
    beside_digit = any(letter.isascii() and letter.isdigit() for letter in name)
    return "".join(
        _code(letter)
        if marks > _MARKS_MAX
        or _is_hidden(letter)
        or _is_other_form(letter)
        or (beside_latin and not _fits_latin(letter, is_name=is_name))
        or (beside_digit and unicodedata.category(letter)[0] == "N" and not letter.isascii())
        else letter
        for letter, marks in _counted(name)
    )


def _counted(name: str) -> Iterator[tuple[str, int]]:
    """Each letter, and how many marks in a row there are with it."""
    marks = 0
    for letter in name:
        marks = marks + 1 if unicodedata.category(letter)[0] == "M" else 0
        yield letter, marks


def _is_hidden(letter: str) -> bool:
    return letter != " " and (letter in _NOTHING or unicodedata.category(letter) in _KINDS)


def _is_other_form(letter: str) -> bool:
    """Whether it stands for other characters, or is a Latin letter beyond all alphabets."""
    script = _script(letter)
    if script == "LATIN" and not _is_of_alphabets(letter):
        return True
    plain = unicodedata.normalize("NFKC", letter)
    return plain != letter and (script == "LATIN" or {script} != set(map(_script, plain)))


def _is_of_alphabets(letter: str) -> bool:
    base = unicodedata.normalize("NFD", letter)[0]
    return base.isascii() or base in _LATIN


def _fits_latin(letter: str, *, is_name: bool) -> bool:
    """Whether it may stand beside a Latin letter."""
    if letter.isascii() or "\u0300" <= letter <= "\u036f" or _script(letter) == "LATIN":
        return True
    if unicodedata.category(letter)[0] in "PS":
        return not is_name and (
            letter <= "\u00ff" or "\u2010" <= letter <= "\u205e" or "\u20a0" <= letter <= "\u20cf"
        )
    return unicodedata.name(letter, "").startswith(
        ("CJK UNIFIED IDEOGRAPH", "HIRAGANA LETTER", "KATAKANA LETTER", "HANGUL SYLLABLE")
    )


def _script(letter: str) -> str:
    """The first word of its name, which is its script's if it is of one."""
    return unicodedata.name(letter, "").partition(" ")[0]


def _code(letter: str) -> str:
    code = ord(letter)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
