"""Mixed clips and targets, against their formulas in float64."""

import pytest
import torch

from mutualvideo.config import get_cfg
from mutualvideo.data.mixing import Mixing
from mutualvideo.errors import InputError

CLASSES = 5
LABELS = torch.tensor([0, 3, 3, 1])


def _mixing(**changes):
    mixup = get_cfg().MIXUP
    for key, value in changes.items():
        mixup[key] = value
    return Mixing(mixup, CLASSES)


def _clips(images=False):
    clips = torch.randn(4, 3, 2, 12, 16, generator=torch.Generator().manual_seed(0))
    if images:
        return clips[:, :, 0].contiguous(memory_format=torch.channels_last)
    return clips.contiguous(memory_format=torch.channels_last_3d)


def _seeds(number):
    return torch.tensor([number, 2, 3, 2**32 - 1])


def _soft(smoothing):
    wanted = torch.full((4, CLASSES), smoothing / CLASSES, dtype=torch.float64)
    for row, label in enumerate(LABELS):
        wanted[row, label] += 1 - smoothing
    return wanted


def _share(targets):
    """How much of itself the first sample kept, from its target; smoothing 0."""
    return targets[0, 0].double()


@pytest.mark.parametrize("images", [False, True])
def test_mixup_is_its_formula(images):
    clips = _clips(images)
    mixing = _mixing(CUTMIX_ALPHA=0.0, LABEL_SMOOTH_VALUE=0.0)
    shares = []
    for number in range(300):
        mixed, targets = mixing(clips, LABELS, _seeds(number))
        share = _share(targets)
        shares.append(float(share))
        if number < 5:
            for values, whole in ((mixed, clips.double()), (targets, _soft(0.0))):
                assert values.dtype == torch.float32 and type(values) is torch.Tensor
                before = torch.stack([whole[row - 1] for row in range(4)])
                wanted = share * whole + (1 - share) * before
                torch.testing.assert_close(values.double(), wanted, rtol=0, atol=1e-6)
            assert mixed.stride() == clips.stride()
    # Beta(0.8, 0.8) has mean 1/2 and variance 1 / (4 * (2 * 0.8 + 1)).
    shares = torch.tensor(shares, dtype=torch.float64)
    assert abs(shares.mean() - 0.5) < 0.05 and abs(shares.var() - 1 / 10.4) < 0.02


@pytest.mark.parametrize("images", [False, True])
def test_cutmix_is_its_formula(images):
    clips = _clips(images)
    mixing = _mixing(ALPHA=0.0, LABEL_SMOOTH_VALUE=0.0)
    for number in range(20):
        mixed, targets = mixing(clips, LABELS, _seeds(number))
        other = (mixed != clips)[0].flatten(0, -3).any(0)
        rows, columns = (torch.nonzero(other.any(axis))[:, 0] for axis in (1, 0))
        if len(rows):  # the box is a box, and the same in all frames
            box = other[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert box.all() and box.sum() == other.sum()
        for row in range(4):
            wanted = torch.where(other, clips[row - 1], clips[row])
            assert torch.equal(mixed[row], wanted)
        assert abs(_share(targets) - (1 - other.double().mean())) < 1e-6
        assert mixed.stride() == clips.stride()


@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_smoothed_targets_sum_to_one(prob):
    mixing = _mixing(PROB=prob, LABEL_SMOOTH_VALUE=0.1, CUTMIX_ALPHA=0.0)
    clips = _clips()
    for number in range(10):
        mixed, targets = mixing(clips, LABELS, _seeds(number))
        torch.testing.assert_close(targets.sum(1), torch.ones(4))
        if not prob:
            assert torch.equal(mixed, clips)
            torch.testing.assert_close(targets.double(), _soft(0.1), rtol=0, atol=1e-7)
        else:
            whole = _soft(0.1)
            # The first sample's label is 0 and the last one's 1.
            share = (targets[0, 0].double() - 0.02) / 0.9
            wanted = share * whole + (1 - share) * whole.roll(1, 0)
            torch.testing.assert_close(targets.double(), wanted, rtol=0, atol=1e-6)


def test_probabilities_of_mixing_and_of_cutmix():
    clips = _clips()
    mixing = _mixing(PROB=0.6, SWITCH_PROB=0.25, ALPHA=0.5, CUTMIX_ALPHA=0.5)
    kinds = []
    for number in range(600):
        mixed, _ = mixing(clips, LABELS, _seeds(number))
        if torch.equal(mixed, clips):
            kinds.append("none")
        else:
            kept = (mixed == clips) | (mixed == clips.roll(1, 0))
            kinds.append("cutmix" if kept.all() else "mixup")
    shares = {kind: kinds.count(kind) / 600 for kind in ("none", "cutmix", "mixup")}
    # An empty box of cutmix counts as none.
    assert shares["none"] == pytest.approx(0.43, abs=0.06)
    assert shares["cutmix"] == pytest.approx(0.13, abs=0.05)
    assert shares["mixup"] == pytest.approx(0.45, abs=0.06)


def test_the_seeds_decide_and_the_global_generator_does_not():
    mixing, clips = _mixing(), _clips()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = mixing(clips, LABELS, _seeds(1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = mixing(clips, LABELS, _seeds(1)), mixing(clips, LABELS, _seeds(4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[1], other[1])


@pytest.mark.parametrize(
    "key, value",
    [
        ("PROB", 1.5),
        ("SWITCH_PROB", -0.1),
        ("LABEL_SMOOTH_VALUE", 2.0),
        ("ALPHA", -1.0),
        ("CUTMIX_ALPHA", -1.0),
    ],
)
def test_impossible_numbers(key, value):
    with pytest.raises(InputError, match=f"MIXUP.{key}"):
        _mixing(**{key: value})


def test_mixing_without_a_way_to_mix():
    with pytest.raises(InputError, match="MIXUP.ENABLE"):
        _mixing(ALPHA=0.0, CUTMIX_ALPHA=0.0)
