"""One instrumented forward pass at full width: what slimmable() has to know about a network."""

import math
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_map

from mutualvideo.slim.layers import ConvTwin, LinearTwin
from mutualvideo.slim.subclass import GroupNormTwin, InstanceNormTwin, LayerNormTwin
from mutualvideo.slim.tracing.flow import ChannelFlow
from mutualvideo.slim.tracing.outputs import described
from mutualvideo.slim.tracing.shadow import along, flat, is_labelled, varying
from mutualvideo.slim.twin_base import slim_layers


@dataclass
class Trace:
    """What a pass at full width showed.

    Attributes:
        reads: ``{layer: labels}`` of the channels that each slimmable layer reads.
        events: what :class:`~.flow.ChannelFlow` saw, operation by operation.
        lent: ``{layer: where}`` of layers whose parameters something else read.
        macs: ``{layer or module: multiply-adds}`` of every convolution and linear layer.
        output: (path, tensor) of every tensor in the output.
    """

    reads: dict = field(default_factory=dict)
    events: list = field(default_factory=list)
    lent: dict = field(default_factory=dict)
    macs: dict = field(default_factory=dict)
    output: object = None


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
        if isinstance(module, torch.jit.ScriptModule):
            continue  # it takes no hooks
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
def trace(model, args, labels, parameters, observe):
    """Runs ``model``, slimmable and at full width, on ``args``; returns a :class:`Trace`.

    Args:
        model: the network; it gains no state but what its own forward leaves.
        args: tuple of positional arguments, on its device.
        labels: :class:`~.labels.Labels`, which learns what the pass shows.
        parameters: ``{name: (module, own name, dimension)}`` of parameters and buffers of one
            number a channel.
        observe: a function that is called with the flow before the pass and ``None`` after.

    Raises:
        whatever the network's forward raises.
    """
    found = Trace()
    with running_module(model) as stack:
        flow = ChannelFlow(labels, stack)
        labels.parameters |= parameters.keys()
        for name, (module, own, dim) in parameters.items():
            tensor = module._parameters.get(own, module._buffers.get(own))
            flow.set(tensor, along(labels.of(name, tensor.shape[dim]), dim, tensor.dim()))
        reader = _Reader(labels, found)
        flow.owners = {
            id(tensor): name
            for name, layer in slim_layers(model)
            for tensor in (*layer._parameters.values(), *layer._buffers.values())
            if tensor is not None
        }
        with _counting(model, found.macs):
            out = run_followed(model, args, flow, reader, observe)
    for _, tensor in out:
        flow.pin(flow.get(tensor), "the network's output is made of it")
    found.events, found.lent, found.output = flow.events, flow.lent, out
    return found


