"""Everything that can be asked of the service: one table, and a function for each row.

    path ─▶ summary, body, answer, function

The description for programs, the reference page and the service itself all read this table. What
an operation means is its use case's business: nothing here decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from tools.service import answers, applications, bodies, credentials, receipts, tickets
from tools.service.answers import Answer
from tools.service.bodies import Body
from tools.service.counter import Counter, Question

Function = Callable[[Counter, Question[Any]], Awaitable[Answer]]


class Operation(msgspec.Struct, frozen=True):
    """One row of the table."""

    path: str
    summary: str
    body: type[Body]
    answer: type[Answer]
    function: Function
    takes_retry_key: bool = False
    """Whether a request that is sent again can be known by its key."""


_TABLE = (
    Operation(
        "/v1/credentials/get",
        "The caller's credentials, recorded before they are released.",
        bodies.Get,
        answers.Retrieved,
        credentials.get,
    ),
    Operation(
        "/v1/credentials/set",
        "New values for the caller, for an owner, or for a group.",
        bodies.Set,
        answers.MappingChanged,
        credentials.set_,
        takes_retry_key=True,
    ),
    Operation(
        "/v1/credentials/delete",
        "Nothing is set any more.",
        bodies.Delete,
        answers.MappingChanged,
        credentials.delete,
        takes_retry_key=True,
    ),
    Operation(
        "/v1/credentials/delete-all",
        "One owner's credentials end in every application.",
        bodies.DeleteAll,
        answers.AllDeleted,
        credentials.delete_all,
    ),
    Operation(
        "/v1/credentials/restore",
        "An earlier version becomes the current one, unseen.",
        bodies.Restore,
        answers.MappingChanged,
        credentials.restore,
        takes_retry_key=True,
    ),
    Operation(
        "/v1/credentials/preview-restore",
        "Which version would come back; nothing changes.",
        bodies.PreviewRestore,
        answers.RestorePreviewed,
        credentials.preview_restore,
    ),
    Operation(
        "/v1/credentials/list",
        "What is set, never the values.",
        bodies.List,
        answers.Mappings,
        credentials.list_,
    ),
    Operation(
        "/v1/credentials/history",
        "The versions of a mapping, never the values.",
        bodies.History,
        answers.MappingVersions,
        credentials.history,
    ),
    Operation(
        "/v1/tickets/issue",
        "A ticket by which a redeemer gets the caller's credentials, once.",
        bodies.IssueTicket,
        answers.TicketIssued,
        tickets.issue,
    ),
    Operation(
        "/v1/tickets/redeem",
        "The credentials of whom the ticket was issued to.",
        bodies.RedeemTicket,
        answers.Retrieved,
        tickets.redeem,
    ),
    Operation(
        "/v1/applications/create",
        "A new target application.",
        bodies.CreateApplication,
        answers.ApplicationChanged,
        applications.create,
        takes_retry_key=True,
    ),
    Operation(
        "/v1/applications/update",
        "Other settings of an application, or more fields.",
        bodies.UpdateApplication,
        answers.ApplicationChanged,
        applications.update,
        takes_retry_key=True,
    ),
    Operation(
        "/v1/applications/delete",
        "An application ends, and its mappings with it.",
        bodies.DeleteApplication,
        answers.ApplicationChanged,
        applications.delete,
        takes_retry_key=True,
    ),
    Operation(
        "/v1/applications/grant",
        "A claim gets a role in an application.",
        bodies.ChangeRole,
        answers.ApplicationChanged,
        applications.grant,
        takes_retry_key=True,
    ),
    Operation(
        "/v1/applications/revoke",
        "A claim loses a role in an application.",
        bodies.ChangeRole,
        answers.ApplicationChanged,
        applications.revoke,
        takes_retry_key=True,
    ),
    Operation(
        "/v1/applications/apply",
        "Applications become what is said of them, all together or none.",
        bodies.ApplyApplications,
        answers.ApplicationsApplied,
        applications.apply,
    ),
    Operation(
        "/v1/applications/list",
        "The applications whose settings the caller may see.",
        bodies.Nothing,
        answers.ApplicationsShown,
        applications.list_,
    ),
    Operation(
        "/v1/applications/show",
        "An application with its settings.",
        bodies.Application,
        answers.ApplicationShown,
        applications.show,
    ),
    Operation(
        "/v1/applications/fields",
        "An application's fields, for those who may see its settings or get from it.",
        bodies.Application,
        answers.FieldsShown,
        applications.fields,
    ),
    Operation(
        "/v1/applications/claims",
        "Who has which role in an application, for those who may see its settings.",
        bodies.Application,
        answers.ClaimsShown,
        applications.claims,
    ),
    Operation(
        "/v1/applications/mine",
        "The applications that the caller may get from.",
        bodies.Nothing,
        answers.ApplicationsUsable,
        applications.mine,
    ),
    Operation(
        "/v1/receipts/make",
        "A proof that the caller's own attempt to read is recorded.",
        bodies.Receipt,
        answers.ReceiptMade,
        receipts.make,
    ),
)

OPERATIONS = {operation.path: operation for operation in _TABLE}
"""By their paths."""
