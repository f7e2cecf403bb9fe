"""In which order numbers lie in memory: what convolutions are fast with.

Channels last, but for depthwise 3x3x3 convolutions on a GPU. Measured: on a CPU these are 3 to 7
times faster with channels last; on an H100 in bfloat16 they are 3 to 9 times slower, and their
gradients 7 to 21 times, which made a training step of X3D-M take five times as
long as PyTorchVideo's (docs/performance.md).
"""

import torch
from torch import nn
from torch.utils._pytree import tree_map


def channels_last(tensor):
    """Clips (B, C, T, H, W) or pictures (B, C, H, W) with their channels last in memory."""
    video = tensor.dim() == 5
    return tensor.contiguous(memory_format=torch.channels_last_3d if video else torch.channels_last)


def weights_layout(network, device="cpu"):
    """What ``network.to(memory_format=...)`` takes, for the device that it runs on.

    Args:
        network: any.
        device: ``torch.device`` or text.

    Returns:
        ``torch.channels_last`` for pictures, ``torch.channels_last_3d`` for clips; on a GPU, if
        it has depthwise 3D convolutions, ``torch.contiguous_format``.
    """
    of_clips = [module for module in network.modules() if isinstance(module, nn.Conv3d)]
    if not of_clips:
        return torch.channels_last
    depthwise = any(conv.groups > 1 and conv.weight.shape[1] == 1 for conv in of_clips)
    if depthwise and torch.device(device).type == "cuda":
        return torch.contiguous_format
    return torch.channels_last_3d


def place(network, device):
    """``network`` on ``device``, weights in its :func:`weights_layout` there, and clips too.

    Clips come with their channels last; where that is not the layout they are copied into it on
    their way in, and every layer goes on with what it gets. The last call holds.

    Args:
        network: any; changed in place.
        device: ``torch.device`` or text.

    Returns:
        ``network``.
    """
    layout = weights_layout(network, device)
    network.to(device).to(memory_format=layout)
    hooks = network._forward_pre_hooks  # torch has no other way to find one again
    for key in [key for key, hook in hooks.items() if hook is _contiguous]:
        del hooks[key]
    if layout == torch.contiguous_format:
        network.register_forward_pre_hook(_contiguous)
    return network


def _contiguous(network, inputs):
    return tree_map(_in_order, inputs)


def _in_order(value):
    return value.contiguous() if isinstance(value, torch.Tensor) else value
