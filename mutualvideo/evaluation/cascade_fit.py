"""Chooses cascades on validation scores and says honestly what they gain."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from mutualvideo.errors import InputError
from mutualvideo.table.cascade import Cascade, CascadePoint, run_macs
from mutualvideo.table.row import Row

# Thresholds tried for a stage: one for every 8 videos, within limits. They are quantiles of the
# confidences: with 4 every fifth of the videos is cut off. More of them follow the accidents of
# the videos at hand (chosen on 36 toy videos, tested on 964: 4 thresholds gain 2.7 points over
# single rows and lose 1.4 at the worst budget, 19 gain 1.9 and lose 4.8; chosen on 500, tested
# on 500, it is 19 that gain more, 3.8 against 3.1).
_VIDEOS_PER_THRESHOLD, _FEWEST, _MOST = 8, 4, 19
_MOST_STAGES = 3
FOLDS, REPEATS = 5, 4


def fit_cascades(
    rows: Sequence[Row],
    sure: Any,
    hits: Any,
    budgets: Sequence[float] | None = None,
    groups: Any = None,
    seed: int = 0,
) -> list[CascadePoint]:
    """The best cascade for every budget of average multiply-adds.

    Candidates are all chains of up to three Pareto rows and 4 to 19 thresholds a stage,
    spread evenly over the confidences; the cost of a chain is that of all stages that run.
    The rows are Pareto rows, the chain and the thresholds all chosen on the same clips, and
    measured on others: 5 folds, 4 times over with other folds.

    Args:
        rows: ``Row`` objects; only ``subnet`` and ``macs`` are read.
        sure: float array (rows, clips): the highest softmax score of each answer.
        hits: bool array (rows, clips): whether it is the label's.
        budgets: multiply-adds of one clip on average; left out: the ``macs`` of every
            Pareto row and three steps between neighbours.
        groups: int array (clips,), where a video has several clips: the video's number. They
            stay in one fold, and errors are over videos. Left out: each is a video.
        seed: decides the folds.

    Returns:
        A list of :class:`~mutualvideo.table.cascade.CascadePoint`, cheapest first.

    Raises:
        InputError: if the shapes do not fit, a score is not from 0 to 1, there are fewer than 10
            videos, or a budget is below the cheapest row.
    """
    rows = list(rows)
    sure, hits, groups = _checked(rows, sure, hits, groups)
    macs = np.array([row.macs for row in rows], np.float64)
    if budgets is None:
        budgets = _between(sorted(macs[_front(macs, hits.mean(1))]))
    budgets = sorted(set(budgets))
    if not budgets or budgets[0] < macs.min():
        raise InputError(
            f"cascade: budgets must be at least {macs.min():.0f} MACs, the cheapest row's"
        )
    count = min(max(len(np.unique(groups)) // _VIDEOS_PER_THRESHOLD, _FEWEST), _MOST)
    quantiles = np.linspace(0, 1, count + 2)[1:-1]
    best, single = (
        _choose(rows, macs, sure, hits, budgets, quantiles, most) for most in (_MOST_STAGES, 1)
    )
    # (budget, cascade or static, video): hits and multiply-adds, summed over the repeats.
    won, cost = (np.zeros((len(budgets), 2, len(groups))) for _ in "wc")
    for number in range(REPEATS):
        fold = _folds(groups, np.random.default_rng([seed, number]))
        for k in range(FOLDS):
            seen, unseen = fold != k, fold == k
            for most in (_MOST_STAGES, 1):
                given = rows, macs, sure[:, seen], hits[:, seen], budgets, quantiles
                chosen = _choose(*given, most)
                for i, (chain, cascade) in enumerate(chosen):
                    kind = int(most == 1)
                    answered = cascade.choose(sure[chain][:, unseen])
                    won[i, kind, unseen] += hits[chain][:, unseen][answered, range(len(answered))]
                    cost[i, kind, unseen] += run_macs(macs[chain], answered)
    won, cost = won / REPEATS, cost / REPEATS
    points = []
    for i, budget in enumerate(budgets):
        top1, static_top1 = 100 * won[i].mean(1)
        avg_macs, static_macs = cost[i].mean(1)
        figures = (avg_macs, top1, static_macs, static_top1)
        error = 100 * _standard_error(won[i, 0] - won[i, 1], groups)
        cascade, static = best[i][1], single[i][1].stages[0]
        points.append(CascadePoint(int(budget), cascade, static, *map(float, (*figures, error))))
    return points


def _choose(
    rows: Sequence[Row],
    macs: Any,
    sure: np.ndarray,
    hits: np.ndarray,
    budgets: Sequence[float],
    quantiles: Any,
    most_stages: int,
) -> list[Any]:
    """``(row indices, Cascade)`` per budget: the most hits, among equals the least cost."""
    front = _front(macs, hits.mean(1))
    levels = {i: np.unique(np.quantile(sure[i], quantiles)) for i in front}
    unsure = {i: (sure[i][:, None] < levels[i]).astype(np.float32) for i in front}
    found = []
    for stages in range(1, most_stages + 1):
        for chain in combinations(front, stages):
            cost, right = _outcomes(chain, macs, hits, unsure)
            found.append((cost.ravel(), right.ravel(), cost.shape, chain))
    cost = np.concatenate([one[0] for one in found])
    right = np.concatenate([one[1] for one in found])
    first = np.cumsum([0, *(len(one[0]) for one in found)])
    best = _front(cost, right)
    chosen = []
    for budget in budgets:
        # Never below the first: the cheapest row alone is a candidate and fits every budget.
        index = best[max(0, np.searchsorted(cost[best], budget * (1 + 1e-6), "right") - 1)]
        part = np.searchsorted(first, index, "right") - 1
        _, _, shape, chain = found[part]
        at = np.unravel_index(index - first[part], shape)
        thresholds = [levels[row][i] for row, i in zip(chain[:-1], at, strict=True)]
        chosen.append(
            (list(chain), Cascade(tuple(rows[i].subnet for i in chain), tuple(thresholds)))
        )
    return chosen


def _outcomes(
    chain: Sequence[int], macs: Any, hits: np.ndarray, unsure: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Mean cost and mean hits of a chain of 1 to 3 rows under every threshold.

    Returns:
        Two arrays with one dimension per threshold.
    """
    videos = hits.shape[1]
    h = [hits[row].astype(np.float32) for row in chain]
    if len(chain) == 1:
        return np.array(macs[chain[0]]), np.array(float(h[0].mean()))
    # (videos, thresholds): whether the first stage hands on.
    on = unsure[chain[0]]
    cost = macs[chain[0]] + macs[chain[1]] * on.mean(0)
    if len(chain) == 2:
        return cost, (h[0] @ (1 - on) + h[1] @ on) / videos
    further = unsure[chain[1]]
    cost = cost[:, None] + macs[chain[2]] * (on.T @ further) / videos
    second = on.T @ (h[1][:, None] * (1 - further))
    third = on.T @ (h[2][:, None] * further)
    return cost, ((h[0] @ (1 - on))[:, None] + second + third) / videos


