import threading

import pytest
import torch
from torch.distributed import HashStore

from mutualvideo.run.distributed import Context
from mutualvideo.run.stopping import Stop

CPU = torch.device("cpu")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_one_process_stops_after_the_step():
    event, clock = threading.Event(), Clock()
    stop = Stop(Context(CPU), event, 60, clock=clock)
    assert stop.after(0) is None
    clock.now += 59
    assert stop.after(1) is None
    clock.now += 1
    assert stop.after(2) == "TRAIN.TIME_LIMIT is over"
    event.set()
    assert stop.after(3) == "asked to by a signal"


def test_without_a_limit_time_does_not_matter():
    clock = Clock()
    stop = Stop(Context(CPU), threading.Event(), clock=clock)
    clock.now += 1e9
    assert stop.after(0) is None


@pytest.mark.parametrize("fast", [0, 1])
@pytest.mark.parametrize("asked", [{0}, {1}, {0, 1}])
@pytest.mark.parametrize("at", range(4))
def test_processes_stop_after_the_same_step(fast, asked, at):
    """Whoever is asked, and whether before or after the other has finished the step."""
    store, events = HashStore(), [threading.Event(), threading.Event()]
    stops = [Stop(Context(CPU, rank, 2, store=store), events[rank]) for rank in (0, 1)]
    ended = [None, None]
    for step in range(8):
        # Both have begun its all-reduce: from here one may be ahead of the other by what it does
        # until the next one.
        for rank in (fast, 1 - fast):
            if step == at and rank in asked:
                events[rank].set()
            if ended[rank] is None and stops[rank].after(step):
                ended[rank] = step
        assert (ended[0] is None) == (ended[1] is None)
        if ended[0] is not None:
            break
    assert ended[0] == ended[1] and ended[0] in (at, at + 1)


def test_what_stopped_before_does_not_stop_what_goes_on():
    store, event = HashStore(), threading.Event()
    event.set()
    first = Stop(Context(CPU, 0, 2, store=store), event)
    assert first.after(0) is None and first.after(1)
    again = Stop(Context(CPU, 0, 2, store=store), threading.Event(), first_step=2)
    assert again.after(2) is None
