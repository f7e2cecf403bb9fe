"""Learning rate and weight-decay groups, against PySlowFast's formulas written out."""

import math

import pytest
import torch
from torch import nn

from mutualvideo.config import load_cfg
from mutualvideo.engine.optimizer import build_optimizer, learning_rate
from mutualvideo.errors import InputError
from mutualvideo.models import build_model
from tests.networks import make_cfg

SOLVER = [
    "SOLVER.BASE_LR",
    "0.1",
    "SOLVER.MAX_EPOCH",
    "196",
    "SOLVER.WARMUP_EPOCHS",
    "34.0",
    "SOLVER.WARMUP_START_LR",
    "0.01",
]


@pytest.mark.parametrize("epoch", [0, 0.5, 17, 33.9, 34, 100, 195.9])
def test_schedule(epoch):
    cosine = 0.1 * (math.cos(math.pi * epoch / 196) + 1) / 2
    end = 0.1 * (math.cos(math.pi * 34 / 196) + 1) / 2
    wanted = 0.01 + epoch * (end - 0.01) / 34 if epoch < 34 else cosine
    assert learning_rate(load_cfg(None, SOLVER), epoch) == pytest.approx(wanted, rel=1e-12)
    # As PySlowFast, which multiplies all rates by the number of machines, if asked to.
    assert learning_rate(load_cfg(None, SOLVER), epoch, 8) == pytest.approx(wanted, rel=1e-12)
    scaled = load_cfg(None, [*SOLVER, "SOLVER.BASE_LR_SCALE_NUM_SHARDS", "True"])
    assert learning_rate(scaled, epoch, 8) == pytest.approx(8 * wanted, rel=1e-12)


@pytest.mark.parametrize("zero_1d, bias_decay", [("False", 5e-5), ("True", 0.0)])
def test_weight_decay_groups(zero_1d, bias_decay):
    cfg = make_cfg(
        "X3D", SOLVER__WEIGHT_DECAY=5e-5, BN__WEIGHT_DECAY=1e-6, SOLVER__ZERO_WD_1D_PARAM=zero_1d
    )
    model = build_model(cfg)
    optimizer = build_optimizer(model, cfg)
    decay = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    assert len(decay) == len(list(model.parameters()))
    for module in model.modules():
        is_norm = isinstance(module, nn.BatchNorm3d)
        for parameter in module.parameters(recurse=False):
            wanted = 1e-6 if is_norm else bias_decay if parameter.ndim == 1 else 5e-5
            assert decay[id(parameter)] == wanted
    assert isinstance(optimizer, torch.optim.SGD) and optimizer.defaults["nesterov"]


def test_depthwise_layers_without_decay():
    """MobileNets: 1e-4 on the dense layers' weights alone."""
    cfg = make_cfg(
        "MobileNetV2",
        SOLVER__WEIGHT_DECAY=1e-4,
        SOLVER__ZERO_WD_1D_PARAM=True,
        SOLVER__ZERO_WD_DEPTHWISE=True,
    )
    model = build_model(cfg)
    decay = {
        id(p): group["weight_decay"]
        for group in build_optimizer(model, cfg).param_groups
        for p in group["params"]
    }
    assert len(decay) == len(list(model.parameters()))
    depthwise = 0
    for name, parameter in model.named_parameters():
        # (channels, 1, 3, 3): nothing but depthwise layers has one input channel.
        depthwise += parameter.ndim == 4 and parameter.shape[1] == 1
        dense = parameter.ndim == 2 or parameter.ndim == 4 and parameter.shape[1] > 1
        assert decay[id(parameter)] == (1e-4 if dense else 0), name
    assert depthwise == 17


@pytest.mark.parametrize("key", ["SOLVER.OPTIMIZING_METHOD", "SOLVER.LR_POLICY"])
def test_bad_input(key):
    cfg = load_cfg(None, [key, "magic"])
    with pytest.raises(InputError, match=f"{key} magic"):
        build_optimizer(nn.Linear(2, 2), cfg)
        learning_rate(cfg, 0)


STEPWISE = {
    "SOLVER__LR_POLICY": "steps_with_relative_lrs",
    "SOLVER__STEPS": [0, 94, 154, 196],
    "SOLVER__LRS": [1, 0.1, 0.01, 0.001],
    "SOLVER__BASE_LR": 0.1,
    "SOLVER__MAX_EPOCH": 196,
    "SOLVER__WARMUP_EPOCHS": 34.0,
    "SOLVER__WARMUP_START_LR": 0.01,
}


