"""Acting by a token on the command line: the same rules, and the same answers, as for a service."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import get_args

import pytest

from ledger.errors import Unavailable
from ledger.tokens.doubt import Why
from projections.refused_tokens import _WHY
from tests.ledger.tokens.minting import AUDIENCE, ISSUER, jwks, mint
from tests.tools.conftest import auditor_of
from tests.tools.issuers_web import Web
from tools.jwks_over_https import fetch_jwks
from tools.name_lookups import NameLookups, by_the_system

ALICE = f"{ISSUER}#user:alice"


def now() -> int:
    return int(time.time())


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text(jwks("EC"))
    return str(path)


@pytest.fixture
def trusting(payroll, keys):
    """A ledger that trusts one issuer, in which alice has credentials."""
    payroll.ok("issuer", "add", ISSUER, "--audience", AUDIENCE, "--keys", keys)
    payroll.set("payroll", ALICE, User="ann", Password="canary-5d1f")
    return payroll


def test_a_token_file_that_others_may_read_is_taken_with_a_note(trusting, token):
    """None where it is the owner's alone."""
    path = token()
    for mode, is_noted in ((0o644, True), (0o600, False)):
        Path(path).chmod(mode)
        answer = trusting("credential", "get", "payroll", "--token-file", path)
        assert answer.code == 0
        assert ("may be read by others" in answer.err) is is_noted


@pytest.fixture
def token(tmp_path):
    """Puts a token into a file and gives its name."""

    def write(text: str | None = None, **said) -> str:
        path = tmp_path / "token"
        path.write_text(mint(now(), **said) if text is None else text)
        return str(path)

    return write


def topics(cli, prefix: str) -> list[str]:
    return [
        one["topic"]
        for one in cli.ok("log", "events", "--limit", "0")
        if one["topic"].startswith(prefix)
    ]


def test_credentials_are_got_by_token(trusting, token):
    """And the record says by whose word, for whom, and who acted."""
    got = trusting.ok("credential", "get", "payroll", "--token-file", token(act={"sub": "robot-7"}))
    assert got["fields"] == {"User": "ann", "Password": "canary-5d1f"}
    (record,) = trusting.ok("audit", "access")
    assert record["caller"] == ALICE
    assert record["authenticated_by"].startswith(f"token:{ISSUER};operator:1/")
    assert record["acting_party"] == "robot-7"
    assert trusting.ok("audit", "recheck")["wrong"] == []


def test_a_token_comes_by_standard_input(trusting):
    """With a line end after it, as programs print it."""
    content = mint(now()).encode() + b"\r\n"
    got = trusting.ok("credential", "get", "payroll", "--token-file", "-", stdin=content)
    assert got["owner"] == ALICE


def test_every_command_that_acts_for_somebody_takes_a_token(trusting, token, tmp_path):
    """Each does for the token's subject what it does for whom the operator names."""
    file = token()
    trusting.ok("role", "grant", "full-control", ALICE)
    values = tmp_path / "values"
    values.write_text(json.dumps({"User": "ann", "Password": "two"}))
    applications = tmp_path / "applications.toml"
    applications.write_text('[application."Nightly"]\nkind = "group"\n')
    mappings = tmp_path / "mappings.jsonl"
    mappings.write_text(
        json.dumps(
            {
                "application": "payroll",
                "owner": "user:bob",
                "fields": {"User": "b", "Password": "p"},
            }
        )
    )
    for command in (
        ("app", "create", "Reports", "--kind", "group"),
        ("app", "list"),
        ("app", "show", "Reports"),
        ("app", "update", "Reports", "--name", "R"),
        ("app", "grant", "Reports", "member", ALICE),
        ("app", "revoke", "Reports", "member", ALICE),
        ("app", "export"),
        ("app", "apply", str(applications)),
        ("app", "delete", "Reports", "--yes"),
        ("credential", "set", "payroll", "--values", str(values)),
        ("credential", "get", "payroll"),
        ("credential", "list"),
        ("credential", "history", "payroll"),
        ("credential", "restore", "payroll", "--version", "1", "--owner", ALICE),
        ("credential", "delete", "payroll", "--yes"),
        ("credential", "delete-all", "--owner", ALICE, "--yes"),
        ("audit", "who-can", "payroll"),
    ):
        answer = trusting(*command, "--token-file", file)
        assert answer.code == 0, (command, answer.err)
    run = ("credential", "import", str(mappings), "--token-file", file)
    trusting.fails(4, "not-allowed", *run)  # as with --as: it opens values to compare them
    by = {one["by"] for one in trusting.ok("audit", "changes") if one["event"].startswith("app")}
    assert ALICE in by
    assert trusting.ok("audit", "recheck")["wrong"] == []


