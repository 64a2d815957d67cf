"""A difference for people: a line for each thing that came, went or changed."""

from __future__ import annotations

from tools.showing.differences import HAPPENED, difference_rows


def state(name: str, **settings: object) -> dict[str, object]:
    return {"application": name, "kind": "individual", "members": [], "version": 1, **settings}


def mapping(version: int) -> dict[str, object]:
    return {"application": "CRM", "owner": "user:bob", "version": version}


def test_each_change_is_a_line_of_its_own():
    told = {
        "applications": {
            "added": [state("New")],
            "removed": [state("Old")],
            "changed": [
                {
                    "before": state("CRM", members=["user:ann", "user:bob"]),
                    "after": state("CRM", members=["user:bob", "user:cid"], version=2),
                }
            ],
        },
        "credentials": {
            "added": [],
            "removed": [],
            "changed": [{"before": mapping(1), "after": mapping(2)}],
        },
    }
    assert [tuple(row.values()) for row in difference_rows(told, HAPPENED)] == [
        ("added application", "New", None, None, "individual"),
        ("removed application", "Old", None, "individual", None),
        ("members", "CRM", None, ["user:ann"], ["user:cid"]),
        ("changed credentials", "CRM", "user:bob", "version 1", "version 2"),
    ]
