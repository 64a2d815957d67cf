"""What the report says of anchors: how far the log is proven, by whom, and what is left."""

from __future__ import annotations

import re

from tests.tools.test_anchors import watched  # noqa: F401 # a fixture


def told(cli, *options):
    """What the page says in the section on the log's truth."""
    cli.ok("audit", "report", "page.html", "--force", *options)
    page = (cli.home / "page.html").read_text(encoding="utf-8")
    section = page.partition('<section id="verification">')[2].partition("</section>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", section).split())


def test_the_page_tells_how_far_anchors_prove_the_log(watched):  # noqa: F811
    size = watched.ok("log", "witness", "show", "w")["size"]
    watched.ok("app", "create", "x", "--kind", "group", "--field", "Password:password")
    last = watched.ok("status")["position"]
    page = told(watched, "--anchors", "anchors", "--witness-key", watched.witness_key)
    assert f"Proven by anchors up to row {size}, recorded 20" in page
    assert "by cosignature of w.example at 20" in page
    assert f"In no anchor {last - size} rows" in page
    assert f"unanchored-tail yes rows after {size} that are in no anchor: {last - size}" in page


def test_anchors_of_nobody_that_is_trusted_prove_nothing(watched):  # noqa: F811
    page = told(watched, "--anchors", "anchors")
    assert "Proven by anchors nothing: none that was given counts" in page
    assert "anchors-not-counted yes 1, the last of size" in page


def test_without_anchors_the_page_says_so(watched):  # noqa: F811
    page = told(watched)
    assert "Proven by anchors nothing: none was given" in page
    assert "In no anchor" not in page


def test_anchors_that_do_not_hold_make_no_page(watched):  # noqa: F811
    """Nor is anything recorded of it."""
    before = watched.ok("status")["position"]
    lines = watched.anchors.read_text().split("\n")
    words = ("audit", "report", "page.html", "--witness-key", watched.witness_key)
    watched.fails(2, "usage", *words)
    (watched.home / "wrong").write_text("\n".join([*lines[:2], "A" + lines[2][1:], *lines[3:]]))
    watched.fails(8, "log-damaged", *words, "--anchors", "wrong")
    other = [lines[0].replace("/", "/00", 1)[: len(lines[0])], *lines[1:]]
    (watched.home / "other").write_text("\n".join(other))
    watched.fails(2, "anchor-of-another-ledger", *words, "--anchors", "other")
    (watched.home / "none").write_text("garbage\n")
    watched.fails(2, "unknown-anchor", *words, "--anchors", "none")
    assert not (watched.home / "page.html").exists()
    assert watched.ok("status")["position"] == before
