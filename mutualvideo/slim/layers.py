"""Slimmable twins of convolution and linear layers; which layer has which twin."""

import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.slim.batch_norm_layers import SlimBatchNorm1d, SlimBatchNorm2d, SlimBatchNorm3d
from mutualvideo.slim.kernels import depthwise, pointwise
from mutualvideo.slim.twin_base import Twin, dense, prefix


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
            if self.in_segments is None:
                self._require_planned(arriving)
            count = groups * makes
            return prefix(self.weight, count), self._bias(prefix, count), groups
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
        return dense(weight, self.weight), bias, groups  # or every convolution would copy it

    def forward(self, x):
        weight, bias, groups = self.in_use(x.shape[self.dim_of_channels(x)])
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
