"""Multiply-adds of a training, against a count of every sub-network of every step."""

import pytest
from torch import nn

from mutualvideo.mutual import SubnetSampler
from mutualvideo.run.trained_macs import TrainedMacs
from mutualvideo.slim import count_costs, count_macs, slimmable
from mutualvideo.subnet import Subnet

FULL = Subnet(1, None, 32)
SMALL = Subnet(1, None, 24)


@pytest.fixture(scope="module")
def model():
    layers = [nn.Conv2d(3, 40, 3, padding=1), nn.BatchNorm2d(40), nn.ReLU()]
    layers += [nn.Conv2d(40, 24, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return slimmable(nn.Sequential(*layers, nn.Linear(24, 5)), (0.25, 1), full=FULL)


def sampler(mode):
    return SubnetSampler(FULL, mode, (0.25, 1.0), 2, [], [32, 24], seed=3)


@pytest.mark.parametrize("mode", ["mutual", "width_only", "single"])
def test_multiply_adds_of_all_steps(model, mode):
    draws, found = sampler(mode), TrainedMacs(model, FULL)
    for step in range(12):
        found.add(draws.draw(step), 8)
    wanted = sum(count_macs(model, subnet) for step in range(12) for subnet in draws.draw(step))
    # Forward once, backward twice, of 8 pictures.
    assert found.total() == 3 * 8 * wanted == found.total()
    assert model.slim_state.subnet == FULL
    found.add([FULL], 2)
    assert found.total() == 3 * (8 * wanted + 2 * count_macs(model, FULL))


def test_a_run_that_goes_on_adds_to_what_was_before(model):
    found = TrainedMacs(model, FULL, before=1000)
    assert found.total() == 1000
    found.add([FULL], 1)
    assert found.total() == 1000 + 3 * count_macs(model, FULL)


def test_each_network_is_counted_once_whatever_widths_round_to_it(model):
    asked = []

    def costs(model, subnets):
        asked.extend(subnets)
        return count_costs(model, subnets)

    found = TrainedMacs(model, FULL, costs=costs)
    for width in (0.5, 0.501, 0.5):
        found.add([Subnet(width, None, 32)], 1)
    assert found.total() == 3 * 3 * count_macs(model, Subnet(0.5, None, 32))
    found.add([Subnet(0.499, None, 32)], 1)
    found.total()
    assert asked == [Subnet(0.5, None, 32)]


def test_kinds_of_steps_that_take_turns_are_told_apart(model):
    """Every third step is of small clips, and steps of either kind are of another number."""
    draws, found, wanted = sampler("mutual"), TrainedMacs(model, FULL), 0
    for step in range(60):
        clips, clip = (8, SMALL) if step % 3 == 0 else (4, None)
        subnets = draws.draw(step, clip)
        found.add(subnets, clips, clip)
        wanted += 3 * clips * sum(count_macs(model, subnet) for subnet in subnets)
    assert found.total() == wanted


def test_of_many_networks_some_are_counted(model, monkeypatch):
    monkeypatch.setattr("mutualvideo.run.trained_macs._COUNTED", 16)
    draws, found, wanted = sampler("mutual"), TrainedMacs(model, FULL), 0
    for step in range(200):
        subnets = draws.draw(step)
        found.add(subnets, 8)
        wanted += 3 * 8 * sum(count_macs(model, subnet) for subnet in subnets)
    assert found.total() == pytest.approx(wanted, rel=0.05)
