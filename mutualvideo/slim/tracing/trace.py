"""One instrumented forward pass: what slimmable() has to know about a network.

It finds the channel concatenations and who reads them, the layers that must agree because
their outputs are added, the layers that must stay whole because the output, a parameter or
a layer that is not slimmed reads them, and the multiples that grouped convolutions need.
"""

import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from mutualvideo.errors import InputError
from mutualvideo.slim.layers import (
    BatchNormTwin,
    ConvTwin,
    LinearTwin,
    slim_layers,
)
from mutualvideo.slim.tracing.layout import ChannelFlow, Layout, Lost, Part


@dataclass
class Trace:
    """What one forward pass showed.

    Attributes:
        inputs: ``{layer: parts}`` that each slimmable layer reads.
        unions: pairs of layers whose outputs must agree (``None``: one that never changes).
        pinned: ``{layer: reason}`` of layers whose output must not be slimmed.
        outputs: layers that make the network's output.
        multiples: ``{layer: n}``: its channels are read n at a time.
    """

    inputs: dict = field(default_factory=dict)
    unions: list = field(default_factory=list)
    pinned: dict = field(default_factory=dict)
    outputs: set = field(default_factory=set)
    multiples: dict = field(default_factory=dict)


@contextmanager
def running_module(model):
    """Yields a list: the paths of the modules that are running, outermost first.

    After an exception it is as it was where that was raised.
    """
    stack, handles = [], []

    def enter(name):
        return lambda *_: stack.append(name)

    def leave(*_):
        stack.pop()

    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter(name), prepend=True))
        handles.append(module.register_forward_hook(leave))
    try:
        yield stack
    finally:
        for handle in handles:
            handle.remove()


def fresh(args):
    """The same tensors in new lists: some networks (PyTorchVideo's SlowFast) write into theirs."""
    return tree_map(lambda value: value, args)


@torch.no_grad()
def trace(model, args, fixed=(), told=()):
    """Runs ``model``, slimmable and at full width, on ``args``; returns a :class:`Trace`.

    Args:
        model: the network in eval mode; it gains no state.
        args: tuple of positional arguments, on its device.
        fixed: names of layers whose output is not slimmed.
        told: names of layers whose segments the caller gave: theirs may be beyond tracing.

    Raises:
        InputError: naming the first layer whose input cannot be followed, and why.
    """
    found, handles = Trace(), []
    with running_module(model) as stack:
        flow = ChannelFlow([*model.parameters(), *model.buffers()], stack)
        for tensor in tree_leaves(args):
            if isinstance(tensor, torch.Tensor) and tensor.dim() > 1:
                flow.set(tensor, Layout(1, (Part(None, tensor.shape[1]),)))
        for name, layer in slim_layers(model):
            watch = _Watch(name, layer, flow, found, name in fixed, name in told)
            handles.append(layer.register_forward_pre_hook(watch.enter))
            handles.append(layer.register_forward_hook(watch.leave))
        for layer in model.modules():
            if isinstance(layer, nn.Linear) and not isinstance(layer, LinearTwin):
                handles += _watch_whole_linear(layer, flow)
        try:
            with flow:
                out = model(*fresh(args))
        finally:
            for handle in handles:
                handle.remove()
    for tensor in tree_leaves(out):
        layout = flow.get(tensor) if isinstance(tensor, torch.Tensor) else None
        if isinstance(layout, Layout):
            found.outputs |= {part.source for part in layout.parts} - {None}
    found.unions, found.pinned = flow.unions, flow.pinned
    return found


class _Watch:
    """The hooks of one slimmable layer: reads its input's layout, sets its output's."""

    def __init__(self, name, layer, flow, found, is_fixed, is_told):
        self.name, self.layer, self.flow, self.found = name, layer, flow, found
        self.source = None if is_fixed else name
        self.is_told = is_told

    def enter(self, layer, inputs):
        x = inputs[0]
        layout = self.flow.get(x)
        dim = _channel_dim(layer, x)
        if isinstance(layout, Layout) and layout.dim == dim:
            self.read(layout.parts)
        elif not self.is_told:
            raise InputError(
                f"slimmable(): {self.name} ({_kind(layer)}): {_why(layout)}; "
                "exclude it by name, or give its segments"
            )
        else:
            self.found.inputs.setdefault(self.name, None)
        self.flow.quiet = True

    def read(self, parts):
        known = self.found.inputs.setdefault(self.name, parts)
        if known != parts and not self.is_told:
            # A layer that is used again reads layers that must agree with the first ones.
            if not self.flow.unite(known, parts):
                raise InputError(
                    f"slimmable(): {self.name} ({_kind(self.layer)}) is used more than once, on "
                    "inputs that are laid out differently; exclude it by name"
                )
        reads = _group_size(self.layer)
        for part in parts:
            if reads > 1 and part.source is not None:
                # Whatever is flattened into a channel already divides what is read.
                need = reads // math.gcd(reads, int(part.times)) if part.times >= 1 else reads
                before = self.found.multiples.get(part.source, 1)
                self.found.multiples[part.source] = math.lcm(before, need)

    def leave(self, layer, inputs, out):
        self.flow.quiet = False
        parts = self.found.inputs[self.name]
        if isinstance(layer, ConvTwin) and layer.grouped:
            times = Fraction(layer.out_channels, layer.in_channels)
            parts = parts and tuple(Part(p.source, p.channels, p.times * times) for p in parts)
        elif not isinstance(layer, BatchNormTwin):
            full = layer.out_features if isinstance(layer, LinearTwin) else layer.out_channels
            parts = (Part(self.source, full),)
        if parts is not None:
            self.flow.set(out, Layout(_channel_dim(layer, out), parts))


def _watch_whole_linear(layer, flow):
    """Hooks of a linear layer that is not slimmed: it may run along any dimension."""

    def enter(layer, inputs):
        flow.quiet = True

    def leave(layer, inputs, out):
        flow.quiet = False
        layout = flow.get(inputs[0])
        if isinstance(layout, Layout) and layout.dim == out.dim() - 1:
            flow.pin(layout, f"{flow.where} reads all of its channels")
            layout = None
        # Along another dimension the channels stay where they were.
        flow.set(out, layout or Layout(out.dim() - 1, (Part(None, out.shape[-1]),)))

    return layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)


def _kind(layer):
    return layer.static.__name__


def _channel_dim(layer, x):
    if isinstance(layer, LinearTwin):
        return x.dim() - 1
    if isinstance(layer, ConvTwin):
        return x.dim() - 1 - len(layer.kernel_size)
    return 1


def _group_size(layer):
    return layer.in_channels // layer.groups if isinstance(layer, ConvTwin) and layer.grouped else 1


def _why(layout):
    if isinstance(layout, Lost):
        return f"the channels of its input cannot be followed: {layout.reason}"
    if isinstance(layout, Layout):
        return "it runs along another dimension than the channels'"
    return "the channels of its input cannot be followed: no layer made them"
