"""The picture of a continual table: accuracy against the cost of a second, beside clips."""

from __future__ import annotations

from mutualvideo.errors import InputError
from mutualvideo.figures import BLUE, FAINT, ORANGE, cost_axis, dress, new_figure, save
from mutualvideo.files import StrPath
from mutualvideo.table.continual_table import ContinualRow, ContinualTable
from mutualvideo.table.row import Rows

_EACH_FRAME, _ONCE = "clips, a prediction for every frame", "clips, one after the other"


def curves(
    continual: ContinualTable, clips: Rows
) -> dict[str, list[tuple[float, float, ContinualRow]]]:
    """What is drawn: ``{name: [(multiply-adds a second, top-1 in percent, row), ...]}``.

    Of every row in continual form, and of the clips of the same sub-network: with a prediction for
    every frame that the continual form takes, and with one for each window, none overlapping.

    Args:
        continual: rows with accuracies.
        clips: the query table of the same network.

    Raises:
        InputError: if a row has no accuracy, or its sub-network is not in ``clips``.
    """
    found: dict[str, list[tuple[float, float, ContinualRow]]] = {}
    of_clips = {row.subnet: row for row in clips.rows}
    for row in continual:
        clip = of_clips.get(row.subnet)
        if clip is None:
            raise InputError(f"row {row}: the query table has no row of {row.subnet}")
        if row.top1 is None or clip.top1 is None:
            raise InputError(f"row {row}: no top1: the plot needs accuracies of both forms")
        frames, each = row.subnet.frames or 1, clip.macs * row.frames_per_s
        points = (
            ("continual, a prediction for every frame", row.macs * row.frames_per_s, row.top1),
            (_EACH_FRAME, each, clip.top1),
            (_ONCE, each / frames, clip.top1),
        )
        for name, cost, top1 in points:
            found.setdefault(name, []).append((cost, top1, row))
    return {name: sorted(points, key=lambda p: p[:2]) for name, points in found.items()}


def plot_continual(continual: ContinualTable, clips: Rows, path: StrPath) -> None:
    """Writes a picture of both forms; the format follows the path's ending (png, svg, pdf).

    Every row is a point; the lines join those that no other of their form beats.

    Args:
        continual, clips: see :func:`curves`.
        path: the file to write.

    Raises:
        InputError: as :func:`curves`; if the path's ending is no picture format, or it cannot be
            written.
    """
    drawn = curves(continual, clips)
    figure, axes = new_figure(path, 9.6, 5.4)
    looks = ((BLUE, "o", "-"), (ORANGE, "s", "-"), (FAINT, "^", ":"))
    for (name, points), (colour, marker, line) in zip(drawn.items(), looks, strict=True):
        at = [cost / 1e9 for cost, _, _ in points]
        axes.scatter(at, [top1 for _, top1, _ in points], s=30, marker=marker, color=colour)
        front: list[tuple[float, float]] = []
        for cost, top1, _ in points:
            if not front or top1 > front[-1][1]:
                front.append((cost / 1e9, top1))
        axes.plot(*zip(*front, strict=True), color=colour, linestyle=line, label=name)
    dearest = max(points[-1][0] for points in drawn.values())
    unit, factor = ("M", 1000) if dearest < 0.5e9 else ("G", 1)
    cost_axis(axes, factor)
    xlabel = f"multiply-adds of a second of the stream ({unit}, log scale)"
    about = [continual.metadata.get(key) for key in ("model", "dataset")]
    title = " on ".join(str(one) for one in about if one) or "Streams"
    dress(axes, xlabel, "top-1 accuracy of videos (%)", title)
    axes.legend(loc="lower right", frameon=False, fontsize=10.5)
    save(figure, path, dpi=120)
