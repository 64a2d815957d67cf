"""A memory that takes the place of another while a thread looks into that one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait

from ledger.log.following import CheckedHead
from ledger.log.memory import HostMemory
from ledger.tree import Frontier

LEDGER, KEY, STREAM = b"l" * 32, b"k" * 32, b"s" * 16


def head(size):
    return CheckedHead(Frontier().extend([bytes(32)] * size), 1000 + size, 1, bytes(32))


def test_an_accepted_log_is_seen_though_another_thread_opened_its_memory_first(
    tmp_path, monkeypatch
):
    path = tmp_path / "memory"
    HostMemory(path, LEDGER, KEY).remember(head(5), {})
    memory = HostMemory(path, LEDGER, KEY)
    memory.recall()
    recalled = memory._recalled
    with ThreadPoolExecutor(1) as another:

        def overtaken(rows):
            found = recalled(rows)
            operator = HostMemory(path, LEDGER, KEY)
            operator.recall()
            with operator.anew() as fresh:
                fresh.follow_acceptance(operator, 0)
                fresh.remember(head(3), {})
                operator.replace_by(fresh)
            wait([another.submit(memory.tip, STREAM)], timeout=1)  # it may have to wait itself
            return found

        with monkeypatch.context() as patched:
            patched.setattr(memory, "_recalled", overtaken)
            assert memory.newer(5) is None
    newer = memory.newer(5)
    assert newer is not None
    assert (newer.head.size, newer.is_of_another) == (3, True)
