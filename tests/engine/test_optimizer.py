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
