"""Which calls of PyTorchVideo's functions build a network, read off the network itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from mutualvideo.backends.common.base import Shape
from mutualvideo.errors import InputError
from mutualvideo.frame_indices import frame_indices
from mutualvideo.subnet import Subnet

_IMPORTS = {
    "FuseFastToSlow": "pytorchvideo.models.slowfast",
    "MultiPathWayWithFuse": "pytorchvideo.models.net",
    "Net": "pytorchvideo.models.net",
    "PoolConcatPathway": "pytorchvideo.models.slowfast",
    "create_bottleneck_block": "pytorchvideo.models.resnet",
    "create_res_basic_head": "pytorchvideo.models.head",
    "create_res_basic_stem": "pytorchvideo.models.stem",
    "create_res_stage": "pytorchvideo.models.resnet",
    "create_x3d_bottleneck_block": "pytorchvideo.models.x3d",
    "create_x3d_head": "pytorchvideo.models.x3d",
    "create_x3d_res_stage": "pytorchvideo.models.x3d",
    "create_x3d_stem": "pytorchvideo.models.x3d",
}
_DEFAULT_EPS = 1e-5

_TEMPLATE = '''\
"""{model} {subnet}, exported by mutualvideo {version}; needs torch and PyTorchVideo alone.

    network = build()
    logits = network(inputs(clip))  # {takes}

Values are RGB from 0 to 1, minus {mean}, divided by {std}.
Classes and more: torch.load({weights!r}, weights_only=True)["mutualvideo"].
"""

from pathlib import Path

import torch
{imports}
from torch import nn


def build(weights=Path(__file__).with_name({weights!r})):
    """The network in eval mode; ``None`` for ``weights``: with random ones."""
    blocks = [
{blocks}
    ]
    network = Net(blocks=nn.ModuleList(blocks))
{eps}    if weights is not None:
        content = torch.load(weights, map_location="cpu", weights_only=True)
        network.load_state_dict(content["model_state"])
    return network.eval()


def inputs(clip):
    """What the network takes, from a clip (B, 3, frames, size, size)."""
    return {inputs}
'''


def module_text(
    cfg: Any, network: nn.Module, subnet: Subnet, shape: Shape, weights: str, about: dict[str, Any]
) -> str:
    """Source of a module with ``build(weights)`` and ``inputs(clip)``.

    Args:
        cfg: configuration of the slimmable network.
        network: the sub-network as a plain one, BatchNorm not folded.
        subnet: which one.
        shape: (frames, size) of the clip that it takes.
        weights: name of the file of weights, beside the module.
        about: what :meth:`~mutualvideo.export.origin.Origin.describe` gives.

    Raises:
        InputError: if PyTorchVideo has no such network.
    """
    inputs = "clip"
    for key in ("NONLOCAL.LOCATION", "RESNET.NUM_BLOCK_TEMP_KERNEL"):
        section, leaf = key.split(".")
        if cfg[section][leaf]:
            raise InputError(
                f"format pytorchvideo: {key} {cfg[section][leaf]} is beyond its builders: choose "
                "another format"
            )
    if cfg.MODEL.ARCH in ("c2d", "i3d", "slow_c2d", "slow_i3d"):
        raise InputError(
            f"format pytorchvideo: MODEL.ARCH {cfg.MODEL.ARCH} is not written: choose another"
        )
    if cfg.MODEL.MODEL_NAME == "X3D":
        blocks = _x3d(network.blocks)
    elif cfg.MODEL.MODEL_NAME == "ResNet":
        blocks = _slow(network.blocks)
    elif cfg.MODEL.MODEL_NAME == "SlowFast":
        blocks = _slowfast(network.blocks)
        inputs = _pathways(subnet, shape, cfg.SLOWFAST.ALPHA)
    else:
        raise InputError(
            f"format pytorchvideo: PyTorchVideo has no {cfg.MODEL.MODEL_NAME}: choose another"
        )
    text = "\n".join(f"{block}," for block in blocks)
    eps = ""
    if cfg.BN.EPSILON != _DEFAULT_EPS:
        eps = (
            "    for module in network.modules():\n"
            "        if isinstance(module, nn.BatchNorm3d):\n"
            f"            module.eps = {cfg.BN.EPSILON}\n"
        )
    return _TEMPLATE.format(
        model=about["model"],
        subnet=subnet,
        version=about["versions"]["mutualvideo"],
        takes="clip: float32 (B, 3, {}, {}, {})".format(*shape, shape[1]),
        mean=about["mean"],
        std=about["std"],
        weights=weights,
        imports=_imports({"Net", *re.findall(r"\w+", text)}),
        blocks="\n".join(f"        {line}" for line in text.split("\n")),
        eps=eps,
        inputs=inputs,
    )


def _imports(words: set[str]) -> str:
    """Import statements for those of ``words`` that are PyTorchVideo's."""
    by_module: dict[str, list[str]] = {}
    for name in sorted(words & _IMPORTS.keys()):
        by_module.setdefault(_IMPORTS[name], []).append(name)
    lines = []
    for module in sorted(by_module):
        line = f"from {module} import {', '.join(by_module[module])}"
        if len(line) > 100:
            names = "".join(f"    {name},\n" for name in by_module[module])
            line = f"from {module} import (\n{names})"
        lines.append(line)
    return "\n".join(lines)


def _call(name: str, **arguments: Any) -> str:
    """The text of a call; values that are text already are code, others literals."""
    lines = []
    for key, value in arguments.items():
        value = value if isinstance(value, str) else repr(value)
        lines.append(f"    {key}={value},".replace("\n", "\n    "))
    return "\n".join([f"{name}(", *lines, ")"])


