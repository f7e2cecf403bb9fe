"""Clustered intervals, against their formula written out and against Student's t."""

import math

import numpy as np
import pytest
from scipy import stats

from mutualvideo.comparison.intervals import Estimate, estimate
from mutualvideo.errors import InputError


def _meat(residuals, groups):
    """Sum over clusters of the squared sum of residuals, with the correction for few clusters."""
    names, where = np.unique(groups, return_inverse=True)
    sums = np.bincount(where, residuals)
    n, count = len(residuals), len(names)
    return (sums**2).sum() * count / (count - 1) * (n - 1) / (n - 1)


def test_two_ways_of_clustering():
    rng = np.random.default_rng(0)
    runs, videos = 4, 60
    found = rng.normal(0, 0.3, (runs, 1)) + rng.normal(0, 0.5, (1, videos))
    found = found + rng.normal(0, 0.2, (runs, videos))
    ids = np.arange(videos)
    one = estimate([(ids, row) for row in found])

    flat = 100 * found.ravel()
    residuals = flat - flat.mean()
    by_run, by_video = np.repeat(np.arange(runs), videos), np.tile(ids, runs)
    both = np.arange(runs * videos)
    variance = _meat(residuals, by_run) + _meat(residuals, by_video) - _meat(residuals, both)
    half = stats.t.ppf(0.975, runs - 1) * math.sqrt(variance) / len(flat)
    assert one.mean == pytest.approx(flat.mean())
    assert one.high - one.mean == pytest.approx(half, rel=2e-2)
    assert one.mean - one.low == pytest.approx(half, rel=2e-2)
    assert one.runs == runs


def test_of_one_run_it_is_over_the_videos():
    rng = np.random.default_rng(1)
    values = (rng.random(200) < 0.7).astype(float)
    one = estimate([(np.arange(200), values)])
    half = stats.t.ppf(0.975, 199) * stats.sem(100 * values)
    assert (one.low, one.high) == pytest.approx((one.mean - half, one.mean + half), rel=1e-3)


def test_runs_that_agree_have_no_interval_to_speak_of():
    values = np.zeros(50)
    one = estimate([(np.arange(50), values)] * 3)
    assert (one.mean, one.low, one.high) == (0, 0, 0)


def test_text():
    assert str(Estimate(71.234, 70.1, 72.4, 3)) == "71.2 [70.1, 72.4]"
    assert str(Estimate(71.234, math.nan, math.nan, 1)) == "71.2"


def test_nothing_to_report():
    with pytest.raises(InputError, match="no finished run"):
        estimate([])
