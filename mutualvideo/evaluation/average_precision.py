"""Mean average precision: how good a ranking of videos is, class by class."""

import numpy as np


def average_precision(marks: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Average precision of every class, as scikit-learn's ``average_precision_score``.

    The precisions at all thresholds, weighted by how much recall each adds; not interpolated. Equal
    scores are one threshold.

    Args:
        marks: bool (V, classes): which labels a video has.
        scores: float (V, classes), finite.

    Returns:
        float64 (classes,), 0 to 1; NaN for a class that no video has.
    """
    videos = len(marks)
    order = np.argsort(-scores, axis=0, kind="stable")
    hits = np.take_along_axis(marks, order, 0).cumsum(0, dtype=np.int64)
    ranked = np.take_along_axis(scores, order, 0)
    # A threshold lies behind the last of equal scores.
    last = np.ones(marks.shape, dtype=bool)
    last[:-1] = ranked[:-1] != ranked[1:]
    precision = hits / np.arange(1, videos + 1)[:, None]
    found = np.full(marks.shape[1], np.nan)
    for label in np.flatnonzero(hits[-1]):
        at = last[:, label]
        gained = np.diff(hits[at, label], prepend=0)
        found[label] = (gained * precision[at, label]).sum() / hits[-1, label]
    return found


def mean_average_precision(marks: np.ndarray, scores: np.ndarray) -> float | None:
    """The mean over the classes that a video has, 0 to 1 (PySlowFast's mAP); ``None`` if none has.

    Args:
        marks, scores: see :func:`average_precision`.
    """
    found = average_precision(marks, scores)
    found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else None