@pytest.mark.parametrize(
    "text", ["a.b.c", "x" * 16_000, mint(1), mint(now(), by="stranger's EC", header={"kid": "EC"})]
)
def test_every_refused_token_has_one_answer(trusting, token, text):
    """On the command line too; nothing is released, and it is recorded."""
    error = trusting.fails(
        4, "token-refused", "credential", "get", "payroll", "--token-file", token(text)
    )
    assert set(error) == {"code", "message", "hint"}
    assert len(topics(trusting, "token.ref")) == 1
    assert topics(trusting, "access.") == []


def test_why_a_token_was_refused_is_told_to_who_may_ask(trusting, token):
    """Each kind in a list, newest first, and by itself with a sentence; also to an auditor."""
    started = trusting.ok("status")["position"]
    get = ("credential", "get", "payroll", "--token-file")
    trusting.fails(4, "token-refused", *get, token(aud="another", jti="j-1"))
    trusting.fails(4, "token-refused", *get, token("no token at all"))
    listed = trusting.ok("audit", "tokens")
    assert [one["event"] for one in listed] == ["token.refusals", "token.refused"]
    stranger, known = listed
    assert (stranger["issuer"], stranger["caller"], stranger["count"]) == (None, None, 1)
    assert stranger["reasons"] == {"malformed": 1}
    assert (known["issuer"], known["caller"]) == (ISSUER, ALICE)
    assert known["reasons"] == {"wrong-audience": 1}
    assert known["position"] == started + 1
    assert trusting.ok("audit", "tokens", "--limit", "1") == [stranger]
    assert trusting.ok("audit", "tokens", "--since", "1h") == listed
    for cli in (trusting, auditor_of(trusting)):
        told = cli.ok("audit", "explain", str(known["position"]))
        assert {name: told[name] for name in known} == known
        assert told["why"] == "It was made for somebody else: its `aud` lacked the audience."
        assert told["mend"] == f"credledger issuer show {ISSUER}"
        told = cli.ok("audit", "explain", str(stranger["position"]))
        assert (told["why"], told["mend"]) == (
            "It was no token in the one form that is read.",
            None,
        )


def test_every_reason_for_a_refusal_has_its_sentence():
    """A reason that comes to the verifier comes to who explains it."""
    assert set(get_args(Why)) == set(_WHY)


def test_an_issuers_settings_are_in_the_history_of_changes(trusting):
    """What was said of it then, with the names of its keys and not the keys."""
    trusting.ok("issuer", "update", ISSUER, "--clock-skew", "60", "--reason", "slow clocks")
    trusting.ok("issuer", "remove", ISSUER)
    rows = [one for one in trusting.ok("audit", "changes") if one["event"].startswith("issuer.")]
    removed, changed, added = (one["detail"] for one in rows)
    assert added["settings"]["audience"] == AUDIENCE
    assert added["settings"]["keys"] == [json.loads(jwks("EC"))["keys"][0]["kid"]]
    assert changed["settings"] == {**added["settings"], "skew_s": 60}
    assert removed == {"issuer": ISSUER}


def test_what_is_no_token_file_is_told(trusting, token, tmp_path):
    """That is about the file, so it is no secret."""
    run = ("credential", "get", "payroll", "--token-file")
    trusting.fails(3, "no-such-file", *run, str(tmp_path / "none"))
    trusting.fails(2, "empty-token", *run, token("\n"))
    trusting.fails(2, "too-large", *run, token("x" * 20_000))
    trusting.fails(2, "two-callers", *run, token(), "--as", "user:alice")
    trusting.fails(2, "two-callers", *run, token(), "--with", "group:finance")
    trusting.fails(2, "caller-required", "credential", "get", "payroll")
    trusting.fails(
        2, "token-for-archive", "audit", "who-can", "--all", "--archive", str(tmp_path),
        "--token-file", token(),
    )  # fmt: skip


