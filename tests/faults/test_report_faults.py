"""A report that is killed, for which there is no room, or whose log was changed: whole, or none."""

from __future__ import annotations

import pytest

from tests.faults.killing import killed_everywhere
from tests.faults.test_full_disk import full_everywhere
from tests.faults.test_tampering import ATTACKS, attack, command_line, fill

REPORT = ("audit", "report", "report.html")


def pages(host):
    return sorted(one.name for one in host.home.iterdir() if "report" in one.name)


def is_whole(text):
    return text.startswith("<!DOCTYPE html>") and text.endswith("</html>")


@pytest.mark.parametrize("force", [False, True], ids=["new", "force"])
def test_a_killed_report_leaves_what_was_there(base, tmp_path, force):
    """The old page or the new one, never a part; what is left beside it goes with the next run."""
    old = base.copy(tmp_path / "old")
    asked = (*REPORT, "--force") if force else REPORT
    if force:
        (old.home / "report.html").write_text("of last month")
    for host, _ in killed_everywhere(old, tmp_path, *asked):
        place = host.home / "report.html"
        text = place.read_text() if place.exists() else None
        assert is_whole(text or "") or text == ("of last month" if force else None)
        assert host.ok(*REPORT, "--force")["bytes"]
        assert is_whole(place.read_text())
        assert pages(host) == ["report.html"]
        host.is_whole()


def test_a_full_disk_leaves_no_part_of_a_page(base, tmp_path):
    """It is told that there is no room; the same command is done once there is."""
    refused = set()
    for host, ended in full_everywhere(base, tmp_path, *REPORT):
        assert ended.code in {0, 7}, ended
        assert b"Traceback" not in ended.both
        text = (host.home / "report.html").read_text() if pages(host) else ""
        assert not text or is_whole(text)
        if ended.code:
            refused.add(ended.error["code"])
        else:
            assert text
        if not text:
            assert pages(host) == []
            host.ok(*REPORT)
        host.is_whole()
    assert "report-not-writable" in refused
    assert len(refused) > 1  # and there was none for the record either


@pytest.mark.parametrize(
    "name",
    ["a sealed byte altered", "a row's time altered", "a row taken away", "a signature altered"],
)
def test_of_a_log_that_was_changed_there_is_no_report(prepared, tmp_path, name):
    """Nor a record of one: whoever would append to such a log would vouch for it."""
    house = prepared(fill)
    attack(house, ATTACKS[name][0])
    rows = house.sql("SELECT count(*) FROM log")
    place = tmp_path / "report.html"
    place.write_text("of last month")
    answer = command_line(house)("audit", "report", str(place), "--force")
    assert answer.code == 8, answer
    assert place.read_text() == "of last month"
    assert house.sql("SELECT count(*) FROM log") == rows
