"""What lies beside a query table in its run's folder: cascades, and rows in continual form."""

import logging
import os
from typing import Any

import numpy as np

from mutualvideo.budget import format_macs
from mutualvideo.errors import InputError
from mutualvideo.evaluation.cascade_fit import fit_cascades
from mutualvideo.evaluation.scores import Evaluation
from mutualvideo.files import atomic_path
from mutualvideo.run.tensor_file import write_tensors
from mutualvideo.table.cascade import CascadeCurve
from mutualvideo.table.cascade_plot import plot_cascades
from mutualvideo.table.continual_plot import plot_continual
from mutualvideo.table.continual_table import ContinualTable
from mutualvideo.table.fingerprint import fingerprint
from mutualvideo.table.query import QueryTable

logger = logging.getLogger(__name__)

CASCADES_NAME = "query_table.cascade.json"
CONTINUAL_NAME = "query_table.continual.json"
CONTINUAL_STATISTICS_NAME = "query_table.continual.bn.pyth"
# Clips that cascades are chosen on: more cost time and hardly change the choice.
_CASCADE_CLIPS = 20_000


def write_cascades(table: QueryTable, evaluation: Evaluation, folder: str) -> None:
    """Fits cascades to the answers of an evaluation; writes them and their plot.

    Files: ``query_table.cascade.json`` and ``cascades.png``; the table's metadata name the former.
    Where the answers are too few to choose by, a warning says why there are none.

    Args:
        table: its rows; not yet written.
        evaluation: of these rows, with the answers to every view.
        folder: where to.
    """
    found = [evaluation.predictions[row.subnet] for row in table]
    sure, right = (np.stack([getattr(one, name) for one in found]) for name in ("sure", "right"))
    videos, views = sure.shape[1:]
    # Fewer views of every video rather than fewer videos, and these spread over it.
    views = np.unique(np.linspace(0, views - 1, max(1, _CASCADE_CLIPS // videos)).round())
    if len(views) == 1:
        views = [sure.shape[2] // 2]
    sure, right = (part[:, :, np.int64(views)].reshape(len(found), -1) for part in (sure, right))
    groups = np.repeat(np.arange(videos), len(views))
    try:
        points = fit_cascades(table.rows, sure, right, groups=groups)
    except InputError as error:
        logger.warning("no cascades are written: %s", error)
        return
    keys = ("model", "dataset", "manifest", "fingerprint")
    about = {key: table.metadata[key] for key in keys}
    curve = CascadeCurve(points, {**about, "videos": videos, "clips_per_video": len(views)})
    curve.save_json(os.path.join(folder, CASCADES_NAME))
    plot_cascades(curve, os.path.join(folder, "cascades.png"))
    table.metadata["cascades"] = CASCADES_NAME
    wins = [point for point in curve.points if point.wins]
    best = max(wins, key=lambda point: point.top1 - point.static_top1, default=None)
    text = "none beats single sub-networks by more than chance"
    if best is not None:
        text = (
            f"{len(wins)} of {len(curve.points)} budgets are better met by one, at best "
            f"{best.top1:.1f} instead of {best.static_top1:.1f} % at "
            f"{format_macs(best.budget_macs)} multiply-adds"
        )
    logger.info("cascades in %s: %s", CASCADES_NAME, text)


def write_continual(
    table: QueryTable, found: ContinualTable, statistics: dict[str, Any], folder: str
) -> None:
    """Writes the rows in continual form, as three files and a plot, and their statistics.

    Args:
        table: what they lie beside; its metadata name them. Not yet written.
        found: the rows.
        statistics: of BatchNorm, for streams.
        folder: where to.
    """
    place = os.path.join(folder, CONTINUAL_STATISTICS_NAME)
    write_tensors(statistics, place)
    found.metadata["statistics"] = CONTINUAL_STATISTICS_NAME
    found.metadata["statistics_fingerprint"] = fingerprint(place)
    keys = ("model", "dataset", "manifest", "fingerprint")
    found.metadata |= {key: table.metadata[key] for key in keys}
    found.save_json(os.path.join(folder, CONTINUAL_NAME))
    table.metadata["continual"] = CONTINUAL_NAME
    text = found.to_markdown()
    with atomic_path(os.path.join(folder, "query_table.continual.md")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    found.save_csv(os.path.join(folder, "query_table.continual.csv"))
    if all(row.top1 is not None for row in table):
        plot_continual(found, table, os.path.join(folder, "continual_accuracy.png"))
    logger.info("continual form:\n%s", text)
