"""The recogniser under budgets that it must watch, and with cascades."""

import threading

import numpy as np
import pytest

from mutualvideo.backends.common.base import Backend, Runner
from mutualvideo.config import get_cfg
from mutualvideo.errors import InputError
from mutualvideo.runtime import AdaptiveRecognizer, PreparationError, from_checkpoint
from mutualvideo.runtime import executor as module
from mutualvideo.subnet import Subnet
from mutualvideo.table.cascade import Cascade
from mutualvideo.table.query import QueryTable, Row
from tests.runtime.conftest import curve

CLIP = np.zeros((4, 32, 32, 3), np.uint8)
ROWS = [
    Row(Subnet(0.25, 2, 16), 100, 1, 50.0, 90.0, 5.0),
    Row(Subnet(0.5, 2, 16), 200, 1, 60.0, 90.0, 10.0),
    Row(Subnet(0.75, 4, 32), 400, 1, 70.0, 90.0, 20.0),
    Row(Subnet(1, 4, 32), 800, 1, 80.0, 90.0, 40.0),
]
CHEAP, DEAR = ROWS[0].subnet, ROWS[-1].subnet


class Simulated(Backend):
    """A machine whose runners take the table's time, times ``factor``, on a clock of its own."""

    name = "simulated"

    def __init__(self, table, immediate=True):
        self.table, self.immediate = table, immediate
        self.now_s, self.factor, self.overhead_s = 0.0, 1.0, 0.0
        self.broken, self.gate = set(), threading.Event()
        self.gate.set()

    def perf_counter(self):
        return self.now_s

    def check(self, subnet):
        self.table[subnet]

    def input_shape(self, subnet):
        return subnet.frames, subnet.size

    def prepare(self, subnet):
        assert self.gate.wait(30)
        if subnet in self.broken:
            raise RuntimeError("no room")
        return SimulatedRunner(self, subnet)


class SimulatedRunner(Runner):
    def __init__(self, machine, subnet):
        super().__init__(subnet, machine.input_shape(subnet))
        self._machine = machine

    def __call__(self, clips):
        row = self._machine.table[self.subnet]
        self._machine.now_s += row.latency_ms * self._machine.factor * len(clips) / 1000
        # As sure as the clip is bright, for class 1; the dear row is always sure of class 2.
        sure = 0.4 + 0.5 * (clips.mean((1, 2, 3, 4)) + 1) / 2
        scores = np.stack([(1 - sure) / 2, sure, (1 - sure) / 2], 1)
        if self.subnet == DEAR:
            scores = np.tile([0.05, 0.05, 0.9], (len(clips), 1))
        return scores.astype(np.float32)


@pytest.fixture
def simulated(monkeypatch, tmp_path):
    """Makes recognisers over a simulated machine: ``(recognizer, machine)``."""

    def make(metadata=None, rows=ROWS, cascades=None, **options):
        table = QueryTable(rows, metadata)
        machine = Simulated(table, **options)
        cfg = get_cfg()
        cfg.DATA.NUM_FRAMES, cfg.DATA.TEST_CROP_SIZE, cfg.MODEL.NUM_CLASSES = 4, 32, 3
        monkeypatch.setattr(from_checkpoint, "open_network", lambda *_: (machine, cfg))
        monkeypatch.setattr(module, "time", machine)
        # Outside the network: what overhead_s says.
        prepare = module.prepare

        def slow_prepare(*arguments):
            machine.now_s += machine.overhead_s
            return prepare(*arguments)

        monkeypatch.setattr(module, "prepare", slow_prepare)
        unread = tmp_path / "unread.pyth"
        unread.touch()
        return AdaptiveRecognizer(unread, table, cascades=cascades), machine

    return make


def play(recognizer, clips):
    """Latencies and rows of ``clips`` answers."""
    answers = [recognizer.predict(CLIP) for _ in range(clips)]
    return [a.latency_ms for a in answers], [recognizer.table[a.subnet] for a in answers]


@pytest.mark.parametrize("immediate", [True, False])
def test_half_the_machine_is_answered_within_3_clips_and_recovered_from_within_10(
    simulated, immediate
):
    recognizer, machine = simulated(immediate=immediate)
    assert recognizer.set_budget(ms=25.0, wait=True) == ROWS[2]
    for row in ROWS:
        recognizer.predict(CLIP, row.subnet)  # prepared: switches take effect at once
    assert set(play(recognizer, 30)[1]) == {ROWS[2]}
    machine.factor = 2.0
    latencies, _ = play(recognizer, 30)
    assert all(ms <= 25.0 for ms in latencies[3:])
    assert recognizer.current == ROWS[1] and not recognizer.late
    machine.factor = 1.0
    _, rows = play(recognizer, 30)
    assert set(rows[10:]) == {ROWS[2]}
    machine.factor = 20.0
    play(recognizer, 5)
    assert recognizer.late and recognizer.current == ROWS[0]


