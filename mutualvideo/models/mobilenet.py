"""MobileNets for images: v1 (arXiv 1704.04861) itself, and how torchvision's v2 is slimmed."""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual, mobilenet_v2

from mutualvideo.errors import InputError
from mutualvideo.models.model_registry import MODEL_REGISTRY
from mutualvideo.models.network import Curve, Network
from mutualvideo.models.weights.mutualnet_names import MUTUALNET
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

# Published on ImageNet, of full networks at 224 pixels; none was retrained here.
# {sub-network: (million multiply-adds, top-1 in percent)}: the query tables of MutualNet's authors
# (github.com/taoyang1122/MutualNet).
MUTUALNET_V1 = {
    "1x224": (569, 72.4), "0.95x224": (518, 71.7), "0.9x224": (466, 71.2),
    "1x192": (418, 70.9), "0.95x192": (380, 70.6), "0.9x192": (342, 70.2),
    "0.85x192": (309, 69.7), "0.8x192": (269, 69.1), "0.75x192": (239, 68.4),
    "0.85x160": (215, 67.7), "0.8x160": (187, 67.2), "0.75x160": (166, 66.5),
    "0.7x160": (146, 65.6), "0.65x160": (127, 64.7), "0.6x160": (111, 63.5),
    "0.5x160": (76, 60.3), "0.45x160": (63, 58.9), "0.35x160": (41, 54.4),
    "0.25x192": (30, 52.7), "0.25x160": (21, 50.1), "0.25x128": (13, 45.5),
}  # fmt: skip
MUTUALNET_V2 = {
    "1x224": (300, 72.9), "0.95x224": (284, 72.7), "0.9x224": (269, 72.4),
    "0.85x224": (254, 72.0), "1x192": (221, 71.8), "0.95x192": (209, 71.6),
    "0.9x192": (198, 71.4), "0.85x192": (187, 71.0), "0.8x192": (164, 70.4),
    "0.75x192": (154, 70.1), "0.7x192": (128, 69.6), "0.75x160": (107, 68.3),
    "0.7x160": (89, 67.6), "0.85x128": (84, 65.8), "0.7x128": (57, 64.2),
}  # fmt: skip
# (million multiply-adds, top-1 in percent): the table of US-Net (arXiv 1903.05134).
US_NET_V1 = (
    (568, 71.8), (466, 71.3), (325, 69.5), (217, 66.8), (149, 64.2), (80, 59.0), (41, 55.7),
)  # fmt: skip
US_NET_V2 = ((300, 71.5), (222, 70.0), (161, 68.3), (97, 65.1), (59, 62.3))
_IMAGENET_CLASSES = 1000


def _scaled(channels: int, width: float) -> int:
    """``channels`` at ``width`` of any size, rounded by MobileNet's rule.

    The rule never goes beyond the count that it is given, so a width above 1 is taken as a
    part of a wider network: wider by a power of two, which changes no digit of the product.
    """
    times = 2 ** max(0, math.ceil(math.log2(width)))
    return round_channels(channels * times, width / times, _DIVISOR)


def _convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
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

    def __init__(self, num_classes: int = 1000, width: float = 1.0) -> None:
        super().__init__()
        if not width > 0:
            raise InputError(f"MobileNetV1: width {width} is not above 0")
        channels = _scaled(_STEM, width)
        layers: list[nn.Module] = [_convolution(3, channels, 3, 2)]
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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) float -> logits (B, num_classes)."""
        return self.classifier(self.pool(self.features(x)).flatten(1))


def inverted_residual_rules(network: nn.Module) -> dict[str, Any]:
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
    rules: dict[str, Any] = {}
    for name, block in network.named_modules():
        if not isinstance(block, InvertedResidual):
            continue
        layer, expand = _first_convolution(block)
        if expand.groups == 1 and expand.out_channels != expand.in_channels:
            times = Fraction(expand.out_channels, expand.in_channels)
            rules[f"{name}.{layer}"] = Ratio(expand.in_channels, times)
    features = getattr(network, "features", None)
    if not rules or not isinstance(features, nn.Sequential):
        raise InputError(
            f"inverted_residual_rules(): {type(network).__name__} has no features of torchvision's "
            "InvertedResidual blocks: give torchvision's MobileNetV2, or rules of your own"
        )
    last = len(features) - 1
    layer, _ = _first_convolution(features[last])
    return rules | {f"features.{last}.{layer}": Fixed()}


def _first_convolution(module: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((n, m) for n, m in module.named_modules() if isinstance(m, nn.Conv2d))


def _on_imagenet(
    cfg: CfgNode,
    mutualnet: Iterable[tuple[float, float]],
    us_net: Iterable[tuple[float, float]],
) -> list[Curve]:
    if cfg.MOBILENET.WIDTH_FACTOR != 1 or cfg.MODEL.NUM_CLASSES != _IMAGENET_CLASSES:
        return []
    return [
        (f"{label} (published)", [(mmacs / 1000, top1) for mmacs, top1 in points])
        for label, points in (("MutualNet", mutualnet), ("US-Net", us_net))
    ]


@MODEL_REGISTRY.register()
class MobileNetV1Network(Network):
    """MobileNet v1, by MOBILENET.WIDTH_FACTOR."""

    name = "MobileNetV1"
    takes_pictures = True
    archs = ("2d",)
    has_dropout = False
    keys = {"MOBILENET.WIDTH_FACTOR": (0.01, 100)}
    blocks = (SeparableBlock,)
    formats = (MUTUALNET,)

    def build(self, cfg: CfgNode) -> nn.Module:
        return MobileNetV1(cfg.MODEL.NUM_CLASSES, cfg.MOBILENET.WIDTH_FACTOR)

    def published(self, cfg: CfgNode) -> list[Curve]:
        return _on_imagenet(cfg, MUTUALNET_V1.values(), US_NET_V1)


@MODEL_REGISTRY.register()
class MobileNetV2Network(Network):
    """torchvision's MobileNet v2, by MOBILENET.WIDTH_FACTOR."""

    name = "MobileNetV2"
    takes_pictures = True
    archs = ("2d",)
    keys = {"MOBILENET.WIDTH_FACTOR": (0.01, 100)}
    blocks = (InvertedResidual,)
    formats = (MUTUALNET,)

    def build(self, cfg: CfgNode) -> nn.Module:
        return mobilenet_v2(
            num_classes=cfg.MODEL.NUM_CLASSES,
            width_mult=cfg.MOBILENET.WIDTH_FACTOR,
            dropout=cfg.MODEL.DROPOUT_RATE,
        )

    def rules(self, network: nn.Module) -> dict[str, Any]:
        return inverted_residual_rules(network)

    def published(self, cfg: CfgNode) -> list[Curve]:
        return _on_imagenet(cfg, MUTUALNET_V2.values(), US_NET_V2)
