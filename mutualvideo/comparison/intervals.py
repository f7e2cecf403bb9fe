"""Means and differences of accuracies over runs and test videos, with 95 % intervals."""

import math
import warnings
from dataclasses import dataclass

import numpy as np

from mutualvideo.errors import InputError
from mutualvideo.extras import import_extra

_LEVEL = 0.05


@dataclass(frozen=True)
class Estimate:
    """A mean in percentage points.

    Attributes:
        mean: over runs and videos.
        low, high: ends of its 95 % interval; NaN where nothing is repeated.
        runs: how many runs it is over.
    """

    mean: float
    low: float
    high: float
    runs: int

    def __str__(self):
        if math.isnan(self.low):
            return f"{self.mean:.1f}"
        return f"{self.mean:.1f} [{self.low:.1f}, {self.high:.1f}]"


def estimate(by_run):
    """The mean of what was found by video, and how sure it is.

    Both the runs (seeds, folds) and the test videos are a sample: the interval is that of a
    regression on a constant with errors clustered by run and by video (Cameron, Gelbach and
    Miller, "Robust inference with multiway clustering", 2011), Student's t with one degree of
    freedom less than there are runs. With one run it is over the videos alone.

    Args:
        by_run: list of ``(ids, values)``, a pair for each run: which videos, int (V,), and what
            was found, float (V,), such as 1 for right and 0 for wrong, or the difference of two.

    Returns:
        :class:`Estimate` in percent.

    Raises:
        InputError: if statsmodels is not installed, or there is no run.
    """
    if not by_run:
        raise InputError("there is no finished run to report")
    OLS = import_extra("statsmodels.api", "compare", "intervals").OLS
    values = 100 * np.concatenate([np.asarray(found, float) for _, found in by_run])
    videos = np.concatenate([ids for ids, _ in by_run])
    runs = np.repeat(np.arange(len(by_run)), [len(found) for _, found in by_run])
    model = OLS(values, np.ones_like(values))
    clusters = [np.column_stack([runs, videos]), runs, videos] if len(by_run) > 1 else [videos]
    ends = [_interval(model, groups) for groups in clusters]
    # By both; their estimate can come out negative where there is next to no variance.
    low, high = ends[0] if np.isfinite(ends[0]).all() else max(ends[1:] or ends, key=_length)
    return Estimate(float(values.mean()), float(low), float(high), len(by_run))


def _interval(model, groups):
    if len(np.unique(groups, axis=0)) < 2:
        return math.nan, math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = model.fit(
            cov_type="cluster", cov_kwds={"groups": groups, "df_correction": True}, use_t=True
        )
        return fit.conf_int(_LEVEL)[0]


def _length(ends):
    length = ends[1] - ends[0]
    return length if math.isfinite(length) else -1.0
