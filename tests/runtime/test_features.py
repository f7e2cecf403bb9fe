"""Features beside scores: what enters the last linear layer, of every sub-network."""

import numpy as np
import pytest
import torch
from torch import nn

from mutualvideo import AdaptiveRecognizer, InputError, Subnet
from mutualvideo.backends.common.final_features import logits_and_features
from mutualvideo.models import build_model
from mutualvideo.slim import calibrate, extract, subnet_input
from mutualvideo.table.cascade import Cascade
from mutualvideo.table.query import QueryTable, Row
from tests.networks import few_blocks, make_cfg
from tests.runtime.conftest import FULL, GRID, curve


@pytest.fixture
def clips():
    return np.random.default_rng(0).integers(0, 256, (2, 3, 6, 40, 40), np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, settings, frames",
    [
        ("X3D", {"X3D__DEPTH_FACTOR": 0.4}, 4),
        ("ResNet", {"MODEL__ARCH": "slow", "RESNET__WIDTH_PER_GROUP": 64}, 4),
        ("SlowFast", {}, 4),
        ("ImageResNet", {"RESNET__DEPTH": 18}, None),
    ],
)
def test_the_last_layer_makes_the_scores_of_them(name, settings, frames):
    cfg = make_cfg(name, MODEL__NUM_CLASSES=5, **settings)
    torch.manual_seed(0)
    with few_blocks():
        model = build_model(cfg).eval()
    rng = np.random.default_rng(0)
    shape = (2, 3, 64, 64) if frames is None else (2, 3, cfg.DATA.NUM_FRAMES, 64, 64)
    clips = rng.integers(0, 256, shape, np.uint8)
    subnets = [Subnet(1, frames, 64), Subnet(0.63, frames, 64)]
    calibrate(model, subnets, [torch.from_numpy(clips).float() / 255])
    rows = [Row(s, 100 + n, 1000, 50.0 + n, 60.0, 2.0) for n, s in enumerate(subnets[::-1])]
    mean, std = (np.reshape(v, (3, *(1,) * len(shape[2:]))) for v in (cfg.DATA.MEAN, cfg.DATA.STD))
    pixels = torch.from_numpy(((clips / 255 - mean) / std).astype(np.float32))
    lengths = []
    for subnet in subnets:
        plain = extract(model, subnet).eval()
        layer = [module for module in plain.modules() if isinstance(module, nn.Linear)][-1]
        with torch.no_grad():
            logits = plain(subnet_input(model, pixels, subnet)).double().numpy()
        recognizer = AdaptiveRecognizer(model, QueryTable(rows), "cpu", cfg=cfg)
        found = recognizer.predict(clips, subnet, features=True)
        assert found.features.dtype == np.float32
        assert found.features.shape == (2, layer.in_features)
        weight, bias = (p.detach().double().numpy() for p in (layer.weight, layer.bias))
        by_hand = found.features.astype(np.float64) @ weight.T + bias
        np.testing.assert_allclose(by_hand, logits, atol=2e-4 * np.abs(logits).max())
        scores = np.exp(by_hand - by_hand.max(1, keepdims=True))
        np.testing.assert_allclose(scores / scores.sum(1, keepdims=True), found.scores, atol=1e-4)
        assert np.abs(found.features[0] - found.features[1]).max() > 1e-4
        assert recognizer.predict(clips, subnet).features is None
        lengths.append(layer.in_features)
    assert lengths[0] >= lengths[1]


def test_backends_of_torch_agree_and_budgets_give_them_too(run_dir, clips):
    reference = AdaptiveRecognizer(run_dir, device="cpu")
    row = reference.set_budget("1G")
    expected = reference.predict(clips, features=True)
    np.testing.assert_array_equal(reference.predict(clips).scores, expected.scores)
    with AdaptiveRecognizer(run_dir, device="cpu", backend="torch-extracted") as extracted:
        found = extracted.predict(clips, row.subnet, features=True)
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_who_has_none_says_who_does(run_dir, clips):
    pytest.importorskip("onnxruntime")
    with AdaptiveRecognizer(run_dir, backend="onnxruntime") as recognizer:
        with pytest.raises(InputError, match="'onnxruntime': gives no features: .* torch, "):
            recognizer.predict(clips, FULL, features=True)


def test_a_cascade_has_none(run_dir, clips):
    stages = GRID[0][0], FULL
    recognizer = AdaptiveRecognizer(run_dir, cascades=curve(Cascade(stages, (0.5,))))
    recognizer.set_budget(macs=1e12, cascade=True, wait=True)
    with pytest.raises(InputError, match="a cascade's sub-networks differ"):
        recognizer.predict(clips, features=True)
    assert recognizer.predict(clips).features is None


def test_a_network_that_ends_otherwise_is_refused():
    ends_in_convolution = nn.Sequential(
        nn.Linear(8, 8), nn.Unflatten(1, (8, 1, 1)), nn.Conv2d(8, 8, 1), nn.Flatten()
    )
    with pytest.raises(InputError, match="Sequential does not end in a linear layer"):
        logits_and_features(ends_in_convolution.eval(), torch.randn(2, 8))
