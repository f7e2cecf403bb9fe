"""A network without numbers: what shapes need, and nothing more."""

import copy
from itertools import chain

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from mutualvideo.slim.twin_base import slim_layers


def kept_activations(model):
    """Tensors of a graph that modules keep from an earlier pass: ``deepcopy`` refuses those."""
    for module in model.modules():
        for tensor in tree_leaves(list(vars(module).values())):
            if isinstance(tensor, torch.Tensor) and not tensor.is_leaf:
                yield tensor


def copy_network(model, memo=None):
    """A deep copy of ``model``, which may keep activations of an earlier pass."""
    memo = {} if memo is None else memo
    for tensor in kept_activations(model):
        memo.setdefault(id(tensor), tensor.detach().clone())
    return copy.deepcopy(model, memo)


def meta_twin(model):
    """A copy of ``model`` on the meta device, in eval mode: shapes without numbers.

    No weight is copied on the way: the copy is told beforehand what stands for each tensor.
    """
    memo = {}
    for tensor in chain(model.parameters(), model.buffers(), kept_activations(model)):
        shape = torch.empty_like(tensor, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(shape, tensor.requires_grad) if is_parameter else shape
    for _, layer in slim_layers(model):
        statistics = getattr(layer, "statistics", None)
        if statistics:
            # Statistics by sub-network weigh nothing in shapes; a twin needs none.
            memo[id(statistics)] = {}
    return copy_network(model, memo).eval()
