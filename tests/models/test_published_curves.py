"""The published curves, against the figures as they were read off the papers' plots.

MutualNet: arXiv 2105.07085, the curves of Slow 8x8, SlowFast 4x16 and X3D-M on Kinetics-400; the
separately trained networks beside them: the same plots, and A3D, arXiv 2011.12384.
"""

import re

import pytest

from mutualvideo.errors import InputError
from mutualvideo.models import published_curve, published_curves

# GMACs: top-1; then the same of networks that were trained separately.
READ_OFF = {
    "slow": (
        """54.5: 75.55 · 41.7: 75.18 · 29.3: 74.60 · 22.5: 74.26 · 16.6: 73.97 · 10.4: 72.95 ·
        7.3: 72.28 · 4.4: 70.72 · 2.67: 68.65""",
        "13.6: 70.1, 27.3: 72.6, 54.5: 74.8",
    ),
    "slowfast": (
        """36.1: 75.68 · 27.6: 75.21 · 22.15: 75.13 · 17.4: 74.87 · 14.7: 74.61 · 12.4: 74.29 ·
        10.2: 73.51 · 8.86: 72.42 · 8.29: 71.31 · 7.62: 71.03""",
        "21.8: 73.5, 36.1: 75.6",
    ),
    "x3d": (
        """4.73: 75.08 · 3.85: 74.93 · 2.96: 74.20 · 1.78: 72.69 · 1.22: 71.71 · 0.99: 70.91 ·
        0.73: 70.14 · 0.59: 69.33 · 0.51: 68.0 · 0.41: 67.3 · 0.35: 66.15""",
        "4.73: 73.7, 1.96: 71.4, 0.60: 66.0",
    ),
}


@pytest.mark.parametrize("name", READ_OFF)
def test_points_are_the_published_ones(name):
    mutual, separate = (
        [tuple(map(float, pair)) for pair in re.findall(r"([\d.]*\d): ([\d.]*\d)", part)]
        for part in READ_OFF[name]
    )
    assert published_curve(name)[1] == mutual
    assert published_curve(f"{name}-separate")[1] == separate


def test_curves_rise_with_their_costs():
    assert len(published_curves()) == 6
    for _, points in published_curves().values():
        ordered = sorted(points)
        assert [y for _, y in ordered] == sorted(y for _, y in ordered)


def test_there_is_no_other():
    with pytest.raises(InputError, match="overlay 'x4d': choose from slow, "):
        published_curve("x4d")
