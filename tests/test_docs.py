"""The reference pages name everything that the source can record or raise, and no link is dead."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import click

import ledger.aggregates
from ledger.aggregates.event import topics
from projections.ocsf import ACTIONS, Class, Severity
from tools.cli.main import program
from tools.reference import leaves

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
_RAISED = re.compile(
    r"\b(?:InvalidInput|NotFound|Refused|Conflict|KeyUnavailable|Unavailable|Tampered"
    r"|_invalid|_tampered)\(\s*\"([a-z]+(?:-[a-z]+)*)\","
)
_FOUND = re.compile(r"\bFinding\(\s*\"([a-z-]+)\"")
_TOO_OPEN = re.compile(r"\b_file\(\"([a-z-]+)\"")
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def _quoted(page: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", (REFERENCE / page).read_text(encoding="utf-8")))


def test_every_topic_is_documented():
    """Each registered topic stands in the page of events."""
    for module in pkgutil.iter_modules(ledger.aggregates.__path__, "ledger.aggregates."):
        importlib.import_module(module.name)
    registered = topics()
    assert len(registered) > 20
    assert set(registered) - _quoted("events.md") == set()


def test_every_error_code_is_documented():
    """Each code that the source raises stands in the page of errors."""
    raised = {
        code
        for package in ("ledger", "projections", "tools")
        for path in (ROOT / package).rglob("*.py")
        for code in _RAISED.findall(path.read_text(encoding="utf-8"))
    }
    assert len(raised) > 100
    assert raised - _quoted("errors.md") == set()


def test_every_finding_of_doctor_is_documented():
    """Each code stands in the page of findings."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tools").rglob("*.py")]
    found = {code for text in sources for code in _FOUND.findall(text)}
    found |= {f"{what}-too-open" for text in sources for what in _TOO_OPEN.findall(text)}
    assert len(found) > 25
    assert found - _quoted("findings.md") == set()


def test_every_topic_is_told_with_its_class_in_ocsf():
    """The page of the export format has each topic's class, activity and severity."""
    text = (REFERENCE / "export-format.md").read_text(encoding="utf-8")
    table = text.partition("| topic |")[2]
    shown = dict(re.findall(r"^\| `([a-z.-]+)` \| (.* \|)$", table, re.MULTILINE))
    for topic, action in ACTIONS.items():
        uid, caption, *_ = action.ocsf.value
        named = f"{caption} ({uid})"
        if action.ocsf is Class.USER_ACCESS:
            named = f"{caption}, or Group Management ({uid} or {Class.GROUP.value[0]})"
        quiet = action.severity is Severity.INFORMATIONAL
        severity = "" if quiet else action.severity.value[1]
        assert shown.pop(topic) == f"{named} | {action.name} ({action.activity}) | {severity} |"
    assert shown == {}


def test_every_link_between_pages_leads_somewhere():
    """Each relative link in the docs names a file or folder that is there."""
    dead = [
        (page.relative_to(ROOT).as_posix(), target)
        for page in (ROOT / "docs").rglob("*.md")
        for target in _LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert dead == []


def test_every_variable_of_the_environment_is_documented_with_its_option():
    """Each that the source names stands in the page of commands, beside an option that is there."""
    named = {
        name
        for path in (ROOT / "tools").rglob("*.py")
        for name in re.findall(r"\bCREDLEDGER_[A-Z_]+[A-Z]\b", path.read_text(encoding="utf-8"))
    }
    page = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `(CREDLEDGER_\w+)` \| `(--[a-z-]+)` \|$", page, re.MULTILINE))
    assert set(table) == named
    options = {
        option
        for _, command in leaves(program, click.Context(program))
        for parameter in command.params
        for option in parameter.opts
    }
    assert set(table.values()) <= options


def test_the_index_lists_every_page():
    """The README says that it does, and who has lost a passphrase looks there."""
    index = ROOT / "docs" / "index.md"
    listed = {index.parent / link for link in _LINK.findall(index.read_text(encoding="utf-8"))}
    assert set(index.parent.rglob("*.md")) - listed == {index}