def _front(cost: Any, merit: Any) -> list[int]:
    """Indices of the Pareto front, cheapest first, each strictly better than the last."""
    order = np.lexsort((-np.asarray(merit), cost))
    best = np.maximum.accumulate(np.asarray(merit)[order])
    # Float32 sums in different orders: a hundred-thousandth is no better answer.
    return [int(order[0])] + [
        int(order[i]) for i in range(1, len(order)) if merit[order[i]] > best[i - 1] + 1e-6
    ]


def _between(macs: Sequence[int]) -> list[int]:
    """The values and three steps between neighbours, geometrically; whole numbers."""
    steps = [
        low * (high / low) ** (i / 4)
        for low, high in zip(macs, macs[1:], strict=False)
        for i in range(4)
    ]
    return [round(value) for value in [*steps, macs[-1]]]


def _folds(groups: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """The fold of every video, clips of one video together, as equal as can be."""
    numbers = np.unique(groups)
    fold = draw.permutation(len(numbers)) % FOLDS
    return fold[np.searchsorted(numbers, groups)]


def _standard_error(differences: np.ndarray, groups: np.ndarray) -> float:
    """Standard error of the mean over videos; clips of one video are averaged first."""
    _, index = np.unique(groups, return_inverse=True)
    means = np.bincount(index, differences) / np.bincount(index)
    return means.std(ddof=1) / len(means) ** 0.5


def _checked(
    rows: Sequence[Row], sure: Any, hits: Any, groups: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sure, hits = np.asarray(sure, np.float32), np.asarray(hits, bool)
    clips = sure.shape[1] if sure.ndim == 2 else 0
    groups = np.arange(clips) if groups is None else np.asarray(groups)
    if not rows or sure.shape != (len(rows), clips) or sure.shape != hits.shape:
        raise InputError(
            f"cascade: confidences and hits must be of shape (rows, clips), ({len(rows)}, ...), "
            f"got {sure.shape} and {hits.shape}"
        )
    if groups.shape != (clips,):
        raise InputError(f"cascade: groups must be of shape (clips,), got {groups.shape}")
    if not (clips and sure.min() >= 0 and sure.max() <= 1 + 1e-3):
        raise InputError("cascade: confidences must be softmax scores, from 0 to 1")
    if len(np.unique(groups)) < 2 * FOLDS:
        raise InputError(
            f"cascade: {len(np.unique(groups))} videos are too few to choose and to check a "
            f"cascade on; at least {2 * FOLDS}"
        )
    return sure, hits, groups
