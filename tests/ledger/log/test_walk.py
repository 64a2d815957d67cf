"""A walk gives the rows of the log that leads to one head, and fails where they lead to another."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.errors import Tampered
from ledger.log import walk
from ledger.log.walk import Walk
from ledger.tree import Frontier
from ledger.usecases.acting import Acting


@pytest.fixture
def filled(house, monkeypatch):
    """A dozen rows, three to a page."""
    monkeypatch.setattr(walk, "PAGE_ROWS", 3)
    ledger = house.open()
    ledger.create_application(Acting(), "CRM", kind="individual")
    for number in range(10):
        ledger.grant(Acting(), "CRM", "administrator", f"user:u{number}")
    yield house, ledger._writer
    ledger.close()


def walked(house, writer, after, head=None):
    """The positions that a walk gives."""
    way = Walk(house.store().reading, writer.signer.ledger, head or writer.head)
    return [row.position for page in way.after_position(after) for row in page]


@pytest.mark.parametrize("after", [0, 1, 5, 11, 12, 13, 400])
def test_it_gives_each_row_beyond_a_position_once(filled, after):
    house, writer = filled
    assert walked(house, writer, after) == list(range(after + 1, writer.head.size + 1))


def test_it_ends_at_its_head_though_the_log_goes_on(filled):
    house, writer = filled
    head = writer.head
    other = house.open()
    other.grant(Acting(), "CRM", "administrator", "user:late")
    other.close()
    assert walked(house, writer, 2, head) == list(range(3, head.size + 1))


@pytest.mark.parametrize("after", [0, 6, 13])
def test_rows_that_lead_to_another_head_are_not_the_logs(filled, after):
    """Each page is signed for, as those of an abandoned branch would be."""
    house, writer = filled
    other = Frontier().extend(bytes([number]) * 32 for number in range(writer.head.size))
    with pytest.raises(Tampered) as caught:
        walked(house, writer, after, replace(writer.head, frontier=other))
    assert caught.value.code == "forked"


def test_a_log_that_ends_before_its_head_was_rolled_back(filled):
    house, writer = filled
    longer = replace(writer.head, frontier=writer.head.frontier.extend([bytes(32)]))
    with pytest.raises(Tampered) as caught:
        walked(house, writer, 0, longer)
    assert caught.value.code == "rolled-back"
