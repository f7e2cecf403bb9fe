"""Grad-CAM against one that is written out by hand."""

import sys

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from mutualvideo.errors import InputError
from mutualvideo.runtime.class_map import class_map, last_block


class Tiny(nn.Module):
    """Two layers, a pooling head."""

    def __init__(self, convolution, inner):
        super().__init__()
        self.first, self.second = convolution(3, 4, 3, 2, 1), inner
        self.classifier = nn.Linear(5, 3)

    def forward(self, x):
        return self.classifier(self.second(self.first(x).relu()).relu().flatten(2).mean(2))


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("target", [0, 2])
def test_it_is_the_papers_formula(dimensions, target):
    torch.manual_seed(1)
    convolution = (nn.Conv2d, nn.Conv3d)[dimensions - 2]
    network = Tiny(convolution, convolution(4, 5, 3, 1, 1)).double().eval().requires_grad_(False)
    clip = torch.randn(1, 3, *(6, 8, 10)[-dimensions:], dtype=torch.float64)
    found = class_map(network, clip, target, network.second)
    # The head by hand: d logit_k / d A[c, p] = w[k, c] / P where A > 0, of which the mean over p.
    maps = network.second(network.first(clip).relu())[0].flatten(1).numpy()
    weights = network.classifier.weight[target].numpy() * (maps > 0).mean(1) / maps.shape[1]
    expected = np.maximum((weights[:, None] * maps).sum(0), 0).reshape(found.shape)
    assert found.shape == tuple(-(-side // 2) for side in clip.shape[2:]) and expected.max() > 0
    np.testing.assert_allclose(found, expected / expected.max(), atol=1e-6)


def test_the_layer_is_the_last_block_with_most_channels():
    widen = BasicBlock(3, 6, downsample=nn.Conv2d(3, 6, 1))
    blocks = nn.Sequential(BasicBlock(3, 3), widen, BasicBlock(6, 6))
    network = nn.Sequential(blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)).eval()
    assert last_block(network, torch.randn(1, 3, 8, 8)) is blocks[2]
    with pytest.raises(InputError, match="Linear has none of the blocks"):
        last_block(nn.Linear(3, 2), torch.randn(1, 3))


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(InputError, match=r"Grad-CAM: captum.attr cannot be .*\[explain\]"):
        class_map(nn.Linear(3, 2), torch.randn(1, 3), 0)
