"""The description is true: what it allows is answered as it says, and nothing else is allowed."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import jsonschema_rs
import pytest

from ledger.claims import parse_claim, parse_owner
from ledger.errors import InvalidInput
from ledger.identifiers import application_key, field_key
from ledger.usecases.acting import Acting
from tests.ledger.tokens.minting import mint
from tests.test_docs import REFERENCE
from tests.tools.service.clients import JSON, MSGPACK, Client
from tests.tools.service.conftest import ME, furnish, running
from tests.tools.service.test_callers import ALICE, trust
from tools.http_page import http_page
from tools.service import patterns
from tools.service.description import ANSWERED, HEADERS, REASONS, description
from tools.service.operations import OPERATIONS
from tools.service.pages import LIVE, METRICS, PAGES, READY
from tools.service.places import Address
from tools.service.problems import STATUSES
from tools.service.unsealing import UNSEAL_PATH
from tools.when import parse_moment, parse_span

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
OF_EVERY_MESSAGE = {"content-type", "content-length", "date"}
SHORT = ("--phases", "fuzzing", "--max-examples", "3")
WHOLE = ("--phases", "coverage,fuzzing", "--max-examples", "100")
"""Every border of every schema is gone through under torture, for it takes three times as long."""
_NAME = re.compile(r"[a-z]+(-[a-z]+)*|[A-Z][a-z]+(-[A-Z][a-z]+)+")
_HEADER = re.compile(rb"^([a-z-]+): ", re.MULTILINE)


@pytest.fixture
def service(prepared_file, tmp_path):
    with running(prepared_file(furnish, trust), tmp_path, metrics=Address("127.0.0.1", 0)) as one:
        yield one


@pytest.mark.timeout(900)
def test_what_the_description_says_is_what_the_service_does(service, tmp_path, request):
    """All checks of schemathesis, as somebody who may do all but read, over TCP."""
    service.service.seal.counter.ledger.role_grant(Acting(), "full-control", ALICE)
    described = tmp_path / "openapi.json"
    described.write_text(json.dumps(over_tcp(service.client())), encoding="utf-8")
    host, port = service.address
    torture = request.config.getoption("--torture")
    tried = subprocess.run(
        [
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("--config-file", str(HERE / "schemathesis.toml"), "run", str(described)),
            *("--url", f"http://{host}:{port}", "--checks", "all", "--continue-on-failure"),
            *("--header", f"Authorization: Bearer {mint(int(time.time()))}", "--no-color"),
            *("--generation-deterministic", *(WHOLE if torture else SHORT)),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.tools.service.unsaid",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert f"Tested: {len(OPERATIONS) + 1 + 2 * (len(PAGES) - 1)}\n" in tried.stdout
    assert "unexpected" not in service.logged()


def over_tcp(client):
    """The description of what is there over TCP.

    Without the form that the tester cannot write, and without the page of another address; nobody
    is known without a token.
    """
    document = client.send("GET", "/openapi.json").document
    del document["paths"][METRICS]
    for path in document["paths"].values():
        if "post" in path:
            del path["post"]["requestBody"]["content"]["application/msgpack"]
    return {**document, "security": [{"token": []}]}


def test_the_reference_page_is_up_to_date():
    """Made anew it is the stored one, with a row for each path and each status."""
    page = http_page()
    assert (REFERENCE / "http.md").read_text(encoding="utf-8") == page
    for path in (*OPERATIONS, UNSEAL_PATH, *PAGES):
        assert f"| `{'GET' if path in PAGES else 'POST'} {path}` |" in page
    assert [status for status in ANSWERED if f"\n| {status} |" not in page] == []


def test_every_operation_and_page_is_described():
    """Each path with its methods, and each method of them with a name of its own."""
    paths = description()["paths"]
    assert set(paths) == {*OPERATIONS, UNSEAL_PATH, *PAGES}
    assert {path for path, one in paths.items() if set(one) == {"get", "head"}} == set(PAGES)
    names = [one["operationId"] for path in paths.values() for one in path.values()]
    assert len(set(names)) == len(names)


def test_every_status_that_the_service_can_answer_is_described():
    """Those of problems, and those that stand in whole answers of their own."""
    written = {int(one[9:12]) for one in whole_answers()} - {200}
    assert written == {400, 431}
    assert set(STATUSES) | written == set(ANSWERED) == set(REASONS)
    paths = description()["paths"]
    for path in OPERATIONS:
        assert set(paths[path]["post"]["responses"]) == {"200", *map(str, ANSWERED)}
    for path in PAGES:
        said = {int(one) for one in paths[path]["get"]["responses"]}
        assert {200, 400, 405, 431, 500} <= said <= {200, *ANSWERED}
        assert set(paths[path]["head"]["responses"]) == set(map(str, said))


def test_no_page_of_health_is_described_as_turning_anybody_away():
    """Other than 200, the word of the page itself is all that their own statuses have."""
    paths = description()["paths"]
    assert "503" not in paths[LIVE]["get"]["responses"]
    for status in ("423", "503"):
        assert set(paths[READY]["get"]["responses"][status]["content"]) == {JSON}


def test_every_header_that_the_service_can_send_is_described():
    """Those that are put to answers by name, and those that stand in whole answers."""
    sent = {name.decode() for answer in whole_answers() for name in _HEADER.findall(answer)}
    for module in ("replies", "http_server"):
        source = (ROOT / "tools/service" / f"{module}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Tuple) and len(node.elts) == 2:
                name = getattr(node.elts[0], "value", None)
                text = name.decode() if isinstance(name, bytes) else name
                if isinstance(text, str) and _NAME.fullmatch(text):
                    sent.add(text.lower())
    assert sent >= {"retry-after", "allow", "www-authenticate", "cache-control", "connection"}
    assert sent - OF_EVERY_MESSAGE == {name.lower() for name in HEADERS}


def whole_answers():
    """The answers that stand in the code from their first line on."""
    for path in sorted((ROOT / "tools/service").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            value = node.value if isinstance(node, ast.Constant) else None
            if isinstance(value, bytes) and value.startswith(b"HTTP/1.1 "):
                yield value


def test_answers_have_the_headers_that_are_described(service):
    """No other than those, and each that is said to come always."""
    client, stranger = service.client(), service.stranger()
    paths = client.send("GET", "/openapi.json").document
    answers_of = [
        ("post", "/v1/credentials/get", client.ask("/v1/credentials/get", {"application": "p"})),
        ("post", "/v1/credentials/get", client.ask("/v1/credentials/get", {"application": 7})),
        ("post", "/v1/credentials/get", stranger.ask("/v1/credentials/get", {})),
        ("post", "/v1/applications/mine", client.ask("/v1/applications/mine", {})),
        ("post", "/v1/applications/mine", client.ask("/v1/applications/mine", {}, form="text/x")),
        ("post", "/v1/unseal", client.ask("/v1/unseal", {"passphrase": "x"})),
        *((method, path, client.send(method.upper(), path)) for path in PAGES if path != METRICS
          for method in ("get", "head")),
        ("get", "/openapi.json", client.send("PUT", "/openapi.json")),
    ]  # fmt: skip
    for method, path, reply in answers_of:
        said = paths["paths"][path][method]["responses"][str(reply.status)]
        if "$ref" in said:
            said = paths["components"]["responses"][said["$ref"].rpartition("/")[2]]
        headers = {name.lower(): one["required"] for name, one in said["headers"].items()}
        sent = set(reply.headers) - OF_EVERY_MESSAGE
        assert {name for name, always in headers.items() if always} <= sent <= set(headers)
        media = reply.headers["content-type"].partition(";")[0]
        assert method == "head" or media in said["content"]


def test_the_page_of_metrics_is_answered_as_described(service):
    """On its own address, in both of its forms."""
    watcher = Client(service.service.metrics_address)
    service.clients.append(watcher)
    forms = description()["paths"][METRICS]["get"]["responses"]["200"]["content"]
    for form in forms:
        reply = watcher.send("GET", METRICS, accept=form)
        assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (200, form)


@pytest.mark.parametrize("form", [JSON, MSGPACK])
def test_a_whole_number_may_be_written_with_a_point(service, form):
    """JSON Schema calls it an integer; a half is none, nor is a text or a truth."""
    client, path = service.client(), "/v1/credentials/preview-restore"
    asked = {"application": "payroll", "version": 1.0, "owner": str(ME)}
    assert client.ask(path, asked, form=form).status == 403
    for version in (1.5, "1", True, 1e300, -1.0, 0.0):
        reply = client.ask(path, {**asked, "version": version}, form=form)
        assert (reply.status, reply.code) == (422, "invalid-body")
    limits = {"application": "wide", "kind": "individual", "ticket_timeout_s": 60.0}
    wanted = {"applications": {"wide": {"kind": "individual", "ticket_timeout_s": 60.0}}}
    assert client.ask("/v1/applications/create", limits, form=form).status == 403
    assert client.ask("/v1/applications/apply", wanted, form=form).status == 403


RULES = {
    "ID": (patterns.APPLICATION, application_key),
    "field": (patterns.FIELD, field_key),
    "claim": (patterns.CLAIM, parse_claim),
    "owner": (patterns.OWNER, parse_owner),
    "span": (patterns.SPAN, parse_span),
    "moment": (patterns.MOMENT, lambda text: parse_moment(text, 1_800_000_000_000_000)),
}
TEXTS = (
    *("payroll", " Zürich-1.a_b ", "a" * 128, "a" * 129, "", " ", "a/b", "a\nb", "\na\t", "-", "薪"),
    *("user:alice", "group:x", " user: a ", "user:", "user: ", "https://x#user:a", "#user:a"),
    *("x#user: ", "x#owner:a", "group:a#user:b", "user:a#b", "USER:a", "x # y#service:z", "user:\n"),
    *("user:a\nb", "1s", " 12W ", "999999999d", "1234567890s", "s", "1", "٣d", "1 d", "Now", "SUNDAY"),
    *("2026-11-23", "2026-02-29", "2024-02-29", "1900-02-29", "2000-02-29", "0000-01-01"),
    *("2026-04-31", "2026-13-01", "2026-11-23T08:00:00Z", "2026-11-23 08:00:00.1234567+01:00"),
    *("2026-11-23t08:00:00z", "2026-11-23T24:00:00Z", "2026-11-23T08:00:60Z", "2026-11-23T08:00:00"),
    *("2026-11-23T08:00:00+24:00", "2026-11-23T08:00:00-23:59", "today", "tomorrow"),
)  # fmt: skip


@pytest.mark.parametrize("what", RULES)
def test_a_pattern_says_what_the_rule_does(what):
    """Of texts at and around each border."""
    pattern, rule = RULES[what]
    said = set(filter(described(pattern), TEXTS))
    assert said == {text for text in TEXTS if passes(rule, text)}
    assert 2 < len(said) < len(TEXTS)


@functools.cache
def described(pattern):
    """What a validator says, whose patterns are those of ECMA-262; large ones take long to read."""
    return jsonschema_rs.validator_for({"type": "string", "pattern": pattern}).is_valid


def passes(rule, text):
    try:
        rule(text)
    except InvalidInput:
        return False
    return True
