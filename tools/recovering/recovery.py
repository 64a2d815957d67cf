"""Recovery shares as people hand them in and get them: words, one share a line.

    # Share 1 of 3, any 2 of which open slot 2 (recovery shares) of ledger 5f1c09aa03b1c2d4
    acid acne acquire ...

Lines that are empty or begin with `#` are left out when shares are read, so a file of what was
shown can be handed in again. Words are never an argument, are hidden when they are typed, and are
quoted in no message.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ledger.errors import InvalidInput
from ledger.sealing.keyring_file import read_keyring
from ledger.sealing.shares import SHARES_MAX, Scheme, ShareWords, combine, read_share
from tools.people import prompts
from tools.people.documents import StandardInput, decode_text, read_bytes, within
from tools.showing import show

if TYPE_CHECKING:
    from ledger.sealing.keyring import UnlockedKeyring
    from ledger.sealing.slots import Holding
    from ledger.usecases.recovery_shares import SharesMade
    from tools.settings import Settings

_SCHEME = re.compile(r"([0-9]{1,3})/([0-9]{1,3})")
_FILE_BYTES_MAX = 64 * 1024
_PURPOSE = "recovery shares"


class SharesGiven:
    """Recovery shares that are handed in, from a file or at prompts."""

    def __init__(self, file: str | None) -> None:
        self._file = file
        self.count = 0
        """How many were given."""

    def unlock(
        self, settings: Settings, standard_input: StandardInput
    ) -> tuple[Holding, UnlockedKeyring]:
        """The present keyring, unlocked with the shares."""
        keyring = read_keyring(settings.keyring)
        holding = self.holding(standard_input)
        return holding, keyring.unlock(holding, settings.slot)

    def holding(self, standard_input: StandardInput) -> Holding:
        """What the shares give; errors as `shares.read_share` and `shares.combine`."""
        if self._file is None:
            shares = self._typed()
        else:
            content = read_bytes(self._file, _PURPOSE, _FILE_BYTES_MAX, standard_input)
            shares = _read(decode_text(content, within(_PURPOSE, self._file)))
        self.count = len(shares)
        return combine(shares)

    def _typed(self) -> list[ShareWords]:
        shares: list[ShareWords] = []

        def read(words: str, number: int) -> int:
            shares.append(read_share(words, number))
            if len(shares) < shares[0].threshold:
                return shares[0].threshold - len(shares)
            # The last one that is needed shows whether they fit, and can be typed again.
            try:
                combine(shares)
            except InvalidInput:
                shares.pop()
                raise
            return 0

        prompts.typed_shares(read)
        return shares


def parse_scheme(text: str) -> Scheme:
    """`3/5`; `invalid-scheme` for anything else."""
    found = _SCHEME.fullmatch(text)
    return Scheme(int(found[1]), int(found[2])) if found else Scheme(0, 0)


def shares_document(made: SharesMade) -> dict[str, object]:
    """The JSON shape of shares that were made, words included."""
    return {
        "slot": made.slot,
        "label": made.label,
        "threshold": made.scheme.threshold,
        "count": made.scheme.count,
        "shares": list(made.words),
        "position": made.position,
    }


def print_shares(made: SharesMade, ledger_id: str) -> None:
    """Show each share by itself, and how to keep them."""
    scheme = made.scheme
    for number, words in enumerate(made.words, 1):
        show.print_line(
            f"# Share {number} of {scheme.count}, any {scheme.threshold} of which open slot"
            f" {made.slot} ({made.label}) of ledger {ledger_id[:16]}"
        )
        show.print_line(words)
        show.print_line("")
    show.print_note(
        "These words are shown this once and kept nowhere. Give each share to another person, on"
        " paper, and apart from the keyring's copies."
    )
    show.print_note("Try what was written down with `credledger key shares verify`.")


def _read(text: str) -> list[ShareWords]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) > SHARES_MAX:
        raise InvalidInput(
            "too-many-shares", f"There are at most {SHARES_MAX} shares, each on a line of its own."
        )
    return [read_share(line, number) for number, line in enumerate(lines, 1)]
