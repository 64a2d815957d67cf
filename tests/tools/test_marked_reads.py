"""`audit access` with a cursor, and with the reads that are worth a look, on each kind of store."""

from __future__ import annotations

import time

import pytest

from tests.tools.conftest import found

FIELD = ("--field", "Password:password")
ALL_HOURS = ("--hours", "00:00-00:00", "--days", "mon-sun")


def furnish_shop(cli):
    cli.ok("app", "create", "Till", "--kind", "group", "--administrator", "user:ann", *FIELD)
    cli.ok("app", "grant", "Till", "member", "user:bob")
    cli.ok("app", "create", "Mail", "--kind", "individual", *FIELD)
    cli.set("Till", None, Password="t")
    for who in ("user:ann", "user:bob"):
        cli.set("Mail", who, Password="m")


@pytest.fixture
def shop(begun):
    """A group application that ann administers, and an individual one."""
    return begun(found, furnish_shop)


def get(cli, application, who, *further):
    """One read; where it is recorded."""
    answer = cli("credential", "get", application, "--as", who, *further)
    return (answer.json if answer.code == 0 else answer.error)["position"]


def positions(rows):
    return [one["position"] for one in rows]


def test_a_cursor_is_a_place_in_the_log_whichever_question_it_came_from(shop):
    """Each question goes on below it and leaves nothing out; one beyond the log is refused."""
    reads = [get(shop, "Mail", who) for who in ("user:ann", "user:bob") * 3]
    every = positions(shop.ok("audit", "access"))
    assert every == reads[::-1]
    bobs = positions(shop.ok("audit", "access", "--user", "user:bob"))
    for cursor in (*reads, reads[0] - 1, reads[-1] + 1, 1):
        after = ("--after", str(cursor))
        told = positions(shop.ok("audit", "access", "--user", "user:bob", *after))
        assert told == [one for one in bobs if one < cursor]
        told = positions(shop.ok("audit", "access", *after))
        assert told == [one for one in every if one < cursor]
    shop.fails(3, "beyond-the-log", "audit", "access", "--after", "100000")


def test_reversed_ranges_and_unknown_words_are_refused_and_not_recorded(shop):
    """Bad questions leave no record, for nothing was answered."""
    position = shop.ok("status")["position"]
    ask = ("audit", "access")
    shop.fails(2, "reversed-range", *ask, "--since", "1h", "--until", "2h")
    shop.fails(2, "reversed-range", *ask, "--unusual", "--since", "1h", "--until", "2h")
    shop.fails(2, "usage", *ask, "--outcome", "perhaps")
    shop.fails(2, "usage", *ask, "--colour", "red")
    shop.fails(2, "two-marks", *ask, "--unusual", "--self-granted")
    shop.fails(2, "granted-only", *ask, "--unusual", "--outcome", "denied")
    shop.fails(2, "rules-without-unusual", *ask, "--bulk", "5/1m")
    shop.fails(2, "invalid-bulk", *ask, "--unusual", "--bulk", "5")
    shop.fails(2, "invalid-hours", *ask, "--unusual", "--hours", "late")
    shop.fails(2, "invalid-days", *ask, "--unusual", "--days", "work")
    assert shop.ok("status")["position"] == position


def test_first_reads_are_told_with_the_rule(shop):
    """What was read before is not first, wherever the time that is asked for begins."""
    first = [get(shop, "Mail", "user:ann"), get(shop, "Till", "user:bob")]
    again = get(shop, "Mail", "user:ann")
    get(shop, "Till", "user:mallory")
    told = shop.ok("audit", "access", "--unusual", *ALL_HOURS)
    assert positions(told) == first[::-1]
    assert told[0]["unusual"] == {"first-time": "never before given to this person"}
    every = shop.ok("audit", "access")
    since = next(one["recorded_at"] for one in every if one["position"] == again)
    assert shop.ok("audit", "access", "--unusual", *ALL_HOURS, "--since", since) == []
    only = ("--unusual", *ALL_HOURS, "--app")
    assert positions(shop.ok("audit", "access", *only, "till")) == first[1:]
    assert (
        positions(shop.ok("audit", "access", "--unusual", *ALL_HOURS, "--limit", "1")) == first[1:]
    )
    after = ("--after", str(first[1]))
    assert positions(shop.ok("audit", "access", "--unusual", *ALL_HOURS, *after)) == first[:1]


