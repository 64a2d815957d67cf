"""The locks install what they name, whatever is released elsewhere later."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
_PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(\[(?P<extras>[^\]]+)\])?==(?P<version>\S+) \\$", re.MULTILINE
)


def pins(lock: str) -> dict[str, set[str]]:
    """Names in a lock, each with the extras it is pinned with."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    return {
        found["name"].lower(): set((found["extras"] or "").split(",")) - {""}
        for found in _PIN.finditer(text)
    }


def asked_for(name: str) -> list[Requirement]:
    """What an installed distribution asks for here, without extras of its own."""
    requirements = [Requirement(text) for text in distribution(name).requires or ()]
    return [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-test.lock"])
def test_what_is_asked_for_with_extras_is_pinned_with_them(lock):
    """Else pip would look for the newest release and refuse it for want of a hash."""
    pinned = pins(lock)
    assert pinned
    asked = [one for name in pinned for one in asked_for(name) if one.extras]
    lacking = [str(one) for one in asked if not one.extras <= pinned[one.name.lower()]]
    assert not lacking
    if "test" in lock:
        assert any(one.name == "coverage" for one in asked)


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-test.lock"])
def test_a_lock_names_no_place(lock):
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(-|--)(i|index|extra-index|find-links|trusted)", text, re.MULTILINE)
