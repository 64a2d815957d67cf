"""The ledger's rules for texts, as patterns for whoever reads the description.

They are made of the same constants as the rules, in the dialect of ECMA-262 with its `u` flag,
which JSON Schema names. Nothing is decided by them: the ledger decides, once, as it does for
commands. Where a rule looks at a text's canonical form, a pattern can only say how it is written,
so two corners are left open: texts that are longer, or have other marks, before NFC than behind it.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.aggregates.application import TEXT_LENGTH_MAX
from ledger.claims import OWNER_TYPES, TYPES
from ledger.identifiers import APPLICATION_ID_LENGTH_MAX, FIELD_NAME_LENGTH_MAX, NAME_MARKS
from ledger.values import FIELD_TYPES
from tools.when import DAYS, SECONDS, SPAN_DIGITS_MAX

_BLANK = "[\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
"""What Python takes away around a text."""
_CONTROL = "\x00-\x1f\x7f-\x9f\u2028\u2029"
_SPACES = "\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
_VISIBLE = r"\p{L}\p{M}\p{N}\p{P}\p{S}"
"""With the blank, what Python calls printable."""
_NAME_ENDS = rf"[\p{{L}}\p{{N}}{NAME_MARKS}-]"
_NAME_INSIDE = rf"[\p{{L}}\p{{N}}{NAME_MARKS} -]"
_HEX = "[0-9A-Fa-f]{1,4}"


def _whole(*ways: str) -> str:
    return f"^(?:{'|'.join(ways)})$"


def _amid_blanks(*ways: str) -> str:
    return f"^{_BLANK}*(?:{'|'.join(ways)}){_BLANK}*$"


def _any_case(words: Iterable[str]) -> str:
    return "|".join("".join(f"[{c}{c.upper()}]" for c in word) for word in words)


def _name(length_max: int) -> str:
    return f"{_NAME_ENDS}(?:{_NAME_INSIDE}{{0,{length_max - 2}}}{_NAME_ENDS})?"


def _claim(types: tuple[str, ...]) -> str:
    """A value or an issuer is blank nowhere but around it; a local claim has no issuer."""
    others = "|".join(one for one in TYPES if one not in types)
    no_other = f"(?!(?:{others}):)" if others else ""
    value = f"[^{_CONTROL}]*[^{_CONTROL}{_SPACES} ][^{_CONTROL}]*"
    issuer = f"[^{_CONTROL}#]*[^{_CONTROL}{_SPACES} #][^{_CONTROL}#]*#"
    return _amid_blanks(f"{no_other}(?:{issuer})?(?:{'|'.join(types)}):{value}")


def _day() -> str:
    """A date that the calendar has. Of the first and the last year the zone decides."""
    day_28, day_30, day_31 = "0[1-9]|1[0-9]|2[0-8]", "0[1-9]|[12][0-9]|30", "0[1-9]|[12][0-9]|3[01]"
    year = "(?!0000|0001|9999)[0-9]{4}"
    fourth = "0[48]|[2468][048]|[13579][26]"
    leap = f"(?!0000)(?:[0-9]{{2}}(?:{fourth})|(?:{fourth})00)"
    months = f"(?:0[13578]|1[02])-(?:{day_31})|(?:0[469]|11)-(?:{day_30})|02-(?:{day_28})"
    return f"(?:{year}-(?:{months})|{leap}-02-29)"


def _time() -> str:
    clock = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
    return rf"{_day()}[Tt ]{clock}:[0-5][0-9](?:\.[0-9]+)?(?:[Zz]|[+\-]{clock})"


def _address() -> str:
    """What stands between the brackets of a URL: an address of IPv6."""
    ways = [f"(?:{_HEX}:){{7}}{_HEX}", f"(?:{_HEX}:){{1,7}}:", f":(?::{_HEX}){{1,7}}", "::"]
    ways += [f"(?:{_HEX}:){{1,{n}}}(?::{_HEX}){{1,{7 - n}}}" for n in range(1, 7)]
    return "|".join(ways)


def _url() -> str:
    """An http(s) URL that names a host."""
    word = r"[\p{L}\p{N}\-._~!$&'()*+,;=%]"
    user = r"(?:[\p{L}\p{N}\-._~!$&'()*+,;=%:]*@)?"
    host = rf"(?:{word}+|\[(?:{_address()})\])"
    return f"{_any_case(['http'])}[sS]?://{user}{host}(?::[0-9]*)?(?:[/?#][{_VISIBLE} ]*)?"


_SPAN = f"[0-9]{{1,{SPAN_DIGITS_MAX}}}[{''.join(SECONDS)}{''.join(SECONDS).upper()}]"

APPLICATION = _amid_blanks(_name(APPLICATION_ID_LENGTH_MAX))
FIELD = _amid_blanks(_name(FIELD_NAME_LENGTH_MAX))
FIELD_TEXT = _amid_blanks(
    f"{_name(FIELD_NAME_LENGTH_MAX)}{_BLANK}*:{_BLANK}*(?:{'|'.join(FIELD_TYPES)})"
    f"(?:{_BLANK}*:{_BLANK}*masked)?"
)
CLAIM = _claim(TYPES)
OWNER = _claim(OWNER_TYPES)
REASON = f"^[{_VISIBLE} ]*$"
TEXT = _amid_blanks(f"(?:[{_VISIBLE}](?:[{_VISIBLE} ]{{0,{TEXT_LENGTH_MAX - 2}}}[{_VISIBLE}])?)?")
PAGE = _whole("default", "none", _url())
SPAN = _amid_blanks(_SPAN)
MOMENT = _amid_blanks(_any_case(("now", *DAYS)), _SPAN, _day(), _time())
BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
"""RFC 4648, section 4, without ends of lines."""
RETRY_KEY_LENGTH_MAX = 128
RETRY_KEY = f"^[!-~]{{1,{RETRY_KEY_LENGTH_MAX}}}$"
