"""The depthwise convolution of the training pass, against conv3d in float64."""

import pytest
import torch
from torch.nn import functional as F

from mutualvideo.slim.kernels.depthwise import depthwise_conv3d, supports


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (5, 1, 1), (1, 3, 3)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("bias", [False, True])
def test_forward_and_gradients(frames, kernel, stride, layout, bias):
    torch.manual_seed(0)
    padding = tuple(side // 2 for side in kernel)
    x = torch.randn(2, 6, frames, 9, 7).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(6, 1, *kernel, requires_grad=True)
    shift = torch.randn(6, requires_grad=True) if bias else None
    inputs = [tensor for tensor in (x, weight, shift) if tensor is not None]
    assert supports(x, weight, stride, padding, (1, 1, 1))

    ours = depthwise_conv3d(x, weight, shift, stride, padding)
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    theirs = F.conv3d(*exact[:2], exact[2] if bias else None, stride, padding, 1, 6)
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)

    grad = torch.randn_like(ours)
    found = torch.autograd.grad(ours, inputs, grad)
    wanted = torch.autograd.grad(theirs, exact, grad.double())
    for ours_grad, theirs_grad in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours_grad.double(), theirs_grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"stride": (2, 1, 1)},
        {"padding": (0, 1, 1)},
        {"dilation": (1, 2, 2)},
        {"weight": torch.ones(12, 1, 3, 3, 3, requires_grad=True)},
        {"weight": torch.ones(6, 1, 3, 3, 3)},
        {"x": torch.ones(1, 6, 2, 4, 4, dtype=torch.float64)},
    ],
    ids=["time stride", "padding", "dilation", "multiplier", "frozen", "dtype"],
)
def test_leaves_everything_else_to_torch(change):
    given = {
        "x": torch.ones(1, 6, 2, 4, 4),
        "weight": torch.ones(6, 1, 3, 3, 3, requires_grad=True),
        "stride": (1, 1, 1),
        "padding": (1, 1, 1),
        "dilation": (1, 1, 1),
    }
    assert supports(**given)
    assert not supports(**{**given, **change})
