"""What the ledger should answer, said a second time in plain dictionaries.

Written from the pages that tell people the rules (who may read, who may do what, how versions
count) and from nothing that decides for the ledger: no policy, no aggregate, no claim parser is
used here. So wherever the two agree, two readings of the same page agree.

A *caller* is a list of claims as text, the caller's own first, or None for the operator. An owner
is a claim's text, or None for a group's one shared set. Everything kept has the compared form of
its name::

    applications  ID -> settings, live ones only
    rights        {(right, claim)}
    mappings      (ID, owner) -> every set, restore and deletion, oldest first
    accesses      the records that retrievals must have left, oldest first

Each request says which error it should meet, how many rows it should add, and what it should
answer. A request that meets an error adds no row, except a retrieval, which always adds one.
What the pages leave open (the `detail` of some refusals) is `None` here and is not compared.
"""

from __future__ import annotations

import copy
import unicodedata
from dataclasses import dataclass, field

SECRET_TYPES = ("password", "windows-password", "pin", "key", "certificate-password")
DEFAULT_FIELDS = [
    ["Windows User Name", "windows-user-name", False],
    ["Windows Password", "windows-password", True],
]
PLURALS = {
    "administrator": "administrators",
    "member": "members",
    "ticket-redeemer": "ticket_redeemers",
}

# verb -> (administrators may, owners may, rights that allow it); full control allows everything.
DOING = {
    "create": (False, False, ("create-application",)),
    "manage": (True, False, ("manage-application",)),
    "delete": (False, False, ("delete-application",)),
    "show": (True, False, ("manage-application", "delete-application", "auditor")),
    "set": (True, True, ()),
    "unset": (True, True, ()),
    "restore": (True, False, ()),
    "list": (True, False, ("auditor",)),
    "roles": (False, False, ()),
    "history": (False, False, ("auditor",)),
}


class Fault(Exception):
    """A request that the ledger should not carry out, by the code of its error."""


@dataclass
class Answer:
    """What one request should meet, add and answer."""

    code: str | None = None
    rows: int = 0
    value: dict = field(default_factory=dict)


def name_of(text):
    """A name in the form in which names are compared."""
    shown = unicodedata.normalize("NFC", text).strip()
    return unicodedata.normalize("NFC", shown.casefold())


def claim_of(text):
    """A claim's canonical text, or `invalid-claim`."""
    normal = unicodedata.normalize("NFC", text).strip()
    if any(unicodedata.category(character) == "Cc" for character in normal):
        raise Fault("invalid-claim")
    issuer, mark, rest = "", "", normal
    if not normal.startswith(("user:", "group:", "role:", "service:")):
        issuer, mark, rest = normal.partition("#")
    kind, colon, value = rest.partition(":")
    if kind not in ("user", "group", "role", "service") or not colon or not value.strip():
        raise Fault("invalid-claim")
    if mark and not issuer:
        raise Fault("invalid-claim")
    return f"{issuer}#{rest}" if mark else f"{kind}:{value.strip().casefold()}"


def can_own(claim):
    """Whether credentials can be somebody's of this claim."""
    return claim.rpartition("#")[2].startswith(("user:", "service:"))


