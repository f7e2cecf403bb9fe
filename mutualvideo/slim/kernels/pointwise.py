"""Pointwise 3D convolution as a matrix product, for training on the CPU.

oneDNN compiles a kernel for every new shape of a convolution. Mutual training draws new
widths, sizes and frame counts in every step, so it would compile in every step: a third of
the time of a sub-network's pass. A matrix product needs no such kernel, and most of X3D's
convolutions are pointwise.
"""

import torch
from torch.nn import functional as F


def supports(x, weight, stride, padding, groups):
    """Whether :func:`pointwise_conv3d` computes this convolution, and has reason to."""
    return (
        torch.is_grad_enabled()  # first: inference asks this of every layer
        and groups == 1
        and x.device.type == "cpu"
        and x.dim() == 5
        and x.dtype == weight.dtype == torch.float32
        and weight.requires_grad
        and weight.shape[2:] == (1, 1, 1)
        and tuple(stride) == (1, 1, 1)
        and padding in ((0, 0, 0), 0)
        and not torch.compiler.is_compiling()
    )


def pointwise_conv3d(x, weight, bias):
    """``F.conv3d(x, weight, bias)`` for a kernel of one position.

    Args:
        x: float32 (B, C, T, H, W); with the channels last in memory nothing is copied.
        weight: (O, C, 1, 1, 1).
        bias: (O,) or ``None``.

    Returns:
        float32 (B, O, T, H, W), channels last in memory.
    """
    pixels = x.permute(0, 2, 3, 4, 1)
    return F.linear(pixels, weight.flatten(1), bias).permute(0, 4, 1, 2, 3)
