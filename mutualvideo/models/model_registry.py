"""From a configuration to a slimmable network."""

from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.models.limits import require_plausible
from mutualvideo.models.network import Network
from mutualvideo.registry import NETWORKS, network_named
from mutualvideo.slim import set_width
from mutualvideo.subnet import Subnet

# The registry of :class:`~mutualvideo.models.Network` classes.
MODEL_REGISTRY = NETWORKS


def network_of(cfg: CfgNode) -> Network:
    """What the network, or the detector, that MODEL.MODEL_NAME names says about itself.

    Raises:
        InputError: if there is no such network.
    """
    return network_named(cfg.MODEL.MODEL_NAME)()


def all_networks() -> list[Network]:
    """What every registered network says about itself."""
    return [network() for network in MODEL_REGISTRY.all().values()]


def full_subnet(cfg: CfgNode) -> Subnet:
    """The :class:`~mutualvideo.Subnet` that learns from the labels.

    The full network at training size; with MUTUAL.SUBNET that sub-network, which trains alone.

    Raises:
        InputError: if MUTUAL.SUBNET is not one that this network can run.
    """
    if not cfg.MUTUAL.SUBNET:
        return whole_subnet(cfg)
    if cfg.MUTUAL.MODE != "single":
        raise InputError(
            f"MUTUAL.SUBNET {cfg.MUTUAL.SUBNET} trains one sub-network alone: set MUTUAL.MODE to "
            f"single, not {cfg.MUTUAL.MODE}, or leave MUTUAL.SUBNET empty"
        )
    subnet = Subnet.parse(cfg.MUTUAL.SUBNET)
    if subnet.width > 1:
        raise InputError(f"MUTUAL.SUBNET {subnet}: the width multiplier is at most 1")
    _require_shape(cfg, subnet, "MUTUAL.SUBNET")
    return subnet


def width_range(cfg: CfgNode) -> list[float]:
    """``[narrowest, widest]`` width multiplier that the network of ``cfg`` runs at."""
    if cfg.MUTUAL.SUBNET:
        return [full_subnet(cfg).width] * 2
    return [round(float(width), 4) for width in cfg.MUTUAL.WIDTH_RANGE]  # as sub-networks have


def whole_subnet(cfg: CfgNode) -> Subnet:
    """The :class:`~mutualvideo.Subnet` that a whole clip of training goes into, at full width."""
    frames = network_of(cfg).full_frames(cfg)
    return Subnet(cfg.MUTUAL.WIDTH_RANGE[1], frames, cfg.DATA.TRAIN_CROP_SIZE)


def build_model(cfg: CfgNode) -> nn.Module:
    """The slimmable network of ``cfg``, at full width, on the CPU, with random weights.

    Takes one float32 tensor (B, 3, T, H, W), or of pictures (B, 3, H, W), and returns logits
    (B, MODEL.NUM_CLASSES); a detector takes and gives what torchvision's do. Parameters have the
    upstream network's names and shapes, where there is an upstream network.

    Raises:
        InputError: for a network, or a setting of it, that does not exist.
    """
    about, widths = network_of(cfg), width_range(cfg)
    model = about.slimmed(_upstream(about, cfg), cfg, widths, full_subnet(cfg))
    set_width(model, widths[1])
    return model


def _upstream(about: Network, cfg: CfgNode) -> nn.Module:
    arch, rate = cfg.MODEL.ARCH, cfg.MODEL.DROPOUT_RATE
    require_plausible(cfg, about.keys)
    if arch and arch not in about.archs:
        named = [one.name for one in all_networks() if arch in one.archs]
        other = f", or MODEL.MODEL_NAME to {' or '.join(named)}" if named else ""
        wanted = f"set it to {' or '.join(about.archs)}" if about.archs else "leave it out"
        raise InputError(
            f"MODEL.ARCH {arch} does not go with MODEL.MODEL_NAME {about.name}: {wanted}{other}"
        )
    if rate and not about.has_dropout:
        raise InputError(f"MODEL.DROPOUT_RATE {rate:g}: {about.name} has no dropout: set it to 0")
    return about.build(cfg)


def count_numbers(cfg: CfgNode) -> int:
    """Numbers in the weights and statistics of the network of ``cfg``; no memory is taken.

    Raises:
        InputError: as :func:`build_model`.
    """
    with torch.device("meta"):
        network = _upstream(network_of(cfg), cfg)
    return sum(tensor.numel() for tensor in network.state_dict().values())


def require_runnable(cfg: CfgNode, subnet: Subnet, key: str) -> None:
    """Raises InputError, naming ``key``, if the network of ``cfg`` cannot run ``subnet``."""
    low, high = width_range(cfg)
    if not low <= subnet.width <= high:
        if cfg.MUTUAL.SUBNET:
            raise InputError(
                f"{key}: a network trained as MUTUAL.SUBNET {cfg.MUTUAL.SUBNET} alone has no other "
                f"width, such as that of {subnet}"
            )
        raise InputError(
            f"{key}: width {subnet.width:g} of {subnet} is outside MUTUAL.WIDTH_RANGE "
            f"[{low:g}, {high:g}]"
        )
    _require_shape(cfg, subnet, key)


def _require_shape(cfg: CfgNode, subnet: Subnet, key: str) -> None:
    """Raises InputError, naming ``key``, for frames or a size that the network cannot take."""
    about, full = network_of(cfg), whole_subnet(cfg)
    largest = max(cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TEST_CROP_SIZE)
    if full.frames is None:
        if subnet.frames is not None:
            raise InputError(
                f"{key}: {about.name} takes pictures, {subnet} has {subnet.frames} frames"
            )
    elif subnet.frames is None or not 1 <= subnet.frames <= full.frames:
        raise InputError(
            f"{key}: {about.name} takes 1 to {full.frames} frames, {subnet} has {subnet.frames}"
        )
    if reason := about.refusal(cfg, subnet):
        raise InputError(f"{key}: {reason}")
    if not about.min_size <= subnet.size <= largest:
        raise InputError(
            f"{key}: {about.name} takes sizes from {about.min_size} (it reduces pictures that "
            f"many times) to {largest} (the clip's), {subnet} has {subnet.size}"
        )


def published_curves() -> dict[str, Any]:
    """``{name: (title, [(GMACs, top-1 in percent), ...])}`` of all that networks know of."""
    return {name: curve for about in all_networks() for name, curve in about.curves.items()}


def published_curve(name: str) -> Any:
    """One of :func:`published_curves`; InputError if there is none called ``name``."""
    curves = published_curves()
    if name not in curves:
        raise InputError(f"overlay {name!r}: choose from {', '.join(curves)}")
    return curves[name]
