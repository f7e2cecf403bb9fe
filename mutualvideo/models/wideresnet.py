"""Wide residual networks for small pictures (arXiv 1605.07146). Slimmable without rules."""

from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import nn
from torch.nn import functional as F

from mutualvideo.errors import InputError
from mutualvideo.models.model_registry import MODEL_REGISTRY
from mutualvideo.models.network import Network

_STEM = 16
_STAGES = ((16, 1), (32, 2), (64, 2))  # channels before widening, stride
_BLOCK_LAYERS = 2


class WideResNet(nn.Module):
    """WRN-depth-widen: three stages of pre-activated 3x3 blocks, the form for CIFAR.

    Args:
        depth: 6 n + 4, for n blocks a stage.
        widen: multiplies the channels of the stages, 16, 32 and 64.
        num_classes: number of classes.

    Raises:
        InputError: for a depth of another form, or a factor below 1.
    """

    def __init__(self, depth: int = 28, widen: int = 10, num_classes: int = 10) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % (len(_STAGES) * _BLOCK_LAYERS):
            raise InputError(
                f"WIDERESNET.DEPTH {depth}: expected 4 and a multiple of 6, such as 16 or 28"
            )
        if widen < 1:
            raise InputError(f"WIDERESNET.WIDEN_FACTOR {widen}: expected at least 1")
        channels = _STEM
        self.stem = _convolution(3, channels, 3)
        self.stages = nn.Sequential()
        for count, stride in _STAGES:
            blocks = []
            for _ in range((depth - 4) // (len(_STAGES) * _BLOCK_LAYERS)):
                blocks.append(PreActBlock(channels, count * widen, stride))
                channels, stride = count * widen, 1
            self.stages.append(nn.Sequential(*blocks))
        self.norm = nn.BatchNorm2d(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) float -> logits (B, num_classes)."""
        x = F.relu(self.norm(self.stages(self.stem(x))), inplace=True)
        return self.classifier(self.pool(x).flatten(1))


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each behind BatchNorm and ReLU, and what they are added to."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = _convolution(inputs, outputs, 3, stride)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = _convolution(outputs, outputs, 3)
        changes = inputs != outputs or stride != 1
        self.shortcut = _convolution(inputs, outputs, 1, stride) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norm1(x), inplace=True)
        # As the authors have it: a shortcut of its own starts behind the first activation.
        x = x if self.shortcut is None else self.shortcut(y)
        return x + self.conv2(F.relu(self.norm2(self.conv1(y)), inplace=True))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


@MODEL_REGISTRY.register()
class WideResNetNetwork(Network):
    """WRN for CIFAR, by the WIDERESNET keys."""

    name = "WideResNet"
    takes_pictures = True
    archs = ("2d",)
    min_size = 8  # it halves the picture twice
    has_dropout = False
    keys = {"WIDERESNET.DEPTH": (1, 1_000), "WIDERESNET.WIDEN_FACTOR": (1, 1_000)}
    blocks = (PreActBlock,)

    def stages(self, network: nn.Module) -> list[list[nn.Module]]:
        parts: Any = network
        return [[parts.stem], *([stage] for stage in parts.stages)]

    def build(self, cfg: CfgNode) -> nn.Module:
        keys = cfg.WIDERESNET
        return WideResNet(keys.DEPTH, keys.WIDEN_FACTOR, cfg.MODEL.NUM_CLASSES)
