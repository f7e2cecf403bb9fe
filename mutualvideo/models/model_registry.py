"""From a configuration to a slimmable network."""

import torch
from fvcore.common.registry import Registry
from torch import nn

from mutualvideo.config import takes_pictures
from mutualvideo.config.architectures import ARCHS
from mutualvideo.errors import InputError
from mutualvideo.models.limits import require_plausible
from mutualvideo.slim import set_width, slimmable
from mutualvideo.subnet import Subnet

# Most networks here halve the picture five times; WideResNet does twice.
MIN_SIZE = 32
_MIN_SIZES = {"WideResNet": 8}
# Values of MODEL.ARCH with temporal pooling.
_POOLING = ("c2d", "i3d")

MODEL_REGISTRY = Registry("MODEL")
MODEL_REGISTRY.__doc__ = """
Builders, each named what MODEL.MODEL_NAME says: functions of ``cfg`` that return
``(network, options)``, an ordinary ``nn.Module`` and the keyword arguments (rules) for
``slimmable``.
"""


def full_subnet(cfg):
    """The :class:`~mutualvideo.Subnet` that is the full network at training size."""
    frames = None if takes_pictures(cfg) else cfg.DATA.NUM_FRAMES
    if cfg.MODEL.ARCH == "slowfast":
        frames //= cfg.SLOWFAST.ALPHA
    return Subnet(cfg.MUTUAL.WIDTH_RANGE[1], frames, cfg.DATA.TRAIN_CROP_SIZE)


def build_model(cfg):
    """The slimmable network of ``cfg``, at full width, on the CPU, with random weights.

    Takes one float32 tensor (B, 3, T, H, W), or of pictures (B, 3, H, W), and returns logits
    (B, MODEL.NUM_CLASSES). Parameters have the upstream network's names and shapes, where there is
    an upstream network.

    Raises:
        InputError: for a network, or a setting of it, that does not exist.
    """
    network, options = _upstream(cfg)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eps, module.momentum = cfg.BN.EPSILON, cfg.BN.MOMENTUM
    size = cfg.DATA.TRAIN_CROP_SIZE
    shape = (size, size) if takes_pictures(cfg) else (cfg.DATA.NUM_FRAMES, size, size)
    model = slimmable(
        network,
        example=torch.empty(2, 3, *shape, device="meta"),
        width_range=cfg.MUTUAL.WIDTH_RANGE,
        divisor=cfg.MUTUAL.DIVISOR,
        full=full_subnet(cfg),
        **options,
    )
    set_width(model, cfg.MUTUAL.WIDTH_RANGE[1])
    return model


def _upstream(cfg):
    name = cfg.MODEL.MODEL_NAME
    if name not in MODEL_REGISTRY:
        known = ", ".join(sorted(key for key, _ in MODEL_REGISTRY))
        raise InputError(f"MODEL.MODEL_NAME {name}: no such network; known: {known}")
    require_plausible(cfg)
    return MODEL_REGISTRY.get(name)(cfg)


def count_numbers(cfg):
    """Numbers in the weights and statistics of the network of ``cfg``; no memory is taken.

    Raises:
        InputError: as :func:`build_model`.
    """
    with torch.device("meta"):
        network, _ = _upstream(cfg)
    return sum(tensor.numel() for tensor in network.state_dict().values())


def require_runnable(cfg, subnet, key):
    """Raises InputError, naming ``key``, if the network of ``cfg`` cannot run ``subnet``."""
    full = full_subnet(cfg)
    low, high = cfg.MUTUAL.WIDTH_RANGE
    largest = max(cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TEST_CROP_SIZE)
    if not low <= subnet.width <= high:
        raise InputError(
            f"{key}: width {subnet.width:g} of {subnet} is outside MUTUAL.WIDTH_RANGE "
            f"[{low:g}, {high:g}]"
        )
    if full.frames is None:
        if subnet.frames is not None:
            raise InputError(
                f"{key}: {cfg.MODEL.MODEL_NAME} takes pictures, {subnet} has {subnet.frames} frames"
            )
    elif subnet.frames is None or not 1 <= subnet.frames <= full.frames:
        raise InputError(
            f"{key}: {cfg.MODEL.MODEL_NAME} takes 1 to {full.frames} frames, "
            f"{subnet} has {subnet.frames}"
        )
    if cfg.MODEL.ARCH in _POOLING and subnet.frames < 2:
        raise InputError(
            f"{key}: MODEL.ARCH {cfg.MODEL.ARCH} pools every two frames, {subnet} has one"
        )
    smallest = _MIN_SIZES.get(cfg.MODEL.MODEL_NAME, MIN_SIZE)
    if not smallest <= subnet.size <= largest:
        raise InputError(
            f"{key}: {cfg.MODEL.MODEL_NAME} takes sizes from {smallest} (it reduces pictures that "
            f"many times) to {largest} (the clip's), {subnet} has {subnet.size}"
        )


def require_arch(cfg, *archs):
    """Raises InputError unless MODEL.ARCH is one that MODEL.MODEL_NAME stands for."""
    arch = cfg.MODEL.ARCH
    if arch not in archs:
        named = [name for name, known in ARCHS.items() if arch in known]
        other = f", or MODEL.MODEL_NAME to {' or '.join(named)}" if named else ""
        raise InputError(
            f"MODEL.ARCH {arch} does not go with MODEL.MODEL_NAME {cfg.MODEL.MODEL_NAME}: set it "
            f"to {' or '.join(archs)}{other}"
        )


def reset_final_norms(network):
    """Starts the last BatchNorm of every residual branch at 1 instead of PyTorchVideo's 0."""
    for module in network.modules():
        if getattr(module, "block_final_bn", False):
            nn.init.ones_(module.weight)
