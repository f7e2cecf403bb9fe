"""The picture of a cascade curve: average cost against accuracy, beside the single rows."""

from __future__ import annotations

from pathlib import Path

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath, atomic_path
from mutualvideo.table.cascade import CascadeCurve


def plot_cascades(
    curve: CascadeCurve, path: StrPath, title: str = "Cascades and single sub-networks"
) -> None:
    """Writes a picture of the curve; the format follows the path's ending (png, svg, pdf).

    Both lines are measured on videos that the choices had not seen. The band is the standard
    error of the gain; points where the cascade wins (by twice that) are filled.

    Args:
        curve: a ``CascadeCurve``.
        path: the file to write.
        title: text above the picture.

    Raises:
        InputError: if the path's ending is no picture format or it cannot be written.
    """
    # No display is needed, and the caller's backend is left alone: Figure, not pyplot.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(9.6, 5.4), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    if Path(path).suffix.lstrip(".").lower() not in figure.canvas.get_supported_filetypes():
        raise InputError(f"{path}: unknown picture format, end the name in .png, .svg or .pdf")
    axes = figure.add_subplot()
    # Choices under different budgets often cost the same; lines need growing costs.
    static = sorted({(point.static_macs / 1e9, point.static_top1) for point in curve.points})
    points = sorted(curve.points, key=lambda point: point.avg_macs)
    macs = [point.avg_macs / 1e9 for point in points]
    axes.plot(*zip(*static, strict=True), "o--", color="0.45", markersize=5, label="one row")
    axes.plot(macs, [point.top1 for point in points], color="tab:blue", label="cascade")
    axes.fill_between(
        macs,
        [point.top1 - point.gain_error for point in points],
        [point.top1 + point.gain_error for point in points],
        color="tab:blue",
        alpha=0.15,
        linewidth=0,
    )
    for wins, label in ((True, "cascade wins by two standard errors"), (False, "not proven")):
        axes.scatter(
            [point.avg_macs / 1e9 for point in points if point.wins == wins],
            [point.top1 for point in points if point.wins == wins],
            s=36,
            facecolors="tab:blue" if wins else "white",
            edgecolors="tab:blue",
            zorder=3,
            label=label,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    unit, factor = ("M", 1000) if macs[-1] < 0.5 else ("G", 1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x * factor:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"multiply-adds of one clip on average ({unit}, log scale)", fontsize=12)
    axes.set_ylabel("top-1 accuracy on unseen videos (%)", fontsize=12)
    axes.tick_params(labelsize=11)
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=14, loc="left", pad=12)
    axes.legend(loc="lower right", frameon=False, fontsize=10.5)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
