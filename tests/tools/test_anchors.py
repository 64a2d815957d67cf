"""Witnesses, anchors and time stamps by the program: bad input, bad authorities, files."""

from __future__ import annotations

import base64
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import HTTPServer

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ledger.anchors.cosignature import cosign
from ledger.anchors.signed_note import NoteSignature, read_notes
from tests.authority import Authority, replying, served
from tools.evidence import time_stamps
from tools.evidence.anchors import add_note, writing


@pytest.fixture
def watched(cli, monkeypatch):
    """A ledger, a witness `w` of it, and the file `anchors` with one note."""
    monkeypatch.chdir(cli.home)
    cli.ledger_id = cli.ok("status")["ledger_id"]
    made = cli.ok(
        "log", "witness", "init", "w", "--ledger-id", cli.ledger_id, "--name", "w.example"
    )
    cli.witness_key = made["witness_key"]
    cli.anchors = cli.home / "anchors"
    cli.ok("log", "witness", "sign", "w", "--out", "anchors")
    return cli


@pytest.fixture
def authority(tmp_path):
    made = Authority()
    made.root_file(tmp_path / "root.pem")
    return made


def verify(cli, *arguments):
    return cli(
        "log", "verify", "--anchors", "anchors", "--witness-key", cli.witness_key, *arguments
    )


def failed(answer) -> list[str]:
    assert answer.code == 8, answer
    return [one["name"] for one in answer.json["checks"] if not one["ok"]]


def signatures(answer):
    return [(one["kind"], one["verdict"]) for one in answer.json["anchors"][-1]["signatures"]]


# Witnesses.


def test_what_a_witness_is_told_when_it_is_made_is_shown_again(watched):
    shown = watched.ok("log", "witness", "show", "w")
    assert set(shown) == {"ledger_id", "name", "witness_key", "size", "root", "signed_at"}
    status = watched.ok("status")
    assert (shown["size"], shown["root"]) == (status["position"], status["root"])
    assert shown["witness_key"] == watched.witness_key


def test_a_signed_note_is_answered_and_added_to_the_file(watched):
    before = watched.anchors.read_text()
    answer = watched.ok("log", "witness", "sign", "w", "--out", "anchors")
    assert watched.anchors.read_text() == before + answer["note"]
    printed = watched("log", "witness", "sign", "w", json_wanted=False)
    assert printed.text.startswith(f"credledger/{watched.ledger_id}\n")


def test_a_witness_without_a_name_has_the_hosts(watched):
    made = watched.ok("log", "witness", "init", "w2", "--ledger-id", watched.ledger_id)
    assert made["name"].startswith("witness/")
    assert (made["size"], made["root"], made["signed_at"]) == (0, None, None)


def test_bad_input_to_a_witness_makes_nothing(watched):
    init = ("log", "witness", "init", "other", "--ledger-id")
    watched.fails(2, "invalid-ledger-id", *init, "abc")
    for name in ("", "a b", "a+b", "credledger/00", "x" * 201, "tab\t"):
        watched.fails(2, "invalid-witness-name", *init, watched.ledger_id, "--name", name)
    assert not (watched.home / "other").exists()
    watched.fails(5, "witness-exists", "log", "witness", "init", "w", "--ledger-id", "0" * 64)
    for verb in ("show", "sign"):
        watched.fails(3, "no-witness", "log", "witness", verb, "nowhere")
    assert not (watched.home / "nowhere").exists()
    watched.fails(3, "no-archive", "log", "witness", "sign", "w", "--archive", "keys")


def test_a_witness_of_another_ledger_refuses_this_one(watched):
    watched.ok("log", "witness", "init", "o", "--ledger-id", "ab" * 32)
    watched.fails(8, "another-ledger", "log", "witness", "sign", "o")


def test_a_witness_that_finds_no_store_says_so(watched):
    gone = f"sqlite://{watched.home}/gone.db"
    watched.fails(3, "no-ledger", "log", "witness", "sign", "w", "--store", gone)


