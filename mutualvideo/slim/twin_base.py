"""What slimmable layers have in common.

A twin holds the upstream layer's parameters under the upstream names. It becomes one by
exchanging the layer's class (:func:`mutualvideo.slimmable`), so references, hooks and
parameter identity survive. Active *output* channels follow from the layer's own count and
the current width; active *input* channels are read off the tensor that arrives.

Reference: slimmable networks (arXiv 1812.08928), without their per-layer wiring.
"""

import torch
from torch import nn

from mutualvideo.slim.rules import Scaled


def prefix(tensor, count, dim=0):
    """The first ``count`` of ``tensor`` along ``dim``; itself where that is all of it."""
    return tensor if count == tensor.shape[dim] else tensor.narrow(dim, 0, count)


class Prepared:
    """What a layer keeps between inference passes of one sub-network: its parameters in use.

    Cutting them out anew in every pass costs a narrow sub-network up to a third of its time
    with one clip at a time. It is made anew after every switch and whenever a tensor that it
    was cut from was written to or lies elsewhere in memory (but, as with torch's own checks, a
    write into the same memory through ``.data`` or NumPy is not seen before the next switch).
    Copies and pickles of a layer start without it.
    """

    __slots__ = ("serial", "arriving", "sources", "values")

    def __init__(self):
        self.serial = None

    def __reduce__(self):
        return Prepared, ()

    def keep(self, layer, arriving, values):
        """Keeps ``values``, unless a tensor of ``layer`` does not tell when it is written to."""
        held = [(d, n, t) for d in (layer._parameters, layer._buffers) for n, t in d.items()]
        held = [(d, n, t) for d, n, t in held if t is not None]
        if any(t.is_inference() or t.is_meta for _, _, t in held):
            return
        self.sources = [(d, n, t, t._version, t.data_ptr()) for d, n, t in held]
        self.serial, self.arriving, self.values = layer.slim.serial, arriving, values

    def get(self, layer, arriving):
        """What was kept, or ``None`` if it does not hold any more."""
        if self.serial != layer.slim.serial or self.arriving != arriving:
            return None
        for holder, name, tensor, version, place in self.sources:
            if holder.get(name) is not tensor or tensor._version != version:
                return None
            if tensor.data_ptr() != place:  # ``parameter.data = ...``
                return None
        return self.values


def dense(tensor, like):
    """``tensor`` laid out in memory as ``like``, of which it is a part, is."""
    if tensor.dim() > 3 and not like.is_contiguous():
        last = torch.channels_last if tensor.dim() == 4 else torch.channels_last_3d
        return tensor.contiguous(memory_format=last)
    return tensor.contiguous()


class Twin:
    """What the twins have in common; ``static`` is the plain class they came from."""

    static = None
    slim = None  # the SlimState shared by all layers of the network
    prepared = None  # a Prepared of the layer's own
    out_rule = Scaled()
    # Set where the input is a channel concatenation: the prefix of each segment is taken,
    # not a prefix of the whole. The same for what the layer makes, where that is split later.
    in_segments = None
    out_segments = None
    in_part = None  # the Segment that it reads, where that is one
    makes = None  # channels that it makes; None where they are those that it reads
    reads_together = 1  # how many channels in a row it reads at a time

    def dim_of_channels(self, x):
        """The dimension of ``x``, its input or output, that its channels lie in."""
        return 1

    def _take_output(self, tensor, dim=0):
        """The part of ``tensor`` along ``dim`` that belongs to the channels that it makes."""
        width, divisor = self.slim.width, self.slim.divisor
        if self.out_segments is None:
            return prefix(tensor, self.out_rule.active(self.makes, width, divisor), dim)
        index = self.out_segments.index(width, divisor, tensor.device)
        return tensor if len(index) == self.makes else tensor.index_select(dim, index)

    def _take_input(self, tensor, arriving, dim):
        """The part of ``tensor`` along ``dim`` that belongs to the channels that arrive."""
        if self.in_segments is None:
            self._require_planned(arriving)
            return prefix(tensor, arriving, dim)
        if arriving == tensor.shape[dim]:
            return tensor
        return tensor.index_select(dim, self._arriving_index(arriving, tensor.device))

    def _put_back(self, whole, part):
        """Writes ``part``, which :meth:`_take_input` gave of ``whole`` along dimension 0, back."""
        if self.in_segments is not None and len(part) != len(whole):
            # A prefix is a view, these are copies.
            whole.index_copy_(0, self._arriving_index(len(part), part.device), part)

    def _arriving_index(self, arriving, device):
        """Positions, among all input channels, of those of a concatenation that arrive."""
        index = self.in_segments.index(self.slim.width, self.slim.divisor, device)
        if len(index) != arriving:
            raise self._not_planned(arriving, len(index))
        return index

    def _require_planned(self, arriving):
        if self.in_part is None:
            return
        planned = self.in_part.active(self.slim.width, self.slim.divisor)
        if arriving != planned:
            raise self._not_planned(arriving, planned)

    def _not_planned(self, arriving, planned):
        return self.slim.switched_midway() or RuntimeError(
            f"{type(self).__name__}: {arriving} channels arrive, but {planned} are planned at "
            f"width {self.slim.width:g}: the segments told to slimmable() are wrong, or the "
            "forward is another than the one that it saw"
        )

    def in_use(self, arriving):
        """The parameters to compute with when ``arriving`` channels arrive; see the twins."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._sliced(arriving)
        values = self.prepared.get(self, arriving)
        if values is None:
            values = self._dense_slices(arriving)
            self.prepared.keep(self, arriving, values)
        return values

    def _dense_slices(self, arriving):
        return self._sliced(arriving)

    def active_parameters(self, arriving):
        """How many numbers of the layer's parameters are in use for ``arriving`` channels."""
        return sum(t.numel() for t in self._parameters_in_use(arriving) if t is not None)

    def _apply(self, fn, recurse=True):
        self.prepared = Prepared()
        return super()._apply(fn, recurse)

    def _own(self, tensor):
        """A parameter of the static twin: contiguous, its own memory."""
        return nn.Parameter(tensor.detach().clone(), requires_grad=tensor.requires_grad)

    def _become_static(self):
        self.__class__ = self.static
        for name in ("slim", "out_rule", "in_segments", "out_segments", "in_part", "prepared"):
            self.__dict__.pop(name, None)


def arriving_channels(layer, x):
    """Channels of ``x``, the input of the slimmable ``layer``."""
    return x.shape[layer.dim_of_channels(x)]


def slim_layers(model, kind=Twin):
    """(name, layer) of every slimmable layer of ``model``, in registration order."""
    return [(name, m) for name, m in model.named_modules() if isinstance(m, kind)]
