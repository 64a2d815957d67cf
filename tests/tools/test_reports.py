"""`audit report`: one page for people, from the log alone."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path

import pytest

import tools.report
from projections.report_access import OUTCOMES, QUARTER_US
from projections.unusual import Rules
from tests.faults.running import ROOT
from tests.tools.conftest import Cli
from tests.tools.test_retention import later, old  # noqa: F401 # fixtures
from tools.report.charts import by_name, cut, over_time, ticks
from tools.report.periods import columns
from tools.report.reports import SECTIONS

CANARY = "canary-3b8d"
DAY_US = 86_400_000_000
HOSTILE = (
    "user:<script>alert(1)</script>",
    "user:\"><img src=x onerror='alert(2)'>",
    "user:&lt;b&gt; {{ 7 * 7 }} {% raw %}",
    "user:" + "w" * 1000,
    "user:\u0639\u0644\u064a",
)


class Page(HTMLParser):
    """What a browser would make of it, as far as it matters here."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.rows, self.said = Counter(), [], [], ""
        self._open = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += [(tag, *one) for one in attributes]
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag in {"td", "th", "style"}:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data):
        self.said += data
        if self._open and self._open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data


@pytest.fixture
def used(payroll):
    """A ledger with attempts of all outcomes, and values that were seen."""
    return use(payroll)


def use(payroll: Cli) -> Cli:
    payroll.ok("app", "create", "Reports", "--kind", "group", "--member", "group:all")
    for name in ("user:ann", "user:bob"):
        payroll.set("payroll", name, User="a", Password=CANARY)
    payroll.set("Reports", None, **{"Windows User Name": "u", "Windows Password": CANARY})
    for _ in range(3):
        payroll.ok("credential", "get", "payroll", "--as", "user:ann", "--reason", "pay day")
    for who in ("user:ann", "user:cid"):
        payroll.ok("credential", "get", "Reports", "--as", who, "--with", "group:all")
    payroll.ok("credential", "get", "payroll", "--as", "user:bob")
    payroll.set("payroll", "user:bob", User="a", Password="changed")
    payroll.fails(3, "credentials-not-set", "credential", "get", "payroll", "--as", "user:dan")
    payroll.fails(4, "access-denied", "credential", "get", "Reports", "--as", "user:mal")
    return payroll


def report(cli, *arguments, name="report.html"):
    """The page, read as a browser would."""
    document = cli.ok("audit", "report", str(cli.home / name), *arguments)
    return document, Page(Path(document["path"]).read_text(encoding="utf-8"))


def size_of(cli):
    return cli.ok("status")["position"]


def test_the_page_tells_what_the_log_holds(used):
    """Totals, applications, people, refusals, what is exposed, changes, keys, and the check."""
    size = size_of(used)
    document, page = report(used)
    assert document["position"] == document["rows"] == size
    assert document["bytes"] == Path(document["path"]).stat().st_size
    rows = [row[:-1] for row in page.rows]  # but for times
    assert ["payroll", "4", "0", "1"] in rows
    assert ["Reports", "2", "1", "0"] in rows
    assert ["user:ann", "4", "0", "0"] in rows
    assert ["user:mal", "0", "1", "0"] in rows
    refused = [row[1:5] for row in page.rows if "not-a-member" in row]
    assert refused == [["user:mal", "Reports", "not-a-member", "–"]]
    exposed = [(row[0], row[1], row[2], *row[4:6]) for row in page.rows if len(row) == 7]
    assert exposed[1:] == [
        ("Reports", "group", "1", "2", "2"),
        ("payroll", "user:ann", "1", "1", "3"),
    ]
    assert "2 of 3 values that are set were seen" in page.said
    assert ["ledger-id", "yes", "is the pinned one"] in page.rows
    assert used.ok("status")["ledger_id"] in page.said
    assert "none is recorded" in page.said
    assert CANARY not in page.said


