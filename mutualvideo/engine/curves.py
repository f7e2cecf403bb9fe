"""The curves of a training as a picture, from what it logged: ``training.png``."""

from __future__ import annotations

import json
import math
from pathlib import Path

from mutualvideo.figures import COLOURS, dress, new_figure, save
from mutualvideo.files import StrPath
from mutualvideo.run.log import STATS_NAME

CURVES_NAME = "training.png"


def read_curves(path: StrPath) -> dict[str, list[tuple[int, float]]]:
    """``{name: [(epoch, value), ...]}`` of a ``stats.jsonl``; of an epoch done twice, the later.

    Names: ``loss`` and ``train``, top-1 in percent; and for every sub-network that was validated
    ``val SUBNET``, top-1, or of a detector, which has no ``train``, box AP in percent. Values that
    are not finite are left out, and lines that are not whole: a run may have been killed.
    """
    found: dict[str, dict[int, float]] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    for line in lines:
        try:
            stats = json.loads(line)
        except ValueError:
            continue
        if stats.get("_type") not in ("train_epoch", "val_epoch"):
            continue
        epoch, error = int(stats["epoch"].partition("/")[0]), stats.get("top1_err")
        values = {"loss": stats.get("loss"), "train": None if error is None else 100 - error}
        if stats["_type"] == "val_epoch":
            values = {f"val {stats['subnet']}": stats.get("box_ap", values["train"])}
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                found.setdefault(name, {})[epoch] = value
    return {name: sorted(points.items()) for name, points in found.items()}


def plot_training(folder: StrPath) -> Path | None:
    """Draws ``training.png`` in OUTPUT_DIR from its ``stats.jsonl``; ``None`` if that says nothing.

    Left the loss of the full network on the training clips, right its top-1 there, and of every
    sub-network that was validated, by epoch; of a detector box AP.
    """
    curves = read_curves(Path(folder) / STATS_NAME)
    if "loss" not in curves:
        return None
    from matplotlib.ticker import MaxNLocator  # matplotlib is slow to import

    path = Path(folder) / CURVES_NAME
    figure, (left, right) = new_figure(path, 10, 4, columns=2)
    left.plot(*zip(*curves.pop("loss"), strict=True), color=COLOURS[0], marker=".")
    what = "top-1 accuracy (%)" if "train" in curves else "box AP (%)"
    for number, (name, points) in enumerate(curves.items()):
        style = {"color": COLOURS[number % len(COLOURS)], "marker": "."}
        right.plot(*zip(*points, strict=True), label=name, **style)
    if curves:
        right.legend(frameon=False)
    dress(left, "epoch", "training loss, full network")
    dress(right, "epoch", what)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    save(figure, path, dpi=120)
    return path