@pytest.mark.parametrize(
    "epoch, wanted",
    # Of PySlowFast's stepwise SlowFast 8x8; the warm-up is the line from 0.01 to 0.1.
    [(0, 0.01), (17, 0.055), (34, 0.1), (93.9, 0.1), (94, 0.01), (153, 0.01), (195.9, 0.001)],
)
def test_steps_with_relative_rates(epoch, wanted):
    assert learning_rate(make_cfg("X3D", **STEPWISE), epoch) == pytest.approx(wanted)


@pytest.mark.parametrize("epoch, share", [(34, 1), (115, 0.5), (196, 0)])
def test_a_cosine_after_the_warm_up(epoch, share):
    cfg = load_cfg(None, [*SOLVER, "SOLVER.COSINE_AFTER_WARMUP", "True"])
    assert learning_rate(cfg, epoch) == pytest.approx(0.1 * share)
    assert learning_rate(cfg, 17) == pytest.approx(0.055)


@pytest.mark.parametrize("method, kind", [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_adam(method, kind):
    cfg = make_cfg(
        "X3D",
        SOLVER__OPTIMIZING_METHOD=method,
        SOLVER__BETAS=[0.8, 0.95],
        SOLVER__WEIGHT_DECAY=0.05,
        SOLVER__BASE_LR=0.001,
    )
    optimizer = build_optimizer(build_model(cfg), cfg)
    assert type(optimizer) is kind
    assert [group["betas"] for group in optimizer.param_groups] == [(0.8, 0.95)] * 3
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.05, 0.05]


NO_SCHEDULE = [
    ({"WARMUP_EPOCHS": 35.0, "MAX_EPOCH": 35}, "WARMUP_EPOCHS 35 of SOLVER.MAX_EPOCH 35"),
    ({"WARMUP_EPOCHS": 35.0, "MAX_EPOCH": 12}, "WARMUP_EPOCHS 35 of SOLVER.MAX_EPOCH 12"),
    ({"WARMUP_EPOCHS": -1.0}, "SOLVER.WARMUP_EPOCHS -1"),
    ({"MAX_EPOCH": 0}, "SOLVER.MAX_EPOCH must be at least 1, got 0"),
    ({"MAX_EPOCH": -3}, "SOLVER.MAX_EPOCH must be at least 1"),
    ({"LR_POLICY": "exponential"}, "choose one of cosine, steps_with_relative_lrs"),
    ({"COSINE_END_LR": 0.5}, "SOLVER.COSINE_END_LR 0.5 is above SOLVER.BASE_LR 0.1"),
    ({"WARMUP_START_LR": -0.1}, "SOLVER.WARMUP_START_LR must not be negative"),
    ({"LR_POLICY": "steps_with_relative_lrs"}, "SOLVER.STEPS must be epochs that begin with 0"),
    (
        {"LR_POLICY": "steps_with_relative_lrs", "STEPS": [0, 9, 5], "LRS": [1, 1, 1]},
        "SOLVER.STEPS must be epochs",
    ),
    (
        {"LR_POLICY": "steps_with_relative_lrs", "STEPS": [0, 10, 20], "LRS": [1, 0.1]},
        "SOLVER.LRS .1.0, 0.1. must hold a rate of at least 0 for every one of SOLVER.STEPS",
    ),
]


@pytest.mark.parametrize("keys, message", NO_SCHEDULE)
def test_schedules_that_make_no_sense(keys, message):
    cfg = make_cfg("X3D", **{f"SOLVER__{key}": value for key, value in keys.items()})
    with pytest.raises(InputError, match=message):
        learning_rate(cfg, 0)


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"OPTIMIZING_METHOD": "lamb"}, "choose one of sgd, adam, adamw"),
        ({"OPTIMIZING_METHOD": "adam", "BETAS": [0.9]}, "SOLVER.BETAS must be two numbers"),
        ({"OPTIMIZING_METHOD": "adamw", "BETAS": [0.9, 1.0]}, "SOLVER.BETAS must be two numbers"),
        ({"BASE_LR": -0.1}, "SOLVER.BASE_LR must not be negative"),
        ({"BASE_LR": "1e999"}, "SOLVER.BASE_LR must not be negative, got inf"),
        ({"MOMENTUM": 0.0}, "SOLVER.NESTEROV True needs SOLVER.MOMENTUM above 0"),
        ({"DAMPENING": 0.5}, "SOLVER.NESTEROV True needs"),
    ],
)
def test_solvers_that_do_not_exist(keys, message):
    cfg = make_cfg("ImageResNet", **{f"SOLVER__{key}": value for key, value in keys.items()})
    with pytest.raises(InputError, match=message):
        build_optimizer(nn.Linear(2, 2), cfg)
