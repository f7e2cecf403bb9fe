"""Whether a forward goes the same way through slimmable layers as through torch's own."""

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from mutualvideo.errors import InputError
from mutualvideo.slim.meta_results import Remembering
from mutualvideo.slim.tracing.shadow import flat
from mutualvideo.slim.tracing.trace import fresh, running_module
from mutualvideo.slim.twin_base import slim_layers

# What layers compute inside, which a network may also call on their parameters, and what takes
# parts of tensors: slimmable layers do these in their own way.
_OF_LAYERS = {
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("linear", "batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm", "prelu"),
    *("__get__", "__set__", "__getitem__", "__setitem__", "narrow", "select", "index_select"),
}
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def require_same_way(plain, slimmed, args):
    """Refuses a network that asks its layers what they are, and then does something else.

    Args:
        plain: a copy of the network, in eval mode.
        slimmed: another, whose layers are slimmable, at full width.
        args: what both are run on.

    Raises:
        InputError: naming where the two part.
    """
    layers = {name for name, _ in slim_layers(slimmed)}
    try:
        wanted = _way(plain, args, layers)
    except Exception:
        return  # it runs no more than it did: there is nothing to hold the other against
    found = _way(slimmed, args, layers)
    if wanted == found:
        return
    both = zip([*wanted, None], [*found, None], strict=False)
    before, after = next(pair for pair in both if pair[0] != pair[1])
    told = [
        f"{one[1]} ({one[0] or 'its own forward'})" if one else "its end" for one in (before, after)
    ]
    raise InputError(
        f"slimmable(): {type(plain).__name__} does something else with slimmable layers than with "
        f"torch's: {told[1]} comes where {told[0]} came; if it asks for type(layer) is nn.Conv2d, "
        "ask for isinstance(layer, nn.Conv2d), which holds, or name the layer in exclude="
    )


def is_same_way(events, others):
    """Whether two passes at full width did the same to their channels, operation by operation.

    Args:
        events, others: what :class:`~.flow.ChannelFlow` saw of each; sizes in pixels may differ.
    """
    return len(events) == len(others) and all(
        one[:2] == other[:2]
        and len(one[3]) == len(other[3])
        and all(_alike(a, b) for (_, a), (_, b) in zip(one[3], other[3], strict=True))
        for one, other in zip(events, others, strict=True)
    )


def _alike(one, other):
    if one is None or other is None:
        return one is other
    return np.array_equal(flat(one), flat(other))


@torch.no_grad()
def _way(model, args, layers):
    """[(path of the module, what it does), ...]: modules that it calls, functions of its own.

    What ``layers`` do inside is theirs.
    """
    events = []
    # torch's modules know the layers inside them, and have fast paths of their own.
    closed = {
        name
        for name, module in model.named_modules()
        if name and type(module).__module__.startswith("torch.nn.")
        if not isinstance(module, _CONTAINERS)
    }

    def inside(stack):
        return next((name for name in stack if name in closed or name in layers), None)

    def enter(name, stack):
        def hook(*_):
            if inside(stack[:-1]) is None:
                events.append((stack[-2] if len(stack) > 1 else "", f"module {name}"))

        return hook

    with running_module(model) as stack:
        handles = [
            module.register_forward_pre_hook(enter(name, stack))
            for name, module in model.named_modules()
            if name and not isinstance(module, torch.jit.ScriptModule)
        ]
        try:
            with Remembering(), _Functions(stack, inside, events):
                model(*fresh(args))
        finally:
            for handle in handles:
                handle.remove()
    return events


class _Functions(TorchFunctionMode):
    def __init__(self, stack, inside, events):
        super().__init__()
        self.stack, self.inside, self.events = stack, inside, events

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name not in _OF_LAYERS and self.inside(self.stack) is None:
            self.events.append((self.stack[-1] if self.stack else "", name))
        return func(*args, **(kwargs or {}))
