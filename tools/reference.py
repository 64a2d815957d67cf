"""Writes the reference pages that follow from the code: commands, error codes, the service.

    python -m tools.reference docs/reference

`cli.md` comes from the commands themselves, `errors.md` from the places that raise, `http.md` from
the OpenAPI description. A test compares the stored pages with what this makes, so none can fall
behind.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from tools.cli.command import WITH_JSON
from tools.cli.default import GroupWithDefault
from tools.cli.main import PROGRAM, program
from tools.exits import EXIT_CODES
from tools.http_page import http_page
from tools.settings import OPTION_OF

_FAMILIES = {
    "InvalidInput": "invalid",
    "NotFound": "not-found",
    "Refused": "refused",
    "Conflict": "conflict",
    "KeyUnavailable": "key-unavailable",
    "Unavailable": "unavailable",
    "Tampered": "tampered",
}
_MAKERS = {**_FAMILIES, "_invalid": "invalid", "_tampered": "tampered"}
"""The classes, and the functions that modules shorten them with."""
_PACKAGES = ("ledger", "projections", "tools")
_VARYING = "The message says what is off."
_TOLD_IN_FULL = {"store-damaged"}
"""Codes that stand for several kinds of damage: the page has the message of each."""
_NAMES = "_name_key"
"""The function that both kinds of names go through, with the code as its last argument."""
_GAPS = (
    "An … in a code stands for one word: `keyring`, `key-file` or `key-backup` before `-missing`"
    " and `-too-open`, `name` or `contact` after `invalid-`."
)
_SHARED = (
    "Every command takes `--json`, `--store`, `--keyring`, `--passphrase-file`, `--key-file`"
    " and `--slot`; they may stand before or after its name."
)
_SETTINGS = (
    "What no option says, the environment may. A passphrase or key never stands in it, only the"
    " path of its file; a program that `exec` runs gets none of these."
)
_EVERYWHERE = {"store", "keyring", "passphrase_file", "key_file", "slot", "json", "help"}


def command_page() -> str:
    """The page of all commands."""
    lines = [
        "# Commands",
        "",
        _SHARED,
        "",
        _SETTINGS,
        "",
        "| variable | stands for |",
        "|---|---|",
        *(f"| `{variable}` | `{option}` |" for variable, option in OPTION_OF.items()),
    ]
    for path, command in leaves(program, click.Context(program, info_name=PROGRAM)):
        lines += ["", f"## `{path}`", "", _plain(command.help), ""]
        lines += ["```", command.get_usage(click.Context(command, info_name=path)), "```", ""]
        options = [one for one in command.params if _is_own(one)]
        if options:
            lines += ["| option | does |", "|---|---|"]
            lines += [f"| {_option(one)} | {_escaped(_help(one))} |" for one in options]
            lines.append("")
        told = (command.epilog or "").splitlines()
        shapes = [line for line in told if line.startswith(WITH_JSON)]
        lines += [f"With `--json`: `{line.removeprefix(WITH_JSON)}`\n" for line in shapes]
        lines.append(f"Example: `{told[-1].strip()}`")
    return "\n".join(lines) + "\n"


def error_page(root: Path) -> str:
    """The page of all error codes, by family."""
    found: dict[str, dict[str, str]] = {}
    for family, code, message in _raised(root):
        codes = found.setdefault(family, {})
        told = codes.get(code, "")
        if code in _TOLD_IN_FULL and told and message not in told:
            codes[code] = f"{told} {message}"
        else:
            codes[code] = told or message
    lines = ["# Errors", "", "Scripts match on the code; messages may be worded anew.", "", _GAPS]
    for family in _FAMILIES.values():
        lines += ["", f"## {family} (exit {EXIT_CODES[family]})", "", "| code | message |"]
        lines.append("|---|---|")
        known = sorted(found.get(family, {}).items())
        lines += [f"| `{code}` | {_escaped(message or _VARYING)} |" for code, message in known]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the pages into the folder given."""
    root = Path(__file__).resolve().parent.parent
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cli.md").write_text(command_page(), encoding="utf-8")
    (folder / "errors.md").write_text(error_page(root), encoding="utf-8")
    (folder / "http.md").write_text(http_page(), encoding="utf-8")


def leaves(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Each command that is no group, with its whole name."""
    if isinstance(command, GroupWithDefault):
        yield context.command_path, command.default
    if not isinstance(command, click.Group):
        yield context.command_path, command
        return
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from leaves(inner, click.Context(inner, parent=context, info_name=name))


def _raised(root: Path) -> Iterator[tuple[str, str, str]]:
    """Family, code and message of each place that raises; no message where it varies."""
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    family = _MAKERS.get(node.func.id)
                    texts = [_text(argument) for argument in node.args[:2]]
                    if family and len(texts) == 2 and texts[0]:
                        yield family, texts[0], texts[1] or ""
                    code = _text(node.args[-1]) if node.func.id == _NAMES and node.args else None
                    if code:
                        yield "invalid", code, ""


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        return "".join(parts)
    return None


def _is_own(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and parameter.name not in _EVERYWHERE


def _option(option: click.Parameter) -> str:
    assert isinstance(option, click.Option)
    if option.is_flag:
        return f"`{option.opts[0]}`"
    return f"`{option.opts[0]} {_escaped(option.make_metavar(click.Context(program)))}`"


def _help(option: click.Parameter) -> str:
    assert isinstance(option, click.Option)
    return option.help or ""


def _plain(text: str | None) -> str:
    return " ".join((text or "").split())


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