def test_a_file_that_holds_something_else_is_never_written_to(watched):
    for number, content in enumerate(("hello\n", "hello", watched.anchors.read_text() + "x\n")):
        place = watched.home / f"other{number}"
        place.write_text(content)
        if number < 2:
            watched.fails(2, "unknown-anchor", "log", "witness", "sign", "w", "--out", str(place))
            assert place.read_text() == content
    # Behind a whole note it is what a power failure left of the next one.
    answer = watched.ok("log", "witness", "sign", "w", "--out", str(place))
    assert place.read_text() == watched.anchors.read_text() + answer["note"]


def test_a_file_that_cannot_be_written_is_told_and_the_witness_has_seen_it(watched):
    watched.ok("app", "create", "A", "--kind", "group", "--member", "group:a")
    sign = ("log", "witness", "sign", "w", "--out")
    watched.fails(7, "anchors-not-writable", *sign, str(watched.home / "gone" / "anchors"))
    watched.fails(7, "anchors-not-writable", *sign, str(watched.home / "keys"))
    assert watched.ok("log", "witness", "show", "w")["size"] == watched.ok("status")["position"]


def test_two_that_add_to_one_file_wait_for_each_other(watched, monkeypatch):
    monkeypatch.setattr("tools.evidence.anchors.LOCK_TIMEOUT_S", 0.05)
    with writing(watched.anchors):
        watched.fails(7, "anchors-busy", "log", "witness", "sign", "w", "--out", "anchors")
    note = watched.anchors.read_text()
    threads = [threading.Thread(target=add_note, args=(watched.anchors, note)) for _ in range(4)]
    monkeypatch.setattr("tools.evidence.anchors.LOCK_TIMEOUT_S", 30)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watched.anchors.read_text() == note * 5


def test_a_file_that_would_grow_without_end_is_refused(watched, monkeypatch):
    before = watched.anchors.read_bytes()
    for limit, value in (("BYTES", len(before) + 10), ("LINES", before.count(b"\n") + 1)):
        with monkeypatch.context() as patched:
            patched.setattr(f"tools.evidence.anchors.FILE_{limit}_MAX", value)
            watched.fails(2, "too-large", "log", "witness", "sign", "w", "--out", "anchors")
        assert watched.anchors.read_bytes() == before


# Anchors.


def test_anchors_can_come_from_several_files_and_from_standard_input(watched):
    note = watched.ok("log", "checkpoint")["note"]
    answer = watched("log", "verify", "--anchors", "-", "--anchors", "anchors", stdin=note.encode())
    assert [one["counted"] for one in answer.json["anchors"]] == [True, False]


def test_without_anchors_the_report_is_as_it_was(watched):
    report = watched.ok("log", "verify")
    assert set(report) == {"ok", "size", "root", "proven_to", "unanchored", "checks"}
    assert report["proven_to"] == report["size"]


def test_a_person_is_told_what_is_proven_until_when_and_what_is_not(watched):
    watched.ok("app", "create", "A", "--kind", "group", "--member", "group:a")
    arguments = ("--anchors", "anchors", "--witness-key", watched.witness_key)
    text = watched("log", "verify", *arguments, json_wanted=False).text
    assert "proven to: 2\n" in text
    assert "by cosignature of w.example at 20" in text
    assert "unanchored rows: 1\n" in text
    assert "nothing outside this store would tell if they were taken away" in text


