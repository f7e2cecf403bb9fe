"""One look for every picture with axes: colours, grid, axes of costs, the line of chance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath, atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, told apart by the colour-blind. Yellow comes last: it is faint on white.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9", "#000000", "#F0E442")
# Beside colours, for print without any.
MARKERS = "osD^vP*X<>"
INK, FAINT = "0.15", "0.45"


def new_figure(path: StrPath, width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    """``(figure, axes)`` of so many inches; with ``columns`` an array of axes side by side.

    Raises:
        InputError: if the ending of ``path`` is no picture format.
    """
    # matplotlib is slow to import. No display is needed, and the caller's backend is left alone:
    # Figure, not pyplot.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    formats = figure.canvas.get_supported_filetypes()
    if Path(path).suffix.lstrip(".").lower() not in formats:
        raise InputError(f"{path}: unknown picture format, end the name in .png, .svg or .pdf")
    return figure, figure.subplots(1, columns)


def dress(axes: Axes, xlabel: str, ylabel: str, title: str = "") -> None:
    """Labels, title and a light grid behind what is drawn."""
    axes.set_xlabel(xlabel, fontsize=12)
    axes.set_ylabel(ylabel, fontsize=12)
    axes.tick_params(labelsize=11)
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if title:
        axes.set_title(title, fontsize=14, loc="left", pad=12)


def cost_axis(axes: Axes, factor: float = 1.0) -> None:
    """A logarithmic x axis with ticks at 1, 2, 5, 10...; a tick says ``factor`` times its place."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x * factor:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def draw_chance(axes: Axes, percent: float) -> bool:
    """The accuracy of guessing as a dotted line, if it lies near what is drawn.

    Far below, it would press everything else against the upper edge.

    Returns:
        Whether it was drawn.
    """
    low, high = axes.get_ylim()
    if percent < low - (high - low):
        return False
    axes.axhline(percent, color=FAINT, linestyle=":", linewidth=1.2, label="chance", zorder=1)
    return True


def save(figure: Figure, path: StrPath, dpi: int = 150) -> None:
    """Writes the figure in the format that the ending of ``path`` names.

    Raises:
        InputError: if it cannot be written.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
