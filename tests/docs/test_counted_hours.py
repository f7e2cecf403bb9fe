"""The hours in the headers of the Kinetics configs, from layers counted one by one."""

import re
from pathlib import Path

import pytest
import torch

from mutualvideo import Subnet, set_subnet
from mutualvideo.config import load_cfg
from mutualvideo.engine.step_plan import StepPlan
from mutualvideo.engine.train import build_sampler
from mutualvideo.models import build_model

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "Kinetics"
VIDEOS, MACS_A_SECOND = 240_000, 3e12
WHOLE = Subnet(1.0, 16, 224)


class Counted:
    """(multiply-adds, numbers read and written) of the layers of a sub-network, forward, a clip."""

    def __init__(self, cfg):
        with torch.device("meta"):
            self._model = build_model(cfg)
        self._found, self._now = {}, None
        for layer in self._model.modules():
            if not list(layer.children()) and not isinstance(layer, torch.nn.Dropout):
                layer.register_forward_hook(self._count)

    def _count(self, layer, inputs, output):
        (x,) = inputs
        self._now[1] += x.numel() + output.numel()
        weight = getattr(layer, "weight", None)
        if weight is not None and weight.ndim > 1:
            # Depthwise layers see one channel, all others see those that come.
            depthwise = getattr(layer, "groups", 1) > 1
            window = weight[0, 0].numel() if weight.ndim > 2 else 1
            self._now[0] += output.numel() * window * (1 if depthwise else x.shape[1])

    @torch.no_grad()
    def __call__(self, subnet):
        if subnet not in self._found:
            self._now = [0, 0]
            set_subnet(self._model, subnet)
            self._model(torch.empty(1, 3, subnet.frames, subnet.size, subnet.size, device="meta"))
            self._found[subnet] = self._now
        return self._found[subnet]


def of_a_run(cfg, draws, counted):
    """(steps, clips, multiply-adds, numbers) of a run's forward passes, means over some draws."""
    plan, sampler = StepPlan(cfg, VIDEOS, 8), build_sampler(cfg)
    clips = macs = numbers = 0
    for kind, count in plan.all_kinds().items():
        share = kind.clips * count / draws
        clips += kind.clips * count
        for draw in range(draws):
            for subnet in sampler.draw(draw, kind.whole):
                one = counted(subnet)
                macs, numbers = macs + share * one[0], numbers + share * one[1]
    return plan.total, clips, macs, numbers


def header_hours(name):
    return int(re.search(r"# Hours: +about (\d+)", (CONFIGS / name).read_text())[1])


@pytest.mark.slow
def test_hours_of_x3d_m_plain_and_by_multigrid():
    names = "X3D_M_mutual.yaml", "X3D_M_mutual_multigrid.yaml"
    plain, grid = (load_cfg(CONFIGS / name) for name in names)
    counted = Counted(plain)  # multigrid's network is the same
    macs, numbers = counted(WHOLE)
    # Of the full network: the published 4.73 G.
    assert macs == pytest.approx(4.73e9, rel=0.001)
    steps, clips, macs, numbers = of_a_run(plain, 24, counted)
    assert clips == VIDEOS * 300
    assert macs / clips == pytest.approx(8.70e9, rel=0.03)
    assert numbers / clips == pytest.approx(1.06e9, rel=0.03)
    by_grid, wanted = of_a_run(grid, 4, counted), (steps, clips, macs, numbers)
    fewer = [a / b for a, b in zip(by_grid, wanted, strict=True)]
    assert fewer == pytest.approx([0.29, 1.5, 0.41, 0.40], rel=0.06)
    for name, share in zip(names, (1, fewer[2]), strict=True):
        hours = 3 * macs * share / MACS_A_SECOND / 3600
        assert header_hours(name) == pytest.approx(hours, rel=0.05)
