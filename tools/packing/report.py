"""The report in a pack: what is in it, for somebody who reads and does not compute.

It is told by whoever made the pack. What is evidence is beside it, and the report says how to check
that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.log.rows import LogRow
from tools.packing.contents import Settled, Tally
from tools.packing.folder import PackFile
from tools.showing.show import printable
from tools.when import to_text

_HEADINGS = (
    "position",
    "recorded at",
    "outcome",
    "caller",
    "owner",
    "application",
    "version",
    "fields",
    "by",
    "reason",
)
_OPENED = """
ACCESS RECORDS
Opened with an auditor's or operator's keyring. Each is in access.jsonl with the key that opens it,
and verify.py compares it with the log. Only metadata: no record holds a value. Where one is closed,
why is the word of whoever made this pack; verify.py says how many these are.
"""
_HOW = """
HOW TO CHECK
On any machine with Python 3.11 or newer, and the library `cryptography`:

    python3 -E verify.py {pinned}

Take verify.py from somewhere else than this pack if you can; so you do not rely on the giver's.
Compare the ledger id with the one that was written down when the ledger was made. With heads that
somebody else kept (`credledger log checkpoint`, cosignatures), add --anchors FILE. Time stamps are
not checked by it: --time-stamps DIR lays them out, each with the command of OpenSSL that does.

WHAT IT SHOWS
That these rows are the whole log up to the head, in this order, at these times, none altered or
left out, and which key signed. Not what is sealed in a row, except for access records that are
opened here; nor that the log did not go on afterwards.
"""


def write_facts(file: PackFile, settled: Settled, tally: Tally, anchors: Sequence[str]) -> None:
    """Everything but the list of records; `anchors` are the lines that tell of kept heads."""
    ledger, head = settled.ledger, settled.head
    lines = [
        "EVIDENCE OF A CREDENTIAL LEDGER",
        "",
        f"ledger id    {ledger.id.hex()}",
        f"rows         1 to {head.size}",
        f"root         {head.root.hex()}",
        f"recorded     {to_text(tally.first_at)} to {to_text(tally.last_at)}",
        f"heads        {sum(tally.heads.values())}",
        f"anchors      {anchors[0]}",
        *(f"             {line}" for line in anchors[1:]),
        "",
        "WHO SIGNED",
    ]
    for row in settled.signers:
        where = f"{row.change} after row {row.from_size}"
        heads = f", {tally.heads[row.public_key]} heads" if row.change == "begin" else ""
        lines.append(f"{row.public_key.hex()}  {row.signer_class}, {where}{heads}")
    lines += ["", "WHAT WAS RECORDED"]
    lines += [f"{many:12}  {printable(topic)}" for topic, many in sorted(tally.topics.items())]
    file.write(("\n".join(lines) + "\n").encode())
    file.write(_HOW.format(pinned=f"--ledger-id {ledger.id.hex()}").encode())


def write_headings(file: PackFile) -> None:
    """What stands over the list of records."""
    file.write(_OPENED.encode())
    file.write(("\t".join(_HEADINGS) + "\n").encode())


def write_access(file: PackFile, row: LogRow, line: dict[str, Any]) -> None:
    """One record as a line of tab-separated cells; one that stays closed tells why instead."""
    cells = _closed(row, line["unopened"]) if "unopened" in line else _opened(row, line["record"])
    shown = (printable(str(cell)) if cell not in (None, "") else "-" for cell in cells)
    file.write(("\t".join(shown) + "\n").encode())


def _closed(row: LogRow, why: str) -> tuple[object, ...]:
    nothing = (None,) * (len(_HEADINGS) - 4)
    outcome = row.topic.removeprefix("access.")
    return row.position, to_text(row.recorded_at), outcome, *nothing, f"closed: {why}"


def _opened(row: LogRow, record: dict[str, Any]) -> tuple[object, ...]:
    event = record["e"]
    _, slot, _, account, opens = record["b"]
    fields = event.get("fields")
    return (
        row.position,
        to_text(row.recorded_at),
        row.topic.removeprefix("access."),
        event.get("caller"),
        event.get("owner"),
        event.get("application"),
        event.get("value_version"),
        ", ".join(map(str, fields)) if isinstance(fields, list) else fields,
        f"{opens}:{slot}/{account}",
        record.get("r"),
    )
