"""Weights from files: ours, and those of the upstream libraries."""

import logging
import os

import torch

from mutualvideo.config.load import cfg_from_dict
from mutualvideo.errors import InputError
from mutualvideo.models.pyslowfast import is_pyslowfast, to_pytorchvideo
from mutualvideo.models.registry import build_model
from mutualvideo.slim import load_statistics

logger = logging.getLogger(__name__)

# Keys that decide which network a checkpoint's weights fit, and how it is slimmed.
_ARCHITECTURE = (
    "MODEL.MODEL_NAME",
    "MODEL.ARCH",
    "MODEL.NUM_CLASSES",
    "X3D.WIDTH_FACTOR",
    "X3D.DEPTH_FACTOR",
    "X3D.BOTTLENECK_FACTOR",
    "X3D.DIM_C5",
    "X3D.DIM_C1",
    "RESNET.DEPTH",
    "SLOWFAST.ALPHA",
    "SLOWFAST.BETA_INV",
    "SLOWFAST.FUSION_CONV_CHANNEL_RATIO",
    "SLOWFAST.FUSION_KERNEL_SZ",
    "MUTUAL.DIVISOR",
    "MUTUAL.WIDTH_RANGE",
)


def read_checkpoint(path):
    """The dict in a checkpoint file, on the CPU; nothing in it is executed.

    Files of training here, of PyTorchVideo's model zoo (``{"model_state": ...}``) and of
    PySlowFast's, whose parameter names are translated.

    Raises:
        InputError: if the file is missing, damaged, or holds no ``model_state``.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such checkpoint file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{path}: cannot be read as a checkpoint ({reason})") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model_state"), dict):
        raise InputError(f"{path}: holds no model_state, so it is not a checkpoint of a network")
    if is_pyslowfast(checkpoint["model_state"]):
        # Its cfg is a text for PySlowFast, not one of ours.
        return {"model_state": to_pytorchvideo(checkpoint["model_state"])}
    return checkpoint


def load_weights(model, state, origin, replace_classifier=False):
    """Loads ``state`` by name.

    Args:
        model: the network.
        state: ``{name: tensor}``.
        origin: file it came from, for messages.
        replace_classifier: for training alone: a classifier for another number of classes
            keeps its fresh weights, which is logged.

    Raises:
        InputError: if a name or a shape does not fit; nothing is loaded then.
    """
    own = model.state_dict()
    missing, odd = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or odd:
        what = f"has no {missing[0]}" if missing else f"has {odd[0]}, which this network has not"
        raise InputError(f"{origin}: belongs to another architecture: it {what}")
    state = dict(state)
    classifier = {name for name in own if name.rpartition(".")[0] == _classifier_name(model)}
    for name, tensor in own.items():
        if tensor.shape == state[name].shape:
            continue
        if replace_classifier and name in classifier:
            logger.warning("%s: %s not loaded, it is for other classes", origin, name)
            state[name] = tensor
            continue
        raise InputError(
            f"{origin}: belongs to another architecture: {name} is "
            f"{tuple(state[name].shape)} there and {tuple(tensor.shape)} here"
        )
    model.load_state_dict(state)


def _classifier_name(model):
    names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    return names[-1] if names else ""


def adopt_checkpoint_cfg(cfg, checkpoint, origin):
    """``cfg`` with the width range of ``checkpoint``, after checking that the network is one.

    Raises:
        InputError: naming the first architecture key that differs.
    """
    if "cfg" not in checkpoint or not isinstance(checkpoint["cfg"], dict):
        return cfg
    theirs = cfg_from_dict(checkpoint["cfg"], origin)
    for key in _ARCHITECTURE:
        section, leaf = key.split(".")
        here, there = cfg[section][leaf], theirs[section][leaf]
        if here != there and key != "MUTUAL.WIDTH_RANGE":
            raise InputError(
                f"{origin}: belongs to another architecture: {key} is {there} there, {here} here"
            )
    cfg = cfg.clone()
    cfg.MUTUAL.WIDTH_RANGE = list(theirs.MUTUAL.WIDTH_RANGE)
    return cfg


def load_model(path, statistics=None):
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
    model = build_model(cfg)
    load_weights(model, checkpoint["model_state"], str(path))
    if statistics is not None:
        load_statistics(model, statistics)
    return model.eval(), cfg
