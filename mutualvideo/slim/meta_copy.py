"""A network without numbers: what shapes need, and nothing more."""

import copy
from itertools import chain

import torch
from torch import nn

from mutualvideo.slim.layers import slim_layers


def meta_twin(model):
    """A copy of ``model`` on the meta device, in eval mode: shapes without numbers.

    No weight is copied on the way: the copy is told beforehand what stands for each tensor.
    """
    memo = {}
    for tensor in chain(model.parameters(), model.buffers()):
        shape = torch.empty_like(tensor, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(shape, tensor.requires_grad) if is_parameter else shape
    for _, layer in slim_layers(model):
        statistics = getattr(layer, "statistics", None)
        if statistics:
            # Statistics by sub-network weigh nothing in shapes; a twin needs none.
            memo[id(statistics)] = {}
    return copy.deepcopy(model, memo).eval()
