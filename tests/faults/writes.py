"""Every command that writes, as the fault tests run it on the ledger of `killing`.

`WRITES` holds those that append what they do in one commit and print nothing secret. What needs
more than that to be judged has tests of its own: `ELSEWHERE` names the file. `READS` are the
commands that append nothing. Together they are all commands there are, which a test holds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

VALUES = json.dumps({"User": "ann", "Password": "canary-91c4"}).encode()


@dataclass(frozen=True, slots=True)
class Write:
    """One command, given `VALUES` as its standard input."""

    arguments: tuple[str, ...]
    topics: tuple[str, ...]
    """What it appends; nothing where it only writes views."""
    before: tuple[str, ...] = ()
    """What must have run for it to have something to do."""
    again: int = 0
    """The exit code of a second run."""


_GRANT = ("role", "grant", "auditor", "user:ada")
_HOLD = ("key", "hold", "set", "case-7")
_STS = "https://sts.contoso.example"
_TRUST = ("issuer", "add", _STS, "--audience", "credledger", "--keys-url", f"{_STS}/keys")
_SET = ("credential", "set", "payroll", "--owner", "user:ann", "--values", "-")
WRITES = {
    "app create": Write(
        ("app", "create", "Warehouse", "--kind", "group"), ("application.created",), again=5
    ),
    "app update": Write(("app", "update", "payroll", "--name", "Pay"), ("application.updated",)),
    "app grant": Write(
        ("app", "grant", "payroll", "administrator", "user:carla"), ("application.granted",)
    ),
    "app revoke": Write(
        ("app", "revoke", "Reports", "member", "service:nightly"), ("application.revoked",)
    ),
    "app delete": Write(("app", "delete", "Reports", "--yes"), ("application.deleted",), again=3),
    "credential set": Write(_SET, ("credential.set",)),
    "credential restore": Write(
        ("credential", "restore", "Reports", "--version", "1"), ("credential.restored",)
    ),
    "credential delete": Write(
        ("credential", "delete", "Reports", "--yes"), ("credential.deleted",), again=3
    ),
    "credential delete-all": Write(
        ("credential", "delete-all", "--owner", "user:ann", "--yes"), ("credential.deleted",), _SET
    ),
    "role grant": Write(_GRANT, ("role.granted",)),
    "role revoke": Write(("role", "revoke", *_GRANT[2:]), ("role.revoked",), _GRANT),
    "issuer add": Write(_TRUST, ("issuer.added",)),
    "issuer update": Write(
        ("issuer", "update", _STS, "--clock-skew", "60"), ("issuer.changed",), _TRUST
    ),
    "issuer remove": Write(("issuer", "remove", _STS), ("issuer.removed",), _TRUST, again=3),
    "leaver": Write(
        ("leaver", "service:nightly", "--yes"), ("application.revoked", "audit.queried")
    ),
    "key hold set": Write(_HOLD, ("hold.set",), again=5),
    "key hold release": Write(
        ("key", "hold", "release", "case-7"), ("hold.released",), _HOLD, again=3
    ),
    "key retention set": Write(
        ("key", "retention", "set", "--access-older-than", "400"), ("retention.set",)
    ),
    "audit access": Write(("audit", "access"), ("audit.queried",)),
    "audit changes": Write(("audit", "changes", "--app", "Reports"), ("audit.queried",)),
    "audit tickets": Write(("audit", "tickets", "--app", "Reports"), ("audit.queried",)),
    "audit tokens": Write(("audit", "tokens"), ("audit.queried",)),
    "audit questions": Write(("audit", "questions"), ("audit.queried",)),
    "audit recheck": Write(("audit", "recheck"), ("audit.queried",)),
    "audit who-can": Write(("audit", "who-can", "--all"), ("audit.queried",)),
    "audit exposure": Write(("audit", "exposure", "user:ann"), ("audit.queried",)),
    "audit review": Write(
        ("audit", "review", "--until", "now", "--note", "fine"), ("audit.reviewed",)
    ),
    "audit explain": Write(("audit", "explain", "6"), ("audit.queried",)),
    "audit export": Write(
        ("audit", "export", "--format", "jsonl", "--limit", "1"), ("audit.queried",)
    ),
    "replay rebuild": Write(("replay", "rebuild"), ()),
    "replay state": Write(("replay", "state", "--at", "now"), ("audit.queried",)),
    "replay diff": Write(("replay", "diff", "1", "4"), ("audit.queried",)),
    "credential history": Write(("credential", "history", "Reports"), ("audit.queried",)),
}
ELSEWHERE = {
    "init": "test_kills.py",
    "audit pack": "test_pack_faults.py",
    "key host forget": "test_hosts_behind.py",
    "app apply": "test_kills.py",
    "credential get": "test_kills.py",
    "credential import": "test_kills.py",
    "exec": "test_kills.py",
    "ticket issue": "test_ticket_faults.py",
    "ticket redeem": "test_ticket_faults.py",
    "ticket sweep": "test_ticket_faults.py",
    "backup create": "test_backup_faults.py",
    "backup drill": "test_backup_faults.py",
    "backup restore": "test_backup_faults.py",
    "key backup": "test_key_holding.py",
    "key backup attest-replaced": "test_key_holding.py",
    "key passphrase": "test_kills.py",
    "key replace-next": "test_next_epoch.py",
    "key restore": "test_key_holding.py",
    "key retention apply": "../ledger/test_retention.py",
    "key rotate": "test_torture.py",
    "key service rotate": "test_kills.py",
    "key shares create": "test_key_holding.py",
    "key shares restore": "test_key_holding.py",
    "key slot add": "test_kills.py",
    "key slot export-auditor": "test_kills.py",
    "key slot remove": "test_kills.py",
    "log accept-rollback": "test_kills_again.py",
    "log verify": "test_kills_again.py",
    "log witness init": "test_witness_faults.py",
    "log witness sign": "test_witness_faults.py",
    "log witness stamp": "test_witness_faults.py",
    "audit report": "test_report_faults.py",
    "replay restore": "test_kills.py",
    "serve": "../tools/service/test_load.py",
    "store migrate": "test_kills_again.py",
    "unseal": "../tools/service/test_seal.py",
}
READS = {
    "backup verify",
    "key backup list",
    "key hold list",
    "key host list",
    "key retention show",
    "key service jwks",
    "key service list",
    "key sheet",
    "key shares verify",
    "app export",
    "app claims",
    "app fields",
    "app list",
    "app mine",
    "app show",
    "credential list",
    "doctor",
    "issuer list",
    "issuer show",
    "key slot list",
    "key status",
    "log checkpoint",
    "log events",
    "log proof",
    "log witness show",
    "role list",
    "status",
}
