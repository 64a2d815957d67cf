"""A checker of proofs, written from `docs/reference/proof-format.md` and the page of the log alone.

It imports nothing of the ledger. Whatever does not hold is raised as `Damage`, or as any other
error where the document is none.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from tests.ledger.log.from_the_page import (
    EMPTY,
    Damage,
    check_signers,
    head_text,
    header,
    may_sign,
    sha256,
    signed,
    signers_digest,
)

BOTH = {"format", "version", "kind", "ledger", "signers", "path"}
KEYS = {
    "inclusion": BOTH | {"row", "index", "size", "head"},
    "consistency": BOTH | {"from", "to"},
}
SIGNER = ("public_key", "class", "change", "from_size", "introduced_by", "signature", "root")
ROW = ("position", "stream", "version", "topic", "epoch", "period", "recorded_at", "header",
       "sealed_sha256", "leaf")  # fmt: skip


def require(what, holds):
    if not holds:
        raise Damage("proof", what)


def unhex(text, size=None):
    require("hex", text == text.lower() and " " not in text)
    content = bytes.fromhex(text)
    require("length", size in {None, len(content)})
    return content


def node(left, right):
    return sha256(b"\x01", left, right)


def check(document, pinned):
    """Raise unless the document holds for the ledger of this id."""
    require("format", (document["format"], document["version"]) == ("credledger-proof", 1))
    require("keys", set(document) == KEYS[document["kind"]])
    require("keys", set(document["ledger"]) == {"id", "salt"})
    ledger, salt = unhex(document["ledger"]["id"], 32), unhex(document["ledger"]["salt"])
    require("pinned", ledger == pinned)
    signers, roots = read_signers(document["signers"])
    spans = check_signers(ledger, salt, signers, roots)
    path = [unhex(one, 32) for one in document["path"]]
    require("path", len(path) <= 130)

    def head_of(part):
        return checked_head(document[part], ledger, signers, spans)

    if document["kind"] == "consistency":
        (old, old_root, _), (new, new_root, _) = head_of("from"), head_of("to")
        require("path", consistent(old, old_root, new, new_root, path))
        return
    size, root, signer_class = head_of("head")
    row = document["row"]
    require("keys", set(row) == set(ROW))
    at = datetime.strptime(row["recorded_at"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    microseconds = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    again = header(
        ledger,
        row["position"],
        unhex(row["stream"], 16),
        row["version"],
        row["topic"],
        row["epoch"],
        row["period"],
        microseconds,
    )
    digest = unhex(row["sealed_sha256"], 32)
    require("header", again == unhex(row["header"]))
    require("leaf", sha256(b"\x00", again, digest) == unhex(row["leaf"]))
    require("index", (document["index"], document["size"]) == (row["position"] - 1, size))
    require("numbers", all(type(document[one]) is int for one in ("index", "size", "version")))
    require("class", signer_class == "operator" or row["topic"].startswith("audit."))
    require("path", included(unhex(row["leaf"]), document["index"], size, path) == root)


def read_signers(told):
    signers, roots = [], {0: EMPTY}
    for one in told:
        require("keys", set(one) == set(SIGNER))
        row = {
            name: value if name in {"class", "change", "from_size"} else unhex(value)
            for name, value in one.items()
        }
        require("root", roots.setdefault(row["from_size"], row["root"]) == row["root"])
        signers.append(row)
    return signers, roots


def checked_head(told, ledger, signers, spans):
    require("keys", set(told) == {"size", "root", "signer", "note"})
    size, root, signer = told["size"], unhex(told["root"], 32), unhex(told["signer"], 32)
    text = head_text(ledger, size, root, signers_digest(ledger, signers, size))
    name = text.split(b"\n")[0]
    signature = base64.b64decode(told["note"].split(" ")[-1])[4:]
    encoded = base64.b64encode(sha256(name, b"\n\x01", signer)[:4] + signature)
    line = b"\n\xe2\x80\x94 " + name + b" " + encoded + b"\n"
    require("note", told["note"].encode() == text + line)
    signer_class = may_sign(spans, signer, size)
    require("signature", signer_class is not None and signed(signer, signature, text))
    return size, root, signer_class


def included(leaf_hash, index, size, path):
    require("index", index < size)
    r, f, s = leaf_hash, index, size - 1
    for p in path:
        require("path", s != 0)
        if f % 2 or f == s:
            r = node(p, r)
            while f % 2 == 0 and f != 0:
                f, s = f // 2, s // 2
        else:
            r = node(r, p)
        f, s = f // 2, s // 2
    require("path", s == 0)
    return r


def consistent(old, old_root, new, new_root, path):
    if not 1 <= old <= new:
        return False
    if old == new:
        return old_root == new_root and not path
    hashes = [old_root, *path] if old & (old - 1) == 0 else path
    f, s = old - 1, new - 1
    while f % 2:
        f, s = f // 2, s // 2
    a = b = hashes[0]
    for p in hashes[1:]:
        if s == 0:
            return False
        if f % 2 or f == s:
            a, b = node(p, a), node(p, b)
            while f % 2 == 0 and f != 0:
                f, s = f // 2, s // 2
        else:
            b = node(b, p)
        f, s = f // 2, s // 2
    return s == 0 and (a, b) == (old_root, new_root)


__all__ = ["Damage", "check"]
