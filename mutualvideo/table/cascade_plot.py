"""The picture of a cascade curve: average cost against accuracy, beside the single rows."""

from __future__ import annotations

from mutualvideo.figures import BLUE, FAINT, cost_axis, dress, new_figure, save
from mutualvideo.files import StrPath
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
    figure, axes = new_figure(path, 9.6, 5.4)
    # Choices under different budgets often cost the same; lines need growing costs.
    static = sorted({(point.static_macs / 1e9, point.static_top1) for point in curve.points})
    points = sorted(curve.points, key=lambda point: point.avg_macs)
    macs = [point.avg_macs / 1e9 for point in points]
    axes.plot(*zip(*static, strict=True), "o--", color=FAINT, markersize=5, label="one row")
    axes.plot(macs, [point.top1 for point in points], color=BLUE, label="cascade")
    axes.fill_between(
        macs,
        [point.top1 - point.gain_error for point in points],
        [point.top1 + point.gain_error for point in points],
        color=BLUE,
        alpha=0.15,
        linewidth=0,
    )
    for wins, label in ((True, "cascade wins by two standard errors"), (False, "not proven")):
        axes.scatter(
            [point.avg_macs / 1e9 for point in points if point.wins == wins],
            [point.top1 for point in points if point.wins == wins],
            s=36,
            facecolors=BLUE if wins else "white",
            edgecolors=BLUE,
            zorder=3,
            label=label,
        )
    unit, factor = ("M", 1000) if macs[-1] < 0.5 else ("G", 1)
    cost_axis(axes, factor)
    xlabel = f"multiply-adds of one clip on average ({unit}, log scale)"
    dress(axes, xlabel, "top-1 accuracy on unseen videos (%)", title)
    axes.legend(loc="lower right", frameon=False, fontsize=10.5)
    save(figure, path, dpi=200)
