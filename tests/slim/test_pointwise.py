"""The pointwise convolution of the training pass, against conv3d in float64."""

import pytest
import torch
from torch.nn import functional as F

from mutualvideo.slim.kernels.pointwise import pointwise_conv3d, supports


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("sliced", [False, True])
def test_forward_and_gradients(layout, bias, sliced):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 3, 5, 4).contiguous(memory_format=layout).requires_grad_()
    whole = torch.randn(10, 9, 1, 1, 1, requires_grad=True)
    weight = whole[:7, :6] if sliced else whole[:, :6].detach().clone().requires_grad_()
    shift = torch.randn(len(weight), requires_grad=True) if bias else None
    assert supports(x, weight, (1, 1, 1), (0, 0, 0), 1)
    inputs = [tensor for tensor in (x, weight, shift) if tensor is not None]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    ours = pointwise_conv3d(x, weight, shift)
    theirs = F.conv3d(*exact)
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
    assert ours.is_contiguous(memory_format=torch.channels_last_3d)
    grad = torch.randn_like(ours)
    found = torch.autograd.grad(ours, inputs, grad)
    wanted = torch.autograd.grad(theirs, exact, grad.double())
    for mine, true in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine.double(), true, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"stride": (1, 2, 2)},
        {"padding": (1, 0, 0)},
        {"groups": 6},
        {"weight": torch.ones(7, 6, 3, 1, 1, requires_grad=True)},
        {"weight": torch.ones(7, 6, 1, 1, 1)},
        {"x": torch.ones(1, 6, 2, 4, 4, dtype=torch.float64)},
    ],
    ids=["stride", "padding", "groups", "kernel", "frozen", "dtype"],
)
def test_leaves_everything_else_to_torch(change):
    given = {
        "x": torch.ones(1, 6, 2, 4, 4),
        "weight": torch.ones(7, 6, 1, 1, 1, requires_grad=True),
        "stride": (1, 1, 1),
        "padding": (0, 0, 0),
        "groups": 1,
    }
    assert supports(**given)
    assert not supports(**{**given, **change})
