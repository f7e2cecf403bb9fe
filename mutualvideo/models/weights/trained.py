"""Checkpoints of training here, whose configuration travels in them."""

import os
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import nn

from mutualvideo.config.load import cfg_from_dict
from mutualvideo.errors import InputError, shown
from mutualvideo.models.model_registry import (
    MODEL_REGISTRY,
    build_model,
    count_numbers,
    network_of,
)
from mutualvideo.models.weights.pretrained import load_weights
from mutualvideo.models.weights.weights_file import read_checkpoint
from mutualvideo.registry import from_outside, is_detector
from mutualvideo.slim import load_statistics

# Keys that decide which network a checkpoint's weights fit, beside the network's own.
_ARCHITECTURE = (
    *("MODEL.MODEL_NAME", "MODEL.NUM_CLASSES", "DATA.MULTI_LABEL", "MUTUAL.DIVISOR"),
    "BN.EPSILON",
)


def needed_modules(cfg: CfgNode) -> list[str]:
    """Modules outside of the package that the network of ``cfg`` is registered by."""
    module = from_outside(type(network_of(cfg)))
    return [] if module is None else [module]


def adopt_checkpoint_cfg(cfg: CfgNode, checkpoint: dict[str, Any], origin: str) -> CfgNode:
    """``cfg`` with the width range of ``checkpoint``, after checking that the network is one.

    Also with its TRAIN.FREEZE, which calibration goes by, its MUTUAL.SUBNET, where it is of a
    sub-network that trained alone, and its MODEL.NUM_CLASSES, where that is 0 here.

    Raises:
        InputError: naming the first architecture key that differs.
    """
    if "cfg" not in checkpoint or not isinstance(checkpoint["cfg"], dict):
        return cfg
    theirs = cfg_from_dict(checkpoint["cfg"], origin)
    about = network_of(cfg)
    for key in (*_ARCHITECTURE, *about.keys):
        section, leaf = key.split(".")
        here, there = cfg[section][leaf], theirs[section][leaf]
        if key == "MODEL.ARCH":
            here, there = about.arch(cfg), about.arch(theirs)
        if key == "MODEL.NUM_CLASSES" and not here:
            continue
        if here != there:
            raise InputError(
                f"{origin}: belongs to another architecture: {key} is {there} there, {here} here"
            )
    cfg = cfg.clone()
    cfg.MODEL.NUM_CLASSES = theirs.MODEL.NUM_CLASSES
    cfg.MUTUAL.WIDTH_RANGE = list(theirs.MUTUAL.WIDTH_RANGE)
    cfg.MUTUAL.SUBNET = theirs.MUTUAL.SUBNET
    cfg.TRAIN.FREEZE = theirs.TRAIN.FREEZE
    if cfg.MUTUAL.SUBNET:
        cfg.MUTUAL.MODE = theirs.MUTUAL.MODE
    return cfg


def classes_of(checkpoint: dict[str, Any]) -> int:
    """As many classes as a file of weights has, of whatever library; 0 if that cannot be seen.

    Of every known format the classifier comes last.
    """
    last = next(reversed(checkpoint["model_state"].values()), None)
    return len(last) if last is not None and last.dim() else 0


def load_model(
    path: str | os.PathLike[str], statistics: str | os.PathLike[str] | None = None
) -> tuple[nn.Module, CfgNode]:
    """The slimmable network of a mutualvideo checkpoint, whose configuration travels in it.

    Args:
        path: checkpoint file that training wrote.
        statistics: file of calibrated BatchNorm statistics (written beside the query
            table), or ``None``.

    Returns:
        ``(model, cfg)``: the network in eval mode, on the CPU, loaded strictly.

    Raises:
        InputError: if a file cannot be read or does not fit.
    """
    checkpoint = read_checkpoint(path)
    if not isinstance(checkpoint.get("cfg"), dict):
        raise InputError(f"{path}: carries no configuration; give a checkpoint that training wrote")
    cfg = cfg_from_dict(checkpoint["cfg"], str(path))
    _require_known(cfg, checkpoint, path)
    _require_fit(cfg, checkpoint["model_state"], path)
    model = build_model(cfg)
    load_weights(model, checkpoint["model_state"], str(path))
    if statistics is not None:
        load_statistics(model, statistics)
    return model.eval(), cfg


def _require_known(cfg: CfgNode, checkpoint: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Refuses a network that is not registered, and says who has it: the file cannot load it."""
    name, needs = cfg.MODEL.MODEL_NAME, checkpoint.get("needs")
    if not needs or name in MODEL_REGISTRY.all() or is_detector(name):
        return
    named = f", which the extensions {shown(cfg.EXTENSIONS)} register" if cfg.EXTENSIONS else ""
    raise InputError(
        f"{path}: needs the network {name} of the module {shown(needs)}{named}; a checkpoint "
        "cannot load it: name the file or module yourself, by --extension on a command line, "
        "EXTENSIONS in a configuration or mutualvideo.load_extensions(), or import it first"
    )


def _require_fit(
    cfg: CfgNode, state: dict[str, torch.Tensor], path: str | os.PathLike[str]
) -> None:
    """Refuses a configuration that asks for far more than the file holds: it may be hostile."""
    try:
        wanted = count_numbers(cfg)
    except InputError as error:
        raise InputError(f"{path}: its configuration makes no network: {error}") from error
    # Of the libraries' builders, for numbers that go together badly.
    except Exception as error:
        raise InputError(
            f"{path}: its configuration makes no network: {shown(str(error))}"
        ) from error
    found = sum(tensor.numel() for tensor in state.values())
    if wanted > found:
        raise InputError(
            f"{path}: belongs to another architecture: its configuration asks for {wanted} "
            f"numbers, it holds {found}"
        )