def test_an_auditor_acts_for_nobody(trusting, token):
    """Neither by a name nor by a token."""
    auditor = auditor_of(trusting)
    auditor.fails(4, "operator-needed", "audit", "who-can", "--all", "--token-file", token())
    assert auditor.ok("issuer", "list")[0]["issuer"] == ISSUER


def test_an_issuer_is_shown_as_it_was_added(payroll, keys):
    """Everything that was said, and what holds where nothing was."""
    payroll.ok(
        "issuer", "add", ISSUER, "--audience", AUDIENCE, "--keys", keys, "--algorithm", "ES256",
        "--groups-claim", "groups", "--clock-skew", "5", "--longest-life", "600",
        "--refuse-replay", "--encrypted-only", "--case-blind",
    )  # fmt: skip
    shown = payroll.ok("issuer", "show", ISSUER)
    assert {name: shown[name] for name in list(shown)[:-3]} == {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": ["ES256"],
        "keys": ["EC"],
        "keys_url": None,
        "token_type": "at+jwt",
        "user_claim": "sub",
        "groups_claim": "groups",
        "application_claim": None,
        "clock_skew_s": 5,
        "longest_life_s": 600,
        "case_blind": True,
        "speaks_for_local": False,
        "refuses_replay": True,
        "encrypted_only": True,
    }
    assert payroll.ok("issuer", "list") == [shown]


def test_an_issuer_is_changed_in_what_was_said(trusting, keys):
    """The rest stays, keys told take the place of a URL, and the same twice is no change."""
    url = f"{ISSUER}/keys"
    assert trusting.ok("issuer", "update", ISSUER, "--keys-url", url)["changed"]
    assert not trusting.ok("issuer", "update", ISSUER, "--keys-url", url)["changed"]
    shown = trusting.ok("issuer", "show", ISSUER)
    assert (shown["keys"], shown["keys_url"], shown["audience"]) == ([], url, AUDIENCE)
    trusting.ok("issuer", "update", ISSUER, "--keys", keys, "--refuse-replay")
    shown = trusting.ok("issuer", "show", ISSUER)
    assert (shown["keys"], shown["keys_url"], shown["refuses_replay"]) == (["EC"], None, True)
    assert not trusting.ok("issuer", "add", ISSUER, "--audience", AUDIENCE, "--keys", keys,
                           "--refuse-replay")["changed"]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("invalid-issuer", ("http://sts.contoso.example", "--keys-url", "https://a.example")),
        ("invalid-issuer", ("local", "--keys-url", "https://a.example")),
        ("invalid-issuer", ("https://a.example#user:x", "--keys-url", "https://a.example")),
        ("invalid-issuer", ("https://a.example?x=1", "--keys-url", "https://a.example")),
        ("invalid-issuer", ("https://bob@a.example", "--keys-url", "https://a.example")),
        ("invalid-issuer", ("https://a.ex ample", "--keys-url", "https://a.example")),
        ("invalid-issuer", ("https://", "--keys-url", "https://a.example")),
        ("invalid-keys-url", (ISSUER, "--keys-url", "http://a.example/keys")),
        ("invalid-keys-url", (ISSUER, "--keys-url", "file:///etc/passwd")),
        ("keys-required", (ISSUER,)),
        ("invalid-jwks", (ISSUER, "--keys", "-")),
        ("invalid-issuer-setting", (ISSUER, "--keys-url", "https://a.example", "--user-claim", "")),
        (
            "invalid-issuer-setting",
            (ISSUER, "--keys-url", "https://a.example", "--groups-claim", "sub"),
        ),
        ("usage", (ISSUER, "--keys-url", "https://a.example", "--algorithm", "HS256")),
        ("usage", (ISSUER, "--keys-url", "https://a.example", "--algorithm", "none")),
        ("usage", (ISSUER, "--keys-url", "https://a.example", "--clock-skew", "301")),
        ("usage", (ISSUER, "--keys-url", "https://a.example", "--longest-life", "0")),
    ],
)
def test_what_cannot_be_an_issuer_is_refused_and_nothing_changes(payroll, code, arguments):
    """Each with our own error."""
    before = payroll.ok("status")["position"]
    payroll.fails(2, code, "issuer", "add", *arguments, "--audience", AUDIENCE)
    assert payroll.ok("status")["position"] == before


