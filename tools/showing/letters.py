r"""Which letters of a recorded text people are shown, and which are spelled out as `\u0430`.

Whoever asks for a credential chooses a name, and a reason. So that neither moves a cursor, hides,
covers its neighbours or passes for somebody else's, these are spelled out:

- control and format characters, surrogates, what ends a line, and what no letter is yet;
- what takes no room or shows nothing: fillers, variation selectors, spaces that are not the usual;
- marks upon a letter that has three already;
- in a word with Latin letters, those of scripts whose letters look like Latin ones.

A word that is wholly of another script stays as it is, whatever it looks like; and JSON, which is
for programs, has each text as it was recorded.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import groupby

_KINDS = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp", "Zs"}
_NOTHING = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
_ALIKE = {"ARMENIAN", "CHEROKEE", "COPTIC", "CYRILLIC", "FULLWIDTH", "GREEK", "MATHEMATICAL"}
"""Words that the names of such letters begin with."""
_MARKS_MAX = 3


def spelled(text: str) -> str:
    """The text as people are shown it."""
    if text.isascii() and text.isprintable():
        return text
    words = groupby(text, lambda letter: unicodedata.category(letter)[0] in "LM")
    return "".join(
        _word("".join(letters)) if is_word else "".join(map(_alone, letters))
        for is_word, letters in words
    )


def _word(word: str) -> str:
    alike = _ALIKE if any(_script(letter) == "LATIN" for letter in word) else set()
    return "".join(
        _code(letter) if marks > _MARKS_MAX or _script(letter) in alike else _alone(letter)
        for letter, marks in _counted(word)
    )


def _counted(word: str) -> Iterator[tuple[str, int]]:
    """Each letter, and how many marks in a row there are with it."""
    marks = 0
    for letter in word:
        marks = marks + 1 if unicodedata.category(letter)[0] == "M" else 0
        yield letter, marks


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


def _alone(letter: str) -> str:
    hidden = letter in _NOTHING or unicodedata.category(letter) in _KINDS
    return _code(letter) if hidden and letter != " " else letter


def _code(letter: str) -> str:
    code = ord(letter)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
