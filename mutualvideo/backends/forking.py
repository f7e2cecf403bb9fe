"""What waits for other threads is made anew in a forked process, where those are gone."""

import os
import weakref

_LIVE = weakref.WeakSet()


def survives_fork(thing):
    """Has ``thing.after_fork()`` called in every process that is forked from this one."""
    _LIVE.add(thing)


def _after_fork():
    for thing in list(_LIVE):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
