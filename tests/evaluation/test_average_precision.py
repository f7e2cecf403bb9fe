"""Average precision against scikit-learn's."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from mutualvideo.evaluation.average_precision import average_precision, mean_average_precision
from mutualvideo.evaluation.scores import Predictions


def drawn(seed, videos, classes, levels):
    """Marks, and scores of which some are equal."""
    rng = np.random.default_rng(seed)
    marks = rng.random((videos, classes)) < rng.random(classes)
    return marks, np.float32(rng.integers(0, levels, (videos, classes)) / levels)


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 6), st.sampled_from([2, 5, 1000]))
def test_every_class_is_as_scikit_learn_has_it(seed, videos, classes, levels):
    marks, scores = drawn(seed, videos, classes, levels)
    found = average_precision(marks, scores)
    assert np.isnan(found).tolist() == (~marks.any(0)).tolist()
    for label in np.flatnonzero(marks.any(0)):
        wanted = average_precision_score(marks[:, label], scores[:, label])
        assert found[label] == pytest.approx(wanted, abs=1e-12)


def test_the_mean_is_that_of_the_classes_that_occur():
    marks, scores = drawn(3, 200, 12, 50)
    marks[:, 5] = False
    there = marks.any(0)
    wanted = average_precision_score(marks[:, there], scores[:, there], average="macro")
    assert mean_average_precision(marks, scores) == pytest.approx(wanted, abs=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mean_average_precision(np.zeros((3, 2), bool), np.zeros((3, 2))) is None


def predictions(labels, scores):
    order = np.argsort(-scores, 1, kind="stable").astype(np.int32)
    count = len(labels)
    return Predictions(
        rows=np.arange(count),
        labels=labels,
        classes=order,
        scores=np.take_along_axis(scores, order, 1),
        clip_hits=np.zeros((count, 2), np.int64),
        sure=scores.max(1, keepdims=True),
        right=np.zeros((count, 1), bool),
    )


def test_what_is_said_of_videos_with_several_labels():
    marks, scores = drawn(1, 40, 7, 1000)
    answers = predictions(marks, scores)
    found, averages = answers.accuracy(1), answers.averages()
    there = marks.any(0)
    wanted = average_precision_score(marks[:, there], scores[:, there], average="macro")
    assert averages.mean_ap == pytest.approx(100 * wanted, abs=1e-6)
    best = scores.argmax(1)
    assert found.top1 == pytest.approx(100 * marks[range(40), best].mean())
    assert averages.mean_class is None


def test_classes_of_different_sizes_have_a_mean_of_their_own():
    _, scores = drawn(2, 60, 4, 1000)
    labels = np.random.default_rng(0).choice(4, 60, p=[0.7, 0.1, 0.1, 0.1])
    found = predictions(labels, scores).averages()
    wanted = balanced_accuracy_score(labels, scores.argmax(1))
    assert found.mean_class == pytest.approx(100 * wanted, abs=1e-9)
    assert found.mean_ap is None
    assert predictions(np.arange(60) % 4, scores).averages().mean_class is None
