"""Turns: which process writes to a file next, one at a time and in fair order.

Under SQLite's own busy timeout several processes starve each other, so writers queue on two lock
files beside the database: take `next`, then `main`, then let `next` go. Whoever holds `main` has
the turn, and exactly one other process waits for it. Threads of one process queue within it.

    DATABASE.next.lock    DATABASE.main.lock

The locks are the kernel's (`flock`), so the end of a process, however it comes about, lets them go.
A turn is taken for each commit, and a library's lock on a file, which does much besides, took half
a millisecond for the two; this takes some ten microseconds. Elsewhere, where a lock is taken once
a command, that library serves.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger.errors import Unavailable

_POLL_S = 0.001
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


class Turns:
    """The turns of one process at one file."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._next = f"{path}.next.lock"
        self._main = f"{path}.main.lock"
        self._timeout_s = timeout_s
        self._guard = threading.Lock()
        self._held: list[int] = []

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Be alone; `store-locked`, `store-not-writable`, `store-full`."""
        if not self._guard.acquire(timeout=self._timeout_s):
            raise locked_too_long()
        try:
            main = self._waited_for()
            try:
                yield
            finally:
                self._let_go(main)
        finally:
            self._guard.release()

    def abandon(self) -> None:
        """Let what was inherited at a fork be the parent's alone."""
        for descriptor in self._held:
            os.close(descriptor)  # unlocked, it would be so for the parent too
        self._held.clear()

    def _waited_for(self) -> int:
        try:
            following = self._locked(self._next)
            try:
                return self._locked(self._main)
            finally:
                self._let_go(following)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise store_full() from error
            raise Unavailable(
                "store-not-writable", "The store's folder cannot be written."
            ) from error

    def _locked(self, path: str) -> int:
        """A descriptor of the file that holds its lock."""
        until = time.monotonic() + self._timeout_s
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            self._held.append(descriptor)
            try:
                _lock(descriptor, until)
                if os.fstat(descriptor).st_nlink:
                    return descriptor
            except BaseException:
                self._let_go(descriptor)
                raise
            # Somebody took the file away meanwhile: others lock the one that is there now.
            self._let_go(descriptor)

    def _let_go(self, descriptor: int) -> None:
        if descriptor not in self._held:
            return  # a child goes on from where its parent forked it
        # Said to the kernel, as such a child may have the file open still.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        self._held.remove(descriptor)
        os.close(descriptor)


def _lock(descriptor: int, until: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise locked_too_long() from None
            time.sleep(_POLL_S)
        else:
            return


def store_full() -> Unavailable:
    """There is no room for what is to be recorded."""
    return Unavailable("store-full", "The disk of the store is full; nothing was recorded.")


def locked_too_long() -> Unavailable:
    """Somebody else is not done in time."""
    return Unavailable(
        "store-locked",
        "Another process held the store's lock too long.",
        hint="See which process writes there; run the command again.",
    )
