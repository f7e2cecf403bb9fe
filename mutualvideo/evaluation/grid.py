"""Which sub-networks a table has, and of which checkpoint."""

import itertools
import os

from fvcore.common.config import CfgNode

from mutualvideo.errors import InputError
from mutualvideo.models import full_subnet, require_runnable
from mutualvideo.registry import is_detector
from mutualvideo.run.checkpoint import best_path, keeps_best, newest_checkpoint
from mutualvideo.subnet import Subnet


def grid_subnets(cfg: CfgNode) -> list[Subnet]:
    """The sub-networks of the TABLE keys: the grid, then the listed ones, each once.

    Raises:
        InputError: if the network cannot run one of them, or it is larger than the pictures that it
            would be tested on.
    """
    table, full = cfg.TABLE, full_subnet(cfg)
    lists = [table.WIDTHS, table.FRAMES, table.SIZES]
    grid = itertools.product(
        *(
            values or [value]
            for values, value in zip(lists, (full.width, full.frames, full.size), strict=True)
        )
    )
    subnets = [Subnet.parse(text) for text in table.SUBNETS]
    if any(lists) or not subnets:
        subnets = [Subnet(*shape) for shape in grid] + subnets
    subnets = list(dict.fromkeys(subnets))
    for subnet in subnets:
        require_runnable(cfg, subnet, "TABLE")
        if not is_detector(cfg.MODEL.MODEL_NAME) and subnet.size > cfg.DATA.TEST_CROP_SIZE:
            raise InputError(
                f"TABLE: {subnet} is larger than DATA.TEST_CROP_SIZE {cfg.DATA.TEST_CROP_SIZE}, "
                "the size that videos are tested at: raise that, or leave the sub-network out"
            )
    return subnets


def own_checkpoint(cfg: CfgNode) -> str | None:
    """Path of OUTPUT_DIR's newest checkpoint, or of its best; ``None`` if there is none."""
    best = best_path(cfg.OUTPUT_DIR)
    return best if keeps_best(cfg) and os.path.isfile(best) else newest_checkpoint(cfg.OUTPUT_DIR)


def find_checkpoint(cfg: CfgNode) -> str:
    """Path of the checkpoint to evaluate: TEST.CHECKPOINT_FILE_PATH, or OUTPUT_DIR's newest.

    With TRAIN.KEEP_BEST or PATIENCE OUTPUT_DIR's best.
    """
    path = cfg.TEST.CHECKPOINT_FILE_PATH or own_checkpoint(cfg)
    if path is None:
        raise InputError(
            f"nothing to evaluate: {cfg.OUTPUT_DIR} holds no checkpoint; train first, or name one "
            "in TEST.CHECKPOINT_FILE_PATH"
        )
    return path
