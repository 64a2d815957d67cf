r"""What a part of an archive holds, as the small document that makes it complete.

    {"after":0,"format":1,"head":{...},...}\n          one line of JSON, keys sorted, no spaces
    SHA-256 of that line without its end, in hex\n

The SHA-256 is also the part's name in the log and in the part that goes on from it. Bytes are
lower-case hex. There is one way to write a manifest: what does not come out the same when it is
written again is none of ours.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeGuard

import msgspec

from ledger.errors import Tampered, Unavailable
from ledger.log.rows import CommitRow, LedgerRow, SignerRow
from ledger.tree import unpack_frontier

FORMAT = 2
_FIRST_FORMAT = 1
MANIFEST_BYTES_MAX = 64 * 1024**2
STORED_BYTES_MAX = 80 * 1024**2
CONTENT_BYTES_MAX = 64 * 1024**2
_POSITION_MAX = 2**63 - 1


class Segment(msgspec.Struct, frozen=True):
    """One file of rows, and the commits that fall among them."""

    first: int
    last: int
    """Positions of its first and last row; both are in it, and all between."""
    commits: int
    stored_bytes: int
    content_bytes: int
    """The length of what is compressed in it, once it is not."""
    sha256: bytes
    """Of the file as it is stored."""
    packed_bytes: int | None = None
    """How much of the file is compressed, from its beginning; None in format 1, where all is."""


class ViewDigest(msgspec.Struct, frozen=True):
    """What a view held when the archive was taken."""

    name: str
    fold_version: int
    digest: str


class Manifest(msgspec.Struct, frozen=True):
    """One part: the log from after a position up to a signed head."""

    ledger: LedgerRow
    after: int
    """The part begins with the next position; 0 for a full archive."""
    previous: bytes | None
    """Digest of the manifest that this part goes on from; None for a full archive."""
    head: CommitRow
    signers: tuple[SignerRow, ...]
    """All that this head rests on, those from before the part included."""
    segments: tuple[Segment, ...]
    views: tuple[ViewDigest, ...]
    keyring: tuple[int, ...] | None = None
    """Positions of the part's rows that are of the keyring's stream; None in format 1."""

    @property
    def format(self) -> int:
        """The one that it is written in."""
        return FORMAT if self.keyring is not None else _FIRST_FORMAT

    @property
    def name(self) -> str:
        """What its files begin with."""
        return f"part-{self.after + 1:016}-{self.head.size:016}"

    @property
    def stored_bytes(self) -> int:
        """What all its files take."""
        return sum(one.stored_bytes for one in self.segments) + len(self.to_bytes())

    @property
    def digest(self) -> bytes:
        """What names it."""
        return hashlib.sha256(self._line()).digest()

    def segment_name(self, number: int) -> str:
        """The file of one segment."""
        return f"{self.name}.{number:06}.segment"

    def to_bytes(self) -> bytes:
        """The file's content."""
        return self._line() + b"\n" + self.digest.hex().encode() + b"\n"

    def _line(self) -> bytes:
        document: dict[str, object] = {
            "format": self.format,
            "ledger": {
                "id": self.ledger.id.hex(),
                "format": self.ledger.format,
                "salt": self.ledger.salt.hex(),
            },
            "after": self.after,
            "previous": None if self.previous is None else self.previous.hex(),
            "head": {
                "size": self.head.size,
                "root": self.head.root.hex(),
                "frontier": self.head.frontier.hex(),
                "signer": self.head.signer.hex(),
                "signature": self.head.signature.hex(),
            },
            "signers": [
                {
                    "public_key": row.public_key.hex(),
                    "class": row.signer_class,
                    "change": row.change,
                    "from_size": row.from_size,
                    "introduced_by": row.introduced_by.hex(),
                    "signature": row.signature.hex(),
                }
                for row in self.signers
            ],
            "segments": [
                {
                    "first": one.first,
                    "last": one.last,
                    "commits": one.commits,
                    "stored_bytes": one.stored_bytes,
                    "content_bytes": one.content_bytes,
                    "sha256": one.sha256.hex(),
                    **({} if one.packed_bytes is None else {"packed_bytes": one.packed_bytes}),
                }
                for one in self.segments
            ],
            "views": [
                {"name": one.name, "fold_version": one.fold_version, "digest": one.digest}
                for one in self.views
            ],
        }
        if self.keyring is not None:
            document["keyring"] = self.keyring
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def parse_manifest(content: bytes) -> Manifest:
    """The manifest; `archive-damaged` for what is none, `archive-newer` for a later format."""
    line, _, rest = content.partition(b"\n")
    if rest != hashlib.sha256(line).hexdigest().encode() + b"\n":
        raise damaged("The archive's manifest is damaged or cut off.")
    try:
        document = json.loads(line)
        if isinstance(document, dict) and _is_newer(document.get("format")):
            raise Unavailable(
                "archive-newer",
                "The archive was written by a newer version of credledger.",
                hint="Install that version or a later one; this one changes nothing.",
            )
        manifest = _manifest(document)
        same = manifest.to_bytes() == content
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise damaged("The archive's manifest is none that a ledger writes.") from error
    if not (same and _is_sound(manifest)):
        raise damaged("The archive's manifest is none that a ledger writes.")
    return manifest


