"""The table of the moving average of a run's weights, beside that of the weights."""

import os

from fvcore.common.config import CfgNode

from mutualvideo.evaluation.build import evaluate_grid
from mutualvideo.evaluation.grid import find_checkpoint
from mutualvideo.run.checkpoint import save_average
from mutualvideo.run.distributed import Context, from_main
from mutualvideo.table.query import QueryTable

AVERAGE_FOLDER = "ema"


def evaluate_average(
    cfg: CfgNode, context: Context, checkpoint_path: str | None = None
) -> QueryTable:
    """:func:`~mutualvideo.evaluation.build.evaluate_grid` of the average that a checkpoint holds.

    Everything goes to OUTPUT_DIR/ema: also a checkpoint whose weights are the average, so that the
    folder is that of a run, to be executed, exported or started from.

    Args:
        cfg: the configuration.
        context: this process; all take part.
        checkpoint_path: which one, if not what ``find_checkpoint`` finds.

    Returns:
        :class:`~mutualvideo.table.QueryTable`.

    Raises:
        InputError: if the checkpoint holds no average; else as ``evaluate_grid``.
    """
    path = checkpoint_path or find_checkpoint(cfg)
    cfg = cfg.clone()
    cfg.OUTPUT_DIR = os.path.join(cfg.OUTPUT_DIR, AVERAGE_FOLDER)
    average = save_average(path, cfg.OUTPUT_DIR) if context.is_main else None
    return evaluate_grid(cfg, context, from_main(average))
