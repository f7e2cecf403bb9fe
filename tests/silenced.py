"""An independent reference for slicing, which slices nothing.

All channels are computed, and those that are inactive at a width are set to zero after every
layer. Which ones those are is found by NaN: a first pass fills the inactive outputs of each
layer with it, and it spreads through concatenations, reshapes and sums as the channels do.
"""

import torch
from torch import nn

from mutualvideo.slim import slim_state
from mutualvideo.slim.twin_base import slim_layers


@torch.no_grad()
def silenced(network, model, forward):
    """What ``forward()``, a pass through the plain ``network``, gives with silent channels.

    Args:
        network: the plain network in eval mode, with the weights of ``model``.
        model: the slimmable one, switched to a width: it tells how many channels of each
            layer are active there, but not which.
    """
    state = slim_state(model)
    active = {
        name: _active(layer, state) for name, layer in slim_layers(model) if layer.makes is not None
    }
    inactive = {}
    with _hooks(network, lambda n, m, x, out: _mark(n, m, x, out, active, inactive)):
        forward()
    with _hooks(network, lambda n, m, x, out: out.masked_fill(inactive[n].pop(0), 0.0)):
        return forward()


def _active(layer, state):
    """bool (channels,): which of what the layer makes is there at the current width."""
    mask = torch.zeros(layer.makes, dtype=torch.bool)
    if layer.out_segments is not None:
        mask[layer.out_segments.index(state.width, state.divisor, mask.device)] = True
    else:
        mask[: layer.out_rule.active(layer.makes, state.width, state.divisor)] = True
    return mask


class _hooks:
    """Runs a function as forward hook of every convolution, linear layer and BatchNorm."""

    def __init__(self, network, function):
        self.network, self.function = network, function

    def __enter__(self):
        kinds = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._NormBase, nn.GroupNorm)
        self.handles = [
            module.register_forward_hook(
                lambda m, inputs, out, name=name: self.function(name, m, inputs[0], out)
            )
            for name, module in self.network.named_modules()
            if isinstance(module, kinds)
        ]

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()


def _mark(name, module, x, out, active, inactive):
    """Zeros where channels are active, NaN where they are not."""
    dim = out.dim() - 1 if isinstance(module, nn.Linear) else 1
    marked = torch.zeros_like(out)
    if name in active:
        marked = _filled(marked, ~active[name], dim, float("nan"))
        if isinstance(module, nn.Linear):  # it may run along what is no channel
            marked = marked.masked_fill(x.isnan().all(-1, keepdim=True), float("nan"))
    else:
        mask = x.isnan().all(dim=[d for d in range(x.dim()) if d != dim])
        groups = getattr(module, "groups", None)
        if groups is not None:
            by_group = mask.view(groups, -1)
            assert torch.equal(by_group.any(1), by_group.all(1))
            mask = by_group.all(1).repeat_interleave(out.shape[1] // groups)
        marked = _filled(marked, mask, dim, float("nan"))
    inactive.setdefault(name, []).append(marked.isnan())
    return marked


def _filled(tensor, mask, dim, value):
    shape = [1] * tensor.dim()
    shape[dim] = -1
    return tensor.masked_fill(mask.view(shape), value)
