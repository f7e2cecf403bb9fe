"""Channels that are ordered while training goes on, where sub-networks join the full network."""

import copy

import pytest
import torch

from mutualvideo.engine.ordering import order_before, order_trained
from mutualvideo.engine.step_plan import StepPlan
from mutualvideo.engine.tasks import task_of
from mutualvideo.engine.train import train
from mutualvideo.engine.update import Updater
from mutualvideo.models import build_model, full_subnet, read_checkpoint
from mutualvideo.run.checkpoint import checkpoint_path
from mutualvideo.run.distributed import Context

CPU = Context(torch.device("cpu"))


@pytest.mark.parametrize(
    "solver",
    [
        {"OPTIMIZING_METHOD": "sgd", "BASE_LR": 0.05},
        {"OPTIMIZING_METHOD": "adamw", "BASE_LR": 0.01, "NESTEROV": False},
    ],
    ids=["sgd", "adamw"],
)
def test_the_full_network_trains_on_as_if_nothing_had_happened(tiny, solver):
    changes = {f"SOLVER__{key}": value for key, value in solver.items()}
    cfg = tiny(MODEL__DROPOUT_RATE=0, TRAIN__EMA_DECAY=0.6, **changes)
    torch.manual_seed(0)
    clips, labels = torch.randn(4, 3, 4, 40, 40, dtype=torch.float64), torch.arange(4) % 2
    model = build_model(cfg).double().train()
    left, ordered = (Updater(cfg, CPU.device, copy.deepcopy(model)) for _ in range(2))

    def step(updater):
        return updater(clips, labels, [full_subnet(cfg)], 0.0, cfg.SOLVER.BASE_LR).results[0].loss

    for _ in range(3):
        assert step(left) == step(ordered)
    before = [parameter.clone() for parameter in ordered.model.parameters()]
    order_trained(task_of(cfg), ordered)
    moved = [not torch.equal(a, b) for a, b in zip(before, ordered.model.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2
    for _ in range(3):
        torch.testing.assert_close(step(ordered), step(left), rtol=1e-9, atol=0)
    for one, other in (
        (left.model, ordered.model),
        (left.ema.module, ordered.ema.module),
    ):
        with torch.no_grad():
            torch.testing.assert_close(other.eval()(clips), one.eval()(clips), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("left", "again"), [(1, 1), (2, 0)])
def test_a_resumed_run_is_the_uninterrupted_one(tiny, tmp_path, caplog, left, again):
    """Ordered before the first mutual step: a checkpoint before it is ordered anew, none after."""
    keys = {"MUTUAL__ALONE_EPOCHS": 1, "MUTUAL__ORDER_CHANNELS": True, "TRAIN__EMA_DECAY": 0.5}
    keys["TRAIN__CHECKPOINT_PERIOD"] = 1
    whole, cut = (tiny(OUTPUT_DIR=tmp_path / name, **keys) for name in ("whole", "cut"))
    with caplog.at_level("INFO", "mutualvideo"):
        train(whole, CPU)
        assert caplog.text.count("ordered the channels") == 1
        train(cut, CPU)
        caplog.clear()
        for epoch in range(left + 1, 4):
            (tmp_path / "cut" / "checkpoints" / f"checkpoint_epoch_{epoch:05d}.pyth").unlink()
        train(cut, CPU)
        assert caplog.text.count("ordered the channels") == again
    wanted, found = (read_checkpoint(checkpoint_path(one.OUTPUT_DIR, 3)) for one in (whole, cut))
    for part in ("model_state", "ema_state"):
        for name, tensor in wanted[part].items():
            torch.testing.assert_close(found[part][name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(("first", "then"), [(3, 1), (1, 3)])
def test_channels_are_ordered_once_whatever_a_resumed_run_is_told(
    tiny, tmp_path, caplog, first, then
):
    """The time alone is over when the run goes on, or was over before and is told to be longer."""
    keys = {"MUTUAL__ORDER_CHANNELS": True, "TRAIN__CHECKPOINT_PERIOD": 1}
    keys |= {"SOLVER__MAX_EPOCH": 4, "OUTPUT_DIR": tmp_path}
    train(tiny(MUTUAL__ALONE_EPOCHS=first, **keys), CPU)
    for epoch in (3, 4):
        (tmp_path / "checkpoints" / f"checkpoint_epoch_{epoch:05d}.pyth").unlink()
    with caplog.at_level("INFO", "mutualvideo"):
        train(tiny(MUTUAL__ALONE_EPOCHS=then, **keys), CPU)
    assert "resumed from" in caplog.text and "2 epochs and 0 steps done" in caplog.text
    assert caplog.text.count("ordered the channels") == (first == 3)


@pytest.mark.parametrize(
    ("alone", "weights", "mode", "wanted"),
    [
        (0, "weights.pyth", "mutual", 0),
        (2, "weights.pyth", "mutual", 4),
        (2, "", "width_only", 4),
        (2, "", "single", None),
    ],
)
def test_when_channels_are_ordered(tiny, alone, weights, mode, wanted):
    cfg = tiny(
        MUTUAL__ORDER_CHANNELS=True,
        MUTUAL__ALONE_EPOCHS=alone,
        MUTUAL__MODE=mode,
        TRAIN__CHECKPOINT_FILE_PATH=weights,
    )
    assert order_before(cfg, StepPlan(cfg, 8)) == wanted
    cfg.MUTUAL.ORDER_CHANNELS = False
    assert order_before(cfg, StepPlan(cfg, 8)) is None