def _list(items: Iterable[str]) -> str:
    lines = (f"    {item},".replace("\n", "\n    ") for item in items)
    return "\n".join(["nn.ModuleList([", *lines, "])"])


def _x3d(blocks: Any) -> Iterator[str]:
    stem, *stages, head = blocks
    # Upstream calls the convolution in space conv_t, and that in time conv_xy.
    space, time = stem.conv.conv_t, stem.conv.conv_xy
    yield _call(
        "create_x3d_stem",
        in_channels=space.in_channels,
        out_channels=space.out_channels,
        conv_kernel_size=(*time.kernel_size[:1], *space.kernel_size[1:]),
        conv_stride=(*time.stride[:1], *space.stride[1:]),
        conv_padding=(*time.padding[:1], *space.padding[1:]),
    )
    for stage in stages:
        first = stage.res_blocks[0].branch2
        inner, squeeze = first.conv_a.out_channels, first.norm_b[1].block[0].out_channels
        yield _call(
            "create_x3d_res_stage",
            depth=len(stage.res_blocks),
            dim_in=first.conv_a.in_channels,
            dim_inner=inner,
            dim_out=first.conv_c.out_channels,
            bottleneck="create_x3d_bottleneck_block",
            conv_kernel_size=first.conv_b.kernel_size,
            conv_stride=first.conv_b.stride,
            # Upstream rounds the product to a multiple of 8.
            se_ratio=f"{squeeze} / {inner}",
            inner_act="nn.SiLU",
        )
    pool = head.pool
    yield _call(
        "create_x3d_head",
        dim_in=pool.pre_conv.in_channels,
        dim_inner=pool.pre_conv.out_channels,
        dim_out=pool.post_conv.out_channels,
        num_classes=head.proj.out_features,
        pool_kernel_size=None,
        dropout_rate=_dropout(head),
        activation=None,
    )


def _slow(blocks: Any) -> Iterator[str]:
    stem, *stages, head = blocks
    yield _res_stem(stem)
    for stage in stages:
        yield _res_stage(stage)
    yield _res_head(head, "nn.AdaptiveAvgPool3d")


def _slowfast(blocks: Any) -> Iterator[str]:
    *stages, _, head = blocks
    for number, stage in enumerate(stages):
        make = _res_stage if number else _res_stem
        yield _call(
            "MultiPathWayWithFuse",
            multipathway_blocks=_list(map(make, stage.multipathway_blocks)),
            multipathway_fusion=_fusion(stage.multipathway_fusion),
        )
    pools = _list(["nn.AdaptiveAvgPool3d(1)"] * 2)
    yield _call("PoolConcatPathway", retain_list=False, pool=pools)
    yield _res_head(head, None)


def _fusion(fusion: Any) -> str:
    if isinstance(fusion, nn.Identity):
        return "nn.Identity()"
    conv = fusion.conv_fast_to_slow
    made = (
        f"nn.Conv3d({conv.in_channels}, {conv.out_channels}, {conv.kernel_size}, {conv.stride}, "
        f"{conv.padding}, bias=False)"
    )
    norm = f"nn.BatchNorm3d({fusion.norm.num_features})"
    return _call("FuseFastToSlow", conv_fast_to_slow=made, norm=norm, activation="nn.ReLU()")


def _res_stem(stem: Any) -> str:
    return _call(
        "create_res_basic_stem",
        in_channels=stem.conv.in_channels,
        out_channels=stem.conv.out_channels,
        conv_kernel_size=stem.conv.kernel_size,
        conv_stride=stem.conv.stride,
        conv_padding=stem.conv.padding,
    )


def _res_stage(stage: Any) -> str:
    first = stage.res_blocks[0].branch2
    return _call(
        "create_res_stage",
        depth=len(stage.res_blocks),
        dim_in=first.conv_a.in_channels,
        dim_inner=first.conv_a.out_channels,
        dim_out=first.conv_c.out_channels,
        bottleneck="create_bottleneck_block",
        conv_a_kernel_size=first.conv_a.kernel_size,
        conv_a_stride=first.conv_a.stride,
        conv_a_padding=first.conv_a.padding,
        conv_b_kernel_size=first.conv_b.kernel_size,
        conv_b_stride=first.conv_b.stride,
        conv_b_padding=first.conv_b.padding,
    )


def _res_head(head: Any, pool: str | None) -> str:
    return _call(
        "create_res_basic_head",
        in_features=head.proj.in_features,
        out_features=head.proj.out_features,
        pool=pool,
        dropout_rate=_dropout(head),
    )


def _dropout(head: Any) -> float:
    return 0.0 if head.dropout is None else head.dropout.p


def _pathways(subnet: Subnet, shape: Shape, alpha: int) -> str:
    """Code that gives the pathways, where both have one size and Fast ``alpha`` times the frames.

    Raises:
        InputError: for others: resampling within the lateral connections is not upstream's.
    """
    frames, size = shape
    assert frames is not None and subnet.frames is not None  # SlowFast takes clips
    if (subnet.frames * alpha, subnet.size) != shape:
        raise InputError(
            f"sub-network {subnet}: PyTorchVideo's SlowFast cannot feed a Slow pathway of "
            f"{subnet.frames}x{subnet.size} from a Fast one of {frames}x{size}: export one of "
            f"{frames // alpha} frames and size {size}, or another format"
        )
    return f"[clip[:, :, {frame_indices(frames, subnet.frames)}], clip]"
