"""What a process knows of streams, over what its host remembers."""

from __future__ import annotations

import pytest

from ledger.errors import Tampered
from ledger.log.rows import LogRow
from ledger.log.tips import StreamTips, Tip

STREAM, OTHER = b"s" * 16, b"o" * 16
FIRST, SECOND = Tip(1, 5, bytes(32), b"1" * 32), Tip(2, 9, b"b" * 32, b"2" * 32)


class Memory:
    """A host's memory that counts how often it is asked."""

    def __init__(self) -> None:
        self.known: dict[bytes, Tip] = {}
        self.asked = 0
        self.meanwhile = lambda: None

    def tip(self, stream: bytes) -> Tip | None:
        self.asked += 1
        found = self.known.get(stream)
        self.meanwhile()
        return found

    def tips(self, streams):
        found = {one: self.known[one] for one in streams if one in self.known}
        self.meanwhile()
        return found


def test_the_memory_is_asked_once_for_a_stream_without_rows():
    memory = Memory()
    tips = StreamTips(memory)
    assert [tips.of(STREAM) for _ in range(3)] == [None] * 3
    assert memory.asked == 1


def test_a_stream_that_gets_its_first_row_is_no_longer_without():
    """By this process, or by another one of the host, which the memory tells."""
    memory = Memory()
    tips = StreamTips(memory)
    assert tips.of(STREAM) is None
    tips.move({STREAM: FIRST})
    assert (tips.of(STREAM), tips._without) == (FIRST, set())
    assert tips.of(OTHER) is None
    memory.known[OTHER] = SECOND
    tips.adopt(9)
    assert tips.of(OTHER) == SECOND


def test_streams_that_are_asked_for_together_are_known_to_have_rows_or_none():
    memory = Memory()
    memory.known[OTHER] = SECOND
    tips = StreamTips(memory)
    tips.warm([STREAM, OTHER])
    assert (tips.of(STREAM), tips.of(OTHER), memory.asked) == (None, SECOND, 0)
    tips.move({STREAM: FIRST})
    assert tips.of(STREAM) == FIRST


@pytest.mark.parametrize("adopts", [False, True])
def test_nor_is_what_moved_while_many_were_asked_for(adopts):
    """A row of this process, or of another one of its host, which the memory tells by then."""
    memory = Memory()
    tips = StreamTips(memory)

    def meanwhile():
        memory.known[STREAM] = FIRST
        if adopts:
            tips.adopt(FIRST.position)
        else:
            tips.move({STREAM: FIRST})
            tips.remembered({STREAM: FIRST})

    memory.meanwhile = meanwhile
    tips.warm([STREAM])
    memory.meanwhile = lambda: None
    assert STREAM not in tips._without
    assert tips.of(STREAM) == FIRST


def test_what_moved_while_the_memory_was_asked_is_not_taken_as_absent():
    """The answer was true when it was given, and is not kept; nor is it after the memory knows."""
    memory = Memory()
    tips = StreamTips(memory)
    memory.meanwhile = lambda: tips.move({STREAM: FIRST})
    assert tips.of(STREAM) is None
    assert STREAM not in tips._without
    tips.remembered({STREAM: FIRST})
    assert tips.of(STREAM) == FIRST


def test_streams_that_anybody_may_name_do_not_fill_the_memory_of_the_process():
    tips = StreamTips(Memory())
    for number in range(10_000):
        assert tips.of(number.to_bytes(16, "big")) is None
    assert len(tips._without) == 5000


def test_nobody_comes_upon_an_older_tip_while_the_memory_takes_in_a_newer_one():
    """Others ask at any moment, also between the two tables that a tip changes."""
    tips, seen = StreamTips(Memory()), []

    class Watched(dict):
        def __delitem__(self, stream):
            super().__delitem__(stream)
            seen.append(tips.of(stream))

    for tip in (FIRST, SECOND):
        tips._fresh = Watched()
        tips.move({STREAM: tip})
        tips.remembered({STREAM: tip})
    assert seen == [FIRST, SECOND]


def test_what_was_checked_before_the_memory_was_gone_on_from_takes_the_place_of_nothing_in_it():
    """A thread may stand still between its look at the rows and its word about them."""
    memory = Memory()
    tips = StreamTips(memory)
    memory.known[STREAM] = SECOND
    tips.adopt(SECOND.position)
    tips.move({STREAM: FIRST})
    assert (tips.of(STREAM), tips.fresh) == (SECOND, 0)


def test_nor_does_it_where_this_process_wrote_the_memory_and_has_let_go_of_the_tip_since():
    memory = Memory()
    tips = StreamTips(memory, known_max=1)
    tips.move({STREAM: SECOND})
    memory.known = {STREAM: SECOND, OTHER: FIRST}
    tips.remembered({STREAM: SECOND}, size=SECOND.position)
    assert tips.of(OTHER) == FIRST
    tips.move({STREAM: FIRST})
    assert (tips.of(STREAM), tips.fresh) == (SECOND, 0)


@pytest.mark.parametrize("ask", [lambda tips: tips.of(STREAM), lambda tips: tips.warm([STREAM])])
def test_what_the_memory_told_before_a_stream_went_on_is_not_kept_once_the_newer_tip_is_let_go(ask):
    """Whoever asked it may stand still before keeping the answer."""
    memory = Memory()
    memory.known[STREAM] = FIRST
    tips = StreamTips(memory, known_max=1)

    def meanwhile():
        memory.meanwhile = lambda: None
        tips.move({STREAM: SECOND})
        memory.known |= {STREAM: SECOND, OTHER: FIRST}
        tips.remembered({STREAM: SECOND}, size=SECOND.position)
        assert tips.of(OTHER) == FIRST

    memory.meanwhile = meanwhile
    ask(tips)
    assert tips.of(STREAM) == SECOND


@pytest.mark.parametrize("versions", [[2], [1, 3], [1, 2, 2], [1, 2, 1]])
def test_tips_move_over_no_gap(versions):
    """Whoever seals and signs may leave a version out; what rests on the stream would lack it."""
    rows = [
        LogRow(number, STREAM, version, "role.granted", 1, 197001, number, b"", bytes(32))
        for number, version in enumerate(versions, 1)
    ]
    with pytest.raises(Tampered) as caught:
        StreamTips().after(rows, {})
    assert (caught.value.code, caught.value.position) == ("stream-gap", len(rows))
