"""Console transcripts in the docs: run each page as one shell session and compare.

A page's ```console blocks hold lines `$ COMMAND`, each followed by what it prints (both streams)
and `[exit N]` where N is not 0. What differs from run to run (hashes, times, folders, accounts)
is written in one fixed form on both sides before comparing.

    python -m tests.transcripts.transcript docs/how-to/*.md      writes what commands print now
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = "/srv/contoso"
FILE_STORE = "sqlite://$PWD/store/ledger.db"
SHOWN_STORE = f"sqlite://{FOLDER}/store/ledger.db"
SHOWN_SERVER = "postgresql://db.example/ledgers?ledger=contoso"
"""A page that names it moves a ledger between engines."""
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
_MARK = "--- transcript mark"


def pages() -> list[Path]:
    """All pages with transcripts."""
    found = [*ROOT.glob("docs/tutorial/*.md"), *ROOT.glob("docs/how-to/*.md")]
    return sorted(page for page in found if _BLOCK.search(page.read_text(encoding="utf-8")))


def commands_of(text: str) -> list[str]:
    """The commands of a page, in order."""
    blocks = _BLOCK.findall(text)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def run(
    commands: list[str],
    url: str | None = None,
    address: str = "",
    server: str | None = None,
    program: Mapping[str, str] | None = None,
) -> list[str]:
    """What each command prints, in one session in a fresh folder.

    With a `url` the page's file gives way to that store; its `address` is what people are shown.
    `server` is a real place for the page's example of one. `program` is what a shell needs to find
    another program than the installed one: see `forked`.
    """
    found = {"PATH": str(Path(sys.executable).parent), **(program or {})}
    if url is not None:
        commands = [command.replace(FILE_STORE, f"'{url}'") for command in commands]
    if server is not None:
        commands = [command.replace(SHOWN_SERVER, server) for command in commands]
    with tempfile.TemporaryDirectory() as place:
        script = "".join(f'{command}\nprintf "\\n{_MARK} %s\\n" "$?"\n' for command in commands)
        done = subprocess.run(
            ["bash", "-c", f"exec 2>&1\ncd {place}\n{script}"],
            env={
                **found,
                "PATH": f"{found['PATH']}:{os.environ['PATH']}",
                "HOME": place,
                "LANG": "C.UTF-8",
                "TZ": "UTC",
                "EXAMPLES": str(ROOT / "docs" / "examples"),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        printed = done.stdout.replace(place, FOLDER)
        if url is not None:
            printed = printed.replace(address, SHOWN_STORE)
            # The tests' server is alone, and reached as its superuser: `status` warns of both.
            printed = printed.replace("warnings: role-too-wide, no-standby", "warnings: -")
            printed = printed.replace(", role-too-wide, no-standby", "")
    outputs = []
    for output, status in re.findall(rf"(.*?)\n{_MARK} (\d+)\n", printed, re.DOTALL):
        shown = output.strip("\n")
        if status != "0":
            shown = f"{shown}\n[exit {status}]".lstrip("\n")
        outputs.append(settled(shown))
    return outputs


def settled(text: str) -> str:
    """The text with everything that differs from run to run in one fixed form."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "5f1c…", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "a7…", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "2026-11-23T09:00:00.000000Z", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "2026-11-23 09:00:00 UTC", text)
    text = re.sub(r"(operator|auditor):(\d+)/[\w.-]+@[\w.-]+", r"\1:\2/ann@host", text)
    text = re.sub(r'("name": ")[\w.-]+@[\w.-]+"', r'\1ann@host"', text)
    text = re.sub(r"(source: | UTC\t)[\w.-]+@[\w.-]+", r"\1ann@host", text)
    text = re.sub(r'("src_endpoint": \{\s*"name": ")[^"]+', r"\1host", text)
    text = re.sub(r'("time": )\d{13}\b', r"\g<1>1795424400000", text)
    text = re.sub(r'("seconds": |seconds: )[\d.]+', r"\g<1>0.01", text)
    text = re.sub(
        r"^(?:[a-z]{4,8} ){32}[a-z]{4,8}$", "acid acne … (33 words)", text, flags=re.MULTILINE
    )
    text = re.sub(r"\bof ledger [0-9a-f]{16}$", "of ledger 5f1c…", text, flags=re.MULTILINE)
    text = re.sub(r'("bytes": |bytes: )\d+', r"\g<1>14000", text)
    text = re.sub(r"[A-Za-z0-9+/]{43}=", "kZ…=", text)
    text = re.sub(r"(?<![\w/+-])[\w-]{43}(?![\w/+=-])", "n0Vt…", text)
    text = re.sub(r"(— \S+ )\S+", r"\1Rm…", text)
    text = re.sub(r"\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}", "+9d3e…+BM…", text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def recorded(text: str, outputs: list[str]) -> str:
    """The page with these outputs in place of those it shows."""
    waiting = iter(outputs)

    def block(found: re.Match[str]) -> str:
        lines = []
        for line in found.group(1).splitlines():
            if line.startswith("$ "):
                output = next(waiting)
                lines.append(line + (f"\n{output}" if output else ""))
        return "```console\n" + "\n".join(lines) + "\n```"

    return _BLOCK.sub(block, text)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        page = Path(name)
        text = page.read_text(encoding="utf-8")
        page.write_text(recorded(text, run(commands_of(text))), encoding="utf-8")
