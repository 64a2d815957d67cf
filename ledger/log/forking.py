"""What must rest while a process forks, and be made anew in its child.

Two things do not survive a fork. A lock that another thread held stays locked in the child for
ever, because that thread does not exist there. And SQLite keeps books, for the whole process, of
the locks that its connections hold on a file, but the kernel gives those locks to the parent
alone: a child that opens the same file believes in locks that it has not got, and could lose data.

So whoever owns a lock is asked, in the child and before any of its code runs, to *renew* itself;
and whoever owns connections *rests* before the fork, with none open, until it is done.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

import filelock  # noqa: F401 # its own fork hooks, registered before ours, run after them


class Renewable(Protocol):
    """Something with locks or threads of one process."""

    def renew_after_fork(self) -> None:
        """Forget what belongs to the parent; runs in the child, which has one thread."""
        ...


class Resting(Renewable, Protocol):
    """Something with connections of one process."""

    def rest_before_fork(self) -> None:
        """Wait until no connection is in use, and close them all; others wait from now on."""
        ...

    def go_on_after_fork(self) -> None:
        """Let those who wait go on; runs in the parent."""
        ...


_RENEWABLE: weakref.WeakSet[Renewable] = weakref.WeakSet()
_RESTING: weakref.WeakKeyDictionary[Resting, int] = weakref.WeakKeyDictionary()
_AT_REST: list[Resting] = []


def renew_in_children(owner: Renewable) -> None:
    """Renew the owner in every child forked from now on, as long as it lives."""
    _RENEWABLE.add(owner)


def rest_while_forking(owner: Resting, *, depth: int) -> None:
    """Let the owner rest at every fork from now on, as long as it lives.

    What is used from inside something else is the deeper of the two, and comes to rest after it.
    """
    _RESTING[owner] = depth
    _RENEWABLE.add(owner)


def _rest() -> None:
    _AT_REST[:] = sorted(_RESTING, key=lambda owner: _RESTING[owner])
    for owner in _AT_REST:
        owner.rest_before_fork()


def _go_on() -> None:
    while _AT_REST:
        _AT_REST.pop().go_on_after_fork()


def _renew() -> None:
    _AT_REST.clear()
    for owner in list(_RENEWABLE):
        owner.renew_after_fork()


os.register_at_fork(before=_rest, after_in_parent=_go_on, after_in_child=_renew)
