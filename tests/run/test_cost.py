"""What a training took: seconds carried on, of its workers too."""

import json
import subprocess
import sys

import pytest

from mutualvideo.run.cost import COST_NAME, TrainingCost


def test_seconds_are_carried_on(tmp_path):
    first = TrainingCost(tmp_path, resumed=False)
    sum(number**2 for number in range(10**6))  # some time passes
    first.save(epochs=1, steps=5, macs=100, cpu_seconds=first.spent()[0])
    found = json.loads((tmp_path / COST_NAME).read_text())
    assert (found["epochs"], found["steps"], found["macs"]) == (1, 5, 100)
    found["cpu_seconds"] = found["wall_seconds"] = 1000.0
    (tmp_path / COST_NAME).write_text(json.dumps(found))

    TrainingCost(tmp_path, resumed=True).save(2, 10, 200, 1.0)
    more = json.loads((tmp_path / COST_NAME).read_text())
    assert more["cpu_seconds"] == 1001 and more["wall_seconds"] >= 1000
    TrainingCost(tmp_path, resumed=False).save(1, 5, 100, 1.0)
    anew = json.loads((tmp_path / COST_NAME).read_text())
    assert anew["wall_seconds"] < 1000


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_damaged_file_counts_as_none(tmp_path, content):
    (tmp_path / COST_NAME).write_text(content)
    TrainingCost(tmp_path, resumed=True).save(1, 1, 1, 1.0)
    assert json.loads((tmp_path / COST_NAME).read_text())["epochs"] == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="read from /proc")
def test_workers_that_are_running_count(tmp_path):
    cost = TrainingCost(tmp_path, resumed=False)
    work = "sum(range(30_000_000)); print(flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    before = cost.spent()[0]
    child.stdout.readline()  # it is done, and still there
    running = cost.spent()[0]
    child.communicate(b"\n")
    assert running - before > 0.1
    assert cost.spent()[0] >= running - 0.1  # nothing is lost, and nothing counts twice
    assert cost.spent()[0] < running + 0.5 * (running - before) + 0.5


@pytest.mark.parametrize("steps, macs", [(0, 0), (5, 100), (4, 80)])
def test_multiply_adds_of_the_steps_before(tmp_path, steps, macs):
    TrainingCost(tmp_path, resumed=False).save(1, 5, 100, 1.0)
    assert TrainingCost(tmp_path, resumed=True).macs_before(steps) == macs
    assert TrainingCost(tmp_path, resumed=False).macs_before(steps) == (0 if steps == 0 else None)
