"""Every token in the table is refused, outwardly alike, and recorded as what it was."""

from __future__ import annotations

import pytest

from ledger.errors import Refused
from tests.ledger.tokens.conftest import counting, trusting
from tests.ledger.tokens.hostile import HOSTILE
from tests.ledger.tokens.minting import mint

ANSWER = {
    "code": "token-refused",
    "message": "The token is refused.",
    "hint": "Get a new token from its issuer; the ledger's operator can see why.",
}


def test_there_are_enough_of_them():
    """The table keeps its size."""
    assert len(HOSTILE) >= 60


@pytest.fixture(scope="module")
def long_counter(templates, tmp_path_factory):
    """One ledger for the whole table, as making one costs more than a token does.

    Each token has a verifier of its own.
    """
    with templates.copied(tmp_path_factory.mktemp("tokens"), None, trusting) as house:
        yield from counting(house)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_token_is_refused(long_counter, name):
    """One answer for all, nobody is known afterwards, and why is recorded once, for insiders."""
    counter, hostile = long_counter, HOSTILE[name]
    counter.verifier, before = counter.another(), counter.ledger.head().size
    scene = counter.scene
    if hostile.after is not None:
        counter.verify(hostile.after(scene))
    token = hostile.make(scene)
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            counter.verify(token, application=hostile.application, source="192.0.2.7")
        assert caught.value.as_document() == ANSWER
    assert not counter.verifier._known
    counter.verifier.close()
    singly = [one.event for one in counter.events("token.refused", before)]
    summaries = [one.event for one in counter.events("token.refusals", before)]
    assert [one.why for one in singly] == [hostile.why] * hostile.verified
    assert [(one.source, one.reasons) for one in summaries] == [
        ("192.0.2.7", ((hostile.why, 2 - hostile.verified),))
    ]


def test_the_token_that_they_are_made_of_is_good(counter):
    """What is refused above is refused for what was changed in it."""
    assert str(counter.verify(mint(counter.scene.now)).caller.claim).endswith("#user:alice")


def test_what_is_recorded_of_them_holds_no_token(counter):
    """No part of a hostile token is found in what the ledger stores of it."""
    secrets = set()
    scene = counter.scene
    for hostile in HOSTILE.values():
        if hostile.after is not None:
            counter.verify(hostile.after(scene))
        token = hostile.make(scene)
        content = token.encode() if isinstance(token, str) else token
        secrets |= {part for part in content.split(b".") if len(part) > 40}
        with pytest.raises(Refused):
            counter.verify(content, application=hostile.application)
    counter.verifier.close()
    with counter.ledger._writer.store.reading() as reading:
        rows = [row for row in reading.rows_after(0, 1000) if row.topic.startswith("token.")]
    texts = [counter.ledger._desk.mapper.text(row) for row in rows]
    assert texts
    assert not [part for part in secrets for text in texts if part in text]
