"""MobileNet v1 by its paper, and the rules of v2; multiply-adds of both: test_images.py."""

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2
from torchvision.models._utils import _make_divisible

from mutualvideo import InputError, Subnet, set_subnet, slimmable
from mutualvideo.models.mobilenet import MobileNetV1, inverted_residual_rules
from mutualvideo.slim import Fixed, Ratio, count_costs, extract


@pytest.fixture(scope="module")
def v1():
    return slimmable(MobileNetV1(), width_range=(0.25, 1))


def test_v1_is_the_papers(v1):
    """Table 8 of arXiv 1704.04861: 569 million multiply-adds, 4.2 million parameters."""
    full = Subnet(1, None, 224)
    costs = count_costs(v1, [full])[full]
    assert costs.macs / 1e6 == pytest.approx(568.74, abs=0.01)
    assert costs.params / 1e6 == pytest.approx(4.232, abs=0.001)


@pytest.mark.parametrize("width", [0.35, 0.75, 1.2, 1.6, 2.0])
def test_width_multiplies_every_layer(width):
    scaled = [m for m in MobileNetV1(10, width).modules() if isinstance(m, nn.Conv2d)]
    plain = [m for m in MobileNetV1(10).modules() if isinstance(m, nn.Conv2d)]
    for wide, layer in zip(scaled, plain, strict=True):
        assert wide.out_channels == _make_divisible(layer.out_channels * width, 8)
    assert MobileNetV1(10, width).eval()(torch.zeros(1, 3, 40, 56)).shape == (1, 10)
    with pytest.raises(InputError, match="width 0 is not above 0"):
        MobileNetV1(10, 0)


def test_a_narrower_v1_is_built_like_the_sliced_one():
    torch.manual_seed(0)
    model = slimmable(MobileNetV1(10)).eval()
    subnet = Subnet(0.35, None, 64)
    narrow = MobileNetV1(10, 0.35).eval()
    narrow.load_state_dict(extract(model, subnet).state_dict())
    picture = torch.randn(2, 3, 64, 64)
    set_subnet(model, subnet)
    with torch.no_grad():
        torch.testing.assert_close(narrow(picture), model(picture))


def test_rules_of_v2():
    rules = inverted_residual_rules(mobilenet_v2())
    # 17 blocks, the first expands nothing, and the last layer of all.
    assert len(rules) == 17 and rules["features.18.0"] == Fixed()
    assert rules["features.2.conv.0.0"] == Ratio(16, 6)
    assert rules["features.17.conv.0.0"] == Ratio(160, 6)
    assert "features.1.conv.0.0" not in rules
    with pytest.raises(InputError, match="MobileNetV1 has no features of torchvision's Inverted"):
        inverted_residual_rules(MobileNetV1())