class Model:
    """The ledger as the pages promise it."""

    def __init__(self, size):
        self.size = size
        self.applications = {}
        self.rights = set()
        self.mappings = {}
        self.accesses = []

    # Two questions are asked, and they share no shortcut.

    def may_read(self, key, caller, *, restricted=False, fields=()):
        """(yes or no, the record's detail, the claim that matched)."""
        application = self.applications.get(key)
        if application is None:
            return False, "no-such-application", None
        presented = [claim for claim in caller if claim in application["members"]]
        if application["kind"] == "group":
            if not presented:
                return False, "not-a-member", None
            detail, through = "member", presented[0]
        else:
            if not can_own(caller[0]):
                return False, "not-an-owner", None
            if application["open"]:
                presented = [caller[0]]
            if not presented:
                return False, "not-a-member", None
            detail, through = "owner", presented[0]
        if application["restricted"] and not restricted:
            return False, "restricted-request-needed", through
        if restricted and not any(("restricted-access", claim) in self.rights for claim in caller):
            return False, "restricted-access-needed", through
        if any(name_of(name) not in self.field_names(application) for name in fields):
            return False, "unknown-field", through
        return True, detail, through

    def may(self, verb, caller, key=None, owner=None):
        """Whether somebody may do something besides reading."""
        if caller is None:
            return True
        administrators, owners, rights = DOING[verb]
        if self.holds(caller, "full-control", *rights):
            return True
        application = self.applications.get(key)
        if application is None:
            return False
        if administrators:
            if self.holds(caller, "all-applications"):
                return True
            if any(claim in application["administrators"] for claim in caller):
                return True
        if owners and application["kind"] == "individual" and owner == caller[0]:
            named = application["open"] or any(one in application["members"] for one in caller)
            return can_own(caller[0]) and named
        return False

    def holds(self, caller, *rights):
        """Whether any presented claim holds any of the rights."""
        return any((right, claim) in self.rights for right in rights for claim in caller)

    # Reading.

    def retrieve(self, caller, text, *, restricted, fields, reason):
        """Values, or a refusal; a record in any case."""
        key = name_of(text)
        application = self.applications.get(key)
        allowed, detail, through = self.may_read(
            key, caller, restricted=restricted, fields=fields or ()
        )
        individual = application is not None and application["kind"] == "individual"
        record = {
            "position": self.size + 1,
            "outcome": "denied",
            "caller": caller[0],
            "owner": caller[0] if individual else None,
            "application": application["application"] if application else text.strip(),
            "version": None,
            "fields": [],
            "through": through,
            "reason": reason,
            "detail": detail,
        }
        answer = Answer("unknown-field" if detail == "unknown-field" else "access-denied", 1)
        if allowed:
            found = self.current(key, record["owner"])
            if found is None:
                record |= {"outcome": "not-set", "detail": "not-set"}
                answer = Answer("credentials-not-set", 1, {"page": application["credential_page"]})
            else:
                wanted = [self.shown(application, name) for name in fields or found["values"]]
                released = {
                    name: found["values"][name] for name in wanted if name in found["values"]
                }
                missing = [
                    name for name, _, _ in application["fields"] if name not in found["values"]
                ]
                record |= {
                    "outcome": "granted",
                    "version": found["version"],
                    "fields": list(released),
                }
                answer = Answer(
                    None,
                    1,
                    {
                        "application": application["application"],
                        "owner": record["owner"],
                        "version": found["version"],
                        "fields": released,
                        "complete": not missing,
                        "missing": missing,
                    },
                )
        self.accesses.append(record)
        return self.grown(answer)

    def current(self, key, owner):
        """The newest event of a mapping if it sets values for the present creation."""
        application = self.applications.get(key)
        events = self.mappings.get((key, owner))
        if application is None or not events or events[-1]["event"] == "deleted":
            return None
        return events[-1] if events[-1]["creation"] == application["creation"] else None

    def credentials(self):
        """Everything that is set, as the list shows it."""
        listed = []
        for key, owner in self.mappings:
            found = self.current(key, owner)
            if found is not None:
                application = self.applications[key]
                complete = all(name in found["values"] for name, _, _ in application["fields"])
                listed.append(
                    {
                        "application": application["application"],
                        "owner": owner,
                        "version": found["version"],
                        "complete": complete,
                        "set_by": found["by"],
                    }
                )
        return sorted(listed, key=lambda one: (one["application"].casefold(), one["owner"] or ""))

    # Applications and rights.

    def create(self, caller, text, settings):
        """A new application, empty whatever stood under its ID before."""

        def change():
            if not self.may("create", caller):
                raise Fault("not-allowed")
            key = name_of(text)
            if key in self.applications:
                raise Fault("application-exists")
            made = {
                "application": text.strip(),
                "kind": settings["kind"],
                "ticketing": settings.get("ticketing", False),
                "restricted": settings.get("restricted", False),
                "name": text.strip(),
                "contact": settings.get("contact", ""),
                "credential_page": settings.get("credential_page", "none"),
                "ticket_timeout_s": 120,
                "fields": copy.deepcopy(settings.get("fields") or DEFAULT_FIELDS),
                "creation": self.size + 1,
            }
            if made["ticketing"] and made["restricted"]:
                raise Fault("invalid-kind")
            for role in PLURALS.values():
                made[role] = {claim_of(claim) for claim in settings.get(role, ())}
            if caller is not None:
                made["administrators"].add(caller[0])
            if made["ticket_redeemers"] and not made["ticketing"]:
                raise Fault("not-ticketing")
            made["open"] = made["kind"] == "individual" and not made["members"]
            self.applications[key] = made
            return 1, {}

        return self.attempt(change)

    def update(self, caller, text, changes, added, *, open_to_all):
        """Changed settings, more fields, and open to every owner, all or nothing."""

        def change():
            application = self.managed(caller, text)
            rows = 0
            masked = changes.get("masked", {})
            for name in masked:
                self.shown(application, name)
            wanted = {name: value for name, value in changes.items() if name != "masked"}
            if any(application[name] != value for name, value in wanted.items()) or any(
                one[2] != masked.get(one[0], one[2]) for one in application["fields"]
            ):
                rows += 1
            application.update(wanted)
            for one in application["fields"]:
                one[2] = masked.get(one[0], one[2])
            for name, kind, hidden in added:
                field_added = [name, kind, hidden or kind in SECRET_TYPES]
                if field_added in application["fields"]:
                    continue
                if name_of(name) in self.field_names(application):
                    raise Fault("field-exists")
                application["fields"].append(field_added)
                rows += 1
            if open_to_all:
                if application["kind"] == "group":
                    raise Fault("not-individual")
                rows += not application["open"]
                application["open"] = True
            return rows, {}

        return self.attempt(change)

    def grant(self, caller, text, role, claim, *, revoke):
        """A role of one application given or taken."""

        def change():
            canonical = claim_of(claim)
            application = self.managed(caller, text)
            if role not in PLURALS:
                raise Fault("invalid-role")
            if role == "ticket-redeemer" and not application["ticketing"]:
                raise Fault("not-ticketing")
            held = application[PLURALS[role]]
            closes = role == "member" and not revoke and application["open"]
            if (canonical in held) != revoke and not closes:
                return 0, {"changed": False}
            (held.discard if revoke else held.add)(canonical)
            if closes:
                application["open"] = False
            return 1, {"changed": True}

        return self.attempt(change)

    def delete(self, caller, text):
        """The end of an application and its mappings."""

        def change():
            key = name_of(text)
            self.live(caller, "delete", key)
            del self.applications[key]
            return 1, {}

        return self.attempt(change)

    def role(self, caller, right, claim, *, revoke):
        """A service-level right given or taken."""

        def change():
            canonical = claim_of(claim)
            if not self.may("roles", caller):
                raise Fault("not-allowed")
            if ((right, canonical) in self.rights) != revoke:
                return 0, {"changed": False}
            (self.rights.discard if revoke else self.rights.add)((right, canonical))
            return 1, {"changed": True}

        return self.attempt(change)

    # Credentials.

    def set(self, caller, text, owner, values):
        """New values; every field is mandatory."""

        def change():
            return 1, {"version": self.put(caller, text, owner, values)}

        return self.attempt(change)

    def restore(self, caller, text, owner, version):
        """An earlier version of the present creation once more, under a new number."""

        def change():
            key, whose = self.target(caller, "restore", text, owner)
            events = self.mappings.get((key, whose), [])
            found = [
                one
                for one in events
                if one["version"] == version
                and one["event"] != "deleted"
                and one["creation"] == self.applications[key]["creation"]
            ]
            if not found:
                raise Fault("no-such-version")
            newest = events[-1]["version"] + 1
            self.happened(caller, key, whose, "restored", newest, found[0]["values"])
            return 1, {"version": newest}

        return self.attempt(change)

    def unset(self, caller, text, owner):
        """Nothing is set any more."""

        def change():
            return 1, {"version": self.take(caller, text, owner)}

        return self.attempt(change)

    def unset_all(self, caller, owner, texts):
        """One owner's credentials in several applications, all or nothing."""

        def change():
            gone = []
            for text in texts:
                try:
                    self.take(caller, text, owner)
                    gone.append(self.applications[name_of(text)]["application"])
                except Fault as fault:
                    if fault.args[0] not in ("credentials-not-set", "no-such-application"):
                        raise
            in_another_name = caller is not None and caller[0] != owner
            everywhere = self.holds(caller or (), "full-control", "all-applications")
            if not texts and in_another_name and not everywhere:
                raise Fault("not-allowed")
            return len(gone), {"gone": gone}

        return self.attempt(change)

    def bring_in(self, caller, items):
        """Many mappings, all or nothing; values that are current stay as they are."""

        def change():
            if caller is not None:
                raise Fault("not-allowed")
            imported = unchanged = compared = 0
            for text, owner, values in items:
                key, whose = self.target(caller, "set", text, owner)
                checked = self.checked(self.applications[key], values)
                found = self.current(key, whose)
                compared += found is not None
                if found is not None and found["values"] == checked:
                    unchanged += 1
                    continue
                self.put(caller, text, owner, values)
                imported += 1
            rows = imported + (1 if compared else 0)
            return rows, {"imported": imported, "unchanged": unchanged}

        return self.attempt(change)

    # What those have in common.

    def attempt(self, change):
        """Carry a change out, or put everything back as it was and say the error's code."""
        before = copy.deepcopy((self.applications, self.rights, self.mappings))
        try:
            rows, value = change()
        except Fault as fault:
            self.applications, self.rights, self.mappings = before
            return Answer(fault.args[0])
        return self.grown(Answer(None, rows, value))

    def asked(self):
        """One question to the history, which is a row of its own."""
        return self.grown(Answer(None, 1))

    def grown(self, answer):
        """The same answer, its rows counted."""
        self.size += answer.rows
        return answer

    def live(self, caller, verb, key, owner=None):
        """The application, for somebody who may; the operator alone is told that there is none."""
        if not self.may(verb, caller, key, owner):
            raise Fault("not-allowed")
        if key not in self.applications:
            raise Fault("no-such-application")
        return self.applications[key]

    def managed(self, caller, text):
        """An application to change."""
        return self.live(caller, "manage", name_of(text))

    def target(self, caller, verb, text, owner):
        """(ID, owner) of the mapping meant; without a name a caller means their own."""
        key = name_of(text)
        meant = owner if owner is not None or caller is None else caller[0]
        application = self.live(caller, verb, key, meant)
        if application["kind"] == "group":
            if owner is not None:
                raise Fault("owner-not-used")
            return key, None
        if meant is None:
            raise Fault("owner-required")
        if not can_own(meant):
            raise Fault("invalid-owner")
        return key, meant

    def put(self, caller, text, owner, values):
        """Set values; the version they got."""
        key, whose = self.target(caller, "set", text, owner)
        checked = self.checked(self.applications[key], values)
        events = self.mappings.get((key, whose), [])
        version = events[-1]["version"] + 1 if events else 1
        self.happened(caller, key, whose, "set", version, checked)
        return version

    def take(self, caller, text, owner):
        """Delete what is set; the version that it had."""
        key, whose = self.target(caller, "unset", text, owner)
        found = self.current(key, whose)
        if found is None:
            raise Fault("credentials-not-set")
        self.happened(caller, key, whose, "deleted", found["version"], None)
        return found["version"]

    def happened(self, caller, key, whose, event, version, values):
        """Note one event of a mapping."""
        self.mappings.setdefault((key, whose), []).append(
            {
                "event": event,
                "version": version,
                "creation": self.applications[key]["creation"],
                "values": values,
                "by": caller[0] if caller else "operator",
            }
        )

    def checked(self, application, values):
        """The values under the application's own spelling, one for each field."""
        given = {}
        for name, value in values.items():
            shown = self.shown(application, name)
            if shown in given:
                raise Fault("duplicate-field")
            given[shown] = value
        if len(given) < len(application["fields"]):
            raise Fault("missing-field")
        return {name: given[name] for name, _, _ in application["fields"]}

    def shown(self, application, name):
        """A field's name as the application shows it."""
        for present, _, _ in application["fields"]:
            if name_of(present) == name_of(name):
                return present
        raise Fault("unknown-field")

    def field_names(self, application):
        """The compared names of an application's fields."""
        return {name_of(name) for name, _, _ in application["fields"]}