def test_reading_is_recorded_before_the_page_is_there(used):
    """With the time that was asked about and how far the log was read."""
    size = size_of(used)
    report(used, "--since", "7d", "--reason", "board meeting")
    (row,) = used.ok("log", "events", "--after", str(size))
    assert row["topic"] == "audit.queried"
    used.ok("audit", "export", "--format", "jsonl", "--out", str(used.home / "rows"))
    told = (used.home / "rows").read_text().splitlines()[size]
    assert '"filter": "report {\\"since\\": \\"7d\\"}"' in told
    assert f'"rows": {size}' in told
    assert '"reason": "board meeting"' in told


def test_the_page_fetches_nothing_and_runs_nothing(used):
    """Neither a script nor an address of anything else is in it; its policy forbids both."""
    document, page = report(used)
    text = Path(document["path"]).read_text(encoding="utf-8")
    fetching = {"script", "link", "img", "iframe", "object", "embed", "form", "base", "audio"}
    assert not fetching & set(page.tags)
    assert not [one for one in page.attributes if one[1].startswith("on")]
    links = {value for _, name, value in page.attributes if name in {"href", "src", "xlink:href"}}
    assert all(value.startswith("#") for value in links)
    assert set(re.findall(r"https?://[^\s\"'<]*", text)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text
    assert page.tags["svg"] == 2 * 3


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_or_reason_gets_out_of_its_cell(used, name):
    """Whatever it holds it is text, in the tables and in the drawings."""
    _, before = report(used, name="before.html")
    reason = name.removeprefix("user:")
    used("credential", "get", "payroll", "--as", name, "--reason", reason)
    used("credential", "get", "Reports", "--as", name, "--reason", reason)
    _, page = report(used)
    allowed = {"tr", "td", "th", "bdi", "li", "strong", "g", "rect", "title", "path", "text", "p"}
    assert set(page.tags) == set(before.tags)
    grown = {tag for tag, count in page.tags.items() if count != before.tags[tag]}
    assert grown <= allowed
    shown = name.casefold()
    assert any(row[0] == shown for row in page.rows)
    assert any(shown in row and reason in row for row in page.rows)


def test_a_name_that_turns_lines_around_is_spelled_out(used):
    """Format characters are shown as what they are; letters of any script stay."""
    used("credential", "get", "payroll", "--as", "user:\u202egnp.exe")
    _, page = report(used)
    assert any(row[0] == "user:\\u202egnp.exe" for row in page.rows)
    assert "\u202e" not in page.said


def test_a_span_bounds_what_is_counted_but_not_what_stands(old, later):  # noqa: F811
    """Accesses before it are not counted; a value that was seen before it is still exposed."""
    old.ok("credential", "get", "payroll", "--as", "user:alice")
    _, page = report(old, "--since", "1d")
    counted = [row[1] for row in page.rows if row[0] == "user:alice"]
    assert counted[0] == "1"
    assert counted[1:] in ([], ["0"])  # not for the first time; out of hours, if it is late here
    exposed = [row for row in page.rows if len(row) == 7][1:]
    assert [(row[0], row[4], row[5]) for row in exposed] == [("payroll", "1", "2")]
    early, page = report(old, "--until", "80d", name="early.html")
    assert (early["position"], early["rows"]) == (early["rows"], 7)
    assert [row[1] for row in page.rows if row[0] == "user:alice"] == ["1", "1"]


def exposed_in(page):
    return [(*row[:3], *row[4:6]) for row in page.rows if len(row) == 7][1:]


def test_a_value_that_was_restored_is_known_to_whoever_saw_it_before(used):
    """As `audit exposure` has it, also over two restores, and after it was deleted meanwhile."""
    ann = ("payroll", "--owner", "user:ann")
    used.set("payroll", "user:ann", User="a", Password="other")
    used.ok("credential", "restore", *ann, "--version", "1")
    used.ok("credential", "get", "payroll", "--as", "user:ann")
    used.set("payroll", "user:ann", User="a", Password="third")
    _, page = report(used)
    assert exposed_in(page) == [("Reports", "group", "1", "2", "2")]
    used.ok("credential", "delete", *ann, "--yes")
    used.ok("credential", "restore", *ann, "--version", "3")
    _, page = report(used, name="restored.html")
    assert exposed_in(page)[1:] == [("payroll", "user:ann", "5", "1", "4")]
    told = used.ok("audit", "exposure", "user:ann", "--open")
    assert [(one["version"], one["times"]) for one in told if one["owner"]] == [(1, 3), (3, 1)]


def test_by_a_ticket_both_its_user_and_who_redeemed_it_saw_the_value(used):
    redeeming = ("--ticketing", "--ticket-redeemer", "service:portal")
    used.ok("app", "create", "Mail", "--kind", "individual", *redeeming, "--field", "P:password")
    used.set("Mail", "user:eve", P="p")
    ticket = used.ok("ticket", "issue", "--as", "user:eve")["ticket"].encode()
    brought = ("redeem", "Mail", "--as", "service:portal", "--ticket-file", "-")
    used.ok("ticket", *brought, stdin=ticket)
    _, page = report(used)
    assert ("Mail", "user:eve", "1", "2", "1") in exposed_in(page)
    for who in ("user:eve", "service:portal"):
        assert [one["application"] for one in used.ok("audit", "exposure", who)] == ["Mail"]


def test_erased_records_are_counted_as_such(old):  # noqa: F811
    """They are neither left out nor told."""
    old.ok("key", "retention", "set", "--access-older-than", "31")
    old.ok("key", "retention", "apply", "--yes")
    _, page = report(old)
    assert "3 erased or unreadable" in " ".join(page.said.split())
    assert not any(row[0] == "user:bob" for row in page.rows)


@pytest.mark.parametrize(
    ("asked", "code", "error"),
    [
        (("--since", "1d", "--until", "2d"), 2, "reversed-range"),
        (("--since", "2199-01-01"), 2, "future-time"),
        (("--until", "2199-01-01"), 2, "future-time"),
        (("--until", "now", "--position", "1"), 2, "two-moments"),
        (("--since", "now", "--position", "1"), 2, "reversed-range"),
        (("--position", "99999"), 3, "beyond-the-log"),
        (("--since", "soon"), 2, "invalid-time"),
        (("--until", "soon"), 2, "invalid-time"),
    ],
)
def test_a_time_that_is_none_writes_and_records_nothing(used, asked, code, error):
    """Nor does a span that ends before it begins."""
    size = size_of(used)
    place = used.home / "report.html"
    used.fails(code, error, "audit", "report", str(place), *asked)
    assert not place.exists()
    assert size_of(used) == size


def test_a_file_that_is_there_stays_unless_told_otherwise(used):
    """With --force the new page takes its place, for its owner's eyes only."""
    size = size_of(used)
    place = used.home / "report.html"
    place.write_text("of last month")
    used.fails(5, "report-exists", "audit", "report", str(place))
    assert place.read_text() == "of last month"
    assert size_of(used) == size
    report(used, "--force")
    assert place.read_text().startswith("<!DOCTYPE html>")
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert sorted(one.name for one in used.home.iterdir() if "report" in one.name) == [
        "report.html"
    ]


def test_a_place_that_takes_no_file_is_named_before_anything_is_recorded(used):
    """A folder that is not there, one that is a file, and a folder in the page's own place."""
    size = size_of(used)
    (used.home / "file").touch()
    for place in (used.home / "none" / "a.html", used.home / "file" / "a.html"):
        used.fails(7, "report-not-writable", "audit", "report", str(place))
    used.fails(5, "report-exists", "audit", "report", str(used.home))
    used.fails(5, "report-exists", "audit", "report", str(used.home), "--force")
    assert size_of(used) == size


def test_people_are_told_where_it_lies(used):
    """And how far the log was read."""
    place = used.home / "report.html"
    size = size_of(used)
    said = used("audit", "report", str(place), json_wanted=False)
    assert said.text == f"Wrote {place}, up to position {size}.\n"


def test_an_auditor_makes_the_same_page(used):
    """The keyring that opens no secret is enough."""
    safe = used.home / "auditor"
    safe.mkdir(mode=0o700)
    used.ok(
        *("key", "slot", "add", "key-file", "--auditor", "--label", "ada"),
        *("--new-key-file", str(safe / "key"), "--auditor-file", str(safe / "keyring")),
    )
    _, ours = report(used)
    theirs = Cli(used.home)
    theirs.environment |= {
        "CREDLEDGER_KEYRING": str(safe / "keyring"),
        "CREDLEDGER_KEY_FILE": str(safe / "key"),
    }
    _, page = report(theirs, name="theirs.html")
    assert page.rows[:-3] == ours.rows[:-3]  # the last three tell of the check, one row later
    assert "auditor:2/ada" in page.said


def test_an_empty_ledger_has_a_page_too(bare):
    """That says so."""
    bare.ok("init", "--label", "ann")
    _, page = report(bare)
    assert "Nobody tried to read anything in this time." in page.said
    assert "No value that is set was seen by anybody." in page.said
    assert page.tags["svg"] == 0


def test_only_a_report_loads_what_a_report_needs(used):
    """Reading a credential and exporting do not wait for it."""
    told = "import sys; from tools.cli.main import run; run(sys.argv[1:]); print(*sys.modules)"
    for command in (
        ("credential", "get", "payroll", "--as", "user:ann"),
        ("audit", "export", "--format", "ocsf"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", told, *command],
            env={**used.environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        loaded = set(done.stdout.splitlines()[-1].split())
        assert "tools.cli.main" in loaded
        assert not loaded & {"jinja2", "pygal", "markupsafe", "tools.report", "jsonschema"}


def test_every_section_has_its_template():
    """One more section is one more class and one more template."""
    folder = Path(tools.report.__file__).parent / "templates"
    names = [section.name for section in SECTIONS]
    assert len(names) == len(set(names))
    assert {f"{name}.html" for name in names} <= {one.name for one in folder.iterdir()}
    assert all(section.title for section in SECTIONS)


def quarters(*times):
    counts = Counter(
        int(datetime.fromisoformat(time).timestamp()) * 1_000_000 // QUARTER_US for time in times
    )
    return {"granted": counts, "denied": Counter(), "not-set": Counter()}


@pytest.mark.parametrize(
    ("first", "last", "unit", "number"),
    [
        ("2026-11-23T08:14:00Z", "2026-11-23T10:00:00Z", "hour", 3),
        ("2026-11-23T08:14:00Z", "2026-11-26T07:00:00Z", "day", 4),
        ("2026-02-26T08:14:00Z", "2026-05-28T07:00:00Z", "day", 92),
        ("2026-01-01T08:14:00Z", "2026-12-31T07:00:00Z", "week", 53),
        ("2020-01-31T08:14:00Z", "2026-03-01T07:00:00Z", "month", 75),
        ("1970-01-01T00:00:00Z", "2026-03-01T07:00:00Z", "year", 57),
        ("0001-01-02T00:00:00Z", "9999-12-30T00:00:00Z", "ten years", 1000),
    ],
)
def test_a_chart_has_a_number_of_columns_that_can_be_seen(first, last, unit, number):
    """Every period from the first to the last is there, in order, and all counts are in one."""
    counted = quarters(first, last)
    shown = columns(counted, None, None, UTC)
    assert (shown.unit, len(shown.labels), len(shown.titles)) == (unit, number, number)
    assert [shown.counts["granted"][at] for at in (0, -1)] == [1, 1]
    assert sum(shown.counts["granted"]) == 2
    assert len(set(shown.titles)) == number


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_report_begins_no_earlier_than_the_log(used, zone):
    """However long ago it is asked from, its chart has the columns of the log's own time."""
    environment = {**used.environment, "TZ": zone}
    for since in ("999999999w", "0001-01-02T00:00:00Z", "1960-01-01"):
        words = ("audit", "report", str(used.home / "old.html"), "--since", since, "--force")
        done = subprocess.run(
            [sys.executable, "-m", "tools.cli.main", *words],
            env={**environment, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        text = (used.home / "old.html").read_text(encoding="utf-8")
        assert "1960-" not in text
        assert "0001-" not in text


def test_a_report_of_a_time_before_the_log_is_empty(used):
    _, page = report(used, "--since", "0001-01-02T00:00:00Z", "--until", "1980-01-01T00:00:00Z")
    assert ["payroll", "4", "0", "1"] not in [row[:-1] for row in page.rows]


def test_days_are_those_of_the_zone():
    """Late in the evening it is tomorrow elsewhere."""
    counted = quarters("2026-11-23T22:40:00Z", "2026-11-26T22:40:00Z")
    east = timezone(timedelta(hours=5, minutes=45))
    assert columns(counted, None, None, UTC).titles[0] == "2026-11-23"
    assert columns(counted, None, None, east).titles[0] == "2026-11-24"


def test_a_span_that_was_asked_for_is_shown_as_a_whole():
    """Also where nothing happened."""
    counted = quarters("2026-11-23T12:00:00Z")
    at = next(iter(counted["granted"])) * QUARTER_US
    shown = columns(counted, at - 3 * DAY_US, at + 2 * DAY_US, UTC)
    assert shown.counts["granted"] == [0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("peak", "expected"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (5, [0, 1, 2, 3, 4, 5]),
        (6, [0, 2, 4, 6]),
        (26, [0, 10, 20, 30]),
        (999_999, [0, 200_000, 400_000, 600_000, 800_000, 1_000_000]),
    ],
)
def test_an_axis_has_few_whole_round_numbers_up_to_the_peak(peak, expected):
    assert ticks(peak) == expected


def test_a_drawing_is_the_same_each_time_and_names_each_bar():
    """Nothing random is in it; bars of no length are left out."""
    counts = {"granted": [2, 0], "denied": [0, 1], "not-set": [0, 0]}
    drawn = by_name(["<b>", "x" * 60], counts)
    assert drawn == by_name(["<b>", "x" * 60], counts)
    assert re.findall(r"<title>(.*?)</title>", drawn)[:2] == [
        "&lt;b&gt;: 2 granted",
        f"{'x' * 60}: 1 denied",
    ]
    assert drawn.count('class="bar"') == 2 * 2
    assert list(counts) == list(OUTCOMES)
    columns_drawn = over_time(["01 Nov", "02 Nov"], ["2026-11-01", "2026-11-02"], counts)
    assert "2026-11-02: 1 denied" in columns_drawn
    assert ">01 Nov<" in columns_drawn


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("user:anna", "user:anna"),
        ("user:annabella", "user:anna…"),
        ("user:wwwwwwwww", "user:ww…"),
        ("\u5de5" * 9, "\u5de5" * 4 + "…"),
        ("a" + "\u0301" * 99, "a" + "\u0301" * 8 + "…"),
        ("", ""),
    ],
)
def test_a_label_is_cut_by_its_width(name, shown):
    """Ten usual letters, or fewer wide ones; marks that take no room are counted too."""
    assert cut(name, 10) == shown


def test_a_label_of_wide_letters_keeps_to_its_room():
    """The drawing narrows it; one of usual letters stays as it is."""
    counts = {outcome: [1, 1] for outcome in OUTCOMES}
    drawn = by_name(["user:anna", "user:wwww"], counts)
    assert drawn.count('textLength="70.2"') == 2
    assert re.search(r'textLength="70.2"[^>]*>user:wwww<', drawn)


@pytest.mark.parametrize(
    "name", ["user:kim", "user:mallory", "Scheduled Refresh", "Azure Services"]
)
def test_a_label_that_has_room_enough_is_not_stretched(name):
    """A wide letter among slim ones needs no more than was given for all."""
    assert "textLength" not in by_name([name], {outcome: [1] for outcome in OUTCOMES})


def test_unusual_reads_are_counted_by_rule_and_person(used, monkeypatch):
    """Only those of the time asked about, though a first time before it is one no more."""
    monkeypatch.setattr(Rules, "in_hours", lambda _, moment: True)
    until = used.ok("audit", "access", "--limit", "1")[0]["recorded_at"]
    _, page = report(used)
    told = [row[:4] for row in page.rows if row[0] in {"user:ann", "user:cid"}]
    assert ["user:ann", "2", "0", "0"] in told
    assert ["user:cid", "1", "0", "0"] in told
    assert "first-time: never before given to this person" in page.said
    for _ in range(50):
        used.ok("credential", "get", "payroll", "--as", "user:ann")
    used.ok("credential", "get", "Reports", "--as", "user:new", "--with", "group:all")
    _, page = report(used, "--since", until, name="later.html")
    told = [row[:4] for row in page.rows if row and row[0].startswith("user:")]
    assert ["user:ann", "0", "0", "50"] in told
    assert ["user:new", "1", "0", "0"] in told
    assert not [row for row in told if row[0] == "user:cid"]


def test_who_gave_themselves_what_they_read_with_is_told_by_grant(used):
    """As `audit access --self-granted` tells it; grants of before the time asked about count."""
    used.ok("role", "grant", "full-control", "user:kim")
    _, page = report(used)
    assert "Granted by the reader" in page.said
    assert not [row for row in page.rows if row[0] == "user:kim"]
    granted = ("app", "grant", "Reports", "member", "group:kims", "--as", "user:kim")
    position = used.ok(*granted)["position"]
    get = ("credential", "get", "Reports", "--as", "user:kim", "--with", "group:kims")
    first, second = (used.ok(*get)["position"] for _ in range(2))
    rows = used.ok("audit", "access", "--self-granted")
    assert [one["position"] for one in rows] == [second, first]
    for name, since, times in (
        ("all", (), "2"),
        ("late", ("--since", rows[0]["recorded_at"]), "1"),
    ):
        _, page = report(used, *since, name=f"{name}.html")
        (row,) = [row for row in page.rows if row[0] == "user:kim" and len(row) == 8]
        assert row[1:4] == ["Reports", "member", "group:kims"]
        assert row[5:7] == [str(position), times]


def test_no_name_passes_for_anothers(used):
    """In tables, drawings and titles, two that differ are shown as two that differ."""
    twins = ("user:\u0430nn", "user:ann\ufe0f", "user:a\u3164nn", "user:\uff41nn")
    for name in twins:
        used("credential", "get", "payroll", "--as", name)
    document, page = report(used)
    shown = {row[0] for row in page.rows if len(row) == 5}
    assert {"user:ann", "user:\\u0430nn", "user:ann\\ufe0f", "user:a\\u3164nn"} <= shown
    text = Path(document["path"]).read_text(encoding="utf-8")
    assert not any(letter in text for letter in "\u0430\ufe0f\u3164\uff41")


def test_what_administrators_call_things_stays_text_too(used):
    """Applications' names and contacts, slots, folders of archives, and witnesses."""
    ill = "<script>alert(1)</script><svg onload=alert(2)>"
    used.ok("app", "update", "payroll", "--name", ill, "--contact", ill)
    used.ok("app", "grant", "payroll", "administrator", f"group:{ill}", "--reason", ill)
    key = str(used.home / "key")
    used.ok("key", "slot", "add", "key-file", "--label", ill, "--new-key-file", key)
    folder = used.home / "archives<script>" / "a><img src=x>"
    used.ok("backup", "create", str(folder), "--reason", ill)
    _, before = report(used, name="before.html")
    witness, anchors = str(used.home / "w"), str(used.home / "anchors")
    ledger_id, name = used.ok("status")["ledger_id"], "w<script>alert(3)</script>"
    made = used.ok("log", "witness", "init", witness, "--ledger-id", ledger_id, "--name", name)
    used.ok("log", "witness", "sign", witness, "--out", anchors)
    asked = ("--anchors", anchors, "--witness-key", made["witness_key"], "--reason", ill)
    _, page = report(used, *asked, "--key-file", key)
    assert not {"script", "img"} & set(page.tags)
    assert page.tags["svg"] == before.tags["svg"] == 2 * 3
    assert name in page.said
    assert ill in page.said
    assert not [one for one in page.attributes if one[1].startswith("on")]
