"""Parameter names of PySlowFast's released checkpoints, as PyTorchVideo's."""

import re
from collections.abc import Collection
from functools import partial

from mutualvideo.models.weights.inflate import is_pooled
from mutualvideo.models.weights.weights_format import WeightsFormat

_LAYERS = {
    "branch1": "branch1_conv",
    "branch1_bn": "branch1_norm",
    "branch2.a": "branch2.conv_a",
    "branch2.a_bn": "branch2.norm_a",
    "branch2.b": "branch2.conv_b",
    "branch2.b_bn": "branch2.norm_b",
    "branch2.c": "branch2.conv_c",
    "branch2.c_bn": "branch2.norm_c",
    "branch2.se.fc1": "branch2.norm_b.1.block.0",
    "branch2.se.fc2": "branch2.norm_b.1.block.2",
}
_HEAD = {
    "conv_5": "pool.pre_conv",
    "conv_5_bn": "pool.pre_norm",
    "lin_5": "pool.post_conv",
    "projection": "proj",
}
_BLOCK = re.compile(r"s(\d)\.pathway(\d)_res(\d+)\.(.+)\.(\w+)")
_NONLOCAL = re.compile(r"s(\d)\.pathway(\d)_nonlocal(\d+)\.(conv_\w+|bn)\.(\w+)")
_STEM = re.compile(r"s1\.pathway(\d)_stem\.(conv_xy|conv|bn)\.(\w+)")
_FUSE = re.compile(r"s(\d)_fuse\.(conv_f2s|bn)\.(\w+)")
_TOP = re.compile(r"head\.(\w+)\.(\w+)")


def is_pyslowfast(names: Collection[str], own: Collection[str] = ()) -> bool:
    """Whether ``names``, of parameters, are PySlowFast's."""
    return any(name.startswith("s1.pathway0_stem.") for name in names)


def to_pytorchvideo(names: Collection[str], pooled: bool = False) -> dict[str, str]:
    """``{PySlowFast's name: PyTorchVideo's}`` of a ResNet (Slow, C2D, I3D), SlowFast or X3D.

    A name that has no counterpart is kept, so that loading by name reports it.

    Args:
        names: of parameters.
        pooled: whether PyTorchVideo's network has a pooling block after its first stage.
    """
    two_pathways = any(name.startswith("s1.pathway1_stem.") for name in names)
    is_x3d = "s1.pathway0_stem.conv_xy.weight" in names
    return {name: _rename(name, two_pathways, is_x3d, pooled) for name in names}


def _rename(name: str, two_pathways: bool, is_x3d: bool, pooled: bool) -> str:
    def within(stage: int | str, pathway: str) -> str:
        block = f"blocks.{int(stage) - 1 + (pooled and int(stage) > 2)}"
        return f"{block}.multipathway_blocks.{pathway}" if two_pathways else block

    if match := _STEM.fullmatch(name):
        pathway, layer, leaf = match.groups()
        if is_x3d:
            # PyTorchVideo's (2+1)D wrapper calls the spatial convolution conv_t, and the
            # temporal one conv_xy.
            layer = {"conv_xy": "conv.conv_t", "conv": "conv.conv_xy", "bn": "norm"}[layer]
        else:
            layer = {"conv": "conv", "bn": "norm"}.get(layer, layer)
        return f"{within(1, pathway)}.{layer}.{leaf}"
    if match := _BLOCK.fullmatch(name):
        stage, pathway, block, layer, leaf = match.groups()
        if layer not in _LAYERS:
            return name
        layer = _LAYERS[layer]
        if is_x3d and layer == "branch2.norm_b":
            layer += ".0"
        return f"{within(stage, pathway)}.res_blocks.{block}.{layer}.{leaf}"
    if match := _NONLOCAL.fullmatch(name):
        stage, pathway, block, layer, leaf = match.groups()
        layer = "norm" if layer == "bn" else layer
        return f"{within(stage, pathway)}.nonlocals.{block}.{layer}.{leaf}"
    if match := _FUSE.fullmatch(name):
        stage, layer, leaf = match.groups()
        layer = {"conv_f2s": "conv_fast_to_slow", "bn": "norm"}[layer]
        return f"blocks.{int(stage) - 1}.multipathway_fusion.{layer}.{leaf}"
    if (match := _TOP.fullmatch(name)) and match[1] in _HEAD:
        return f"blocks.{6 if two_pathways or pooled else 5}.{_HEAD[match[1]]}.{match[2]}"
    return name


def _fits(names: Collection[str], own: Collection[str]) -> bool:
    return is_pyslowfast(names) and not is_pooled(own)


def _fits_pooled(names: Collection[str], own: Collection[str]) -> bool:
    return is_pyslowfast(names) and is_pooled(own)


PYSLOWFAST = WeightsFormat("PySlowFast", _fits, to_pytorchvideo)
PYSLOWFAST_POOLED = WeightsFormat("PySlowFast", _fits_pooled, partial(to_pytorchvideo, pooled=True))
