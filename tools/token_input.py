"""Acting as a token's subject: reading the token, and having it verified like the service does."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.errors import InvalidInput
from ledger.tokens.compact import TOKEN_BYTES_MAX
from tools.file_modes import is_open_to_others
from tools.people.documents import StandardInput, read_bytes, shown
from tools.settings import STANDARD_INPUT, account
from tools.showing import show
from tools.wiring import token_verifier

if TYPE_CHECKING:
    from ledger.tokens.verifier import VerifiedCaller
    from tools.wiring import Session

_LINE_END = b"\r\n"


def read_token(place: str, standard_input: StandardInput) -> bytes:
    """The token in a file or on standard input; line ends after it are dropped.

    A file that others may read is taken, for containers mount secrets so, with a note.
    """
    content = read_bytes(place, "the token", TOKEN_BYTES_MAX + len(_LINE_END), standard_input)
    token = content.rstrip(_LINE_END)
    if not token:
        raise InvalidInput("empty-token", f"{shown(place)} holds no token.")
    if place != STANDARD_INPUT and is_open_to_others(Path(place)):
        show.print_note(
            f"{shown(place)} may be read by others than its owner, and so be shown by them."
        )
    return token


def verified_caller(session: Session, token: bytes) -> VerifiedCaller:
    """Whom the token speaks for; `token-refused`, which is recorded before it is told."""
    with closing(token_verifier(session.ledger)) as verifier:
        return verifier.verify(token, source=account())
