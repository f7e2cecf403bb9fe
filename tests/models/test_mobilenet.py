"""Image networks: the seed repository's query tables, and MobileNet v1 by its paper."""

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2
from torchvision.models._utils import _make_divisible

from mutualvideo import InputError, Subnet, count_macs, set_subnet, slimmable
from mutualvideo.models.mobilenet import MobileNetV1, inverted_residual_rules
from mutualvideo.slim import Fixed, Ratio, count_costs, extract

# width-size: whole MMACs, of the query tables in the README of the authors' repository.
V1 = """
1.0-224 569, 0.95-224 518, 0.9-224 466, 1.0-192 418, 0.95-192 380, 0.9-192 342, 0.85-192 309,
0.8-192 269, 0.75-192 239, 0.85-160 215, 0.8-160 187, 0.75-160 166, 0.7-160 146, 0.65-160 127,
0.6-160 111, 0.5-160 76, 0.45-160 63, 0.35-160 41, 0.25-192 30, 0.25-160 21, 0.25-128 13
"""
V2 = """
1.0-224 300, 0.95-224 284, 0.9-224 269, 0.85-224 254, 1.0-192 221, 0.95-192 209, 0.9-192 198,
0.85-192 187, 0.8-192 164, 0.75-192 154, 0.7-192 128, 0.75-160 107, 0.7-160 89, 0.85-128 84,
0.7-128 57
"""


def rows(table):
    parts = [row.replace("-", " ").split() for row in table.split(",")]
    return [(float(width), int(size), int(mmacs)) for width, size, mmacs in parts]


@pytest.fixture(scope="module")
def v1():
    return slimmable(MobileNetV1(), width_range=(0.25, 1))


@pytest.fixture(scope="module")
def v2():
    network = mobilenet_v2()
    return slimmable(network, width_range=(0.25, 1), rules=inverted_residual_rules(network))


def test_all_rows_of_the_tables_are_tested():
    assert len(rows(V1)) + len(rows(V2)) == 36


@pytest.mark.parametrize("width, size, mmacs", rows(V1))
def test_query_table_of_v1(v1, width, size, mmacs):
    # The tables round some rows to the nearest and cut the others.
    assert abs(count_macs(v1, Subnet(width, None, size)) / 1e6 - mmacs) < 1


@pytest.mark.parametrize("width, size, mmacs", rows(V2))
def test_query_table_of_v2(v2, width, size, mmacs):
    assert abs(count_macs(v2, Subnet(width, None, size)) / 1e6 - mmacs) < 1


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


def test_the_scaled_v1_costs_what_the_seed_says():
    """w=1.6, r=1.3: 2.3 GMACs; 1.3 times 224 pixels, as a multiple of 32."""
    model = slimmable(MobileNetV1(width=1.6))
    assert int(count_macs(model, Subnet(1, None, 288)) / 1e8) / 10 == 2.3


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
