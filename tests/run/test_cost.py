"""What a training took: multiply-adds against a count of every step, seconds carried on."""

import json

import pytest
from torch import nn

from mutualvideo.mutual import SubnetSampler
from mutualvideo.run.cost import COST_NAME, TrainingCost, training_macs
from mutualvideo.slim import count_macs, slimmable
from mutualvideo.subnet import Subnet

FULL = Subnet(1, None, 32)


@pytest.fixture(scope="module")
def model():
    layers = [nn.Conv2d(3, 40, 3, padding=1), nn.BatchNorm2d(40), nn.ReLU()]
    layers += [nn.Conv2d(40, 24, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return slimmable(nn.Sequential(*layers, nn.Linear(24, 5)), (0.25, 1), full=FULL)


@pytest.mark.parametrize("mode", ["mutual", "width_only", "single"])
def test_multiply_adds_of_all_steps(model, mode):
    sampler = SubnetSampler(FULL, mode, (0.25, 1.0), 2, [], [32, 24], seed=3)
    wanted = sum(count_macs(model, subnet) for step in range(12) for subnet in sampler.draw(step))
    # Forward once, backward twice, of 8 pictures.
    assert training_macs(model, sampler, 12, 8) == 3 * 8 * wanted
    assert model.slim_state.subnet == FULL


def test_many_steps_are_estimated_on_some(model, monkeypatch):
    monkeypatch.setattr("mutualvideo.run.cost._STEPS", 200)
    sampler = SubnetSampler(FULL, "mutual", (0.25, 1.0), 2, [], [32, 24], seed=3)
    estimated = training_macs(model, sampler, 1000, 8)
    monkeypatch.setattr("mutualvideo.run.cost._STEPS", 1000)
    assert estimated == pytest.approx(training_macs(model, sampler, 1000, 8), rel=0.05)


def test_seconds_are_carried_on(tmp_path):
    first = TrainingCost(tmp_path, resumed=False)
    sum(number**2 for number in range(10**6))  # some time passes
    first.save(epochs=1, steps=5, macs=100)
    found = json.loads((tmp_path / COST_NAME).read_text())
    assert (found["epochs"], found["steps"], found["macs"]) == (1, 5, 100)
    found["cpu_seconds"] = found["wall_seconds"] = 1000.0
    (tmp_path / COST_NAME).write_text(json.dumps(found))

    TrainingCost(tmp_path, resumed=True).save(2, 10, 200)
    more = json.loads((tmp_path / COST_NAME).read_text())
    assert more["cpu_seconds"] >= 1000 and more["wall_seconds"] >= 1000
    TrainingCost(tmp_path, resumed=False).save(1, 5, 100)
    anew = json.loads((tmp_path / COST_NAME).read_text())
    assert anew["wall_seconds"] < 1000


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_damaged_file_counts_as_none(tmp_path, content):
    (tmp_path / COST_NAME).write_text(content)
    TrainingCost(tmp_path, resumed=True).save(1, 1, 1)
    assert json.loads((tmp_path / COST_NAME).read_text())["epochs"] == 1
