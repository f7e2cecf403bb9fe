"""Depthwise 3D convolution whose backward pass is fast on the CPU.

On the CPU torch computes the gradients of a depthwise ``conv3d`` several times to tens of
times slower than its forward pass, the weight gradient worst of all; it dominates X3D
training. Here the input gradient is the forward kernel with the weights reversed in space
and time, and the weight gradient is a sum of *two*-dimensional depthwise gradients, one
for each temporal tap, for which there are fast kernels. The arithmetic is the same;
``tools/benchmark.py depthwise`` prints the ratios.
"""

import torch
from torch.nn import functional as F

# About what the cache holds; a copy of more than that costs more than it saves.
_CHUNK_BYTES = 8 << 20


def supports(x, weight, stride, padding, dilation):
    """Whether :func:`depthwise_conv3d` computes this convolution, and has reason to."""
    return (
        torch.is_grad_enabled()  # first: inference asks this of every layer
        and x.device.type == "cpu"
        and x.dim() == 5
        and x.dtype == weight.dtype == torch.float32
        and weight.requires_grad
        and tuple(weight.shape[:2]) == (x.shape[1], 1)
        and isinstance(padding, tuple)
        and stride[0] == 1
        and set(dilation) == {1}
        and all(2 * p == k - 1 for p, k in zip(padding, weight.shape[2:], strict=True))
        and not torch.compiler.is_compiling()
    )


def depthwise_conv3d(x, weight, bias, stride, padding):
    """``F.conv3d(x, weight, bias, stride, padding, groups=C)`` with C filters.

    Args:
        x: float32 (B, C, T, H, W) on the CPU.
        weight: (C, 1, kT, kH, kW), odd kernel sides, "same" padding.
        bias: (C,) or ``None``.
        stride: (1, s, s).
        padding: half of each kernel side, rounded down.
    """
    x = x.contiguous(memory_format=torch.channels_last_3d)
    if weight.shape[3:] == (1, 1) and stride == (1, 1, 1):
        return _temporal(x, weight, bias, padding)
    y = _Depthwise.apply(x, weight, stride, padding)
    return y if bias is None else y + bias.view(1, -1, 1, 1, 1)


def _temporal(x, weight, bias, padding):
    """A purely temporal kernel is a two-dimensional one over (time, pixels)."""
    batch, channels, frames, height, width = x.shape
    flat = x.permute(0, 2, 3, 4, 1).reshape(batch, frames, height * width, channels)
    flat = flat.permute(0, 3, 1, 2)
    y = F.conv2d(flat, weight.squeeze(4), bias, 1, padding[:2], 1, channels)
    return (
        y.permute(0, 2, 3, 1).reshape(batch, frames, height, width, channels).permute(0, 4, 1, 2, 3)
    )


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, stride, padding):
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv3d(x, weight, None, stride, padding, 1, x.shape[1])

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last_3d)
        need_x, need_weight, *_ = ctx.needs_input_grad
        grad_x = grad_weight = None
        padded, padding = _padded_if_small(x, weight, ctx.padding)
        args = grad, padded, weight, ctx.stride, padding
        if need_x and ctx.stride == (1, 1, 1):
            reverse = weight.flip(2, 3, 4)
            grad_x = F.conv3d(grad, reverse, None, 1, ctx.padding, 1, x.shape[1])
        elif need_x:
            grad_x = torch.zeros_like(padded, memory_format=torch.channels_last_3d)
            for _, seen, part in _by_tap(*args, 0):
                seen(grad_x).add_(part)
            _, top, left = (a - b for a, b in zip(ctx.padding, padding, strict=True))
            grad_x = grad_x[..., top : top + x.shape[3], left : left + x.shape[4]]
        if need_weight:
            grad_weight = torch.zeros_like(weight)
            for tap, _, part in _by_tap(*args, 1):
                grad_weight[:, :, tap] += part
        return grad_x, grad_weight, None, None


def _padded_if_small(x, weight, padding):
    """``x`` and the padding that is left to do: pictures below the filter's size are padded.

    The fast two-dimensional kernels do not take such pictures.
    """
    time, top, left = padding
    if min(x.shape[3:]) >= max(weight.shape[3:]):
        return x, padding
    padded = F.pad(x, (left, left, top, top))
    return padded.contiguous(memory_format=torch.channels_last_3d), (time, 0, 0)


def _by_tap(grad, x, weight, stride, padding, which):
    """Gradient of one temporal tap after the other, as depthwise conv2d over frames.

    The frames of several clips are one stack of pictures, and a tap pairs each picture of
    the output with the one ``offset`` further on in the input. Pairs across the border of
    two clips are silenced by zeros.

    Args:
        which: 0 for the input's gradient, 1 for the weight's.

    Yields:
        (tap, function from a tensor shaped like x to the pictures the tap saw, gradient).
    """
    frames = x.shape[2]
    # Large clips go one by one, which needs no zeros and no copy.
    chunk = max(1, _CHUNK_BYTES // (4 * grad[0].numel()))
    mask = [which == 0, which == 1, False]
    for start in range(0, len(x), chunk):
        clips, grads = x[start : start + chunk], grad[start : start + chunk]
        pictures = _pictures(clips)
        for tap in range(weight.shape[2]):
            offset = tap - padding[0]
            count = len(pictures) - abs(offset)
            if abs(offset) >= frames:
                continue
            made = _pictures(_silence_border(grads, offset)).narrow(0, max(-offset, 0), count)
            first = max(offset, 0)
            part = torch.ops.aten.convolution_backward(
                made,
                pictures.narrow(0, first, count),
                weight[:, :, tap].contiguous(),
                None,
                stride[1:],
                padding[1:],
                [1, 1],
                False,
                [0, 0],
                x.shape[1],
                mask,
            )[which]

            def seen(like, start=start, first=first, count=count):
                return _pictures(like[start : start + chunk]).narrow(0, first, count)

            yield tap, seen, part


def _silence_border(grads, offset):
    if offset == 0 or len(grads) == 1:
        return grads
    grads = grads.clone(memory_format=torch.preserve_format)
    border = slice(0, -offset) if offset < 0 else slice(-offset, None)
    grads[:, :, border] = 0
    return grads


def _pictures(clips):
    """(B, C, T, H, W) with channels last in memory -> a view (B T, C, H, W)."""
    return clips.permute(0, 2, 1, 3, 4).flatten(0, 1)
