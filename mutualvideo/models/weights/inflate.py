"""Image weights in video networks, as in I3D (arXiv 1705.07750)."""

import re
from collections.abc import Collection, Sequence
from functools import partial

import torch

from mutualvideo.models.weights.weights_format import WeightsFormat

_BLOCK = re.compile(r"layer(\d)\.(\d+)\.(conv|bn)([123])\.(\w+)")
_DOWNSAMPLE = re.compile(r"layer(\d)\.(\d+)\.downsample\.([01])\.(\w+)")
_OUTER = {"conv1": "blocks.0.conv", "bn1": "blocks.0.norm"}


def is_image_resnet(names: Collection[str]) -> bool:
    """Whether ``names``, of parameters, are those of torchvision's ResNets."""
    return {"conv1.weight", "layer1.0.conv1.weight", "fc.weight"} <= set(names)


def is_slow_resnet(names: Collection[str]) -> bool:
    """Whether ``names`` are those of PyTorchVideo's ResNet with one pathway (Slow)."""
    return {"blocks.0.conv.weight", "blocks.1.res_blocks.0.branch2.conv_a.weight"} <= set(names)


def is_pooled(names: Collection[str]) -> bool:
    """Whether ``names``, of a ResNet with one pathway, leave out a pooling block (C2D, I3D)."""
    return is_slow_resnet(names) and "blocks.6.proj.weight" in names


def to_slow_resnet(names: Collection[str], pooled: bool = False) -> dict[str, str]:
    """``{torchvision's name: PyTorchVideo's}`` of a ResNet of bottlenecks.

    A name that has no counterpart is kept, so that loading by name reports it.

    Args:
        names: of parameters.
        pooled: see :func:`is_pooled`.
    """
    return {name: _rename(name, pooled) for name in names}


def _rename(name: str, pooled: bool) -> str:
    def within(stage: int | str) -> str:
        return f"blocks.{int(stage) + (pooled and int(stage) > 1)}"

    if match := _BLOCK.fullmatch(name):
        stage, block, kind, number, leaf = match.groups()
        layer = f"{'conv' if kind == 'conv' else 'norm'}_{'abc'[int(number) - 1]}"
        return f"{within(stage)}.res_blocks.{block}.branch2.{layer}.{leaf}"
    if match := _DOWNSAMPLE.fullmatch(name):
        stage, block, number, leaf = match.groups()
        layer = ("branch1_conv", "branch1_norm")[int(number)]
        return f"{within(stage)}.res_blocks.{block}.{layer}.{leaf}"
    module, _, leaf = name.rpartition(".")
    if module == "fc":
        return f"{within(5)}.proj.{leaf}"
    return f"{_OUTER[module]}.{leaf}" if module in _OUTER else name


def can_inflate(flat: torch.Tensor, shape: Sequence[int]) -> bool:
    """Whether ``flat``, a 2D convolution's weight, can become one of ``shape``, five numbers."""
    return len(shape) == 5 and flat.shape == (*shape[:2], *shape[3:])


def inflate(flat: torch.Tensor, frames: int) -> torch.Tensor:
    """Weight (O, I, h, w) -> (O, I, frames, h, w): repeated over time, divided by ``frames``.

    On a clip whose frames are all the same it answers, away from the clip's ends, what the 2D
    weight answers on one frame.
    """
    return flat.unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames


def _fits(names: Collection[str], own: Collection[str]) -> bool:
    return is_image_resnet(names) and is_slow_resnet(own) and not is_pooled(own)


def _fits_pooled(names: Collection[str], own: Collection[str]) -> bool:
    return is_image_resnet(names) and is_pooled(own)


IMAGE_RESNET = WeightsFormat("torchvision ResNet", _fits, to_slow_resnet, adapts=True)
IMAGE_RESNET_POOLED = WeightsFormat(
    "torchvision ResNet", _fits_pooled, partial(to_slow_resnet, pooled=True), adapts=True
)
