"""Tickets as they are handed out: 256 random bits as text, which never prints and is never stored.

    text    "clt_" || base64url(32 random bytes) without padding, 43 characters
    digest  HMAC-SHA256(HKDF-Expand(stream key, "credledger/v1/tickets", 32), 32 random bytes)

The ledger keeps the digest alone. Whoever reads the database, an auditor's keyring in hand, gets no
ticket back from it. The prefix lets scanners of logs and repositories know a ticket by sight.

A text stands for one ticket and one only: base64 that would decode to the same bytes in another
spelling is none.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable
from typing import NoReturn

from ledger.errors import InvalidInput
from ledger.sealing.confidential import Confidential

TICKET_BYTES = 32
TICKET_TEXT_LENGTH_MAX = 128
"""What is longer is looked at no further."""
_PREFIX = "clt_"
_TEXT = re.compile(r"clt_([A-Za-z0-9_-]{43})")


class Ticket(Confidential):
    """One ticket's random bits; prints as dots, does not pickle, compares in constant time."""

    __slots__ = ("_bits",)

    def __init__(self, bits: bytes) -> None:
        assert len(bits) == TICKET_BYTES
        self._bits = bits

    def reveal(self) -> str:
        """The text; call it only where it leaves for whom it was issued to."""
        return _PREFIX + base64.urlsafe_b64encode(self._bits).decode().rstrip("=")

    def digest(self, key: bytes) -> bytes:
        """What is stored of it."""
        return hmac.digest(key, self._bits, "sha256")

    def __repr__(self) -> str:
        return "•••"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "•••"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ticket):
            return NotImplemented
        return hmac.compare_digest(self._bits, other._bits)

    def __hash__(self) -> NoReturn:
        raise TypeError("a ticket has no hash, which would tell of the secret")


def new_ticket(random: Callable[[int], bytes]) -> Ticket:
    """A ticket that nobody can guess."""
    return Ticket(random(TICKET_BYTES))


def parse_ticket(text: str) -> Ticket | None:
    """The ticket of a text, None if it cannot be one; `invalid-ticket` if it is far too long."""
    if len(text) > TICKET_TEXT_LENGTH_MAX:
        raise InvalidInput(
            "invalid-ticket",
            f"A ticket has at most {TICKET_TEXT_LENGTH_MAX} characters.",
            hint="Hand over the ticket alone, as it was issued; nothing was recorded.",
        )
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    ticket = Ticket(base64.urlsafe_b64decode(f"{found[1]}="))
    # The last character holds two bits that no byte takes; all but one spelling is refused.
    return ticket if hmac.compare_digest(ticket.reveal(), text) else None
