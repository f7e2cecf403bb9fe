"""compare() with a network whose answers are known: the mean of every channel."""

from types import SimpleNamespace

import numpy as np
import pytest

from mutualvideo.export.parity import DifferenceError, compare, probes
from mutualvideo.subnet import Subnet

SUBNET = Subnet(0.5, 2, 16)


def means(subnet, clips):
    return clips.mean((2, 3, 4)) * 10


SOURCE = SimpleNamespace(
    cfg=SimpleNamespace(DATA=SimpleNamespace(MEAN=[0.3, 0.4, 0.5], STD=[0.2, 0.25, 0.3])),
    shape=lambda subnet: (2, 16),
    logits=means,
)


def shifted(value, batches=(1, 3), column=1):
    def logits(clips):
        found = means(SUBNET, clips)
        if len(clips) in batches:
            found[-1, column] += value
        return found

    return logits


def test_the_largest_difference_is_told():
    found = compare(SOURCE, SUBNET, shifted(8e-4))
    assert found.logits == pytest.approx(8e-4, abs=1e-5)
    assert 0 < found.scores < 8e-4 and found.clips == 8
    assert compare(SOURCE, SUBNET, shifted(0.0)).logits == 0


@pytest.mark.parametrize(
    "logits",
    [
        shifted(5e-3),
        shifted(-5e-3),
        shifted(5e-3, batches=[1]),
        shifted(5e-3, batches=[3]),
        shifted(float("nan"), batches=[3]),
        shifted(float("-inf")),
        lambda clips: means(SUBNET, clips)[:, :2],
        lambda clips: means(SUBNET, clips)[:1],
    ],
)
def test_whatever_is_wrong_is_found(logits):
    with pytest.raises(DifferenceError, match="0.5x2x16"):
        compare(SOURCE, SUBNET, logits)


@pytest.mark.parametrize(("share", "good"), [(9e-5, True), (2e-4, False)])
def test_of_large_logits_a_small_share_is_forgiven(share, good):
    def large(subnet, clips):
        return means(subnet, clips) * 1000

    source = SimpleNamespace(**vars(SOURCE) | {"logits": large})

    def found(clips):
        return large(SUBNET, clips) * (1 + share)

    if good:
        assert compare(source, SUBNET, found).logits > 0.1
    else:
        with pytest.raises(DifferenceError):
            compare(source, SUBNET, found)


def test_probes_are_pictures_and_noise():
    clips = probes(4, 24, [0.3, 0.4, 0.5], [0.2, 0.25, 0.3])
    assert clips.shape == (8, 3, 4, 24, 24) and clips.dtype == np.float32
    pictures = clips[:6] * np.reshape([0.2, 0.25, 0.3], (3, 1, 1, 1))
    pictures += np.reshape([0.3, 0.4, 0.5], (3, 1, 1, 1))
    assert pictures.min() > -1e-6 and pictures.max() < 1 + 1e-6
    # All differ, and all but black and white differ over time.
    assert len({clip.tobytes() for clip in clips}) == 8
    assert all(np.ptp(clip, axis=1).max() > 0.1 for clip in clips[2:])
