"""Optimisers with the weight-decay groups, and the learning-rate schedules, of PySlowFast."""

import itertools
import math

import torch
from torch import nn

from mutualvideo.errors import InputError

_METHODS = ("sgd", "adam", "adamw")


def build_optimizer(model, cfg):
    """SGD, Adam or AdamW over groups: BatchNorm parameters, other one-dimensional ones, the rest.

    With SOLVER.ZERO_WD_DEPTHWISE depthwise convolutions are a group of their own, the last.

    Raises:
        InputError: naming the key of ``SOLVER`` that no optimiser takes.
    """
    check_solver(cfg.SOLVER)
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
    groups = [group for group in groups if group["params"]]
    solver = cfg.SOLVER
    if solver.OPTIMIZING_METHOD == "sgd":
        return torch.optim.SGD(
            groups,
            lr=solver.BASE_LR,
            momentum=solver.MOMENTUM,
            dampening=solver.DAMPENING,
            nesterov=solver.NESTEROV,
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[solver.OPTIMIZING_METHOD]
    return kind(groups, lr=solver.BASE_LR, betas=tuple(solver.BETAS))


def check_solver(solver):
    """Raises InputError, naming the key of ``SOLVER``, for a method or numbers that it has not."""
    method = solver.OPTIMIZING_METHOD
    if method not in _METHODS:
        raise InputError(f"SOLVER.OPTIMIZING_METHOD {method}: choose one of {', '.join(_METHODS)}")
    for key in ("BASE_LR", "WEIGHT_DECAY", "MOMENTUM", "DAMPENING", "CLIP_GRAD_L2NORM"):
        if not 0 <= solver[key] < math.inf:  # NaN neither
            raise InputError(f"SOLVER.{key} must not be negative, got {solver[key]}")
    betas = solver.BETAS
    if method != "sgd" and not (len(betas) == 2 and all(0 <= beta < 1 for beta in betas)):
        raise InputError(f"SOLVER.BETAS must be two numbers from 0 to below 1, got {betas}")
    if method == "sgd" and solver.NESTEROV and not (solver.MOMENTUM > 0 == solver.DAMPENING):
        raise InputError(
            "SOLVER.NESTEROV True needs SOLVER.MOMENTUM above 0 and SOLVER.DAMPENING 0, got "
            f"{solver.MOMENTUM:g} and {solver.DAMPENING:g}: set it to False or correct them"
        )


def check_schedule(solver):
    """Raises InputError, naming the keys of ``SOLVER``, for a schedule that makes no sense."""
    epochs, warm_up = solver.MAX_EPOCH, solver.WARMUP_EPOCHS
    if epochs < 1:
        raise InputError(
            f"SOLVER.MAX_EPOCH must be at least 1, got {epochs}; TRAIN.ENABLE False trains nothing"
        )
    if not 0 <= warm_up < epochs:
        raise InputError(
            f"SOLVER.WARMUP_EPOCHS {warm_up:g} of SOLVER.MAX_EPOCH {epochs}: the warm-up must end "
            "before the run does; shorten it in the same proportion"
        )
    for key in ("WARMUP_START_LR", "COSINE_END_LR"):
        if not 0 <= solver[key] < math.inf:
            raise InputError(f"SOLVER.{key} must not be negative, got {solver[key]}")
    _check_policy(solver)
    target = _POLICIES[solver.LR_POLICY](solver, warm_up)
    if warm_up and solver.WARMUP_START_LR > target:
        raise InputError(
            f"SOLVER.WARMUP_START_LR {solver.WARMUP_START_LR:g} is above {target:g}, the rate that "
            "the warm-up ends with: lower it in the same proportion as SOLVER.BASE_LR"
        )


def _check_policy(solver):
    epochs = solver.MAX_EPOCH
    if solver.LR_POLICY not in _POLICIES:
        raise InputError(
            f"SOLVER.LR_POLICY {solver.LR_POLICY}: choose one of {', '.join(_POLICIES)}"
        )
    if solver.LR_POLICY == "cosine":
        if solver.COSINE_END_LR > solver.BASE_LR:
            raise InputError(
                f"SOLVER.COSINE_END_LR {solver.COSINE_END_LR:g} is above SOLVER.BASE_LR "
                f"{solver.BASE_LR:g}"
            )
        return
    steps, rates = solver.STEPS, solver.LRS
    if not steps or steps[0] != 0 or any(b <= a for a, b in itertools.pairwise(steps)):
        raise InputError(f"SOLVER.STEPS must be epochs that begin with 0 and rise, got {steps}")
    # PySlowFast's files end with MAX_EPOCH, which has no rate.
    wrong = [rate for rate in rates if not 0 <= rate < math.inf]
    if len(rates) < sum(step < epochs for step in steps) or wrong:
        raise InputError(
            f"SOLVER.LRS {rates} must hold a rate of at least 0 for every one of SOLVER.STEPS "
            f"{steps} before SOLVER.MAX_EPOCH {epochs}"
        )


def learning_rate(cfg, epoch, nodes=1):
    """:func:`scheduled_rate` of section ``SOLVER`` of ``cfg``, of steps that are all alike."""
    return scheduled_rate(cfg.SOLVER, epoch, nodes)


def scheduled_rate(solver, epoch, nodes=1, factor=None):
    """Rate at ``epoch``, a fraction counted from the start of training.

    With LR_POLICY cosine half a cosine from BASE_LR to COSINE_END_LR over MAX_EPOCH, or with
    COSINE_AFTER_WARMUP over what follows the warm-up; with steps_with_relative_lrs BASE_LR times
    the one of LRS whose epoch in STEPS was the last to begin. During the first WARMUP_EPOCHS a
    straight line from WARMUP_START_LR to where that is by then. With BASE_LR_SCALE_NUM_SHARDS
    ``nodes``-fold, the number of machines.

    Args:
        solver: section ``SOLVER`` of the configuration.
        epoch: see above.
        nodes: machines.
        factor: function from an epoch to what the rate is multiplied by there, but for
            WARMUP_START_LR; ``None``: 1.

    Raises:
        InputError: as :func:`check_schedule`.
    """
    check_schedule(solver)
    scale = nodes if solver.BASE_LR_SCALE_NUM_SHARDS else 1

    def after_warm_up(epoch):
        return _POLICIES[solver.LR_POLICY](solver, epoch) * (1 if factor is None else factor(epoch))

    if epoch >= solver.WARMUP_EPOCHS:
        return scale * after_warm_up(epoch)
    target, share = after_warm_up(solver.WARMUP_EPOCHS), epoch / solver.WARMUP_EPOCHS
    return scale * (solver.WARMUP_START_LR + share * (target - solver.WARMUP_START_LR))


def _cosine(solver, epoch):
    begin = solver.WARMUP_EPOCHS if solver.COSINE_AFTER_WARMUP else 0
    share = (math.cos(math.pi * (epoch - begin) / (solver.MAX_EPOCH - begin)) + 1) / 2
    return solver.COSINE_END_LR + (solver.BASE_LR - solver.COSINE_END_LR) * share


def _steps(solver, epoch):
    begun = sum(step <= min(epoch, math.nextafter(solver.MAX_EPOCH, 0)) for step in solver.STEPS)
    return solver.BASE_LR * solver.LRS[begun - 1]


_POLICIES = {"cosine": _cosine, "steps_with_relative_lrs": _steps}


def set_learning_rate(optimizer, rate):
    """Writes ``rate`` to every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
