"""SGD with the weight-decay groups and the learning-rate schedule of PySlowFast."""

import math

import torch
from torch import nn

from mutualvideo.errors import InputError


def build_optimizer(model, cfg):
    """SGD over groups: BatchNorm parameters, other one-dimensional ones, the rest.

    With SOLVER.ZERO_WD_DEPTHWISE depthwise convolutions are a group of their own, the last.
    """
    if cfg.SOLVER.OPTIMIZING_METHOD != "sgd":
        raise InputError(f"SOLVER.OPTIMIZING_METHOD {cfg.SOLVER.OPTIMIZING_METHOD}: choose sgd")
    norm_ids = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        for parameter in module.parameters(recurse=False)
    }
    depthwise_ids = {
        id(module.weight)
        for module in model.modules()
        if cfg.SOLVER.ZERO_WD_DEPTHWISE
        and isinstance(module, nn.modules.conv._ConvNd)
        and module.groups == module.in_channels > 1
    }
    norm, vector, matrix, depthwise = [], [], [], []
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in norm_ids:
            norm.append(parameter)
        elif id(parameter) in depthwise_ids:
            depthwise.append(parameter)
        else:
            (vector if parameter.ndim <= 1 else matrix).append(parameter)
    decay = cfg.SOLVER.WEIGHT_DECAY
    groups = [
        {"params": norm, "weight_decay": cfg.BN.WEIGHT_DECAY},
        {"params": vector, "weight_decay": 0.0 if cfg.SOLVER.ZERO_WD_1D_PARAM else decay},
        {"params": matrix, "weight_decay": decay},
        {"params": depthwise, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=cfg.SOLVER.BASE_LR,
        momentum=cfg.SOLVER.MOMENTUM,
        dampening=cfg.SOLVER.DAMPENING,
        nesterov=cfg.SOLVER.NESTEROV,
    )


def learning_rate(cfg, epoch, nodes=1):
    """Rate at ``epoch``, a fraction counted from the start of training.

    Half a cosine from BASE_LR to COSINE_END_LR over MAX_EPOCH; during the first
    WARMUP_EPOCHS a straight line from WARMUP_START_LR to where the cosine is by then. With
    BASE_LR_SCALE_NUM_SHARDS ``nodes``-fold, the number of machines.
    """
    scale = nodes if cfg.SOLVER.BASE_LR_SCALE_NUM_SHARDS else 1
    return scale * _rate(cfg.SOLVER, epoch)


def _rate(solver, epoch):
    if solver.LR_POLICY != "cosine":
        raise InputError(f"SOLVER.LR_POLICY {solver.LR_POLICY}: choose cosine")
    if epoch < solver.WARMUP_EPOCHS:
        target = _cosine(solver, solver.WARMUP_EPOCHS)
        share = epoch / solver.WARMUP_EPOCHS
        return solver.WARMUP_START_LR + share * (target - solver.WARMUP_START_LR)
    return _cosine(solver, epoch)


def _cosine(solver, epoch):
    share = (math.cos(math.pi * epoch / solver.MAX_EPOCH) + 1) / 2
    return solver.COSINE_END_LR + (solver.BASE_LR - solver.COSINE_END_LR) * share


def set_learning_rate(optimizer, rate):
    """Writes ``rate`` to every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
