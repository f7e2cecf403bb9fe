"""How far something is that takes minutes: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from mutualvideo.run.durations import clock_time

logger = logging.getLogger(__name__)
Item = TypeVar("Item")

# Seconds between two lines; what is shorter says nothing.
_EVERY_S = 60.0


def tracked(
    items: Iterable[Item],
    what: str,
    total: int,
    done: int = 0,
    unit: str = "batches",
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Item]:
    """``items``, one after the other, while how far they are is shown.

    On a terminal as a bar that goes when all are done; in a redirected log, or one that is read
    from a file, as a line a minute. Only the main process logs.

    Args:
        items: what is gone through.
        what: a word for it: ``"evaluate"``.
        total: how many there are, those done before included.
        done: how many were done before.
        unit: what they are.
        clock: seconds; for tests.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, what, total, leave=False, initial=done)
        return
    began_s = said_s = clock()
    for number, item in enumerate(items, 1):
        yield item
        now_s = clock()
        if now_s - said_s >= _EVERY_S and done + number < total:
            left_s = (now_s - began_s) / number * (total - done - number)
            said_s = now_s
            count = f"{done + number} of {total} {unit}"
            logger.info("%s: %s, %s left", what, count, clock_time(left_s))
