"""Networks with the layers and parameter names of MutualNet's released files, full width only.

From the published description: every block a sequence ``body`` of convolution, BatchNorm and
activation, a BatchNorm without statistics of its own and with those of some widths in ``bn``.
"""

import torch
from torch import nn
from torch.nn import functional as F


class Norm(nn.Module):
    """Weight and bias, and in ``bn`` the statistics of a narrow and of the full width."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels) / 2 + 0.5)
        self.bias = nn.Parameter(torch.randn(channels) / 10)
        widths = (max(8, channels // 4), channels)
        self.bn = nn.ModuleList(nn.BatchNorm2d(width, affine=False) for width in widths)

    def forward(self, x):
        full = self.bn[-1]
        scale = (self.weight[:, None, None], self.bias[:, None, None])
        # Momentum 1: the statistics of the one batch that is seen in training mode.
        full.momentum = 1.0
        normed = full(x)
        return normed * scale[0] + scale[1]


def convolution(inputs, outputs, kernel=1, stride=1, groups=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


class Block(nn.Module):
    def __init__(self, layers, residual, shortcut=None, activation=None):
        super().__init__()
        self.body = nn.Sequential(*layers)
        self.residual = residual
        if shortcut is not None:
            self.shortcut = shortcut
        self.activation = activation or (lambda x: x)

    def forward(self, x):
        y = self.body(x)
        if hasattr(self, "shortcut"):
            y = y + self.shortcut(x)
        elif self.residual:
            y = y + x
        return self.activation(y)


class Network(nn.Module):
    def __init__(self, features, channels, classes):
        super().__init__()
        self.features = nn.Sequential(*features, nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Sequential(nn.Linear(channels, classes))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def mobilenet_v1(classes):
    features = [nn.Sequential(convolution(3, 32, 3, 2), Norm(32), nn.ReLU6())]
    channels = 32
    for out, stride in [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    ]:
        layers = [
            convolution(channels, channels, 3, stride, channels),
            Norm(channels),
            nn.ReLU6(),
            convolution(channels, out),
            Norm(out),
            nn.ReLU6(),
        ]
        features.append(Block(layers, False))
        channels = out
    return Network(features, channels, classes)


def mobilenet_v2(classes):
    features = [nn.Sequential(convolution(3, 32, 3, 2), Norm(32), nn.ReLU6())]
    channels = 32
    for times, out, count, stride in [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ]:
        for index in range(count):
            step, wide = (1 if index else stride), channels * times
            layers = [convolution(channels, wide), Norm(wide), nn.ReLU6()] if times > 1 else []
            layers += [
                convolution(wide, wide, 3, step, wide),
                Norm(wide),
                nn.ReLU6(),
                convolution(wide, out),
                Norm(out),
            ]
            features.append(Block(layers, step == 1 and channels == out))
            channels = out
    # The last BatchNorm is never slimmed, and an ordinary one.
    tail = nn.Sequential(convolution(channels, 1280), nn.BatchNorm2d(1280, momentum=1.0))
    return Network([*features, tail.append(nn.ReLU6())], 1280, classes)


def resnet50(classes):
    stem = [convolution(3, 64, 7, 2), Norm(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    features, channels = [nn.Sequential(*stem)], 64
    for out, count in [(256, 3), (512, 4), (1024, 6), (2048, 3)]:
        for index in range(count):
            stride = 2 if index == 0 and out != 256 else 1
            inner = out // 4
            layers = [
                convolution(channels, inner),
                Norm(inner),
                nn.ReLU(),
                convolution(inner, inner, 3, stride),
                Norm(inner),
                nn.ReLU(),
                convolution(inner, out),
                Norm(out),
            ]
            shortcut = None
            if index == 0:
                shortcut = nn.Sequential(convolution(channels, out, 1, stride), Norm(out))
            features.append(Block(layers, True, shortcut, F.relu))
            channels = out
    return Network(features, channels, classes)
