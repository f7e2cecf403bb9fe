"""Inputs beside those that a network is tried on: a forward may do something else with them."""

import torch
from torch.utils._pytree import tree_leaves, tree_map


def other_values(args):
    """Other values of the same shapes."""

    def other(value):
        if not isinstance(value, torch.Tensor) or value.is_meta or not value.is_floating_point():
            return value
        return -value.flip(0) if value.dim() else value

    return tree_map(other, args)


def halved(args):
    """Every dimension behind the channels half as large; ``None`` where there are none."""

    def halve(value):
        if not isinstance(value, torch.Tensor) or value.dim() < 3:
            return value
        sizes = [max(1, size // 2) for size in value.shape[2:]]
        return value[(slice(None), slice(None), *map(slice, sizes))]

    shapes = [t.shape for t in tree_leaves(args) if isinstance(t, torch.Tensor)]
    return tree_map(halve, args) if any(len(shape) > 2 for shape in shapes) else None


def doubled(args):
    """Every tensor of the batch twice."""
    lengths = [t.shape[0] for t in tree_leaves(args) if isinstance(t, torch.Tensor) and t.dim() > 1]

    def double(value):
        batched = isinstance(value, torch.Tensor) and value.dim() and value.shape[0] == lengths[0]
        return torch.cat([value, value]) if batched else value

    return tree_map(double, args) if lengths else args