BLIND = "https://blind.example"


@pytest.fixture
def blind(payroll, keys):
    """A ledger that trusts a case-blind issuer, in which ALICE of it has credentials."""
    payroll.ok("issuer", "add", BLIND, "--audience", AUDIENCE, "--keys", keys, "--case-blind")
    payroll.set("payroll", f"{BLIND}#user:ALICE", User="ann", Password="canary-5d1f")
    return payroll


def test_every_question_is_about_a_name_in_any_case(blind):
    """A name of a case-blind issuer may be typed as anybody likes it, in each command."""
    shown, typed = f"{BLIND}#user:alice", f"{BLIND}#user:aLiCe"
    assert blind.ok("credential", "get", "payroll", "--as", typed)["owner"] == shown
    assert [one["owner"] for one in blind.ok("credential", "list", "--owner", typed)] == [shown]
    assert blind.ok("credential", "list", "--as", typed)
    assert blind.ok("credential", "history", "payroll", "--owner", typed)
    assert blind.ok("credential", "history", "payroll", "--as", typed)
    assert len(blind.ok("audit", "access", "--user", typed, "--owner", typed)) == 1
    assert len(blind.ok("audit", "exposure", typed)) == 1
    (way,) = blind.ok("audit", "who-can", "--user", typed)
    assert (way["claim"], way["set"]) == (shown, True)
    assert blind.ok("audit", "who-can", "payroll", "--owner", typed)
    blind.ok("role", "grant", "create-application", typed)
    blind.ok("app", "create", "hers", "--kind", "individual", "--as", typed)
    assert [one["by"] for one in blind.ok("audit", "changes", "--by", typed)] == [shown]
    left = blind.ok("leaver", typed, "--dry-run")
    assert (left["claim"], left["rights"]) == (shown, ["create-application"])
    assert [one["application"] for one in left["own"]] == ["payroll"]
    (gone,) = blind.ok("credential", "delete-all", "--owner", typed, "--yes")
    assert gone["owner"] == shown


def test_files_name_people_in_any_case(blind, tmp_path):
    """A file of applications applied again changes nothing; one mapping is not two lines."""
    applications = tmp_path / "applications.toml"
    table = f'kind = "group"\nmembers = ["{BLIND}#group:Finance"]'
    applications.write_text(f'[application."vault"]\n{table}\n')
    blind.ok("app", "apply", str(applications))
    assert blind.ok("app", "show", "vault")["members"] == [f"{BLIND}#group:finance"]
    assert blind.ok("app", "apply", str(applications))["changes"] == []
    people = tmp_path / "people.csv"
    people.write_text(
        f"application,owner,User,Password\npayroll,{BLIND}#user:Bob,b,1\n"
        f"payroll,{BLIND}#user:BOB,b,2\n"
    )
    answer = blind("credential", "import", str(people))
    assert answer.code == 2
    assert [one["code"] for one in answer.json["rejected"]] == ["repeated-line"]


def test_the_number_of_issuers_is_bounded(payroll):
    """Nobody needs more than a few, and each is looked at."""
    for number in range(32):
        url = f"https://sts{number}.example"
        payroll.ok("issuer", "add", url, "--audience", "a", "--keys-url", url)
    payroll.fails(
        2, "too-many-issuers",
        "issuer", "add", ISSUER, "--audience", "a", "--keys-url", "https://a.example",
    )  # fmt: skip


def test_other_settings_of_a_trusted_issuer_are_an_update(trusting, keys):
    """Adding it again with others is a mistake that nobody makes silently."""
    trusting.fails(
        5, "issuer-exists", "issuer", "add", ISSUER, "--audience", "other", "--keys", keys
    )
    trusting.fails(3, "no-such-issuer", "issuer", "update", ISSUER + "/", "--audience", "x")
    trusting.fails(3, "no-such-issuer", "issuer", "remove", ISSUER.upper())
    trusting.fails(3, "no-such-issuer", "issuer", "show", "https://no.example")


