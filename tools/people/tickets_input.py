"""Reading a ticket from a file or standard input; it stands in no argument."""

from __future__ import annotations

from ledger.errors import InvalidInput
from ledger.sealing.tickets import TICKET_TEXT_LENGTH_MAX
from tools.people.documents import StandardInput, read_bytes


def read_ticket(place: str, standard_input: StandardInput) -> str:
    """What stands in a file or in `-`, without one end of line; `invalid-ticket` if far too long.

    Whether it is a ticket is said by its redemption.
    """
    limit = TICKET_TEXT_LENGTH_MAX + len("\r\n")
    try:
        content = read_bytes(place, "the ticket", limit, standard_input)
    except InvalidInput as error:
        if error.code != "too-large":
            raise
        raise InvalidInput(
            "invalid-ticket",
            f"A ticket has at most {TICKET_TEXT_LENGTH_MAX} characters.",
            hint="Hand over the ticket alone, as it was issued; nothing was recorded.",
        ) from error
    return content.removesuffix(b"\n").removesuffix(b"\r").decode("latin-1")
