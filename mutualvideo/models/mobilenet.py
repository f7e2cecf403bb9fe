"""MobileNets for images: v1 (arXiv 1704.04861) itself, and how torchvision's v2 is slimmed.

Plain networks and rules for ``slimmable``; they take pictures, so no configuration of a video
network builds them.
"""

import math
from fractions import Fraction

from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual

from mutualvideo.errors import InputError
from mutualvideo.slim import Fixed, Ratio, round_channels

_STEM = 32
# (channels, stride of the depthwise convolution) of each block: Table 1 of the paper.
_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
_DIVISOR = 8


def _scaled(channels, width):
    """``channels`` at ``width`` of any size, rounded by MobileNet's rule.

    The rule never goes beyond the count that it is given, so a width above 1 is taken as a
    part of a wider network: wider by a power of two, which changes no digit of the product.
    """
    times = 2 ** max(0, math.ceil(math.log2(width)))
    return round_channels(channels * times, width / times, _DIVISOR)


def _convolution(inputs, outputs, kernel=1, stride=1, groups=1):
    """Convolution, BatchNorm, ReLU6; ``kernel`` is odd and keeps the size at stride 1."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class SeparableBlock(nn.Sequential):
    """A depthwise and a pointwise convolution of MobileNet v1."""


class MobileNetV1(nn.Module):
    """MobileNet v1: depthwise separable convolutions, pooled adaptively, at any picture size.

    A plain network: :func:`~mutualvideo.slimmable` needs no rules for it.

    Args:
        num_classes: number of classes.
        width: multiplier of every layer's channels, rounded to a multiple of 8; above 1 for
            model scaling (1.6 in arXiv 1909.12978, MutualNet).

    Raises:
        InputError: if ``width`` is not above 0.
    """

    def __init__(self, num_classes=1000, width=1.0):
        super().__init__()
        if not width > 0:
            raise InputError(f"MobileNetV1: width {width} is not above 0")
        channels = _scaled(_STEM, width)
        layers = [_convolution(3, channels, 3, 2)]
        for count, stride in _BLOCKS:
            outputs = _scaled(count, width)
            depthwise = _convolution(channels, channels, 3, stride, groups=channels)
            layers.append(SeparableBlock(depthwise, _convolution(channels, outputs)))
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x):
        """Pictures (B, 3, H, W) float -> logits (B, num_classes)."""
        return self.classifier(self.pool(self.features(x)).flatten(1))


def inverted_residual_rules(network):
    """``rules`` for ``slimmable`` of torchvision's MobileNetV2 (arXiv 1801.04381).

    As in US-Net (arXiv 1903.05134) and MutualNet: a block's expanded width is its *rounded*
    input times the expansion, and the last convolution before the classifier (1280) keeps all
    of its channels.

    Args:
        network: a network of :class:`torchvision.models.mobilenetv2.InvertedResidual` blocks
            in a sequence called ``features``.

    Returns:
        ``{layer name: rule}``.

    Raises:
        InputError: if it has no such block, or none in ``features``.
    """
    rules = {}
    for name, block in network.named_modules():
        if not isinstance(block, InvertedResidual):
            continue
        layer, expand = _first_convolution(block)
        if expand.groups == 1 and expand.out_channels != expand.in_channels:
            times = Fraction(expand.out_channels, expand.in_channels)
            rules[f"{name}.{layer}"] = Ratio(expand.in_channels, times)
    if not rules or not isinstance(getattr(network, "features", None), nn.Sequential):
        raise InputError(
            f"inverted_residual_rules(): {type(network).__name__} has no features of torchvision's "
            "InvertedResidual blocks: give torchvision's MobileNetV2, or rules of your own"
        )
    last = len(network.features) - 1
    layer, _ = _first_convolution(network.features[last])
    return rules | {f"features.{last}.{layer}": Fixed()}


def _first_convolution(module):
    return next((n, m) for n, m in module.named_modules() if isinstance(m, nn.Conv2d))
