"""Takes a network apart into parts that take a frame at a time; refuses what has no such form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fvcore.nn.squeeze_excitation import SqueezeExcitation
from pytorchvideo.layers.convolutions import Conv2plus1d
from pytorchvideo.layers.swish import Swish
from pytorchvideo.models.head import ResNetBasicHead
from pytorchvideo.models.net import Net
from pytorchvideo.models.resnet import BottleneckBlock, ResBlock, ResStage
from pytorchvideo.models.stem import ResNetBasicStem
from pytorchvideo.models.x3d import ProjectedPool
from torch import nn

from mutualvideo.continual.frame_parts import (
    Chain,
    Classifier,
    Convolution,
    Excitation,
    MaxPool,
    Norm,
    Part,
    Plain,
    Pool,
    Residual,
)
from mutualvideo.errors import InputError
from mutualvideo.models.non_local import NonLocalStage
from mutualvideo.models.slowfast import SlowFastNet

_BY_VALUE = (nn.ReLU, nn.SiLU, nn.Sigmoid, Swish, nn.Identity, nn.Dropout)
_WITHOUT = "has no continual form"


def take_apart(network: nn.Module, name: str = "", lag: int = 0) -> Part:
    """The parts of ``network``, in the order in which they run.

    Args:
        network: a network for clips, or a module of it; slimmable or plain.
        name: of the module in the network.
        lag: how many frames its input lags behind the network's.

    Raises:
        InputError: naming the module that has no continual form, and why.
    """
    for kind, take in _KINDS.items():
        if isinstance(network, kind):
            return take(network, name, lag)
    raise InputError(f"continual: {_called(network, name)} {_WITHOUT}; X3D and Slow have one")


def _called(module: nn.Module, name: str) -> str:
    return f"{name} ({type(module).__name__})" if name else type(module).__name__


def _chain(modules: list[tuple[str, nn.Module | None]], name: str, lag: int) -> Chain:
    """Modules one after the other; those that are ``None`` are left out."""
    parts: list[Part] = []
    for leaf, module in modules:
        if module is not None:
            part = take_apart(module, f"{name}.{leaf}" if name else leaf, lag)
            lag += part.delay
            parts.append(part)
    return Chain(parts)


def _attributes(*names: str) -> Callable[[nn.Module, str, int], Part]:
    def take(module: nn.Module, name: str, lag: int) -> Part:
        return _chain([(leaf, getattr(module, leaf)) for leaf in names], name, lag)

    return take


def _children(module: nn.Module, name: str, lag: int) -> Part:
    return _chain(list(module.named_children()), name, lag)


def _net(net: Any, name: str, lag: int) -> Part:
    return _stages(net.blocks, f"{name}.blocks" if name else "blocks", lag)


def _slowfast(net: nn.Module, name: str, lag: int) -> Part:
    raise InputError(
        "continual: SlowFast has two frame rates: its Slow pathway sees every alpha-th frame, so "
        "that between two of them there is nothing new to fuse the Fast pathway with, and the "
        "paper's fusion is over whole clips. Take X3D or Slow"
    )


def _stages(modules: Any, name: str, lag: int) -> Chain:
    return _chain([(str(n), module) for n, module in enumerate(modules)], name, lag)


def _stage(stage: Any, name: str, lag: int) -> Part:
    return _stages(stage.res_blocks, f"{name}.res_blocks", lag)


def _nonlocal(stage: nn.Module, name: str, lag: int) -> Part:
    raise InputError(
        f"continual: {name}: non-local blocks compare all frames of a clip with each other "
        "(NONLOCAL.LOCATION), a stream has no such clip"
    )


def _block(block: Any, name: str, lag: int) -> Part:
    branch = take_apart(block.branch2, f"{name}.branch2", lag)
    one = [("branch1_conv", block.branch1_conv)]
    if block.branch1_conv is not None:
        one.append(("branch1_norm", block.branch1_norm))
    shortcut = _chain(one, name, lag)
    if shortcut.delay or shortcut.before:
        raise InputError(f"continual: {name}.branch1_conv looks at several frames: {_WITHOUT}")
    whole = Residual(name, branch, shortcut, block.branch_fusion)
    after = [] if block.activation is None else [Plain(block.activation)]
    return Chain([whole, *after])


def _convolution(conv: Any, name: str, lag: int) -> Part:
    kernel, padding = conv.kernel_size[0], conv.padding
    same = not isinstance(padding, str) and 2 * padding[0] == kernel - 1
    if conv.stride[0] != 1 or conv.dilation[0] != 1 or conv.padding_mode != "zeros" or not same:
        raise InputError(
            f"continual: {name} changes the number of frames, or pads them with something else "
            f"than zeros ({conv}): {_WITHOUT}"
        )
    return Convolution(name, conv, lag)


def _max_pool(pool: nn.MaxPool3d, name: str, lag: int) -> Part:
    sides = [
        side if isinstance(side, int) else side[0]
        for side in (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    ]
    if sides != [1, 1, 0, 1] or pool.ceil_mode or pool.dilation not in (1, (1, 1, 1)):
        raise InputError(
            f"continual: {name} pools over frames ({pool}), so that a part of the network runs at "
            "every second frame: choose a MODEL.ARCH that does not, such as slow"
        )
    return MaxPool(pool)


def _mean_pool(pool: Any, name: str, lag: int) -> Part:
    if pool.output_size not in (1, (1, 1, 1)):
        raise InputError(f"continual: {name} pools to {pool.output_size}, not to one: {_WITHOUT}")
    return Pool(name, lag)


def _excitation(module: Any, name: str, lag: int) -> Part:
    gate = _children(module.block, f"{name}.block", lag)
    return Excitation(Pool(name, lag), gate)


def _factored(conv: Any, name: str, lag: int) -> Part:
    first, last = ("conv_xy", "conv_t") if conv.conv_xy_first else ("conv_t", "conv_xy")
    return _attributes(first, "norm", "activation", last)(conv, name, lag)


def _head(head: Any, name: str, lag: int) -> Part:
    # Its last pool is over what the first one left, one position.
    first = [(leaf, getattr(head, leaf)) for leaf in ("pool", "dropout", "proj", "activation")]
    if head.pool is None:
        raise InputError(f"continual: {name} does not pool before it classifies: {_WITHOUT}")
    return _chain(first, name, lag)


def _leaf(kind: Callable[[Any], Part]) -> Callable[[nn.Module, str, int], Part]:
    return lambda module, name, lag: kind(module)


# The first that fits; what is derived from another comes before it.
_KINDS: dict[Any, Callable[[Any, str, int], Part]] = {
    SlowFastNet: _slowfast,
    Net: _net,
    NonLocalStage: _nonlocal,
    ResStage: _stage,
    ResBlock: _block,
    BottleneckBlock: _attributes(
        "conv_a", "norm_a", "act_a", "conv_b", "norm_b", "act_b", "conv_c", "norm_c"
    ),
    ResNetBasicStem: _attributes("conv", "norm", "activation", "pool"),
    Conv2plus1d: _factored,
    ProjectedPool: _attributes(
        "pre_conv", "pre_norm", "pre_act", "pool", "post_conv", "post_norm", "post_act"
    ),
    ResNetBasicHead: _head,
    SqueezeExcitation: _excitation,
    nn.Sequential: _children,
    nn.Conv3d: _convolution,
    nn.BatchNorm3d: _leaf(Norm),
    nn.Linear: _leaf(Classifier),
    nn.AdaptiveAvgPool3d: _mean_pool,
    nn.MaxPool3d: _max_pool,
    _BY_VALUE: _leaf(Plain),
}
