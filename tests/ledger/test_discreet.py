"""Whatever holds what nobody should read is printed without it."""

from __future__ import annotations

import importlib
import pkgutil

import msgspec
from rich.pretty import pretty_repr

import ledger
import projections
import tools
from ledger.discreet import Discreet
from ledger.sealing.confidential import Confidential

REFUSING = {Confidential.__reduce__, Confidential.__copy__}


class Held(Discreet, msgspec.Struct, frozen=True):
    """Of which one field may be seen."""

    SHOWN = ("kind",)

    kind: str
    secret: str


def heirs(of: type) -> set[type]:
    """All of ours, however far down; the modules that have them are there by then."""
    below = {one for child in of.__subclasses__() for one in (child, *heirs(child))}
    return {
        one for one in below if one.__module__.startswith(("ledger.", "projections.", "tools."))
    }


def test_only_what_is_named_is_printed():
    held = Held("key", "canary-77")
    assert repr(held) == str(held) == pretty_repr(held) == "Held(kind='key')"


def test_no_struct_comes_before_what_keeps_it_discreet():
    """The order of bases decides who prints, copies and stores."""
    for package in (ledger, projections, tools):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    discreet, confidential = heirs(Discreet), heirs(Confidential)
    assert len(discreet) > 60
    assert len(confidential) > 12
    for one in discreet:
        assert one.__rich_repr__ is Discreet.__rich_repr__, one
        assert {*one.SHOWN} <= {*getattr(one, "__struct_fields__", ())}, one
    for one in confidential:
        assert {one.__reduce__, one.__copy__} == REFUSING, one