BAD_FILES = {
    "an empty one": ("", "no-anchors"),
    "something else": ("hello\n", "unknown-anchor"),
    "a note of another kind of log": (
        "example.com/log\n7\nAAAA\n\n— example.com/log YWJjZGVm\n",
        "unknown-anchor",
    ),
    "JSON": ('{"size": 3}\n', "unknown-anchor"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_holds_no_anchors_is_refused(watched, name):
    content, code = BAD_FILES[name]
    watched.anchors.write_text(content)
    answer = verify(watched)
    assert (answer.code, answer.error["code"]) == (2, code)


def test_options_that_do_not_fit_are_refused(watched):
    check = ("log", "verify")
    watched.fails(2, "usage", *check, "--witness-key", watched.witness_key)
    watched.fails(2, "usage", *check, "--tsa-root", "root.pem")
    watched.fails(3, "no-such-file", *check, "--anchors", "gone")
    watched.fails(2, "file-unreadable", *check, "--anchors", "keys")
    check = (*check, "--anchors", "anchors")
    watched.fails(2, "invalid-witness-key", *check, "--witness-key", "w.example")
    watched.fails(3, "no-such-file", *check, "--tsa-root", "gone.pem")
    watched.fails(2, "invalid-certificate", *check, "--tsa-root", "anchors")
    os.mkfifo(watched.home / "pipe")
    watched.fails(2, "not-a-file", "log", "verify", "--anchors", "pipe")


def test_a_checkpoint_of_another_ledger_is_refused(watched):
    text = watched.anchors.read_text()
    watched.anchors.write_text(text + text.replace(watched.ledger_id, "ab" * 32))
    answer = verify(watched)
    assert (answer.code, answer.error["code"]) == (2, "anchor-of-another-ledger")
    assert "(line 8)" in answer.error["message"]


@pytest.mark.parametrize("line", [0, 1])
def test_a_wrong_signature_is_a_failed_check(watched, line):
    """Of the log or of the witness: one bit of it altered."""
    (note,) = read_notes(watched.anchors.read_bytes())
    lines = list(note.signatures)
    content = bytearray(lines[line].content)
    content[-1] ^= 1
    lines[line] = NoteSignature(lines[line].name, lines[line].key_id, bytes(content))
    text = note.text.decode() + "\n" + "".join(one.line() for one in lines)
    watched.anchors.write_text(text)
    answer = verify(watched)
    assert failed(answer) == ["anchor-signature"]
    assert "(position 2)" in next(one["detail"] for one in answer.json["checks"] if not one["ok"])
    assert answer.json["proven_to"] == 0


def test_another_root_under_the_same_signatures_is_a_failed_check(watched):
    """Whoever changes the anchor itself breaks its signatures."""
    lines = watched.anchors.read_text().split("\n")
    lines[2] = base64.b64encode(bytes(32)).decode()
    watched.anchors.write_text("\n".join(lines))
    assert failed(verify(watched)) == ["anchor-signature"]


def test_a_cosignature_of_tomorrow_is_a_failed_check_and_one_of_these_minutes_is_none(watched):
    (note,) = read_notes(watched.anchors.read_bytes())
    key = load_pem_private_key((watched.home / "w" / "key").read_bytes(), None)
    now = int(time.time())
    for ahead, expected in ((86_400, ["anchor-future-dated"]), (120, [])):
        line = cosign("w.example", key, note.text, now + ahead)
        text = note.text.decode() + "\n" + note.signatures[0].line() + line.line()
        watched.anchors.write_text(text)
        answer = verify(watched)
        assert (failed(answer) if expected else answer.code) == (expected or 0)


@pytest.mark.parametrize("at", [253_402_300_799, 253_402_300_800, 2**62, 2**63, 2**64 - 1])
def test_a_cosignature_of_a_time_that_no_calendar_has_is_one_of_the_future(watched, at):
    """In the report and on the page alike: truly signed by the witness that was named."""
    (note,) = read_notes(watched.anchors.read_bytes())
    key = load_pem_private_key((watched.home / "w" / "key").read_bytes(), None)
    line = cosign("w.example", key, note.text, at)
    text = note.text.decode() + "\n" + note.signatures[0].line() + line.line()
    watched.anchors.write_text(text)
    answer = verify(watched)
    assert failed(answer) == ["anchor-future-dated"]
    (anchor,) = answer.json["anchors"]
    told = [one["at"] for one in anchor["signatures"]]
    fraction = "000000" if at == 253_402_300_799 else "999999"
    assert told == [None, f"9999-12-31T23:59:59.{fraction}Z"]
    page = watched.home / "page.html"
    words = ("--anchors", str(watched.anchors), "--witness-key", watched.witness_key)
    reported = watched("audit", "report", str(page), *words)
    assert "Traceback" not in reported.err
    assert reported.code == 8, reported.err


def test_a_true_signature_of_a_witness_over_another_root_is_a_fork(watched):
    """A witness that was deceived, or a log that is another one: the root decides."""
    (note,) = read_notes(watched.anchors.read_bytes())
    key = load_pem_private_key((watched.home / "w" / "key").read_bytes(), None)
    lines = note.text.decode().split("\n")
    lines[2] = base64.b64encode(bytes(32)).decode()
    text = "\n".join(lines)
    line = cosign("w.example", key, text.encode(), int(time.time()))
    watched.anchors.write_text(f"{text}\n{line.line()}")
    assert failed(verify(watched)) == ["forked"]


def test_a_store_without_a_ledger_is_damage_to_whoever_has_anchors(watched):
    gone = f"sqlite://{watched.home}/gone.db"
    answer = verify(watched, "--store", gone, "--keyring", "nowhere")
    assert failed(answer) == ["rolled-back"]


# Time stamps.


def test_a_stamp_is_asked_for_in_a_file_and_its_answer_put_under_the_note(watched, authority):
    stamp = ("log", "witness", "stamp", "anchors")
    assert watched.ok(*stamp, "--request", "ask")["size"] == 2
    rooted = ("--anchors", "anchors", "--tsa-root", "root.pem")
    for asked in (("log", "verify"), ("audit", "report", "page.html")):
        assert "--tsa-root" in watched.fails(2, "option-not-used", *asked, *rooted)["hint"]
    assert not (watched.home / "page.html").exists()
    answer = authority.answer((watched.home / "ask").read_bytes())
    (watched.home / "answer").write_bytes(answer)
    done = watched.ok(*stamp, "--response", "answer", "--root", "root.pem", "--name", "tsa.example")
    assert (done["size"], done["authority"]) == (2, "tsa.example")
    watched.fails(
        5,
        "time-stamp-exists",
        *stamp,
        *("--response", "answer", "--root", "root.pem", "--name", "tsa.example"),
    )
    trusting = watched("log", "verify", "--anchors", "anchors", "--tsa-root", "root.pem")
    assert signatures(trusting) == [
        ("checkpoint", "holds"),
        ("unknown", "not trusted"),
        ("time-stamp", "holds"),
    ]
    assert (trusting.code, trusting.json["proven_to"]) == (0, 2)
    distrusting = watched("log", "verify", "--anchors", "anchors")
    assert distrusting.json["proven_to"] == 0
    both = verify(watched, "--tsa-root", "root.pem")
    assert signatures(both)[1:] == [("cosignature", "holds"), ("time-stamp", "holds")]


def test_a_stamp_is_asked_for_at_an_address(watched, authority):
    def answer(handler, request):
        assert handler.headers["Content-Type"] == "application/timestamp-query"
        replying(authority.answer(request))(handler, request)

    with served(answer) as url:
        stamp = ("log", "witness", "stamp", "anchors", "--url", url, "--root", "root.pem")
        assert watched.ok(*stamp)["size"] == 2
    assert len(authority.asked) == 1
    trusting = watched("log", "verify", "--anchors", "anchors", "--tsa-root", "root.pem")
    assert trusting.json["anchors"][0]["counted"] is True


def test_a_stamp_alone_vouches_for_no_log(watched, authority):
    """An authority stamps whatever it is given; a note that nobody signed stays nobody's."""
    (note,) = read_notes(watched.anchors.read_bytes())
    answer = authority.answer(time_stamps.stamp_request(note.text))
    line = time_stamps.stamp_line("tsa", answer)
    watched.anchors.write_text(f"{note.text.decode()}\n{line.line()}")
    answer = watched("log", "verify", "--anchors", "anchors", "--tsa-root", "root.pem")
    assert failed(answer) == ["anchor-signer-unknown"]


def test_a_stamp_of_tomorrow_or_of_another_note_is_a_failed_check(watched, authority):
    (note,) = read_notes(watched.anchors.read_bytes())
    request = time_stamps.stamp_request(note.text)
    tomorrow = authority.answer(request, datetime.now(UTC) + timedelta(days=1))
    other = authority.answer(time_stamps.stamp_request(b"another text"))
    for answer, code in ((tomorrow, "anchor-future-dated"), (other, "anchor-time-stamp")):
        line = time_stamps.stamp_line("tsa", answer)
        watched.anchors.write_text(note.to_text() + line.line())
        assert failed(verify(watched, "--tsa-root", "root.pem")) == [code]
        assert verify(watched).code == 0


def unchanged(cli, code, name, *arguments):
    before = cli.anchors.read_bytes()
    error = cli.fails(code, name, "log", "witness", "stamp", "anchors", *arguments)
    assert cli.anchors.read_bytes() == before
    return error


def test_bad_input_to_a_stamp_changes_nothing(watched, authority):
    (watched.home / "answer").write_bytes(b"no answer")
    root = ("--root", "root.pem")
    unchanged(watched, 2, "usage")
    unchanged(watched, 2, "usage", "--url", "http://127.0.0.1:1/")
    unchanged(watched, 2, "usage", "--response", "answer")
    unchanged(watched, 2, "usage", "--response", "answer", "--request", "ask", *root)
    unchanged(watched, 2, "bad-time-stamp", "--response", "answer", *root)
    unchanged(watched, 3, "no-such-file", "--response", "gone", *root)
    unchanged(watched, 2, "invalid-certificate", "--response", "answer", "--root", "answer")
    unchanged(watched, 7, "file-not-writable", "--request", "gone/ask")
    (watched.home / "answer").write_bytes(bytes(70_000))
    unchanged(watched, 2, "too-large", "--response", "answer", *root)
    for name in ("", "a b", "credledger/1"):
        named = ("--name", name, *root)
        unchanged(watched, 2, "invalid-witness-name", "--response", "anchors", *named)
    for url in ("ftp://127.0.0.1/", "file:///etc/passwd", "http://", "http://a b/", "http://h:x/"):
        unchanged(watched, 2, "invalid-url", "--url", url, *root)


def test_an_answer_to_another_question_or_of_another_authority_is_not_kept(watched, authority):
    answer = authority.answer(time_stamps.stamp_request(b"another text"))
    (watched.home / "answer").write_bytes(answer)
    unchanged(watched, 2, "bad-time-stamp", "--response", "answer", "--root", "root.pem")
    (note,) = read_notes(watched.anchors.read_bytes())
    (watched.home / "answer").write_bytes(Authority().answer(time_stamps.stamp_request(note.text)))
    unchanged(watched, 2, "bad-time-stamp", "--response", "answer", "--root", "root.pem")


def hanging(release):
    def answer(handler, _):
        release.wait(30)

    return answer


def test_an_authority_that_answers_wrongly_slowly_or_not_at_all_changes_nothing(
    watched, authority, monkeypatch
):
    root = ("--root", "root.pem")
    monkeypatch.setattr(time_stamps, "ANSWER_TIMEOUT_S", 0.3)
    release = threading.Event()

    def dripping(handler, _):
        handler.send_response(200)
        handler.end_headers()
        while not release.wait(0.05):
            handler.wfile.write(b"x")

    with HTTPServer(("127.0.0.1", 0), None) as taken:
        port = taken.server_address[1]
    unchanged(watched, 7, "authority-unreachable", "--url", f"http://127.0.0.1:{port}/", *root)
    for answer in (hanging(release), dripping):
        with served(answer) as url:
            error = unchanged(watched, 7, "authority-unreachable", "--url", url, *root)
            release.set()
        assert "in time" in error["message"] or "failed" in error["message"]
        release.clear()
    monkeypatch.setattr(time_stamps, "ANSWER_TIMEOUT_S", 30.0)
    for answer, words in (
        (replying(b"", status=500), "500"),
        (replying(bytes(70_000)), "exceeds"),
    ):
        with served(answer) as url:
            error = unchanged(watched, 7, "authority-unreachable", "--url", url, *root)
        assert words in error["message"]
    with served(replying(b"garbage")) as url:
        unchanged(watched, 2, "bad-time-stamp", "--url", url, *root)


def test_an_authority_is_not_followed_elsewhere(watched, authority):
    """Though a true stamp lies there."""
    (note,) = read_notes(watched.anchors.read_bytes())
    stamp = authority.answer(time_stamps.stamp_request(note.text))
    asked = []

    def stamped(handler, request):
        asked.append(request)
        replying(stamp)(handler, request)

    with served(stamped) as elsewhere:

        def moved(handler, _):
            handler.send_response(302)
            handler.send_header("Location", elsewhere)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        with served(moved) as url:
            unchanged(watched, 7, "authority-unreachable", "--url", url, "--root", "root.pem")
    assert asked == []
