"""Saying that something goes on which takes long and cannot say so itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mutualvideo.run.durations import clock_time

# Seconds between two signs of life.
_EVERY_S = 20.0


@contextmanager
def heard(what: str, say: Callable[[str], None], every_s: float = _EVERY_S) -> Iterator[None]:
    """Says ``what ...`` at once, and how long it has taken every ``every_s`` seconds.

    Args:
        what: what is being done: ``"measuring a step"``.
        say: what to do with each line; called from another thread too.
        every_s: seconds.
    """
    say(f"{what} ...")
    over = threading.Event()

    def beat() -> None:
        beats = 0
        while not over.wait(every_s):
            beats += 1
            say(f"{what} ... {clock_time(beats * every_s)} so far")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
