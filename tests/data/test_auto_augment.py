"""Random operations, against torchvision's transforms under the same seed."""

import pytest
import torch
from torchvision.transforms import v2

from mutualvideo.data.auto_augment import build_auto_augment
from mutualvideo.data.randomness import seeded_draws
from mutualvideo.errors import InputError

MEAN = [0.45, 0.4, 0.5]
MOVED = {"interpolation": v2.InterpolationMode.BILINEAR, "fill": [115, 102, 128]}


@pytest.fixture
def frames():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, 24, 24), dtype=torch.uint8, generator=generator)


def _both(ours, theirs, frames):
    for seed in range(12):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        with seeded_draws(seed + 100):
            found = ours(frames)
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(seed + 100)
        yield found, theirs(frames)


@pytest.mark.parametrize(
    "aa_type, color_jitter, theirs",
    [
        ("rand-m7-n4", 0.4, v2.RandAugment(4, 21, **MOVED)),
        ("rand-n2-m10-inc1", 0.4, v2.RandAugment(2, 30, **MOVED)),
        ("rand-m0-n2-mstd0", 0.4, v2.RandAugment(2, 0, **MOVED)),
        # PySlowFast's default leaves out the number of operations: timm's is 2.
        ("rand-m10", 0.4, v2.RandAugment(2, 30, **MOVED)),
        ("autoaugment", 0.4, v2.AutoAugment(**MOVED)),
        ("", 0.4, v2.ColorJitter(0.4, 0.4, 0.4)),
    ],
)
def test_operations_are_torchvision_s(aa_type, color_jitter, theirs, frames):
    ours = build_auto_augment(aa_type, color_jitter, MEAN)
    pairs = list(_both(ours, theirs, frames))
    assert all(torch.equal(found, wanted) for found, wanted in pairs)
    assert any(not torch.equal(found, frames) for found, _ in pairs)


def test_magnitudes_are_normally_distributed(monkeypatch, frames):
    used = []

    def forward(self, frames):
        used.append(self.magnitude)
        return frames

    monkeypatch.setattr(v2.RandAugment, "forward", forward)
    ours = build_auto_augment("rand-m7-n4-mstd0.5-inc1", 0.4, MEAN)
    with seeded_draws(0):
        for _ in range(500):
            ours(frames)
    drawn = torch.tensor(used, dtype=torch.float64)
    assert len(drawn) == 4 * 500
    # 7 of 10 is bin 21 of 0 to 30; so is the deviation three times as large.
    assert abs(drawn.mean() - 21) < 0.15 and abs(drawn.std() - 1.5) < 0.15
    used.clear()
    with seeded_draws(0):
        for _ in range(50):
            build_auto_augment("rand-m10-n1-mstd5", 0.4, MEAN)(frames)
    assert max(used) == 30 and min(used) < 25


def test_nothing_to_do():
    assert build_auto_augment("", 0.0, MEAN) is None


@pytest.mark.parametrize(
    "aa_type",
    [
        "rand",
        "rand-n4",
        "rand-m11-n2",
        "rand-m7-n0",
        "rand-m7-n4-inc0",
        "rand-m7-n4-p0.5",
        "rand-m7-n4-m7",
        "rand-m-n4",
        "rand-m7-n4-",
        "rand-m7-n2.5",
        "augmix-m5-w4",
        "AutoAugment",
    ],
)
def test_unknown_strings(aa_type):
    with pytest.raises(InputError, match="AUG.AA_TYPE"):
        build_auto_augment(aa_type, 0.4, MEAN)


def test_impossible_strength():
    with pytest.raises(InputError, match="AUG.COLOR_JITTER"):
        build_auto_augment("", -0.1, MEAN)
