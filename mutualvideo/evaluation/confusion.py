"""The picture of a confusion matrix, readable from two classes to hundreds."""

from collections.abc import Sequence

import numpy as np

from mutualvideo.figures import INK, new_figure, save

# Up to how many classes every cell carries its percentage, and every class its name.
_NUMBERED, _NAMED = 20, 60


def plot_confusion(
    matrix: np.ndarray, path: str, names: Sequence[str] | None = None, title: str = ""
) -> None:
    """Writes a picture of ``matrix``: each row as shares of its class's videos.

    Colours follow the square root of the share, so that confusions of a few percent show.
    Classes without videos are grey.

    Args:
        matrix: integers (classes, classes): how many videos of class i were taken for j.
        path: the file to write.
        names: of the classes; their numbers if left out, and for those whose letters the font does
            not have.
        title: text above the picture.

    Raises:
        InputError: if the path cannot be written.
    """
    # matplotlib is slow to import.
    from matplotlib import colormaps
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import MaxNLocator

    classes = len(matrix)
    videos = matrix.sum(1, keepdims=True)
    shares = np.full(matrix.shape, np.nan)
    np.divide(100 * matrix, videos, out=shares, where=videos > 0)
    side = min(max(5.0, 0.28 * classes + 3), 14.0)
    figure, axes = new_figure(path, side + 1, side)
    picture = axes.imshow(
        shares,
        cmap=colormaps["Blues"].with_extremes(bad="0.8"),
        norm=PowerNorm(0.5, 0, 100),
        interpolation="nearest",
    )
    if classes <= _NAMED:
        labels = _drawable(names or [str(label) for label in range(classes)])
        size = 9 if classes <= _NUMBERED else 7
        axes.set_xticks(range(classes), labels, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(range(classes), labels, fontsize=size, parse_math=False)
    else:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(20, integer=True))
    if classes <= _NUMBERED:
        for i, j in np.argwhere(matrix > 0):
            dark = shares[i, j] > 50
            axes.text(
                j,
                i,
                f"{shares[i, j]:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else INK,
            )
    axes.set_xlabel("predicted class")
    axes.set_ylabel("class")
    axes.set_title(title, fontsize=11, loc="left")
    bar = figure.colorbar(picture, ax=axes, fraction=0.046, pad=0.02)
    bar.set_label("share of the class's videos (%)")
    save(figure, path, dpi=120)


def _drawable(names: Sequence[str]) -> list[str]:
    """Names that the font has all letters of; of others their number: boxes tell nothing."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    letters = get_font(findfont(FontProperties())).get_charmap()
    return [
        name if all(ord(letter) in letters for letter in name) else f"class {number}"
        for number, name in enumerate(names)
    ]
