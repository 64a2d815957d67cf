"""What a description cannot say, though the body is one that it allows; and a check for the rest.

Whether something is there, or known, or may be done has a status of its own. A 422 says that the
words are off, so of one that comes although they are as described, the code must stand here.
"""

from __future__ import annotations

import json
import unicodedata

import schemathesis
from schemathesis.core.failures import Failure

UNSAID = {
    "application-required": "a token may name the application that the body leaves out",
    "duplicate-field": "names are compared without case and Unicode form",
    "fixed-setting": "the application is there with other settings",
    "future-time": "the moment has not come yet, by the clock of the service",
    "invalid-applications": "an application is named twice in two forms, or a new one has no kind",
    "closing-needs-member": "the application is there and open",
    "missing-field": "the application has a field more",
    "moment-unclear": "the log goes on with rows that are dated ahead of the clock",
    "not-individual": "the application is one of a group",
    "not-ticketing": "the application takes no tickets",
    "owner-not-used": "the application is one of a group",
    "owner-required": "the application is one of individuals",
    "too-many-claims": "the role is held by as many already",
    "too-many-fields": "the application has as many fields already",
    "unknown-field": "the application has no such field",
    "unknown-issuer": "the ledger trusts no such issuer",
    "value-too-long": "characters have more bytes than one",
}
"""Codes of 422, and what each rests on."""


@schemathesis.check
def refused_for_what_is_said(ctx, response, case):
    """A body that is as described is refused as 422 only for what a description cannot say."""
    if not case.meta.generation.mode.is_positive or response.status_code != 422:
        return
    code = response.json()["code"]
    if code not in UNSAID and not has_unassigned(case.body):
        raise Failure(
            operation=case.operation.label,
            title="Refused though it is as described",
            message=f"{code}: {response.json()['detail']}",
        )


def has_unassigned(body):
    """Whether there is a code point of no character, some of which the tester takes for marks."""
    text = json.dumps(body, ensure_ascii=False)
    return any(unicodedata.category(character) == "Cn" for character in text)