@contextmanager
def _counting(model, macs):
    """Adds the multiply-adds of every convolution and linear layer to ``macs``."""

    def count(name):
        def hook(module, inputs, out):
            if isinstance(out, torch.Tensor):
                entries = inputs[0].numel() if _is_transposed(module) and inputs else out.numel()
                macs[name] = macs.get(name, 0) + entries * _products(module)

        return hook

    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    handles = [
        module.register_forward_hook(count(name))
        for name, module in model.named_modules()
        if isinstance(module, kinds)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_followed(model, args, flow, reader, observe):
    """(path, tensor) of what ``model`` returns under ``flow``; ``reader`` is told of reads."""
    handles = []
    for name, layer in slim_layers(model):
        watch = Watch(name, layer, flow, reader)
        handles.append(layer.register_forward_pre_hook(watch.enter, with_kwargs=True))
        # Before hooks of the user's own: what they do to the output is an operation, too.
        leave = layer.register_forward_hook(watch.leave, with_kwargs=True, prepend=True)
        handles.append(leave)
    observe(flow)
    try:
        with flow:
            return described(model(*fresh(args)))
    finally:
        observe(None)
        for handle in handles:
            handle.remove()


def _is_transposed(module):
    return isinstance(module, nn.modules.conv._ConvTransposeNd)


def _products(module):
    """Multiply-adds for each number that comes out (goes in, of transposed convolutions)."""
    if isinstance(module, nn.Linear):
        return module.in_features
    channels = module.out_channels if _is_transposed(module) else module.in_channels
    return channels // module.groups * math.prod(module.kernel_size)


class _Reader:
    """Notes what layers read and make, at full width."""

    def __init__(self, labels, found):
        self.labels, self.found = labels, found

    def reads(self, name, layer, vector, where):
        known = self.found.reads.setdefault(name, vector)
        if known is not vector:
            # A layer that is used again reads channels that must agree with the first ones.
            self.labels.unite(known, vector, f"{name} reads it and channels that are whole")
            self.found.reads[name] = np.where(known > vector, known, vector)
        size = layer.reads_together
        if size > 1:
            self.labels.window(vector, size)

    def makes(self, name, channels):
        return self.labels.of(name, channels)


class Watch:
    """The hooks of one slimmable layer: reads its input's labels, sets its output's."""

    def __init__(self, name, layer, flow, reader):
        self.name, self.layer, self.flow, self.reader = name, layer, flow, reader
        self.vector = self.beside = None

    def enter(self, layer, inputs, kwargs):
        flow = self.flow
        flow.quiet += 1  # what is worked out here is no operation of the network's
        if flow.quiet == 1:
            x = inputs[0] if inputs else kwargs["input"]
            self._read(layer, x, flow.get(x))
            self.reader.reads(self.name, layer, self.vector, flow)

    def _read(self, layer, x, shadow):
        if _in_any_dimension(layer) and is_labelled(shadow) and len(varying(shadow)) == 1:
            if not self.flow.narrow:
                (layer.channel_dim,) = varying(shadow)
        dim = layer.dim_of_channels(x)
        self.vector, self.beside = np.zeros(x.shape[dim], np.int32), None
        if not is_labelled(shadow) or shadow.dim() != x.dim():
            return
        others = varying(shadow) - {dim}
        why = f"{self.name} ({layer.static.__name__}) reads it along another dimension"
        if others and (dim in varying(shadow)):
            # Every row of channels is read with the same weights, so they are one.
            for other in sorted(others):
                first = shadow.narrow(other, 0, 1)
                one, more = torch.broadcast_tensors(first, shadow)
                self.flow.book.unite(flat(one), flat(more), why)
                shadow = first
        elif others and isinstance(layer, (LinearTwin, LayerNormTwin)) and not _by_picture(layer):
            self.beside = shadow  # it runs along what is no channel, which stays as it is
            return
        elif others:
            self.flow.pin(shadow, why)
            return
        self.vector = flat(shadow.expand([n if d == dim else 1 for d, n in enumerate(x.shape)]))

    def leave(self, layer, inputs, kwargs, out):
        if self.flow.quiet == 1:
            self._set_output(layer, out)
        self.flow.quiet -= 1

    def _set_output(self, layer, out):
        if isinstance(layer, ConvTwin) and layer.grouped:
            vector = self._by_group(layer)
        elif layer.makes is None:
            vector = self.vector
        else:
            vector = self.reader.makes(self.name, layer.makes)
        dim = layer.dim_of_channels(out)
        if self.beside is not None:
            why = f"{self.name} (Linear) runs along another dimension than the channels'"
            self.flow.book.pin(vector, why)
            self.flow.set(out, self.beside)
        elif (vector > 1).any() and (len(vector) > 1 or self.flow.narrow):
            self.flow.set(out, along(vector, dim, out.dim()))

    def _by_group(self, layer):
        reads, makes = layer.reads_together, layer.out_channels // layer.groups
        groups = self.vector.reshape(-1, reads)
        return groups[:, np.arange(makes) * reads // makes].reshape(-1)


def _in_any_dimension(layer):
    """Whether a LayerNorm's forward is its own, so that its channels may lie anywhere."""
    if not isinstance(layer, LayerNormTwin) or isinstance(layer, (GroupNormTwin, InstanceNormTwin)):
        return False
    return not layer.over_last_dim


def _by_picture(layer):
    """Whether a norm takes the entries of a picture together."""
    return isinstance(layer, (GroupNormTwin, InstanceNormTwin))
