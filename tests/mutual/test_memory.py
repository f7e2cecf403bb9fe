"""Peak memory of a mutual step against that of the full network's step, on the CPU.

Counted by torch's profiler: every allocation of the CPU's allocator.
"""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from mutualvideo.models import build_model, full_subnet
from mutualvideo.mutual import mutual_step
from mutualvideo.slim import channels_last, weights_layout
from mutualvideo.subnet import Subnet
from tests.networks import make_cfg, make_clip


def peak_over(run):
    """Most bytes held at a time while ``run`` runs, over those held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    events = recorded.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    now = peak = 0
    for _, change in changes:
        now += change
        peak = max(peak, now)
    return peak


def peaks(name, batch, fresh_gradients, **settings):
    """Peak bytes of a step of the full network alone, and of one of four whole-size passes."""
    torch.manual_seed(0)
    cfg = make_cfg(name, MODEL__NUM_CLASSES=10, **settings)
    model = build_model(cfg).train()
    model.to(memory_format=weights_layout(model))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, nesterov=True)
    clips, labels = channels_last(make_clip(cfg, batch)), torch.arange(batch) % 10
    full = full_subnet(cfg)
    # Smaller clips would need less than these.
    subnets = [full] + [Subnet(width, full.frames, full.size) for width in (0.63, 0.9, 0.99)]
    held = clips.nbytes + (2 if fresh_gradients else 3) * sum(p.nbytes for p in model.parameters())

    def step(chosen):
        optimizer.zero_grad(set_to_none=fresh_gradients)
        mutual_step(model, clips, labels, chosen)
        optimizer.step()

    found = []
    step(subnets[:1])  # there are gradients and momentum after it
    for chosen in (subnets[:1], subnets):
        if fresh_gradients:
            optimizer.zero_grad(set_to_none=True)
        found.append(held + peak_over(lambda chosen=chosen: step(chosen)))
    return found


@pytest.mark.parametrize(
    "name, batch, settings",
    [
        ("X3D", 2, {"X3D__DEPTH_FACTOR": 2.2}),
        ("ResNet", 2, {}),
        ("MobileNetV2", 4, {"MODEL__DROPOUT_RATE": 0.2}),
    ],
    ids=["X3D", "ResNet", "MobileNetV2"],
)
def test_gradients_held_by_both(name, batch, settings):
    alone, mutual = peaks(name, batch, fresh_gradients=False, **settings)
    assert mutual <= 1.05 * alone


def test_gradients_made_anew():
    # As training does. Gradients are there in the second pass and not in the first: few beside
    # what is kept for the backward pass, in a network of clips.
    settings = {"X3D__DIM_C5": 64, "X3D__DEPTH_FACTOR": 0.4}
    alone, mutual = peaks("X3D", 8, fresh_gradients=True, **settings)
    assert mutual <= 1.05 * alone
