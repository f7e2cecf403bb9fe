"""Times on a clock that the runners move themselves."""

import numpy as np
import pytest

from mutualvideo.backends.common import latency
from mutualvideo.backends.common.base import Backend, Runner
from mutualvideo.subnet import Subnet

SUBNETS = [Subnet(0.5, 2, 8), Subnet(1, 2, 8)]


class Ticking(Backend):
    """Its runners take ``ms[subnet]`` a clip, one call in ten thrice as long."""

    name = "ticking"

    def __init__(self, ms, nbytes=0):
        self.ms, self.nbytes, self.now_s, self.calls = ms, nbytes, 0.0, []

    def perf_counter(self):
        return self.now_s

    def check(self, subnet):
        pass

    def input_shape(self, subnet):
        return subnet.frames, subnet.size

    def prepare(self, subnet):
        return TickingRunner(self, subnet)


class TickingRunner(Runner):
    def __init__(self, machine, subnet):
        super().__init__(subnet, machine.input_shape(subnet), machine.nbytes)
        self._machine, self._count = machine, 0

    def __call__(self, clips):
        machine = self._machine
        assert clips.dtype == np.float32 and clips.shape[1:] == (3, 2, 8, 8)
        self._count += 1
        slow = 3 if self._count % 10 == 0 else 1
        machine.now_s += machine.ms[self.subnet] * len(clips) * slow / 1000
        machine.calls.append(self.subnet)


@pytest.fixture
def machine(monkeypatch):
    def make(*ms, nbytes=0):
        made = Ticking(dict(zip(SUBNETS, ms, strict=True)), nbytes)
        monkeypatch.setattr(latency, "time", made)
        return made

    return make


def test_medians_and_tails(machine):
    made = machine(2.0, 7.0)
    found = dict(latency.measure_rows(made, SUBNETS, batch=4, seconds=3.0))
    for subnet, ms in zip(SUBNETS, (2.0, 7.0), strict=True):
        for size in (1, 4):
            assert found[subnet][size].median_ms == pytest.approx(ms * size)
            assert found[subnet][size].batch == size
            assert ms * size <= found[subnet][size].p90_ms <= 3.001 * ms * size


@pytest.mark.parametrize("nbytes, turns", [(0, True), (2**31, False)])
def test_rows_take_turns_while_they_fit_into_memory(machine, nbytes, turns):
    made = machine(2.0, 7.0, nbytes=nbytes)
    assert [s for s, _ in latency.measure_rows(made, SUBNETS, seconds=0.1)] == SUBNETS
    changes = sum(a != b for a, b in zip(made.calls, made.calls[1:], strict=False))
    assert changes > 5 if turns else changes == 1


@pytest.mark.parametrize("least", [5, 12])
def test_slow_calls_are_measured_often_enough(machine, least):
    made = machine(2.0, 900.0)
    list(latency.measure_rows(made, SUBNETS[1:], seconds=0.01, least=least))
    warm_up = latency._WARM_UP
    assert made.calls.count(SUBNETS[1]) >= least + warm_up
    made.calls.clear()
    assert latency.measure(made.prepare(SUBNETS[0]), 1, 0.0, least).median_ms == pytest.approx(2.0)


def test_what_times_depend_on():
    found = latency.about_latency(Ticking({}), batch=8)
    assert (found["backend"], found["device"], found["batch"]) == ("ticking", "cpu", 8)
    assert found["processor"] and found["cores"] >= 1
