"""Slimmable twins of convolution, linear and BatchNorm layers.

A twin holds the upstream layer's parameters under the upstream names. It becomes one by
exchanging the layer's class (:func:`mutualvideo.slimmable`), so references, hooks and
parameter identity survive. Active *output* channels follow from the layer's own count and
the current width; active *input* channels are read off the tensor that arrives.

Reference: slimmable networks (arXiv 1812.08928), without their per-layer wiring.
"""

import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.slim import depthwise, pointwise
from mutualvideo.slim.rules import Scaled


def _prefix(tensor, count, dim=0):
    return tensor if count == tensor.shape[dim] else tensor.narrow(dim, 0, count)


class _Slimmable:
    """What the twins have in common; ``static`` is the plain class they came from."""

    static = None
    slim = None  # the SlimState shared by all layers of the network
    out_rule = Scaled()
    # Set where the input is a channel concatenation: the prefix of each segment is taken,
    # not a prefix of the whole.
    in_segments = None

    def _count(self, rule, channels):
        return rule.active(channels, self.slim.width, self.slim.divisor)

    def _take_input(self, tensor, arriving, dim):
        """The part of ``tensor`` along ``dim`` that belongs to the channels that arrive."""
        if self.in_segments is None:
            return _prefix(tensor, arriving, dim)
        if arriving == tensor.shape[dim]:
            return tensor
        parts, start, total = [], 0, 0
        for segment in self.in_segments:
            count = self._count(segment.rule, segment.channels)
            parts.append(tensor.narrow(dim, start, count))
            start += segment.channels
            total += count
        if total != arriving:
            raise RuntimeError(
                f"{type(self).__name__}: {arriving} channels arrive, but its segments have "
                f"{total} at width {self.slim.width:g}: the segments told to slimmable() are wrong"
            )
        return torch.cat(parts, dim)

    def active_parameters(self, arriving):
        """How many numbers of the layer's parameters are in use for ``arriving`` channels."""
        return sum(t.numel() for t in self._parameters_in_use(arriving) if t is not None)

    def _own(self, tensor):
        """A parameter of the static twin: contiguous, its own memory."""
        return nn.Parameter(tensor.detach().clone(), requires_grad=tensor.requires_grad)

    def _become_static(self):
        self.__class__ = self.static
        for name in ("slim", "out_rule", "in_segments"):
            self.__dict__.pop(name, None)


class _SlimConv(_Slimmable):
    @property
    def depthwise(self):
        return self.groups > 1

    def _sliced(self, arriving):
        """Weight, bias and groups for ``arriving`` input channels."""
        if self.depthwise:
            per_channel = self.out_channels // self.in_channels
            weight = self._take_input(self.weight, arriving, 0) if per_channel == 1 else _prefix(
                self.weight, arriving * per_channel
            )
            groups = arriving
        else:
            weight = _prefix(self.weight, self._count(self.out_rule, self.out_channels))
            weight = self._take_input(weight, arriving, 1)
            groups = 1
        bias = self.bias
        if bias is not None:
            same = self.depthwise and per_channel == 1
            bias = self._take_input(bias, arriving, 0) if same else _prefix(bias, weight.shape[0])
        return weight, bias, groups

    def _parameters_in_use(self, arriving):
        return self._sliced(arriving)[:2]

    def forward(self, x):
        weight, bias, groups = self._sliced(x.shape[1])
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


class SlimConv1d(_SlimConv, nn.Conv1d):
    static = nn.Conv1d
    convolve = staticmethod(F.conv1d)


class SlimConv2d(_SlimConv, nn.Conv2d):
    static = nn.Conv2d
    convolve = staticmethod(F.conv2d)


def _conv3d(x, weight, bias, stride, padding, dilation, groups):
    if groups > 1 and depthwise.supports(x, weight, stride, padding, dilation):
        return depthwise.depthwise_conv3d(x, weight, bias, stride, padding)
    if pointwise.supports(x, weight, stride, padding, groups):
        return pointwise.pointwise_conv3d(x, weight, bias)
    return F.conv3d(x, weight, bias, stride, padding, dilation, groups)


class SlimConv3d(_SlimConv, nn.Conv3d):
    static = nn.Conv3d
    convolve = staticmethod(_conv3d)


class SlimLinear(_Slimmable, nn.Linear):
    static = nn.Linear

    def _sliced(self, arriving):
        weight = _prefix(self.weight, self._count(self.out_rule, self.out_features))
        weight = self._take_input(weight, arriving, 1)
        bias = None if self.bias is None else _prefix(self.bias, weight.shape[0])
        return weight, bias

    _parameters_in_use = _sliced

    def forward(self, x):
        return F.linear(x, *self._sliced(x.shape[-1]))

    def to_static(self, arriving):
        weight, bias = self._sliced(arriving)
        self.weight = self._own(weight)
        self.bias = None if bias is None else self._own(bias)
        self.out_features, self.in_features = weight.shape
        self._become_static()


class _SlimBatchNorm(_Slimmable):
    """BatchNorm whose running statistics belong to the full network.

    A sub-network trains on the statistics of its own batch and updates nothing. In eval it
    runs on statistics of its own, found by the sub-network's key in ``statistics``; one
    that was never calibrated runs on the prefix of the full network's, which is right for
    costs and equality tests and meaningless for accuracy.
    """

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

    def _population(self, arriving):
        """Mean and variance to normalise with in eval."""
        own = self.statistics.get(self.slim.subnet)
        if own is not None:
            return own
        mean = self._take_input(self.running_mean, arriving, 0)
        return mean, self._take_input(self.running_var, arriving, 0)

    def _calibrate(self, x, weight, bias):
        # The first batch has weight 1, so what the statistics start from does not matter.
        mean, var = self.statistics.setdefault(
            self.slim.subnet,
            tuple(torch.zeros(x.shape[1], device=x.device) for _ in range(2)),
        )
        momentum = self.slim.calibration_momentum
        return F.batch_norm(x, mean, var, weight, bias, True, momentum, self.eps)

    def forward(self, x):
        if self.training and self.slim.is_full:
            return super().forward(x)
        weight, bias = self._affine(x.shape[1])
        if self.slim.calibration_momentum is not None:
            return self._calibrate(x, weight, bias)
        if self.training or self.running_mean is None:
            return F.batch_norm(x, None, None, weight, bias, True, 0.0, self.eps)
        mean, var = self._population(x.shape[1])
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, self.eps)

    def to_static(self, arriving):
        weight, bias = self._affine(arriving)
        if self.running_mean is not None:
            mean, var = (tensor.detach().clone() for tensor in self._population(arriving))
            self.running_mean, self.running_var = mean, var
        if self.affine:
            self.weight, self.bias = self._own(weight), self._own(bias)
        self.num_features = arriving
        self.__dict__.pop("statistics", None)
        self._become_static()


class SlimBatchNorm1d(_SlimBatchNorm, nn.BatchNorm1d):
    static = nn.BatchNorm1d


class SlimBatchNorm2d(_SlimBatchNorm, nn.BatchNorm2d):
    static = nn.BatchNorm2d


class SlimBatchNorm3d(_SlimBatchNorm, nn.BatchNorm3d):
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
    return x.shape[-1] if isinstance(layer, SlimLinear) else x.shape[1]


def slim_layers(model, kind=_Slimmable):
    """(name, layer) of every slimmable layer of ``model``, in registration order."""
    return [(name, m) for name, m in model.named_modules() if isinstance(m, kind)]


def batch_norms(model):
    """(name, layer) of every slimmable BatchNorm of ``model``."""
    return slim_layers(model, _SlimBatchNorm)
