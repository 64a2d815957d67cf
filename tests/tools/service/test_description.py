"""The description is true: what it allows is answered as it says, whatever that is."""

from __future__ import annotations

import time

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ledger.usecases.acting import Acting
from tests.ledger.tokens.minting import mint
from tests.test_docs import REFERENCE
from tests.tools.service.conftest import furnish, running
from tests.tools.service.test_callers import ALICE, trust
from tools.service.description import description
from tools.service.operations import OPERATIONS
from tools.service.problems import STATUSES

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
BOUNDED = settings(
    max_examples=12,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def service(prepared_file, tmp_path):
    with running(prepared_file(furnish, trust), tmp_path) as one:
        yield one


@pytest.mark.timeout(240)
def test_whatever_the_description_allows_is_answered_as_it_says(service):
    """For each operation a bounded number of bodies, as somebody who may do all but read."""
    service.service.seal.counter.ledger.role_grant(Acting(), "full-control", ALICE)
    schema = schemathesis.openapi.from_dict(in_json(service.client()))
    host, port = service.address
    headers = {"authorization": f"Bearer {mint(int(time.time()))}"}
    for path in OPERATIONS:

        @BOUNDED
        @given(case=schema[path]["POST"].as_strategy())
        def ask(case):
            answer = case.call(base_url=f"http://{host}:{port}", headers=headers)
            case.validate_response(answer, checks=CHECKS)

        ask()
    assert "unexpected" not in service.log.getvalue()


def in_json(client):
    """The description as it is served, without the form that this tester cannot write."""
    document = client.send("GET", "/openapi.json").document
    for path in document["paths"].values():
        del path["post"]["requestBody"]["content"]["application/msgpack"]
    return document


def test_every_operation_and_status_stands_in_the_reference():
    """The page of the service names each path, and each status that a problem can have."""
    page = (REFERENCE / "http.md").read_text(encoding="utf-8")
    assert [path for path in OPERATIONS if f"`POST {path}`" not in page] == []
    assert [status for status in STATUSES if str(status) not in page] == []


def test_every_status_is_explained_in_the_description():
    """Each problem's response has a reason of its own."""
    responses = description()["components"]["responses"]
    assert set(responses) == {f"Problem{status}" for status in STATUSES}