def test_clips_a_second_include_what_is_outside_the_network(simulated):
    recognizer, machine = simulated()
    assert recognizer.set_budget(fps=20.0) == ROWS[3]
    machine.overhead_s = 0.02
    play(recognizer, 12)
    # 50 ms a clip, of which 20 go elsewhere.
    assert recognizer.current == ROWS[2]
    assert recognizer.set_budget(ms=50.0) == ROWS[3]


def test_a_fixed_row_or_multiply_adds_do_not_follow_the_clock(simulated):
    recognizer, machine = simulated()
    machine.factor = 50.0
    recognizer.set_budget(macs=400)
    assert set(play(recognizer, 8)[1]) == {ROWS[2]}
    recognizer.switch(DEAR)
    assert set(play(recognizer, 8)[1]) == {ROWS[3]}
    # Answers asked of a row by name teach nothing about the current one.
    recognizer.set_budget(ms=2500.0)
    recognizer.predict(CLIP, CHEAP)
    assert recognizer.current == ROWS[3]


def test_without_latencies_they_are_learnt(simulated):
    rows = [Row(r.subnet, r.macs, 1, r.top1, r.top5) for r in ROWS]
    recognizer, machine = simulated(rows=rows)
    machine.table = QueryTable(ROWS)
    assert recognizer.set_budget(ms=25.0).subnet == CHEAP
    play(recognizer, 40)
    assert recognizer.current.subnet == ROWS[2].subnet


def test_a_row_that_cannot_be_prepared_costs_no_answer(simulated):
    recognizer, machine = simulated(immediate=False)
    recognizer.set_budget(ms=25.0, wait=True)
    machine.broken.add(ROWS[1].subnet)
    machine.factor = 2.0
    problems = []
    for _ in range(20):
        try:
            recognizer.predict(CLIP)
            recognizer.wait_ready()
        except PreparationError as error:
            problems.append(error)
    assert all("0.5x2x16 cannot be prepared" in str(error) for error in problems)
    assert len(problems) == 1
    assert recognizer.predict(CLIP).subnet == ROWS[2].subnet


def bright(share):
    return np.full((4, 32, 32, 3), round(255 * share), np.uint8)


def test_cascades_ask_dear_rows_about_unsure_clips_alone(simulated, tmp_path):
    curve(Cascade((CHEAP, DEAR), (0.7,))).save_json(tmp_path / "c.json")
    recognizer, _ = simulated({"cascades": str(tmp_path / "c.json")})
    assert recognizer.set_budget(macs=305, cascade=True) == ROWS[0]
    batch = np.stack([bright(share) for share in (1.0, 0.0, 0.9, 0.1)]).transpose(0, 4, 1, 2, 3)
    answer = recognizer.predict(batch)
    assert answer.subnets == (CHEAP, DEAR, CHEAP, DEAR)
    assert answer.labels == ("1", "2", "1", "2")
    # (100 + 900 + 100 + 900) / 4
    assert (answer.subnet, answer.macs) == (DEAR, 500)
    assert answer.latency_ms == pytest.approx(4 * 5.0 + 2 * 40.0)
    sure = recognizer.predict(bright(1.0))
    assert (sure.subnet, sure.macs, sure.subnets) == (CHEAP, 100, (CHEAP,))
    # The next budget ends it.
    recognizer.set_budget(macs=200)
    assert recognizer.predict(bright(0.0)).subnet == ROWS[1].subnet


def test_a_cascade_begins_when_all_its_stages_are_prepared(simulated):
    recognizer, machine = simulated(immediate=False, cascades=curve(Cascade((CHEAP, DEAR), (0.7,))))
    recognizer.switch(CHEAP, wait=True)
    machine.gate.clear()
    recognizer.set_budget(macs=305, cascade=True)
    assert recognizer.predict(bright(0.0)).subnet == CHEAP
    machine.gate.set()
    recognizer.set_budget(macs=305, cascade=True, wait=True)
    assert recognizer.predict(bright(0.0)).subnet == DEAR


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        ({"macs": 305}, "names no cascades"),
        ({"ms": 5.0}, "give macs=... alone"),
        ({"macs": 305, "fps": 5.0}, "give macs=... alone"),
    ],
)
def test_cascades_that_there_are_not(simulated, budget, named):
    recognizer, _ = simulated()
    recognizer.switch(CHEAP)
    with pytest.raises(InputError, match=named):
        recognizer.set_budget(**budget, cascade=True)
    assert recognizer.current == ROWS[0]
