"""Published curves against the networks that they are of."""

import pytest

from mutualvideo.config import load_cfg
from mutualvideo.models import build_model, network_of
from mutualvideo.models.mobilenet import MUTUALNET_V1, MUTUALNET_V2
from mutualvideo.slim import count_costs
from mutualvideo.subnet import Subnet


def make_cfg(name, *overrides):
    return load_cfg(None, [
        "MODEL.MODEL_NAME", name, "MODEL.ARCH", "2d", "MODEL.DROPOUT_RATE", "0",
        "MODEL.NUM_CLASSES", "1000", "MUTUAL.WIDTH_RANGE", "[0.25, 1]", *overrides,
    ])  # fmt: skip


def image_curves(cfg):
    return network_of(cfg).published(cfg)


@pytest.mark.parametrize(
    "name, count, table", [("MobileNetV1", 21, MUTUALNET_V1), ("MobileNetV2", 15, MUTUALNET_V2)]
)
def test_the_curves_lie_where_the_networks_do(name, count, table):
    rows = {Subnet.parse(text): row for text, row in table.items()}
    assert len(rows) == count
    costs = count_costs(build_model(make_cfg(name)), rows)
    for subnet, (mmacs, _) in rows.items():
        assert abs(costs[subnet].macs / 1e6 - mmacs) < 1
    (ours, points), (theirs, others) = image_curves(make_cfg(name))
    assert (ours, theirs) == ("MutualNet (published)", "US-Net (published)")
    assert len(points) == count
    # Both fall with the cost, from about the same cost of the full network.
    assert points[0][0] == pytest.approx(others[0][0], abs=2e-3)
    assert sorted(others) == sorted(others, key=lambda point: point[1])


@pytest.mark.parametrize("overrides", [
    ["MODEL.NUM_CLASSES", "10"], ["MOBILENET.WIDTH_FACTOR", "1.6"],
])  # fmt: skip
def test_of_other_networks_nothing_is_drawn(overrides):
    assert image_curves(make_cfg("MobileNetV1", *overrides)) == []
    assert image_curves(load_cfg(None, [])) == []
