"""Accuracy against cost, one point per sub-network: the picture of a query table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from typing import Any

from mutualvideo.figures import (
    INK,
    MARKERS,
    ORANGE,
    cost_axis,
    draw_chance,
    dress,
    new_figure,
    save,
)
from mutualvideo.files import StrPath
from mutualvideo.subnet import Subnet
from mutualvideo.table.row import Row, Rows

_DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 3)))
_LABELS = 5
_COSTS = {
    "macs": ("multiply-adds of one {what} ({unit}, log scale)", lambda row: row.macs / 1e9),
    "ms": ("latency of one {what} (ms, log scale)", lambda row: row.latency_ms or 0.0),
}


def plot_table(
    table: Rows,
    path: StrPath,
    title: str | None = None,
    overlays: Iterable[tuple[str, Sequence[tuple[float, float]]]] = (),
    cost: str = "macs",
) -> None:
    """Writes a picture of the table; the format follows the path's ending (png, svg, pdf).

    Every row is a point, coloured by width; its marker is the frame count, or the input
    size where all rows have the same frame count. The Pareto front is drawn as a line and
    a few of its points carry their sub-network's name.

    Args:
        table: a ``QueryTable`` with accuracies.
        path: the file to write.
        title: text above the picture; the metadata's model and data set if left out.
        overlays: other curves to compare with, ``(name, [(cost, top1), ...])`` each, cost in
            GMACs (or ms), top-1 in percent.
        cost: ``"macs"`` or ``"ms"``.

    Raises:
        InputError: if the table has no accuracy or lacks the cost, or the path's ending is
            no picture format or it cannot be written.
    """
    front = table.pareto(cost)
    axis_label, value = _COSTS[cost]
    figure, axes = new_figure(path, 9.6, 5.4)
    axes.plot(
        [value(row) for row in front],
        [row.merit or 0.0 for row in front],
        color="0.25",
        linewidth=1.6,
        zorder=2,
        label="Pareto front",
    )
    legends = _draw_points(axes, table.rows, {row.subnet for row in front}, value)
    for (name, points), dashes in zip(overlays, cycle(_DASHES), strict=False):
        points = sorted(points)
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=ORANGE,
            linewidth=1.2,
            linestyle=dashes,
            marker=".",
            markersize=5,
            zorder=1,
            label=name,
        )

    # Points are in GMACs throughout; small networks are easier to read in millions.
    unit, factor = ("M", 1000) if cost == "macs" and value(front[-1]) < 0.5 else ("G", 1)
    cost_axis(axes, factor)
    what = "picture" if table.rows[0].subnet.frames is None else "clip"
    name = {"mAP": "mean average precision (%)", "box AP": "box AP (%)"}.get(
        table.merit_name, "top-1 accuracy (%)"
    )
    xlabel = axis_label.format(what=what, unit=unit)
    dress(axes, xlabel, name, _title(table) if title is None else title)
    axes.margins(x=0.06, y=0.1)
    # Room for the name of the cheapest sub-network.
    low, high = axes.get_xlim()
    axes.set_xlim(low * (low / high) ** 0.12, high)
    chance = _chance(table)
    if chance is not None and not draw_chance(axes, chance):
        axes.set_ylabel(f"{name}; chance {chance:.2g}")
    _label_front(axes, front, value)
    _draw_legends(axes, legends)
    save(figure, path, dpi=200)


def _draw_points(
    axes: Any, rows: Iterable[Row], on_front: set[Subnet], value: Callable[[Row], float]
) -> list[tuple[str, list[Any]]]:
    """Scatters the rows; returns ``(title, handles)`` per legend group."""
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    widths = sorted({row.subnet.width for row in rows})
    # The light end of the map is unreadable on white.
    shades = [0.88 * i / max(1, len(widths) - 1) for i in range(len(widths))]
    colours = {w: colormaps["viridis"](0.88 - s) for w, s in zip(widths, shades, strict=True)}
    by_frames = len({row.subnet.frames for row in rows}) > 1
    what = "frames" if by_frames else "size"
    kinds = sorted({getattr(row.subnet, what) or 0 for row in rows}, reverse=True)
    markers = {kind: MARKERS[i % len(MARKERS)] for i, kind in enumerate(kinds)}
    for row in rows:
        front = row.subnet in on_front
        axes.scatter(
            value(row),
            row.merit,
            s=78 if front else 46,
            marker=markers[getattr(row.subnet, what) or 0],
            color=[colours[row.subnet.width]],
            alpha=1.0 if front else 0.55,
            edgecolors=INK if front else "white",
            linewidths=0.9 if front else 0.5,
            zorder=4 if front else 3,
        )

    def handle(label: str, marker: str, colour: Any) -> Any:
        return Line2D(
            [], [], linestyle="", marker=marker, color=colour, label=label, markersize=7.5
        )

    groups = [("width", [handle(f"{w:g}", "o", colours[w]) for w in reversed(widths)])]
    if len(kinds) > 1:
        groups.append((what, [handle(str(k), markers[k], "0.4") for k in kinds]))
    return groups


def _draw_legends(axes: Any, groups: list[tuple[str, list[Any]]]) -> None:
    """One legend column to the right of the axes, so that no point is covered."""
    from matplotlib.lines import Line2D

    curves, _ = axes.get_legend_handles_labels()
    handles = []
    for title, group in [("curves", curves), *groups]:
        handles += [Line2D([], [], linestyle="", label=title.capitalize()), *group]
    legend = axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        fontsize=10.5,
        labelspacing=0.45,
    )
    headings = {"Curves", *(title.capitalize() for title, _ in groups)}
    # A heading starts where the symbols start, not where their labels do.
    indent = (legend.handlelength + legend.handletextpad) * 10.5 / 72 * axes.figure.dpi
    for text in legend.get_texts():
        if text.get_text() in headings:
            text.set_fontweight("bold")
            text.set_x(-indent)


def _label_front(axes: Any, front: Sequence[Row], value: Callable[[Row], float]) -> None:
    """Names the ends of the front and a few points between, evenly along it."""
    steps = min(_LABELS, len(front))
    chosen = {round(i * (len(front) - 1) / max(1, steps - 1)) for i in range(steps)}
    for index in sorted(chosen):
        row = front[index]
        # Above and to the left of a Pareto front there is nothing.
        axes.annotate(
            str(row.subnet),
            (value(row), row.merit),
            xytext=(-7, 7),
            textcoords="offset points",
            ha="right",
            fontsize=10,
            color=INK,
            zorder=5,
        )


def _chance(table: Rows) -> float | None:
    """Top-1 in percent of guessing; ``None`` for several labels or unknown classes."""
    classes = table.metadata.get("num_classes")
    return 100 / classes if classes and table.merit_name == "top-1" else None


def _title(table: Rows) -> str:
    parts = [str(table.metadata[key]) for key in ("model", "dataset") if table.metadata.get(key)]
    return " on ".join(parts) or "Accuracy against cost"
