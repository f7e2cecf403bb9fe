from itertools import combinations

import numpy as np
import pytest

from mutualvideo.errors import InputError
from mutualvideo.evaluation import cascade_fit
from mutualvideo.evaluation.cascade_fit import fit_cascades
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import Row

ROWS = [Row(Subnet(w, 8, 112), macs, 1) for w, macs in ((0.25, 10), (0.5, 40), (1, 100))]


def answers(draw, videos, right, classes=4):
    """Softmax scores whose highest is drawn from 0.3 to 1, of the label with chance ``right``."""
    labels = draw.integers(classes, size=videos)
    scores = np.empty((len(right), videos, classes), np.float32)
    for row, chance in enumerate(right):
        # Sure answers are right more often: the chance is that of the mean confidence.
        sure = draw.uniform(0.3, 1.0, videos)
        hit = draw.random(videos) < np.clip(chance + (sure - 0.65), 0, 1)
        best = np.where(hit, labels, (labels + draw.integers(1, classes, videos)) % classes)
        scores[row] = ((1 - sure) / (classes - 1))[:, None]
        scores[row, range(videos), best] = sure
    return scores, labels


def seen(scores, labels):
    """What is fitted: the highest scores, and whether they are the labels'."""
    return scores.max(2), scores.argmax(2) == labels


def by_hand(scores, labels, chain, thresholds, macs):
    """Cost and hits of a cascade, one video after the other."""
    cost, hits = 0, 0
    for video, label in enumerate(labels):
        for stage, row in enumerate(chain):
            cost += macs[row]
            if stage == len(chain) - 1 or max(scores[row, video]) >= thresholds[stage]:
                hits += scores[row, video].argmax() == label
                break
    return cost / len(labels), hits


@pytest.mark.parametrize("seed", range(6))
def test_the_choice_equals_brute_force(seed):
    draw = np.random.default_rng(seed)
    scores, labels = answers(draw, 30, (0.4, 0.6, 0.8))
    macs = [row.macs for row in ROWS]
    points = fit_cascades(ROWS, *seen(scores, labels), budgets=[10, 25, 60, 100])
    # 30 videos: four thresholds, the confidences below which 20, 40, 60, 80 % lie.
    levels = np.quantile(scores.max(2), (0.2, 0.4, 0.6, 0.8), axis=1).T
    singles = [(macs[row], *by_hand(scores, labels, [row], [], macs)) for row in range(3)]
    front = [r for r in range(3) if all(singles[r][2] > singles[c][2] for c in range(r))]
    found = [by_hand(scores, labels, [row], [], macs) for row in front]
    for a, b in combinations(front, 2):
        found += [by_hand(scores, labels, (a, b), [t], macs) for t in levels[a]]
    if len(front) == 3:
        found += [
            by_hand(scores, labels, (0, 1, 2), (s, t), macs) for s in levels[0] for t in levels[1]
        ]
    for point in points:
        hits = max(hits for cost, hits in found if cost <= point.budget_macs + 1e-6)
        least = min(c for c, h in found if h == hits and c <= point.budget_macs + 1e-6)
        index = {row.subnet: i for i, row in enumerate(ROWS)}
        chain = [index[stage] for stage in point.cascade.stages]
        assert by_hand(scores, labels, chain, point.cascade.thresholds, macs) == (
            pytest.approx(least),
            hits,
        )
        static = max(h for m, _, h in singles if m <= point.budget_macs)
        assert next(h for m, _, h in singles if m == ROWS[index[point.static]].macs) == static


def test_a_cascade_wins_where_confidence_tells_right_from_wrong():
    """The cheap row is right on 70 % of the videos and knows which; the dear one always."""
    draw = np.random.default_rng(0)
    labels, easy = draw.integers(3, size=400), draw.random(400) < 0.7
    scores = np.full((2, 400, 3), 0.05, np.float32)
    scores[1, range(400), labels] = 0.9
    scores[0, easy, labels[easy]] = 0.9
    scores[0, ~easy] = (0.4, 0.3, 0.3)
    (point,) = fit_cascades([ROWS[0], ROWS[2]], *seen(scores, labels), budgets=[50])
    alone = 100 * (scores[0].argmax(1) == labels).mean()
    assert point.cascade.stages == (ROWS[0].subnet, ROWS[2].subnet)
    assert point.top1 == 100.0 and point.static_top1 == pytest.approx(alone)
    assert point.avg_macs == pytest.approx(10 + 100 * (~easy).mean())
    assert point.wins


def test_what_was_chosen_by_accident_is_not_called_a_win():
    """Confidence that means nothing: on the videos chosen from, some cascade still looks good."""
    wins, gains, flattered = 0, [], []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        labels = draw.integers(4, size=40)
        scores = draw.dirichlet(np.ones(4), (3, 40)).astype(np.float32)
        point = fit_cascades(ROWS, *seen(scores, labels), budgets=[80], seed=seed)[0]
        index = {row.subnet: i for i, row in enumerate(ROWS)}
        chain = [index[stage] for stage in point.cascade.stages]
        stage = point.cascade.choose(scores[chain].max(2))
        flattered.append(100 * (scores[chain].argmax(2) == labels)[stage, range(40)].mean())
        wins += point.wins
        gains.append(point.top1 - 25)
    assert np.mean(flattered) > 29
    # Chance is 25 %; the mean of 20 x 40 videos has a standard error of 1.5.
    assert abs(np.mean(gains)) < 4
    # Two standard errors: one in forty by accident.
    assert wins <= 2


def test_clips_of_one_video_stay_together():
    draw = np.random.default_rng(1)
    fold = cascade_fit._folds(np.repeat(np.arange(30), 5), draw)
    assert (fold.reshape(30, 5) == fold.reshape(30, 5)[:, :1]).all()
    assert np.bincount(fold).tolist() == [30] * cascade_fit.FOLDS
    # Five copies of every video are no more videos: the error stays.
    scores, labels = answers(draw, 60, (0.4, 0.6, 0.8))
    groups = np.repeat(np.arange(60), 5)
    once = fit_cascades(ROWS, *seen(scores, labels), budgets=[60])[0]
    repeated = seen(scores.repeat(5, 1), labels.repeat(5))
    copies = fit_cascades(ROWS, *repeated, [60], groups)[0]
    assert copies.gain_error == pytest.approx(once.gain_error, rel=0.2)


def test_default_budgets_run_along_the_pareto_rows():
    scores, labels = answers(np.random.default_rng(2), 300, (0.3, 0.5, 0.7))
    budgets = [point.budget_macs for point in fit_cascades(ROWS, *seen(scores, labels))]
    assert budgets == [10, 14, 20, 28, 40, 50, 63, 80, 100]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sure": np.ones((2, 20))}, r"\(3, ...\), got \(2, 20\) and \(3, 20\)"),
        ({"sure": np.full((3, 20), 1.5)}, "softmax"),
        ({"sure": np.full((3, 20), np.nan)}, "softmax"),
        ({"hits": np.ones((3, 19), bool)}, r"got \(3, 20\) and \(3, 19\)"),
        ({"groups": np.zeros(3)}, "of shape"),
        ({"groups": np.arange(20) // 5}, "4 videos are too few"),
        ({"budgets": [9]}, "at least 10 MACs"),
        ({"budgets": []}, "at least 10 MACs"),
    ],
)
def test_fitting_refuses(change, named):
    sure, hits = seen(*answers(np.random.default_rng(0), 20, (0.4, 0.6, 0.8)))
    with pytest.raises(InputError, match=named):
        fit_cascades(ROWS, **{"sure": sure, "hits": hits, **change})