def damaged(message: str, position: int | None = None) -> Tampered:
    """An archive that is not as it was written."""
    return Tampered(
        "archive-damaged",
        message,
        hint="Use another copy of this archive, or an earlier one.",
        position=position,
    )


def _manifest(document: dict[str, Any]) -> Manifest:
    ledger, head = document["ledger"], document["head"]
    previous = document["previous"]
    is_first = document["format"] == _FIRST_FORMAT
    return Manifest(
        ledger=LedgerRow(
            bytes.fromhex(ledger["id"]), ledger["format"], bytes.fromhex(ledger["salt"])
        ),
        after=document["after"],
        previous=None if previous is None else bytes.fromhex(previous),
        head=CommitRow(
            head["size"],
            bytes.fromhex(head["root"]),
            bytes.fromhex(head["frontier"]),
            bytes.fromhex(head["signer"]),
            bytes.fromhex(head["signature"]),
        ),
        signers=tuple(
            SignerRow(
                bytes.fromhex(row["public_key"]),
                row["class"],
                row["change"],
                row["from_size"],
                bytes.fromhex(row["introduced_by"]),
                bytes.fromhex(row["signature"]),
            )
            for row in document["signers"]
        ),
        segments=tuple(
            Segment(
                one["first"],
                one["last"],
                one["commits"],
                one["stored_bytes"],
                one["content_bytes"],
                bytes.fromhex(one["sha256"]),
                None if is_first else one["packed_bytes"],
            )
            for one in document["segments"]
        ),
        views=tuple(
            ViewDigest(one["name"], one["fold_version"], one["digest"]) for one in document["views"]
        ),
        keyring=None if is_first else tuple(document["keyring"]),
    )


def _is_newer(told: object) -> bool:
    return isinstance(told, int) and told > FORMAT


def _is_sound(manifest: Manifest) -> bool:
    return (
        manifest.ledger.is_sound
        and manifest.head.is_sound
        and all(row.is_sound for row in manifest.signers)
        and _number(manifest.after, 0)
        and manifest.after < manifest.head.size <= _POSITION_MAX
        and (manifest.after == 0) == (manifest.previous is None)
        and (manifest.previous is None or len(manifest.previous) == 32)
        and unpack_frontier(manifest.head.size, manifest.head.frontier) is not None
        and _is_dense(manifest)
        and all(_is_view(one) for one in manifest.views)
        and _is_in_order(manifest)
    )


def _is_dense(manifest: Manifest) -> bool:
    """The segments follow on each other, from the first position of the part to its head."""
    last = manifest.after
    for one in manifest.segments:
        fits = (
            _number(one.first, 1)
            and _number(one.last, 1)
            and one.first == last + 1
            and one.last >= one.first
            and _number(one.commits, 0)
            and _number(one.stored_bytes, 1)
            and one.stored_bytes <= STORED_BYTES_MAX
            and _number(one.content_bytes, 1)
            and one.content_bytes <= CONTENT_BYTES_MAX
            and len(one.sha256) == 32
            and _is_packed(one, manifest.format)
        )
        if not fits:
            return False
        last = one.last
    return last == manifest.head.size


def _is_packed(one: Segment, form: int) -> bool:
    if form == _FIRST_FORMAT:
        return one.packed_bytes is None
    return _number(one.packed_bytes, 1) and one.packed_bytes <= one.stored_bytes


def _is_in_order(manifest: Manifest) -> bool:
    """What is told of the keyring are positions of the part, each once."""
    last = manifest.after
    for one in manifest.keyring or ():
        if not (_number(one, last + 1) and one <= manifest.head.size):
            return False
        last = one
    return True


def _is_view(one: ViewDigest) -> bool:
    return (
        isinstance(one.name, str) and _number(one.fold_version, 1) and isinstance(one.digest, str)
    )


def _number(value: object, least: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
