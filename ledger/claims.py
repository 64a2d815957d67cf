"""Claims: who somebody is, as (issuer, type, value), in one canonical form.

Written `user:alice`, `group:finance`, or `ISSUER#user:alice`. A text that begins with a type and
a colon has issuer `local` and the rest is the value whatever it contains; otherwise the part
before the first `#` is the issuer. Claims of different issuers never match.

The canonical form (NFC, trimmed, no control characters, `local` values casefolded) is made here
once, before any decision, so deciding on a claim and on its canonical form is the same thing.
Whether another issuer's values are casefolded too only the log knows: see `Issuers.canonical`.
"""

from __future__ import annotations

import unicodedata

import msgspec

from ledger.errors import InvalidInput

LOCAL = "local"
TYPES = ("user", "group", "role", "service")
OWNER_TYPES = ("user", "service")
CLAIM_LENGTH_MAX = 1024


class Claim(msgspec.Struct, frozen=True, order=True):
    """One canonical claim; made by `parse_claim` only."""

    issuer: str
    """`local`, or the exact string of a trusted issuer's URL."""
    type: str
    """`user`, `group`, `role` or `service`."""
    value: str
    """Canonical value; casefolded when the issuer is `local`."""

    def __hash__(self) -> int:
        """Of the value alone, which tells nearly all claims apart and costs a third."""
        return hash(self.value)

    def __str__(self) -> str:
        """The text form, which parses back to an equal claim."""
        if self.issuer == LOCAL:
            return f"{self.type}:{self.value}"
        return f"{self.issuer}#{self.type}:{self.value}"


def parse_claim(text: str) -> Claim:
    """Parse a claim's text into its canonical form; `invalid-claim` if it is none."""
    if len(text) > CLAIM_LENGTH_MAX:
        raise _invalid(f"A claim has at most {CLAIM_LENGTH_MAX} characters.")
    normal = unicodedata.normalize("NFC", text).strip()
    if not _is_plain(normal):
        raise _invalid("A claim must not hold control characters.")
    issuer = LOCAL
    head, colon, value = normal.partition(":")
    if head not in TYPES or not colon:
        issuer, mark, rest = normal.partition("#")
        head, colon, value = rest.partition(":")
        issuer = issuer.strip()
        if not mark or not colon or head not in TYPES or not issuer:
            raise _invalid(
                "A claim is written TYPE:VALUE, such as user:alice, or ISSUER#TYPE:VALUE."
            )
    if issuer == LOCAL:
        value = unicodedata.normalize("NFC", value.casefold())
    value = value.strip()
    if not value:
        raise _invalid("A claim needs a value behind its type.")
    claim = Claim(issuer, head, value)
    if len(str(claim)) > CLAIM_LENGTH_MAX:
        # Casefolding can lengthen a text; what is stored must read back.
        raise _invalid(f"A claim has at most {CLAIM_LENGTH_MAX} characters.")
    return claim


def casefolded(claim: Claim) -> Claim:
    """The claim as it is compared where case does not count; `invalid-claim` if it grows too long.

    Folding it again changes nothing: some letters come apart only once they are composed, so it is
    done until nothing changes.
    """
    value, folded = "", claim.value
    while value != folded:
        value, folded = folded, unicodedata.normalize("NFC", folded.casefold())
    if value == claim.value:
        return claim
    found = Claim(claim.issuer, claim.type, value)
    if len(str(found)) > CLAIM_LENGTH_MAX:
        raise _invalid(f"A claim has at most {CLAIM_LENGTH_MAX} characters.")
    return found


def parse_owner(text: str) -> Claim:
    """Parse a claim that can own credentials; `invalid-owner` for a group or role."""
    claim = parse_claim(text)
    if claim.type not in OWNER_TYPES:
        raise InvalidInput(
            "invalid-owner",
            "Credentials are owned by a user or a service.",
            hint="Write the owner as user:NAME or service:NAME.",
        )
    return claim


def parse_caller(text: str) -> Claim:
    """Parse a claim that says who acts; `invalid-caller` for a group or role, which one holds."""
    claim = parse_claim(text)
    if claim.type not in OWNER_TYPES:
        raise InvalidInput(
            "invalid-caller",
            "Whoever acts is a user or a service.",
            hint="Name them with --as user:NAME or service:NAME, and their groups with --with.",
        )
    return claim


def _is_plain(text: str) -> bool:
    """Whether the text is without control characters and what else ends a line."""
    # What is printable holds none of these, and is told so without a look at each character.
    return text.isprintable() or all(
        unicodedata.category(one) not in {"Cc", "Cs", "Zl", "Zp"} for one in text
    )


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(
        "invalid-claim",
        message,
        hint="Types are user, group, role and service, as in user:alice or group:finance.",
    )
