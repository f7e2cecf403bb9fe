"""Pictures of a comparison: accuracy against the cost of a row, and against that of training."""

import math

import numpy as np

from mutualvideo.figures import COLOURS, MARKERS, cost_axis, draw_chance, dress, new_figure, save


def plot(summary, path):
    """Accuracy against cost, with error bars and the chance line, as PNG.

    Of the arms that the plan says (``plotted``); of all, while there are no runs of those.
    """
    figure, axes = new_figure(path, 7.2, 4.6)
    arms = [arm for arm in summary.arms if arm in summary.plan.plotted]
    for number, arm in enumerate(arms or summary.arms):
        color, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        points = [(summary.macs_of(arm, row), summary.accuracy(arm, row)) for row in summary.macs]
        points = sorted((macs, found) for macs, found in points if found is not None)
        # Rows that nothing cheaper beats make the line.
        line, best = [], -1.0
        for macs, found in points:
            if found.mean > best:
                line.append((macs, found.mean))
                best = found.mean
        axes.plot(*zip(*line, strict=True), color=color, lw=1)
        bars = [0 if math.isnan(f.low) else (f.high - f.low) / 2 for _, f in points]
        axes.errorbar(
            [macs for macs, _ in points],
            [found.mean for _, found in points],
            bars,
            fmt=marker,
            ms=5,
            color=color,
            capsize=3,
            lw=0.8,
            label=arm,
        )
    unit, factor = ("M", 1e-6) if max(summary.macs.values()) < 5e8 else ("G", 1e-9)
    _finish(summary, figure, axes, f"multiply-adds ({unit}, log scale)", factor, path)


def plot_training(summary, path):
    """Accuracy against what training took, a line for each of the plan's ``curves``, as PNG.

    A mark is an arm: the most expensive row, solid, and the mean of its rows, dashed, where it has
    several. Small marks are runs.
    """
    figure, axes = new_figure(path, 7.2, 5.4)
    rows = list(summary.macs)
    shown = [(rows[:1], "-", "")]
    if len(rows) > 1:
        shown.append((rows, "--", ", mean of rows"))
    for number, (name, arms) in enumerate(summary.plan.curves.items()):
        color, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        costs = {arm: summary.costs(arm)["macs"] for arm in arms if arm in summary.arms}
        for some, style, what in shown:
            points = [(costs[arm], _of_runs(summary, arm, some)) for arm in costs]
            points = sorted((macs, found) for macs, found in points if found)
            if not points:
                continue
            line = [(macs, np.mean(found)) for macs, found in points]
            axes.plot(
                *zip(*line, strict=True), style + marker, color=color, lw=1, ms=6, label=name + what
            )
            for macs, found in points:
                axes.plot([macs] * len(found), found, marker, color=color, ms=2.5, alpha=0.6)
    xlabel, over = "multiply-adds of a training (T, log scale)", "means and runs"
    _finish(summary, figure, axes, xlabel, 1e-12, path, over)


def _of_runs(summary, arm, rows):
    """Percent of every run of an arm, the mean over ``rows``; empty if a row is missing."""
    found = [summary.by_run(arm, row) for row in rows]
    common = set.intersection(*map(set, found))
    return [float(np.mean([runs[run] for runs in found])) for run in sorted(common)]


def _finish(summary, figure, axes, xlabel, factor, path, over=None):
    cost_axis(axes, factor)
    name = {"top-1": "top-1 accuracy"}.get(summary.measure, summary.measure)
    name += f" (%), {over or '95 % intervals'}"
    dress(axes, xlabel, name)
    if summary.chance is not None and not draw_chance(axes, summary.chance):
        axes.set_ylabel(f"{name}; chance {summary.chance:.2g}")
    if over is None:
        axes.legend(frameon=False)
    else:  # of many curves there is no free corner
        figure.legend(frameon=False, loc="outside lower center", ncols=2)
    save(figure, path, dpi=110)
