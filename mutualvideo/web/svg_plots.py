"""The two pictures of the page as SVG: accuracy against cost, latency over time."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from mutualvideo.budget import Budget
from mutualvideo.runtime.prediction import Prediction
from mutualvideo.table.query import QueryTable, Row

_BLUE, _AMBER, _INK, _FAINT, _GRID = "#2f6fc4", "#f08c00", "#1f2937", "#8a94a3", "#e8ebf0"
_NAMES = 4
# matplotlib's caches of glyphs are not made for threads.
_lock = threading.Lock()


def curve(table: QueryTable, row: Row, budget: Budget) -> bytes | None:
    """Accuracy against cost: all rows, the Pareto front, the budget and what it chose.

    Args:
        table: ``QueryTable``.
        row: the chosen one.
        budget: :class:`~mutualvideo.budget.Budget`.

    Returns:
        SVG as bytes, or ``None`` if the table has no accuracies.
    """
    if any(each.merit is None for each in table):
        return None
    kind, limit = budget.per_clip.unit, budget.per_clip.value
    scale = 1e6 if kind == "macs" else 1.0
    costs = {each.subnet: (each.cost(kind) or 0.0) / scale for each in table}
    limit /= scale
    front = table.pareto(kind)
    figure, axes = _figure(7.4, 3.9)
    axes.set_xscale("log")
    low, high = min(costs.values()), max(costs.values())
    margin = (high / low) ** 0.08 if high > low else 1.5
    axes.set_xlim(low / margin**2, high * margin)
    # What is out of reach lies in the shade.
    axes.axvspan(limit, high * margin, color="#f3f4f6", zorder=0)
    axes.axvline(limit, color=_AMBER, linewidth=1.4, linestyle=(0, (4, 3)), zorder=1)
    axes.scatter(
        list(costs.values()),
        [each.merit for each in table],
        s=26,
        color="#b9c4d3",
        linewidths=0,
        zorder=2,
    )
    axes.plot(
        [costs[each.subnet] for each in front],
        [each.merit for each in front],
        color=_BLUE,
        linewidth=1.8,
        marker="o",
        markersize=6,
        markeredgecolor="white",
        zorder=3,
    )
    x, y = costs[row.subnet], row.merit or 0.0
    axes.scatter([x], [y], s=520, color=_AMBER, alpha=0.25, linewidths=0, zorder=4)
    axes.scatter([x], [y], s=150, color=_AMBER, edgecolors="white", linewidths=1.8, zorder=5)
    _name(axes, row, x, y, fontsize=13, fontweight="bold", color=_INK)
    steps = min(_NAMES, len(front))
    for i in {round(k * (len(front) - 1) / max(1, steps - 1)) for k in range(steps)}:
        other = front[i]
        there = costs[other.subnet], other.merit or 0.0
        if not _crowded(axes, (x, y), there):
            _name(axes, other, *there, fontsize=9, color=_FAINT)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _label(value, kind)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.16)
    axes.set_xlabel("multiply-adds of one clip" if kind == "macs" else "latency of one clip, ms")
    axes.set_ylabel("mAP, %" if table.merit_name == "mAP" else "top-1 accuracy, %")
    return _svg(figure)


def latency(history: Iterable[Prediction]) -> bytes:
    """Latency of a visitor's predictions, oldest first.

    Args:
        history: ``Prediction`` objects, at least one.

    Returns:
        SVG as bytes.
    """
    figure, axes = _figure(7.4, 2.1)
    times = [each.latency_ms for each in history]
    numbers = range(1, len(times) + 1)
    axes.plot(numbers, times, color=_BLUE, linewidth=1.4, marker="o", markersize=4, zorder=2)
    axes.scatter([len(times)], [times[-1]], s=90, color=_AMBER, edgecolors="white", zorder=3)
    axes.set_ylim(0, 1.2 * max(times))
    axes.set_xlim(0.5, max(len(times), 20) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("latest predictions")
    axes.set_ylabel("ms")
    return _svg(figure)


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c5ccd6")
    axes.tick_params(labelsize=10, color="#c5ccd6", labelcolor=_INK)
    axes.tick_params(which="minor", length=0)
    axes.xaxis.label.set(size=10.5, color=_INK)
    axes.yaxis.label.set(size=10.5, color=_INK)
    return figure, axes


def _svg(figure: Figure) -> bytes:
    content = io.BytesIO()
    with _lock:
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _label(value: float, kind: str) -> str:
    if kind == "ms":
        return f"{value:g}"
    return f"{value:g}M" if value < 1000 else f"{value / 1000:g}G"


def _name(axes: Any, row: Row, x: float, y: float, **style: Any) -> None:
    # Above and to the left of a Pareto front there is nothing.
    axes.annotate(
        str(row.subnet),
        (x, y),
        xytext=(-8, 9),
        textcoords="offset points",
        ha="right",
        zorder=6,
        **style,
    )


def _crowded(axes: Any, chosen: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether a name at ``other`` would touch the one at the chosen point."""
    (ax, ay), (bx, by) = axes.transData.transform([chosen, other])
    return abs(ax - bx) < 110 and abs(ay - by) < 40
