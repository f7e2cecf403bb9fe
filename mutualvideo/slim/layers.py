"""Slimmable twins of convolution, linear and BatchNorm layers.

A twin holds the upstream layer's parameters under the upstream names. It becomes one by
exchanging the layer's class (:func:`mutualvideo.slimmable`), so references, hooks and
parameter identity survive. Active *output* channels follow from the layer's own count and
the current width; active *input* channels are read off the tensor that arrives.

Reference: slimmable networks (arXiv 1812.08928), without their per-layer wiring.
"""

from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.slim.kernels import depthwise, pointwise
from mutualvideo.slim.rules import Scaled
from mutualvideo.slim.statistics import sync_norm


def _prefix(tensor, count, dim=0):
    return tensor if count == tensor.shape[dim] else tensor.narrow(dim, 0, count)


class Prepared:
    """What a layer keeps between inference passes of one sub-network: its parameters in use.

    Cutting them out anew in every pass costs a narrow sub-network up to a third of its time
    with one clip at a time. It is made anew after every switch and whenever a tensor that it
    was cut from was written to (but, as with torch's own checks, a write through ``.data``
    is not seen before the next switch). Copies and pickles of a layer start without it.
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
        self.sources = [(d, n, t, t._version) for d, n, t in held]
        self.serial, self.arriving, self.values = layer.slim.serial, arriving, values

    def get(self, layer, arriving):
        """What was kept, or ``None`` if it does not hold any more."""
        if self.serial != layer.slim.serial or self.arriving != arriving:
            return None
        for holder, name, tensor, version in self.sources:
            if holder.get(name) is not tensor or tensor._version != version:
                return None
        return self.values


def _dense(tensor, like):
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
    makes = None  # channels that it makes; None where they are those that it reads
    reads_together = 1  # how many channels in a row it reads at a time

    def dim_of_channels(self, x):
        """The dimension of ``x``, its input or output, that its channels lie in."""
        return 1

    def _take_output(self, tensor, dim=0):
        """The part of ``tensor`` along ``dim`` that belongs to the channels that it makes."""
        width, divisor = self.slim.width, self.slim.divisor
        if self.out_segments is None:
            return _prefix(tensor, self.out_rule.active(self.makes, width, divisor), dim)
        index = self.out_segments.index(width, divisor, tensor.device)
        return tensor if len(index) == self.makes else tensor.index_select(dim, index)

    def _take_input(self, tensor, arriving, dim):
        """The part of ``tensor`` along ``dim`` that belongs to the channels that arrive."""
        if self.in_segments is None or arriving == tensor.shape[dim]:
            return _prefix(tensor, arriving, dim)
        return tensor.index_select(dim, self._arriving_index(arriving, tensor.device))

    def _arriving_index(self, arriving, device):
        """Positions, among all input channels, of those of a concatenation that arrive."""
        index = self.in_segments.index(self.slim.width, self.slim.divisor, device)
        if len(index) != arriving:
            raise RuntimeError(
                f"{type(self).__name__}: {arriving} channels arrive, but its segments have "
                f"{len(index)} at width {self.slim.width:g}: the segments told to slimmable() are "
                "wrong, or the forward is another than the one that it saw"
            )
        return index

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
        for name in ("slim", "out_rule", "in_segments", "out_segments", "prepared"):
            self.__dict__.pop(name, None)


class ConvTwin(Twin):
    @property
    def grouped(self):
        """Depthwise, or in groups: the output follows the input, group by group."""
        return self.groups > 1

    @property
    def makes(self):
        return None if self.grouped else self.out_channels

    @property
    def reads_together(self):
        return self.in_channels // self.groups if self.grouped else 1

    def dim_of_channels(self, x):
        return x.dim() - 1 - len(self.kernel_size)

    def _sliced(self, arriving):
        """Weight, bias and groups for ``arriving`` input channels."""
        if self.grouped:
            return self._sliced_by_group(arriving)
        weight = self._take_input(self._take_output(self.weight), arriving, 1)
        return weight, None if self.bias is None else self._take_output(self.bias), 1

    def _sliced_by_group(self, arriving):
        reads, makes = self.in_channels // self.groups, self.out_channels // self.groups
        groups, rest = divmod(arriving, reads)
        if rest:
            raise RuntimeError(
                f"{type(self).__name__}: {arriving} channels arrive, its groups read {reads} each"
            )
        if self.in_segments is None or arriving == self.in_channels:
            count = groups * makes
            return _prefix(self.weight, count), self._bias(_prefix, count), groups
        index = self._arriving_index(arriving, self.weight.device)
        if (reads, makes) != (1, 1):
            first = index[::reads] // reads * makes
            index = (first[:, None] + torch.arange(makes, device=index.device)).flatten()
        take = torch.index_select
        return take(self.weight, 0, index), self._bias(take, 0, index), groups

    def _bias(self, take, *args):
        return None if self.bias is None else take(self.bias, *args)

    def _parameters_in_use(self, arriving):
        return self._sliced(arriving)[:2]

    def _dense_slices(self, arriving):
        weight, bias, groups = self._sliced(arriving)
        return _dense(weight, self.weight), bias, groups  # or every convolution would copy it

    def forward(self, x):
        weight, bias, groups = self.in_use(x.shape[1])
        padding = self.padding
        if self.padding_mode != "zeros":
            x = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        return self.convolve(x, weight, bias, self.stride, padding, self.dilation, groups)

    def to_static(self, arriving):
        weight, bias, groups = self._sliced(arriving)
        self.weight = self._own(weight)
        self.bias = None if bias is None else self._own(bias)
        self.in_channels, self.out_channels, self.groups = arriving, weight.shape[0], groups
        self._become_static()


class SlimConv1d(ConvTwin, nn.Conv1d):
    static = nn.Conv1d
    convolve = staticmethod(F.conv1d)


class SlimConv2d(ConvTwin, nn.Conv2d):
    static = nn.Conv2d
    convolve = staticmethod(F.conv2d)


def _conv3d(x, weight, bias, stride, padding, dilation, groups):
    if groups > 1 and depthwise.supports(x, weight, stride, padding, dilation):
        return depthwise.depthwise_conv3d(x, weight, bias, stride, padding)
    if pointwise.supports(x, weight, stride, padding, groups):
        return pointwise.pointwise_conv3d(x, weight, bias)
    return F.conv3d(x, weight, bias, stride, padding, dilation, groups)


class SlimConv3d(ConvTwin, nn.Conv3d):
    static = nn.Conv3d
    convolve = staticmethod(_conv3d)


class LinearTwin(Twin):
    @property
    def makes(self):
        return self.out_features

    def dim_of_channels(self, x):
        return x.dim() - 1

    def _sliced(self, arriving):
        weight = self._take_input(self._take_output(self.weight), arriving, 1)
        return weight, None if self.bias is None else self._take_output(self.bias)

    _parameters_in_use = _sliced

    def forward(self, x):
        return F.linear(x, *self.in_use(x.shape[-1]))

    def to_static(self, arriving):
        weight, bias = self._sliced(arriving)
        self.weight = self._own(weight)
        self.bias = None if bias is None else self._own(bias)
        self.out_features, self.in_features = weight.shape
        self._become_static()


class SlimLinear(LinearTwin, nn.Linear):
    static = nn.Linear


@torch.no_grad()
def _move(held, found, momentum):
    """Moves the statistics ``held`` towards those of a batch, in place."""
    for mine, batch in zip(held, found, strict=True):
        mine.lerp_(batch.to(mine.dtype), momentum)


class BatchNormTwin(Twin):
    """BatchNorm whose running statistics belong to the full network.

    A sub-network trains on the statistics of its own batch and updates nothing. In eval it
    runs on statistics of its own, found by the sub-network's key in ``statistics``; one
    that was never calibrated runs on the prefix of the full network's, which is right for
    costs and equality tests and meaningless for accuracy.
    """

    # In training too the full network normalises by its running statistics, which do not move.
    frozen = False
    # {Subnet: (mean, var)}, float32 (channels,); beside the state dict, not in it.
    statistics = None

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        for subnet, pair in self.statistics.items():
            self.statistics[subnet] = tuple(fn(tensor) for tensor in pair)
        return self

    def _affine(self, arriving):
        if not self.affine:
            return None, None
        return self._take_input(self.weight, arriving, 0), self._take_input(self.bias, arriving, 0)

    _parameters_in_use = _affine

    def population(self, arriving):
        """Mean and variance to normalise with in eval."""
        own = self.statistics.get(self.slim.subnet)
        return self._running(arriving) if own is None else own

    def _running(self, arriving):
        """The part of the running statistics that belongs to the channels that arrive."""
        mean = self._take_input(self.running_mean, arriving, 0)
        return mean, self._take_input(self.running_var, arriving, 0)

    @contextmanager
    def _moving(self, arriving):
        """Yields (mean, var, momentum) to move; they are the running statistics afterwards."""
        self.num_batches_tracked += 1
        momentum = self.momentum
        momentum = 1 / float(self.num_batches_tracked) if momentum is None else momentum
        parts = self._running(arriving)
        yield *parts, momentum
        if self.in_segments is not None and arriving != self.num_features:
            index = self._arriving_index(arriving, parts[0].device)
            for whole, part in zip((self.running_mean, self.running_var), parts, strict=True):
                whole.index_copy_(0, index, part)  # a prefix is a view, these are copies

    def _collected(self, x):
        """The statistics that calibration is collecting, which ``F.batch_norm`` updates."""
        # The first batch has weight 1, so what they start from does not matter.
        like = x if self.running_mean is None else self.running_mean  # float32 under autocast
        zeros = tuple(like.new_zeros(x.shape[1]) for _ in range(2))
        return self.statistics.setdefault(self.slim.subnet, zeros)

    def normalization(self, x):
        """Arguments of ``F.batch_norm`` for ``x``, unless the full network trains.

        The full network that recomputes in training has its arguments from here, too.

        Returns:
            (mean, var, weight, bias, use the batch's statistics, momentum).
        """
        arriving = x.shape[1]
        if self.slim.calibration_momentum is not None:
            collected, momentum = self._collected(x), self.slim.calibration_momentum
            if not self.slim.over_processes:
                return *collected, *self._affine(arriving), True, momentum
            mean, var, unbiased = sync_norm.batch_moments(x)
            _move(collected, (mean, unbiased), momentum)
            return mean, var, *self._affine(arriving), False, 0.0
        if self.training and self.slim.is_full and self.running_mean is not None:
            # Recomputing: these are given, and do not move.
            return *self._running(arriving), *self._affine(arriving), True, 0.0
        if self.training or self.running_mean is None:
            return None, None, *self._affine(arriving), True, 0.0
        return *self.in_use(arriving), False, 0.0

    def _sliced(self, arriving):
        return *self.population(arriving), *self._affine(arriving)

    def forward(self, x):
        if x.is_meta and self.slim.shapes_only:
            return torch.empty_like(x)  # the operation itself takes long to find its shape
        if self.frozen and self.training and self.slim.is_full and self.running_mean is not None:
            running, affine = self._running(x.shape[1]), self._affine(x.shape[1])
            return F.batch_norm(x, *running, *affine, False, 0.0, self.eps)
        if self.training and self.slim.norm_parts > 1 and len(x) > 1:
            return self._forward_in_parts(x, min(self.slim.norm_parts, len(x)))
        if self.training and self.slim.over_processes:
            return self._forward_over_processes(x)
        if self.training and self.slim.is_full and not self.slim.recomputing:
            if x.shape[1] == self.num_features or self.running_mean is None:
                return super().forward(x)
            # The widest network of a range that ends below 1.
            with self._moving(x.shape[1]) as (mean, var, momentum):
                affine = self._affine(x.shape[1])
                return F.batch_norm(x, mean, var, *affine, True, momentum, self.eps)
        return F.batch_norm(x, *self.normalization(x), self.eps)

    def _forward_in_parts(self, x, count):
        """Each part by its own statistics; the running ones move as if it were one batch."""
        affine, over = self._affine(x.shape[1]), self.slim.over_processes
        outs, means, variances = [], [], []
        for part in x.tensor_split(count):
            if over:
                mean, var, unbiased = sync_norm.batch_moments(part)
                outs.append(sync_norm.normalize(part, mean, var, *affine, self.eps))
            else:
                # float32 under autocast, as the running statistics are.
                mean, unbiased = x.new_zeros((2, x.shape[1]), dtype=self._kept_dtype(x)).unbind()
                outs.append(F.batch_norm(part, mean, unbiased, *affine, True, 1.0, self.eps))
            means.append(mean.detach())
            variances.append(unbiased.detach())
        if self.slim.is_full and not self.slim.recomputing and self.running_mean is not None:
            means = torch.stack(means)
            # What varies within parts, and between them.
            var = torch.stack(variances).mean(0) + means.var(0, correction=0)
            with self._moving(x.shape[1]) as (*running, momentum):
                _move(running, (means.mean(0), var), momentum)
        return torch.cat(outs)

    def _kept_dtype(self, x):
        return x.dtype if self.running_mean is None else self.running_mean.dtype

    def _forward_over_processes(self, x):
        mean, var, unbiased = sync_norm.batch_moments(x)
        moves = self.slim.is_full and not self.slim.recomputing
        if moves and self.running_mean is not None:
            with self._moving(x.shape[1]) as (*running, momentum):
                _move(running, (mean, unbiased), momentum)
        return sync_norm.normalize(x, mean, var, *self._affine(x.shape[1]), self.eps)

    def to_static(self, arriving):
        weight, bias = self._affine(arriving)
        if self.running_mean is not None:
            mean, var = (tensor.detach().clone() for tensor in self.population(arriving))
            self.running_mean, self.running_var = mean, var
        if self.affine:
            self.weight, self.bias = self._own(weight), self._own(bias)
        self.num_features = arriving
        for name in ("statistics", "frozen"):
            self.__dict__.pop(name, None)
        self._become_static()


class SlimBatchNorm1d(BatchNormTwin, nn.BatchNorm1d):
    static = nn.BatchNorm1d


class SlimBatchNorm2d(BatchNormTwin, nn.BatchNorm2d):
    static = nn.BatchNorm2d


class SlimBatchNorm3d(BatchNormTwin, nn.BatchNorm3d):
    static = nn.BatchNorm3d


TWINS = {
    twin.static: twin
    for twin in (
        SlimConv1d,
        SlimConv2d,
        SlimConv3d,
        SlimLinear,
        SlimBatchNorm1d,
        SlimBatchNorm2d,
        SlimBatchNorm3d,
    )
}


def arriving_channels(layer, x):
    """Channels of ``x``, the input of the slimmable ``layer``."""
    return x.shape[layer.dim_of_channels(x)]


def slim_layers(model, kind=Twin):
    """(name, layer) of every slimmable layer of ``model``, in registration order."""
    return [(name, m) for name, m in model.named_modules() if isinstance(m, kind)]


def batch_norms(model):
    """(name, layer) of every slimmable BatchNorm of ``model``."""
    return slim_layers(model, BatchNormTwin)
