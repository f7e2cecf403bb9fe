"""A recogniser without a network: its runners take the time they are told, on a clock of ours."""

import threading
from types import SimpleNamespace

import numpy as np

from mutualvideo.backends.common.base import Backend, Runner
from mutualvideo.runtime.executor import Executor
from mutualvideo.table.query import QueryTable
from tests.policy.rows import ROWS

LONG = 30  # s; only a bug waits for it
_MS = {row.subnet: row.latency_ms for row in ROWS}


def clip(number=0):
    """uint8 (2, 8, 8, 3); its answer is of class ``number % 256``."""
    return np.full((2, 8, 8, 3), number % 256, np.uint8)


class Clock:
    """Seconds that pass when somebody says so."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


class FakeRecognizer:
    """What ``Service`` and ``StreamServer`` need of an ``AdaptiveRecognizer``.

    Attributes:
        calls: (sub-network, clips) of every call of a runner.
        bad: sub-networks that cannot be prepared.
        failing: ``failing(subnet, clips)``: whether this call raises.
        slow: factor on the latencies.
        answering: called at the beginning of every call.
        learnt: what answers under the recogniser's own budget took: (sub-network, ms, others).
        gates: by sub-network, the event that its preparation waits for.
    """

    def __init__(self, clock=None, rows=ROWS, immediate=True, cache_mib=512):
        self.clock, self.table, self.current = clock or Clock(), QueryTable(rows), None
        self.learnt = []
        self.calls, self.bad, self.failing, self.slow = [], set(), lambda *_: False, 1.0
        self.answering = lambda: None
        self.gates = {row.subnet: threading.Event() for row in rows}
        self.backend = FakeBackend(self, immediate)
        data = SimpleNamespace(
            NUM_FRAMES=2, TEST_CROP_SIZE=8, TEST_CROP_SHARE=1.0, MEAN=[0.0] * 3, STD=[1.0] * 3
        )
        cfg = SimpleNamespace(DATA=data, MODEL=SimpleNamespace(ARCH="x3d", NUM_CLASSES=256))
        self.executor = Executor(self.backend, self.table, cfg, cache_mib)

    def observe(self, subnet, ms, other_ms):
        self.learnt.append((subnet, ms, other_ms))

    def let(self, *subnets):
        for subnet in subnets:
            self.gates[subnet].set()


class FakeBackend(Backend):
    name = "fake"

    def __init__(self, recognizer, immediate):
        self._recognizer, self.immediate = recognizer, immediate

    def check(self, subnet):
        pass

    def input_shape(self, subnet):
        return 2, 8

    def prepare(self, subnet):
        if not self.immediate:
            assert self._recognizer.gates[subnet].wait(LONG)
        if subnet in self._recognizer.bad:
            raise ValueError("no such\nkernel")
        return FakeRunner(self._recognizer, subnet)


class FakeRunner(Runner):
    """Answers with the clip's number, which is its brightness."""

    def __init__(self, recognizer, subnet):
        super().__init__(subnet, (2, 8), 2**20)
        self._recognizer = recognizer

    def __call__(self, clips):
        recognizer, count = self._recognizer, len(clips)
        recognizer.calls.append((self.subnet, count))
        recognizer.answering()
        recognizer.clock.now_s += count * _MS[self.subnet] * recognizer.slow / 1000
        if recognizer.failing(self.subnet, clips):
            raise RuntimeError("out of\nmemory")
        numbers = np.rint(clips[:, 0, 0, 0, 0] * 255).astype(int)
        return np.eye(256, dtype=np.float32)[numbers]
