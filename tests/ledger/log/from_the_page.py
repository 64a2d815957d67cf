"""A verifier of logs, written from `docs/reference/log-format.md` alone.

It imports nothing of the ledger. A log is a dictionary of its four tables, each a list of rows in
stored order, as plain values; damage is raised as `Damage` with the place and what is wrong.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

EMPTY = hashlib.sha256(b"").digest()


class Damage(Exception):
    """What is wrong, and at which position or size."""


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def number(value, size):
    return value.to_bytes(size, "big")


def ledger_id(public_key, salt):
    return sha256(b"credledger/v1/ledger", public_key, salt)


def header(ledger, position, stream, version, topic, epoch, period, recorded_at):
    name = topic.encode("ascii")
    return b"".join((
        b"\x01\x01", ledger, number(position, 8), stream, number(version, 8),
        number(len(name), 2), name, number(epoch, 4), number(period, 4),
        recorded_at.to_bytes(8, "big", signed=True),
    ))  # fmt: skip


def leaf(head, sealed):
    return sha256(b"\x00", head, sha256(sealed))


def appended(size, nodes, new):
    """The frontier of one leaf more."""
    nodes, node = list(nodes), new
    while size & 1:
        node = sha256(b"\x01", nodes.pop(), node)
        size >>= 1
    return [*nodes, node]


def root_of(nodes):
    if not nodes:
        return EMPTY
    root = nodes[-1]
    for node in reversed(nodes[:-1]):
        root = sha256(b"\x01", node, root)
    return root


def signer_content(ledger, signer):
    parts = (
        b"credledger/v1/signer", ledger, signer["public_key"], signer["class"].encode(),
        signer["change"].encode(), number(signer["from_size"], 8), signer["introduced_by"],
    )  # fmt: skip
    return b"".join(number(len(part), 2) + part for part in parts)


def signers_digest(ledger, signers, size):
    below = [one for one in signers if one["from_size"] < size]
    return sha256(*(signer_content(ledger, one) + one["signature"] for one in below))


def head_text(ledger, size, root, digest):
    lines = (
        f"credledger/{ledger.hex()}",
        str(size),
        base64.b64encode(root).decode(),
        f"signers {digest.hex()}",
    )
    return "".join(f"{line}\n" for line in lines).encode()


def signed(public_key, signature, text):
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


def month(recorded_at):
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=recorded_at)
    return at.year * 100 + at.month


def may_sign(spans, key, size):
    """The class of a key that may sign a head of this size."""
    if key not in spans:
        return None
    signer_class, begin, end = spans[key]
    return signer_class if begin < size and (end is None or size <= end) else None


def check_signers(ledger, salt, signers, roots):
    spans = {}
    for row in signers:
        key, size = row["public_key"], row["from_size"]
        root = EMPTY if size == 0 else roots.get(size)
        content = signer_content(ledger, row)
        if root is None or not signed(row["introduced_by"], row["signature"], content + root):
            raise Damage("signer", size)
        if not spans:
            fits = (
                (row["change"], row["class"], size) == ("begin", "operator", 0)
                and row["introduced_by"] == key
                and ledger_id(key, salt) == ledger
            )
        else:
            fits = may_sign(spans, row["introduced_by"], size + 1) == "operator"
            if row["change"] == "begin":
                fits = fits and key not in spans
            else:
                fits = fits and key in spans and spans[key][2] is None
                fits = fits and spans[key][0] == row["class"]
        if not fits:
            raise Damage("signer", size)
        if row["change"] == "begin":
            spans[key] = (row["class"], size, None)
        else:
            spans[key] = (*spans[key][:2], size)
    return spans


def verify(log):
    """Raise `Damage` unless the whole log holds; its size and root."""
    (named,) = log["ledger"]
    ledger, rows, commits = named["id"], log["log"], log["commits"]
    if named["format"] != 1:
        raise Damage("format", 0)
    roots = {one["size"]: one["root"] for one in commits}
    spans = check_signers(ledger, named["salt"], log["signers"], roots)
    size, nodes, time, epoch, versions, audit_streams = 0, [], 0, 1, {}, {}
    for commit in commits:
        fresh = [row for row in rows if size < row["position"] <= commit["size"]]
        for row in fresh:
            size += 1
            place = [row[name] for name in ("position", "stream", "version", "topic", "epoch")]
            head = header(ledger, *place, row["period"], row["recorded_at"])
            checks = (
                ("position", row["position"] == size),
                ("leaf", leaf(head, row["sealed"]) == row["leaf"]),
                ("time", row["recorded_at"] > time),
                ("period", row["period"] == month(row["recorded_at"])),
                ("epoch", row["epoch"] == epoch),
                ("version", row["version"] == versions.get(row["stream"], 0) + 1),
            )
            for what, holds in checks:
                if not holds:
                    raise Damage(what, size)
            time, versions[row["stream"]] = row["recorded_at"], row["version"]
            epoch += row["topic"] == "epoch.started" and size > 1
            nodes = appended(size - 1, nodes, row["leaf"])
        if size != commit["size"]:
            raise Damage("position", size + 1)
        if b"".join(nodes) != commit["frontier"]:
            raise Damage("frontier", size)
        if root_of(nodes) != commit["root"]:
            raise Damage("root", size)
        signer_class = may_sign(spans, commit["signer"], size)
        digest = signers_digest(ledger, log["signers"], size)
        text = head_text(ledger, size, commit["root"], digest)
        if signer_class is None or not signed(commit["signer"], commit["signature"], text):
            raise Damage("signature", size)
        if signer_class == "auditor":
            streams = {row["stream"] for row in fresh}
            held = audit_streams.setdefault(commit["signer"], streams)
            shared = sum(held == one for one in audit_streams.values()) > 1
            if len(streams) != 1 or streams != held or shared:
                raise Damage("class", size)
            if not all(row["topic"].startswith("audit.") for row in fresh):
                raise Damage("class", size)
    if len(rows) != size or len(roots) != len(commits):
        raise Damage("position", size + 1)
    return size, root_of(nodes)
