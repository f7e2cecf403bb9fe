"""The configs of networks of pictures: recipes and costs of MutualNet's authors' repository."""

from pathlib import Path

import pytest
import torch

from mutualvideo.config import load_cfg
from mutualvideo.engine.optimizer import build_optimizer, learning_rate
from mutualvideo.evaluation.build import grid_subnets
from mutualvideo.models import build_model, full_subnet
from mutualvideo.slim import count_macs

ROOT = Path(__file__).resolve().parents[2] / "configs"
MODES = ("mutual", "width_only", "single")
# name: MMACs, widths, sizes, rate, batch, epochs, smallest area, decay of BatchNorm. From the
# training scripts and the README of MutualNet (github.com/taoyang1122/MutualNet);
# multiply-adds of WideResNets by hand: see below.
IMAGENET = {
    "MOBILENET_V1": (569, [0.25, 1], (224, 192, 160, 128), 0.5, 1024, 250, 0.25, 0),
    "MOBILENET_V2": (300, [0.7, 1], (224, 192, 160, 128), 0.5, 1024, 250, 0.25, 0),
    "RESNET50": (4089, [0.9, 1], (224, 192, 160, 128), 0.2, 512, 120, 0.08, 0),
    "MOBILENET_V1_w1.6": (2300, [0.9, 1], (288, 248, 208, 168), 0.5, 1024, 250, 0.25, 0),
}
CIFAR = {
    "WRN_28_10_C10": (5243.3, [0.9, 1], (32, 28, 24, 20), 0.1, 128, 200, None, 5e-4),
    "WRN_28_10_C100": (5243.4, [0.9, 1], (32, 28, 24, 20), 0.1, 128, 200, None, 5e-4),
}
RECIPES = {**IMAGENET, **CIFAR}


def config(folder, name, mode):
    suffix = "" if (name, mode) == ("MOBILENET_V1_w1.6", "mutual") else f"_{mode}"
    return load_cfg(ROOT / folder / f"{name}{suffix}.yaml")


def folder_of(name):
    return "ImageNet" if name in IMAGENET else "CIFAR"


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(name):
    mmacs, widths, sizes, rate, batch, epochs, area, norm_decay = RECIPES[name]
    cfg = config(folder_of(name), name, "mutual")
    full = full_subnet(cfg)
    assert (full.width, full.frames) == (1, None)
    assert full.size == sizes[0] == cfg.DATA.TEST_CROP_SIZE
    assert (cfg.MUTUAL.MODE, cfg.MUTUAL.NUM_RANDOM) == ("mutual", 2)
    assert cfg.MUTUAL.WIDTH_RANGE == widths and cfg.MUTUAL.SIZES == list(sizes)
    assert {subnet.size for subnet in grid_subnets(cfg)} == set(sizes)
    assert cfg.TRAIN.BATCH_SIZE == batch and cfg.SOLVER.MAX_EPOCH == epochs
    assert [learning_rate(cfg, epoch) for epoch in (0, epochs)] == [rate, 0]
    with torch.device("meta"):
        model = build_model(cfg)
    # The authors say 2.3 G, cut off, and of the others all the millions.
    apart = abs(count_macs(model, full) / 1e6 - mmacs)
    assert apart < (100 if mmacs == 2300 else 1)
    optimizer = build_optimizer(model, cfg)
    assert optimizer.defaults["nesterov"] and optimizer.defaults["momentum"] == 0.9
    decays = {group["weight_decay"] for group in optimizer.param_groups}
    assert decays == ({1e-4, 0} if norm_decay == 0 else {5e-4})
    if area is not None:
        assert cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE == [area, 1]
        # Resize 256, crop 224.
        assert cfg.DATA.TEST_CROP_SHARE == 224 / 256
        assert (cfg.AUG.COLOR_JITTER, cfg.AUG.AA_TYPE) == (0.4, "")
    else:
        assert (cfg.DATA.TRAIN_CROP_PADDING, cfg.DATA.TRAIN_CROP_SIZE) == (4, 32)


@pytest.mark.parametrize("name", [*RECIPES, "WRN_16_4_small"])
def test_twins_differ_in_the_mode_alone(name):
    mutual, *twins = (config(folder_of(name), name, mode) for mode in MODES)
    for cfg, mode in zip(twins, MODES[1:], strict=True):
        assert cfg.MUTUAL.MODE == mode
        if mode == "width_only":
            assert cfg.MUTUAL.WIDTH_RANGE == mutual.MUTUAL.WIDTH_RANGE
            assert cfg.TABLE.WIDTHS == mutual.TABLE.WIDTHS
        assert {subnet.size for subnet in grid_subnets(cfg)} == {cfg.DATA.TRAIN_CROP_SIZE}
        for section in mutual:
            if section not in ("MUTUAL", "TABLE"):
                assert cfg[section] == mutual[section], section


def test_multiply_adds_of_a_wide_resnet_by_hand():
    """Blocks of two 3x3 layers on maps of 32, 16 and 8 pixels; see the figures above."""
    total, inputs = 3 * 16 * 9 * 32**2, 16
    for outputs, side in ((160, 32), (320, 16), (640, 8)):
        total += (inputs * outputs * 9 + 7 * outputs * outputs * 9 + inputs * outputs) * side**2
        inputs = outputs
    assert (total + 640 * 10) / 1e6 == pytest.approx(CIFAR["WRN_28_10_C10"][0], abs=0.1)


@pytest.mark.parametrize(
    "path",
    [
        "ImageNet/MOBILENET_V1_boost",
        "CIFAR/WRN_16_4_small_boost",
        "CIFAR/WRN_16_4_small_mutual",
        "CIFAR/WRN_16_4_small_width_only",
        "CIFAR/WRN_16_4_small_single",
    ],
)
def test_the_others_build(path):
    cfg = load_cfg(ROOT / f"{path}.yaml")
    boosted = path.endswith("boost")
    assert (cfg.MUTUAL.WIDTH_RANGE == [0.9, 1]) == boosted
    with torch.device("meta"):
        assert count_macs(build_model(cfg), full_subnet(cfg)) > 3e8
