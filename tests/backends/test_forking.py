"""What waits for other threads is made anew in a forked process."""

import os
import threading

import pytest
import torch
from torch import nn

from mutualvideo.backends import make_backend
from mutualvideo.runtime.prepared import PreparedRunners
from mutualvideo.slim import slimmable
from mutualvideo.subnet import Subnet

FULL = Subnet(1, None, 8)


class Slow:
    """A backend whose preparation does not end before the fork."""

    immediate = False
    name = "slow"

    def __init__(self):
        self.parent, self.began, self.go_on = os.getpid(), threading.Event(), threading.Event()

    def prepare(self, subnet):
        if os.getpid() == self.parent:
            self.began.set()
            self.go_on.wait()
        return type("Ready", (), {"subnet": subnet, "nbytes": 0})()


def in_child(answer):
    """Whether ``answer()`` is true in a forked process, which is given a minute."""
    if (child := os.fork()) == 0:
        threading.Timer(60, os._exit, [2]).start()
        try:
            os._exit(0 if answer() else 1)
        finally:
            os._exit(3)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_preparation_begins_anew_in_a_forked_process():
    backend = Slow()
    prepared = PreparedRunners(backend)
    prepared.switch(FULL)
    backend.began.wait()
    assert in_child(lambda: prepared.answering().subnet == FULL)
    backend.go_on.set()
    assert prepared.answering().subnet == FULL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_pass_of_another_thread_does_not_stop_a_forked_process():
    model = slimmable(
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
        example=torch.empty(1, 3, 8, 8, device="meta"),
        full=FULL,
    ).eval()
    backend = make_backend("torch", model, "cpu", "fp32")
    runner = backend.prepare(FULL)
    with backend.kind._lock:
        assert in_child(lambda: runner(torch.randn(1, 3, 8, 8).numpy()).shape == (1, 2))
