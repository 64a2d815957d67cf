"""Recovery shares: a slot's private half as words, of which any k of n give it again (SLIP-39).

    private half (32) ── split ──▶ n shares of 33 words ── any k ──▶ private half ── opens ──▶ slot

The half of such a slot is in the shares and nowhere else, so they go on opening it when the keyring
gets a new root, and removing the slot ends them. Splitting, checksums and words are
those of the package `shamir-mnemonic`; it is imported only where shares are made or read. There is
one group, no SLIP-39 passphrase and hence no iterations; each share names k and carries a checksum
of its own, and the combined secret carries a digest, so mistyped words and shares of two sets are
told from each other. Each share that is given beyond k is checked as well.

The package is the authors' reference implementation and takes no measures against somebody who
measures time or power beside it: see decision 7.

Source: SLIP-0039, https://github.com/satoshilabs/slips/blob/master/slip-0039.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from ledger.errors import InvalidInput
from ledger.sealing.confidential import Confidential
from ledger.sealing.slots import Holding, shares_of

if TYPE_CHECKING:
    from shamir_mnemonic import Share

SHARES_MIN, SHARES_MAX = 2, 16
WORDS_IN_SHARE = 33
_SECRET_BYTES = 32
_ITERATION_EXPONENT = 0


class Scheme(msgspec.Struct, frozen=True):
    """How many shares there are, and how many of them open."""

    threshold: int
    count: int

    def __post_init__(self) -> None:
        """`invalid-scheme` outside of 2 to 16 shares with at least 2 to open."""
        if not SHARES_MIN <= self.threshold <= self.count <= SHARES_MAX:
            raise InvalidInput(
                "invalid-scheme",
                f"Recovery shares are K/N with {SHARES_MIN} to {SHARES_MAX} shares,"
                f" of which at least {SHARES_MIN} and at most all are needed.",
                hint="For example 3/5: five shares, any three of which open.",
            )


class ShareWords(Confidential, msgspec.Struct, frozen=True):
    """One share that was read: its words fit together."""

    SHOWN: ClassVar = ("number", "threshold")

    number: int
    """Which of the shares that were given, from 1."""
    threshold: int
    """How many of its set are needed."""
    parsed: Share


def split(private_key: bytes, scheme: Scheme) -> tuple[str, ...]:
    """The words of each share, tried out; what randomness it takes comes from the system."""
    from shamir_mnemonic import generate_mnemonics

    (shares,) = generate_mnemonics(
        1,
        [(scheme.threshold, scheme.count)],
        private_key,
        iteration_exponent=_ITERATION_EXPONENT,
    )
    read = [read_share(words, number) for number, words in enumerate(shares, 1)]
    assert combine(read) == shares_of(private_key)
    return tuple(shares)


def read_share(words: str, number: int) -> ShareWords:
    """One share; `share-mistyped` if its words do not fit together, `share-foreign` if not ours.

    What is told of it names places of words, never a word.
    """
    from shamir_mnemonic import MnemonicError, Share
    from shamir_mnemonic.wordlist import WORD_INDEX_MAP

    said = words.split()
    if len(said) != WORDS_IN_SHARE:
        raise _mistyped(f"Share {number} has {len(said)} words; a share has {WORDS_IN_SHARE}.")
    unknown = [place for place, word in enumerate(said, 1) if word.lower() not in WORD_INDEX_MAP]
    if unknown:
        places = ", ".join(map(str, unknown))
        raise _mistyped(f"Share {number} has words that are in no share: number {places}.")
    try:
        parsed: Share | None = Share.from_mnemonic(" ".join(said))
    except MnemonicError:
        # The package's own error quotes words, so it is not even kept as a cause.
        parsed = None
    if parsed is None:
        raise _mistyped(
            f"The words of share {number} do not fit together: one is wrong or out of place."
        )
    ours = (
        parsed.group_count == parsed.group_threshold == 1
        and parsed.iteration_exponent == _ITERATION_EXPONENT
        and len(parsed.value) == _SECRET_BYTES
        and SHARES_MIN <= parsed.member_threshold <= SHARES_MAX
    )
    if not ours:
        raise InvalidInput(
            "share-foreign",
            f"Share {number} is sound, but of another kind than this program makes.",
            hint="It belongs to something else, such as a wallet; give this ledger's shares.",
        )
    return ShareWords(number, parsed.member_threshold, parsed)


def combine(shares: Sequence[ShareWords]) -> Holding:
    """What shares of one set give; `too-few-shares`, `share-repeated`, `shares-differ`.

    That it opens a slot is for the keyring to say.
    """
    if not shares:
        raise _too_few(0, SHARES_MIN)
    first = shares[0]
    for share in shares[1:]:
        if share.parsed.group_parameters() != first.parsed.group_parameters():
            raise _different(
                f"Share {share.number} is not of the same set as share {first.number}."
            )
    _refuse_repeated(shares)
    if len(shares) < first.threshold:
        raise _too_few(len(shares), first.threshold)
    needed = list(shares[: first.threshold])
    secret = _recovered(needed)
    if secret is None:
        raise _different("The shares do not fit together: they are of two sets.")
    for further in shares[first.threshold :]:
        if _recovered([*needed[:-1], further]) != secret:
            raise _different(f"Share {further.number} does not fit the others.")
    return shares_of(secret)


def _recovered(shares: Sequence[ShareWords]) -> bytes | None:
    """The secret; None where its digest is not the one that the shares carry."""
    from shamir_mnemonic import MnemonicError
    from shamir_mnemonic.shamir import ShareGroup, recover_ems

    group: Any = ShareGroup()
    for share in shares:
        group.add(share.parsed)
    try:
        secret: bytes = recover_ems({shares[0].parsed.group_index: group}).decrypt(b"")
    except MnemonicError:
        return None
    return secret


def _refuse_repeated(shares: Sequence[ShareWords]) -> None:
    seen: dict[int, ShareWords] = {}
    for share in shares:
        before = seen.setdefault(share.parsed.index, share)
        if before is not share and before.parsed.value != share.parsed.value:
            raise _different(
                f"Shares {before.number} and {share.number} are of two sets: both have one place."
            )
        if before is not share:
            raise InvalidInput(
                "share-repeated",
                f"Share {share.number} is the same as share {before.number}.",
                hint="Give another one; the same share counts once.",
            )


def _mistyped(message: str) -> InvalidInput:
    return InvalidInput(
        "share-mistyped",
        message,
        hint="Compare it with what was written down; nothing was changed.",
    )


def _different(message: str) -> InvalidInput:
    return InvalidInput(
        "shares-differ",
        message,
        hint="Shares are of one set if they were shown together; shares made later are of another.",
    )


def _too_few(given: int, needed: int) -> InvalidInput:
    return InvalidInput(
        "too-few-shares",
        f"Shares that were given: {given}; needed are {needed}.",
        hint="Ask another holder for a share; nothing was changed.",
    )
