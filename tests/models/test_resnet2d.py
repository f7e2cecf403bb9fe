"""Image ResNets, against the multiply-adds that MutualNet's authors publish."""

from fractions import Fraction

import pytest
from torchvision.models import resnet18, resnet50, resnext50_32x4d, wide_resnet50_2

from mutualvideo import InputError, Subnet, count_macs, slimmable
from mutualvideo.models.resnet2d import bottleneck2d_rules
from mutualvideo.slim import Ratio, extract


@pytest.fixture(scope="module")
def slim_resnet50():
    network = resnet50()
    return slimmable(network, width_range=(0.25, 1), rules=bottleneck2d_rules(network))


@pytest.mark.parametrize(
    "width, mmacs", [(1.0, 4089.18), (0.9, 3337.97), (0.75, 2322.68), (0.5, 1052.31)]
)
def test_costs(slim_resnet50, width, mmacs):
    macs = count_macs(slim_resnet50, Subnet(width, None, 224)) / 1e6
    assert macs == pytest.approx(mmacs, abs=0.01)


def test_groups_stay_whole():
    network = resnext50_32x4d()
    model = slimmable(network, width_range=(0.25, 1), rules=bottleneck2d_rules(network))
    # The grouped 3x3 of the last stage reads 32 channels at a time.
    narrow = extract(model, Subnet(0.6, None, 64)).layer4[2].conv2
    assert narrow.in_channels // narrow.groups == 1024 // 32


def test_inner_layers_are_the_full_networks_part_of_the_rounded_output():
    rules = bottleneck2d_rules(resnet50())
    assert len(rules) == 1 + 2 * 16
    assert rules["conv1"] == rules["layer1.0.conv1"] == Ratio(256, Fraction(1, 4))
    assert rules["layer4.2.conv2"] == Ratio(2048, Fraction(1, 4))
    assert bottleneck2d_rules(wide_resnet50_2())["layer1.0.conv2"] == Ratio(256, Fraction(1, 2))
    with pytest.raises(InputError, match="ResNet has no block of conv1, conv2 and conv3"):
        bottleneck2d_rules(resnet18())
