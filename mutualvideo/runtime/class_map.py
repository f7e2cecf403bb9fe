"""Where in a clip a network saw a class: Grad-CAM (arXiv 1610.02391), by captum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mutualvideo.errors import InputError
from mutualvideo.extras import import_extra

if TYPE_CHECKING:
    import torch
    from torch import nn


def require_captum() -> Any:
    """captum's ``LayerGradCam``.

    Raises:
        InputError: naming the extra to install, if it cannot be imported.
    """
    return import_extra("captum.attr", "explain", "Grad-CAM").LayerGradCam


def class_map(
    network: nn.Module, clip: torch.Tensor, target: int, layer: nn.Module | None = None
) -> np.ndarray:
    """The Grad-CAM of one clip: how much each place spoke for a class.

    Args:
        network: a plain network in eval mode, as :func:`~mutualvideo.slim.extract` makes it.
        clip: normalised float tensor (1, 3, T, H, W), of a picture (1, 3, H, W), on its device.
        target: index of the class.
        layer: whose output is looked at; ``None``: :func:`last_block`.

    Returns:
        float32 array (T', H', W') of the layer's own resolution, of a picture (H', W'), from 0
        to 1; all zeros where nothing speaks for the class.

    Raises:
        InputError: if captum is not installed, or see :func:`last_block`.
    """
    import torch

    explainer = require_captum()
    layer = last_block(network, clip) if layer is None else layer
    with torch.enable_grad():
        # The input takes a gradient, so that the layer's output has one if no weight does.
        given = clip.detach().clone().requires_grad_()
        found = explainer(network, layer).attribute(given, target, relu_attributions=True)
    values = found.detach()[0, 0].float().cpu().numpy()
    highest = values.max()
    return values / highest if highest > 0 else np.zeros_like(values)


def last_block(network: nn.Module, clip: torch.Tensor) -> nn.Module:
    """The block whose output has the most channels, the last of them: what the head pools.

    Of SlowFast it is the last of the Slow pathway.

    Raises:
        InputError: if the network has none of the blocks that are known.
    """
    import torch

    from mutualvideo.models.blocks import blocks

    channels: dict[nn.Module, int] = {}

    def note(module: nn.Module, given: Any, found: torch.Tensor) -> None:
        channels.pop(module, None)
        channels[module] = found.shape[1]

    hooks = [block.register_forward_hook(note) for block in blocks(network)]
    try:
        with torch.no_grad():
            network(clip)
    finally:
        for hook in hooks:
            hook.remove()
    if not channels:
        raise InputError(
            f"Grad-CAM: {type(network).__name__} has none of the blocks of the networks of this "
            "package: its last layer is not known"
        )
    return max(reversed(channels), key=lambda module: channels[module])
