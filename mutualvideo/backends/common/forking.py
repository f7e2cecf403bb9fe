"""What waits for other threads is made anew in a forked process, where those are gone."""

import os
import weakref
from typing import Protocol


class ForkedObject(Protocol):
    """What has locks or threads of its own."""

    def after_fork(self) -> None:
        """Makes them anew; called in the new process before anything else."""


_LIVE: weakref.WeakSet[ForkedObject] = weakref.WeakSet()


def survives_fork(thing: ForkedObject) -> None:
    """Has ``thing.after_fork()`` called in every process that is forked from this one."""
    _LIVE.add(thing)


def _after_fork() -> None:
    for thing in list(_LIVE):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
