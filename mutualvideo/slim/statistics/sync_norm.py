"""BatchNorm over the batches of all processes together, on any device and backend.

torch's ``SyncBatchNorm`` computes the same on GPUs alone, and exchanges the layer's class, which
a slimmable layer needs for itself.
"""

import torch
import torch.distributed as dist


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx, tensor):
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, grad):
        total = grad.clone()
        dist.all_reduce(total)
        return total


def count_over_processes(number, device):
    """``number``, an int, summed over all processes."""
    total = torch.tensor(number, device=device)
    dist.all_reduce(total)
    return int(total)


def batch_moments(x):
    """Statistics of the batches of all processes, each weighted by its number of values.

    One all-reduce of 2 C + 1 numbers, and one in the backward pass.

    Args:
        x: this process's batch, (B, C, ...), any floating dtype; B may differ.

    Returns:
        (mean, biased variance, unbiased variance), float32 (C,), differentiable.
    """
    dims = [dim for dim in range(x.dim()) if dim != 1]
    var, mean = torch.var_mean(x.float(), dims, correction=0)
    # float64: the mean of squares less the square of the mean would cancel in float32.
    mean, count = mean.double(), x.numel() // x.shape[1]
    parts = [count * mean, count * (var + mean.square()), mean.new_full((1,), count)]
    sums = _Sum.apply(torch.cat(parts))
    total = sums[-1].detach()
    mean, square = (sums[:-1] / total).chunk(2)
    var = (square - mean.square()).clamp(min=0)
    return mean.float(), var.float(), (var * (total / (total - 1).clamp(min=1))).float()


def normalize(x, mean, var, weight, bias, eps):
    """``F.batch_norm`` of ``x`` by the given moments, through which gradients flow."""
    scale = torch.rsqrt(var + eps)
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    shape = (1, -1, *[1] * (x.dim() - 2))
    return torch.addcmul(shift.view(shape), x.float(), scale.view(shape)).to(x.dtype)
