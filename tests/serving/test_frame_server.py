"""Many streams in continual form: the same answers as alone, in time, and none lost uncounted."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from mutualvideo.budget import Budget
from mutualvideo.errors import InputError
from mutualvideo.policy.budget_script import BudgetScript
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.serving.frame_server import FrameServer
from mutualvideo.serving.run_streams import _follow
from mutualvideo.table.continual_table import ContinualTable
from tests.runtime.conftest import FULL
from tests.runtime.test_continual_recognizer import FEW, NARROW, run_with_rows  # noqa: F401

STREAMS = ("gate", "hall", "yard")


class Clock:
    """Goes on by ``look_s`` with every look at it."""

    def __init__(self):
        self.now_s, self.look_s = 0.0, 0.0

    def __call__(self):
        self.now_s += self.look_s
        return self.now_s


@pytest.fixture(scope="module")
def timed(run_with_rows, tmp_path_factory):  # noqa: F811
    """A recogniser whose rows have latencies: 1, 2 and 4 ms a frame."""
    checkpoint, path = run_with_rows
    recognizer = AdaptiveRecognizer(checkpoint, path, mode="continual")
    rows = zip(recognizer.frames.rows, (1.0, 2.0, 4.0), strict=True)
    table = ContinualTable([replace(row, latency_ms=ms) for row, ms in rows])
    recognizer.frames.rows = table
    return recognizer


def pictures(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 64, 3), np.uint8)


def test_batched_streams_answer_as_each_alone(timed, run_with_rows):  # noqa: F811
    """They begin at different times, and one leaves out a frame; a switch under way."""
    server = FrameServer(timed, STREAMS, clock=Clock())
    assert {row.subnet for row in server.rows.values()} == {FULL}
    # Until the states of all three are full, and a little longer.
    count = 5 + timed.frames.form(NARROW).fills_after + 3
    films = {name: pictures(count, number) for number, name in enumerate(STREAMS)}
    comes = {name: [n for n in range(count) if n >= begin] for begin, name in enumerate(STREAMS)}
    comes["hall"].remove(4)
    alone = {}
    for name in STREAMS:
        frames = AdaptiveRecognizer(*run_with_rows, mode="continual").frames
        frames.switch(FULL)
        alone[name] = frames
    for number in range(count):
        if number == 5:
            server.switch(NARROW)  # another size: filled beside
        wanted = {}
        for name in STREAMS:
            if number in comes[name]:
                if number >= 5:
                    alone[name].switch(NARROW)
                server.submit(name, films[name][number])
                wanted[name] = alone[name].predict(films[name][number])
        found = server.answer()
        assert found.keys() == wanted.keys()
        for name, answer in found.items():
            assert answer.subnet == wanted[name].subnet and answer.batch == len(found)
            assert np.abs(answer.scores - wanted[name].scores).max() < 1e-4
            assert (answer.warming_up, answer.filling, answer.macs) == (
                wanted[name].warming_up,
                wanted[name].filling,
                wanted[name].macs,
            )
    assert {row.subnet for row in server.rows.values()} == {NARROW}
    assert not any(server.dropped.values()) and not any(server.missed.values())
    assert server.answer() == {}


def test_saved_and_restored(timed, tmp_path):
    server = FrameServer(timed, STREAMS[:2], clock=Clock())
    films = pictures(6, 0), pictures(6, 1)

    def feed(one, numbers):
        answers = []
        for number in numbers:
            for name, film in zip(STREAMS, films, strict=False):
                one.submit(name, film[number])
            answers.append(one.answer())
        return answers[-1]

    feed(server, range(3))
    torch.save(server.save(), tmp_path / "streams.pt")
    wanted = feed(server, range(3, 6))
    again = FrameServer(timed, STREAMS[:2], clock=Clock())
    again.restore(torch.load(tmp_path / "streams.pt", weights_only=True))
    found = feed(again, range(3, 6))
    for name, answer in wanted.items():
        assert np.array_equal(answer.scores, found[name].scores)
        assert answer.warming_up == found[name].warming_up
    with pytest.raises(InputError, match="saved streams hall: not among those served"):
        FrameServer(timed, STREAMS[:1]).restore(server.save())
    for wrong in ({}, [], {"streams": {"gate": {}}}, {"streams": 1}):
        with pytest.raises(InputError, match="saved streams: this is nothing that save"):
            again.restore(wrong)


def test_deadlines_and_drops_are_counted_and_a_slow_machine_gets_a_cheaper_row(timed):
    clock = Clock()
    server = FrameServer(timed, STREAMS[:1], clock=clock)
    frame = pictures(1, 0)[0]
    server.submit("gate", frame)
    server.submit("gate", frame)
    assert server.dropped == {"gate": 1}
    # Two frames lie 1 / 15 s apart; every look at the clock takes 0.1 s, 25 times what 4 ms were.
    clock.look_s = 0.1
    assert server.answer()["gate"].late and server.missed == {"gate": 1}
    for _ in range(60):
        if server.rows["gate"].subnet == FEW:
            break
        server.submit("gate", frame)
        server.answer()
    assert server.rows["gate"].subnet == FEW


def test_streams_on_rows_of_their_own_share_a_budget(timed, run_with_rows):  # noqa: F811
    """Answers are those of each stream alone; the budget is kept, save while states fill."""
    costs = {row.subnet: row.cost("macs_per_s") for row in timed.frames.rows}
    budget = costs[FULL] + costs[NARROW] + costs[FEW]
    server = FrameServer(
        timed, {"gate": 1.0, "hall": 4.0, "yard": 2.0}, Budget("macs_per_s", budget)
    )
    rows = server.rows
    assert rows["hall"].subnet == FULL
    assert sum(costs[row.subnet] for row in rows.values()) <= budget
    alone = {}
    for name, row in rows.items():
        alone[name] = AdaptiveRecognizer(*run_with_rows, mode="continual").frames
        alone[name].switch(row.subnet)
    films = {name: pictures(40, number) for number, name in enumerate(STREAMS)}
    for number in range(40):
        if number == 10:
            changed = server.set_budget(Budget("macs_per_s", 3 * costs[FEW]))
            assert {row.subnet for row in changed.values()} == {FEW}
            for frames in alone.values():
                frames.switch(FEW)
        for name, film in films.items():
            server.submit(name, film[number], number / 15)
        for name, answer in server.answer().items():
            wanted = alone[name].predict(films[name][number])
            assert np.abs(answer.scores - wanted.scores).max() < 1e-4
            assert answer.time_s == number / 15
            assert (answer.subnet, answer.macs, answer.warming_up, answer.filling) == (
                wanted.subnet,
                wanted.macs,
                wanted.warming_up,
                wanted.filling,
            )
    with pytest.raises(InputError, match="for 3 streams: even with the cheapest row"):
        server.set_budget("1/s")
    server.switch(NARROW, "yard")
    server.submit("yard", films["yard"][0])
    (answer,) = server.answer().values()
    assert answer.filling and server.rows["gate"].subnet == FEW
    server.switch(FEW)  # taken back: nothing of what was being filled is left
    server.submit("yard", films["yard"][0])
    assert not server.answer()["yard"].filling


def test_at_random_budgets_each_frame_is_answered_or_counted(timed):
    draw, frame = random.Random(0), pictures(1, 0)[0]
    costs = [row.cost("macs_per_s") for row in timed.frames.rows]
    server = FrameServer(timed, STREAMS, "1T/s", clock=Clock())
    submitted, answered = Counter(), Counter()
    for _ in range(150):
        if draw.random() < 0.1:
            server.set_budget(f"{3 * draw.uniform(min(costs), max(costs)):.0f}/s")
        for name in STREAMS:
            times = draw.choice([0, 1, 1, 1, 2])
            submitted[name] += times
            for _ in range(times):
                server.submit(name, frame)
        answered.update(server.answer().keys())
    assert submitted == answered + Counter(server.dropped)


def test_what_is_refused(timed, run_with_rows, run_dir):  # noqa: F811
    with pytest.raises(InputError, match="none twice"):
        FrameServer(timed, ["gate", "gate"])
    with pytest.raises(InputError, match='mode="continual"'):
        FrameServer(AdaptiveRecognizer(run_dir), STREAMS)
    with pytest.raises(InputError, match="TABLE.LATENCY"):
        FrameServer(AdaptiveRecognizer(*run_with_rows, mode="continual"), STREAMS)
    with pytest.raises(InputError, match="stream 'door': the streams are gate"):
        FrameServer(timed, STREAMS).submit("door", pictures(1, 0)[0])
    with pytest.raises(InputError, match="stream 'door': the streams are gate"):
        FrameServer(timed, STREAMS).switch(FULL, "door")
    with pytest.raises(InputError, match="for 3 streams: even with the cheapest row"):
        FrameServer(timed, STREAMS, "0.001core")


def test_a_budget_that_a_slow_machine_cannot_meet(timed):
    """As the machine's speed changes, so under a script: the cheapest rows, and no end."""
    clock, frame = Clock(), pictures(1, 0)[0]
    server = FrameServer(timed, STREAMS[:1], clock=clock)
    clock.look_s = 0.1
    for _ in range(60):
        server.submit("gate", frame)
        server.answer()
    before = server.rows
    with pytest.raises(InputError, match="even with the cheapest row"):
        server.set_budget("0.5core")
    assert server.rows == before
    script = BudgetScript([(0.0, Budget.parse("0.9core")), (1.0, Budget.parse("0.5core"))])
    server.submit("gate", frame, 1.5)
    assert _follow(server, script, 0, server.answer()) == 1
    server.submit("gate", frame)
    assert server.answer()["gate"].subnet == FEW