def test_the_service_key_is_published(cli):
    """First there is none; the newest is printed, as every tool reads it."""
    cli.fails(3, "no-service-key", "key", "service", "jwks")
    assert cli.ok("key", "service", "list") == []
    made = cli.ok("key", "service", "rotate")
    published = cli.ok("key", "service", "jwks")["keys"]
    assert [key["kid"] for key in published] == made["kids"]
    assert all(key["use"] == "enc" and "d" not in key for key in published)
    cli.ok("key", "service", "rotate")
    assert [one["state"] for one in cli.ok("key", "service", "list")] == [
        "opens still", "published",
    ]  # fmt: skip


def test_keys_are_fetched_where_the_issuer_publishes_them(payroll, web, token, monkeypatch):
    """Over TLS, when a token of the issuer's is first shown."""
    monkeypatch.setattr(Web, "published", jwks("EC").encode())
    payroll.ok("issuer", "add", ISSUER, "--audience", AUDIENCE, "--keys-url", f"{web}/keys?v=1")
    payroll.set("payroll", ALICE, User="ann", Password="canary-5d1f")
    got = payroll.ok("credential", "get", "payroll", "--token-file", token())
    assert got["owner"] == ALICE


@pytest.mark.parametrize("path", ["/none", "/large", "/elsewhere"])
def test_an_answer_that_is_not_plainly_the_keys_is_none(web, path):
    """No error page, no redirect, nothing large."""
    with pytest.raises(Unavailable) as caught:
        fetch_jwks(web + path)
    assert caught.value.code == "keys-not-fetched"


def took_too_long(url, **said):
    """That a fetch of half a second does not hold much longer."""
    began = time.monotonic()
    with pytest.raises(Unavailable, match="took too long") as caught:
        fetch_jwks(url, timeout_s=0.5, **said)
    assert caught.value.code == "keys-not-fetched"
    return time.monotonic() - began < 5


@pytest.mark.parametrize("path", ["/slow", "/slow-head", "/silent"])
def test_an_answer_that_is_slow_is_none_when_the_time_is_over(web, path):
    """Whether its body drips or its head does, or nothing comes at all."""
    assert took_too_long(web + path)


def test_a_server_that_is_silent_from_the_beginning_is_none_when_the_time_is_over():
    """It takes the connection, and says nothing to the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert took_too_long(f"https://127.0.0.1:{silent.getsockname()[1]}/keys")


def test_a_resolver_that_is_silent_is_none_when_the_time_is_over():
    """And is asked for one host only once meanwhile."""
    go_on, asked = threading.Event(), []

    def look_up(host, port):
        asked.append((host, port))
        go_on.wait(30)
        raise OSError

    lookups = NameLookups(look_up)
    for _ in range(2):
        assert took_too_long("https://sts.contoso.example/keys", lookups=lookups)
    assert asked == [("sts.contoso.example", 443)]
    go_on.set()


def test_another_address_of_the_host_is_asked_where_one_is_dead(web, monkeypatch):
    """Those that the resolver has are tried in its order."""
    monkeypatch.setattr(Web, "published", b"{}")

    def look_up(host, port):
        with socket.create_server(("127.0.0.1", 0)) as dead:
            place = dead.getsockname()
        return [(*by_the_system(host, port)[0][:4], place), *by_the_system("127.0.0.1", port)]

    assert fetch_jwks(f"{web}/keys?v=1", lookups=NameLookups(look_up)) == b"{}"


def test_a_certificate_that_nobody_vouches_for_is_refused(web, monkeypatch):
    """Whoever stands in for the issuer's server cannot choose the keys."""
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Unavailable, match="connection failed"):
        fetch_jwks(f"{web}/keys?v=1")
    with pytest.raises(Unavailable, match="connection failed"):
        fetch_jwks("https://localhost:1/keys")
    with pytest.raises(Unavailable, match="no https URL"):
        fetch_jwks(web.replace("https", "http"))
