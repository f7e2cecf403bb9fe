"""Folds BatchNorm into the layer before it: fewer operations, the same answers."""

import copy
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mutualvideo.slim.meta_copy import meta_twin
from mutualvideo.slim.tracing.trace import running_module

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_HOOKS = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_pre_hooks",
    "_backward_hooks",
)


@torch.no_grad()
def fold_norms(static, args):
    """Folds every BatchNorm that can be, in place.

    That is one with running statistics whose input is the very output of a convolution or
    linear layer that nothing else reads. Its place is taken by ``nn.Identity``. The weights
    are worked out in float64 and rounded once. Layers that run twice, that carry hooks, or
    whose parameters anything but themselves reads are left alone.

    Args:
        static: a network of plain torch layers in eval mode.
        args: tuple of the positional arguments that it takes, on the meta device.

    Returns:
        list of str: names of the BatchNorms that are folded.
    """
    folded = []
    for layer_name, norm_name in _foldable(static, args):
        layer, norm = static.get_submodule(layer_name), static.get_submodule(norm_name)
        _fuse(layer, norm)
        # By exchanging the class, so that whoever refers to it, by whatever name, finds no norm.
        norm.__class__ = nn.Identity
        norm._parameters.clear()
        norm._buffers.clear()
        folded.append(norm_name)
    return folded


def _fuse(layer, norm):
    """Gives ``layer`` the weight and bias of ``norm`` after it."""
    exact, norm = copy.deepcopy(layer).double(), copy.deepcopy(norm).double()
    # A norm may have a weight and no bias; torch fuses that with convolutions alone.
    for name, neutral in (("weight", torch.ones_like), ("bias", torch.zeros_like)):
        if getattr(norm, name) is None:
            setattr(norm, name, nn.Parameter(neutral(norm.running_mean)))
    fuse = fuse_linear_bn_eval if type(layer) is nn.Linear else fuse_conv_bn_eval
    fused, like = fuse(exact, norm), layer.weight
    for name in ("weight", "bias"):
        value = getattr(fused, name).detach().to(like.dtype)
        setattr(layer, name, nn.Parameter(value, like.requires_grad))


def _foldable(static, args):
    """(layer, norm): names, in the order in which they run."""
    twin = meta_twin(static)
    own = dict(static.named_modules())
    seen = _Seen()
    handles = []
    with running_module(twin) as stack:
        for name, module in twin.named_modules():
            if _is_plain(own[name], (*_CONVS, nn.Linear)):
                handles.append(module.register_forward_hook(seen.layer(name)))
            elif _is_plain(own[name], _NORMS) and module.running_mean is not None:
                handles.append(module.register_forward_pre_hook(seen.norm(name)))
        try:
            with _Reads(twin, stack, seen):
                out = twin(*args)
        finally:
            for handle in handles:
                handle.remove()
    for tensor in tree_leaves(out):
        seen.read(tensor, None)
    for norm, tensors in seen.norms.items():
        layer, made = seen.made.get(id(tensors[0]), (None, None))
        if layer is None or len(tensors) > 1:
            continue
        if seen.readers[layer] == {norm} and not {layer, norm} & seen.lent:
            if _same_channels(own[layer], made):
                yield layer, norm


def _is_plain(module, kinds):
    """Whether ``module`` does what its torch class does, and nothing beside it."""
    return (
        type(module) in kinds
        and not any(getattr(module, hooks) for hooks in _HOOKS)
        and "forward" not in vars(module)
    )


def _same_channels(layer, made):
    """Whether a norm takes for channels, dimension 1, what ``layer`` makes as channels."""
    return made.dim() == (2 if type(layer) is nn.Linear else 2 + len(layer.kernel_size))


@dataclass
class _Seen:
    """What one forward pass shows.

    Attributes:
        made: ``{id: (layer, its output)}``; keeping the output keeps its id its own.
        readers: ``{layer: modules in which an operation read any output of its}``.
        norms: ``{norm: its inputs}``.
        lent: layers whose parameters were read outside of themselves.
    """

    made: dict = field(default_factory=dict)
    readers: dict = field(default_factory=dict)
    norms: dict = field(default_factory=dict)
    lent: set = field(default_factory=set)

    def layer(self, name):
        def hook(_, inputs, out):
            self.made[id(out)] = name, out
            self.readers.setdefault(name, set())

        return hook

    def norm(self, name):
        return lambda _, inputs: self.norms.setdefault(name, []).append(inputs[0])

    def read(self, tensor, where):
        if id(tensor) in self.made:
            self.readers[self.made[id(tensor)][0]].add(where)


class _Reads(TorchDispatchMode):
    """Notes who reads the outputs and the parameters of layers."""

    def __init__(self, model, stack, seen):
        super().__init__()
        self.stack, self.seen = stack, seen
        self.owners = {}
        for name, module in model.named_modules():
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                self.owners.setdefault(id(tensor), set()).add(name)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        where = self.stack[-1]
        for value in tree_leaves((args, kwargs or {})):
            if isinstance(value, torch.Tensor):
                self.seen.read(value, where)
                owners = self.owners.get(id(value), ())
                if owners and where not in owners:
                    self.seen.lent |= owners
        return func(*args, **(kwargs or {}))