def test_a_crowd_of_reads_is_told_across_the_edge_of_a_span_and_a_filter(shop):
    """Reads of another application, and of before the span, make a crowd with those shown."""
    crowd = [get(shop, one, "user:bob") for one in ("Mail", "Till", "Mail", "Till")]
    get(shop, "Mail", "user:ann")
    rules = ("--unusual", *ALL_HOURS, "--bulk", "4/1h")
    told = shop.ok("audit", "access", *rules)
    assert [one["position"] for one in told if "bulk" in one["unusual"]] == crowd[::-1]
    told = shop.ok("audit", "access", *rules, "--app", "Till")
    assert [one["position"] for one in told if "bulk" in one["unusual"]] == crowd[3:0:-2]
    every = {one["position"]: one["recorded_at"] for one in shop.ok("audit", "access")}
    told = shop.ok("audit", "access", *rules, "--since", every[crowd[3]])
    assert [one["position"] for one in told if "bulk" in one["unusual"]] == crowd[3:]
    told = shop.ok("audit", "access", *rules, "--until", every[crowd[0]])
    assert [one["position"] for one in told if "bulk" in one["unusual"]] == crowd[:1]
    none = shop.ok("audit", "access", "--unusual", *ALL_HOURS, "--bulk", "5/1h")
    assert not [one for one in none if "bulk" in one["unusual"]]


def test_reads_at_night_are_told(shop):
    """By the clock of the host's own zone: outside the next hour, and not within this one."""
    reads = [get(shop, "Mail", "user:ann") for _ in range(2)]

    def asked(begin_h, end_h):
        ends = (time.localtime(time.time() + 3600 * hours) for hours in (begin_h, end_h))
        hours = "-".join(time.strftime("%H:%M", end) for end in ends)
        rows = shop.ok("audit", "access", "--unusual", "--hours", hours, "--days", "mon-sun")
        late = [one for one in rows if "out-of-hours" in one["unusual"]]
        sentence = f"outside {hours}, mon-sun"
        assert all(one["unusual"]["out-of-hours"] == sentence for one in late)
        return positions(late)

    assert asked(1, 2) == reads[::-1]
    assert asked(-1, 1) == []


def test_who_made_themselves_a_member_and_read_is_told(shop):
    """With the grant; not who was made one by somebody else, and not before or after it stood."""
    get(shop, "Till", "user:ann")
    get(shop, "Till", "user:bob")
    get(shop, "Mail", "user:ann")
    grant = shop.ok("app", "grant", "Till", "member", "user:ann", "--as", "user:ann")["position"]
    read = get(shop, "Till", "user:ann")
    get(shop, "Mail", "user:ann")
    (one,) = shop.ok("audit", "access", "--self-granted")
    assert one["position"] == read
    assert one["self_granted"] == {"position": grant, "role": "member", "claim": "user:ann"}
    shop.ok("app", "revoke", "Till", "member", "user:ann")
    get(shop, "Till", "user:ann")
    shop.ok("app", "grant", "Till", "member", "user:ann")
    get(shop, "Till", "user:ann")
    assert positions(shop.ok("audit", "access", "--self-granted")) == [read]
    assert shop.ok("audit", "access", "--self-granted", "--user", "user:bob") == []
    assert shop.ok("audit", "access", "--self-granted", "--after", str(read)) == []


def test_who_let_a_group_of_theirs_in_is_told(shop):
    """The membership is the group's, and its author reads through it; others of the group do not
    count."""
    shop.ok("app", "grant", "Till", "member", "group:tills", "--as", "user:ann")
    get(shop, "Till", "user:zoe", "--with", "group:tills")
    read = get(shop, "Till", "user:ann", "--with", "group:tills")
    (one,) = shop.ok("audit", "access", "--self-granted")
    assert (one["position"], one["self_granted"]["claim"]) == (read, "group:tills")


def test_an_administrator_or_maker_of_ones_own_is_told(shop):
    """Who gave themselves the role of administrator, or an application of their own making."""
    shop.ok("role", "grant", "full-control", "user:kim")
    shop.ok("app", "grant", "Till", "administrator", "user:kim", "--as", "user:kim")
    get(shop, "Till", "user:kim")
    shop.ok("app", "grant", "Till", "member", "user:kim")
    till = get(shop, "Till", "user:kim")
    made = ("app", "create", "Own", "--kind", "group", "--member", "user:kim", *FIELD)
    shop.ok(*made, "--as", "user:kim")
    shop.set("Own", None, Password="o")
    own = get(shop, "Own", "user:kim")
    rows = shop.ok("audit", "access", "--self-granted")
    told = {one["position"]: one["self_granted"]["role"] for one in rows}
    assert told == {till: "administrator", own: "member"}
