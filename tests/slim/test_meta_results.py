"""What is remembered of operations on the meta device is what they give."""

import pytest
import torch
from torch.nn import functional as F

from mutualvideo.slim.meta_results import Remembering


def described(tensor):
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.storage_offset(), tensor.device


def operations(x, weight):
    """Results of convolutions, views, operations in place, of several results and types."""
    y = F.conv2d(x, weight, padding=1)
    norm = F.batch_norm(y, None, None, training=True)
    z = F.hardswish(norm, inplace=True)
    values, places = z.max(1)
    halves = z.chunk(2, 1)
    made = torch.cat([halves[1], halves[0].relu_()], 1).to(memory_format=torch.channels_last)
    several = torch.var_mean(made, (2, 3))
    return [y, z, values, places, *halves, made, *several, places / 2, made.half(), made > 0]


@torch.no_grad()
@pytest.mark.parametrize("size", [6, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_again_and_again_it_is_what_a_pass_with_values_gives(size, dtype):
    shapes = (2, 3, size, size), (8, 3, 3, 3)
    wanted = operations(*(torch.ones(shape, dtype=dtype) for shape in shapes))
    x, weight = (torch.empty(shape, dtype=dtype, device="meta") for shape in shapes)
    for _ in range(2):
        with Remembering():
            found = operations(x, weight)
        for ours, theirs in zip(found, wanted, strict=True):
            assert ours.is_meta and described(ours)[:4] == described(theirs)[:4]
        assert len({id(tensor) for tensor in found}) == len(found)


def test_another_default_type_is_another_result():
    whole = torch.empty(4, dtype=torch.int64, device="meta")
    before = torch.get_default_dtype()
    with torch.no_grad(), Remembering():
        found = [(whole / 2).dtype]
        torch.set_default_dtype(torch.float64)
        try:
            found.append((whole / 2).dtype)
        finally:
            torch.set_default_dtype(before)
    assert found == [torch.float32, torch.float64]


def test_values_and_errors_are_never_remembered():
    with torch.no_grad(), Remembering():
        assert [int(torch.tensor(n) + 1) for n in (1, 2)] == [2, 3]
        for _ in range(2):
            with pytest.raises(RuntimeError):
                torch.empty(2, 3, device="meta").add_(torch.empty(4, device="meta"))
