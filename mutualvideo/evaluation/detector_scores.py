"""Statistics and average precision of a detector's sub-networks, by all processes of a run."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fvcore.common.config import CfgNode
from torch import nn

from mutualvideo.data.loader import ClipLoader
from mutualvideo.detection import calibrate_detector
from mutualvideo.detection.coco_pictures import CocoPictures
from mutualvideo.detection.coco_scores import CocoScores, find_objects, score_all
from mutualvideo.evaluation.evaluate import calibration_batches
from mutualvideo.run.bars import tracked
from mutualvideo.run.distributed import Context, from_main, gather_to_main, wait_for_main
from mutualvideo.subnet import Subnet

Scores = dict[Subnet, dict[str, CocoScores]]


def calibrate_on(
    loader: ClipLoader,
    model: nn.Module,
    subnets: Sequence[Subnet],
    cfg: CfgNode,
    context: Context,
) -> None:
    """:func:`~mutualvideo.detection.calibrate_detector` on TABLE.CALIBRATION_BATCHES of them."""
    batches = calibration_batches(loader, cfg)
    pictures = ([one.to(context.device) for one in some] for some, _ in batches)
    calibrate_detector(model, subnets, pictures, over_processes=context.world_size > 1)


def score_detector(
    model: nn.Module,
    data: CocoPictures,
    subnets: Sequence[Subnet],
    cfg: CfgNode,
    context: Context,
) -> Scores:
    """:func:`~mutualvideo.detection.evaluate_detector` on batches of TEST.BATCH_SIZE pictures.

    Every process looks at whole batches of its own, so that the scores are those of one alone; all
    return them.
    """
    batch, shard = cfg.TEST.BATCH_SIZE, (context.rank, context.world_size)
    count = len(range(0, len(data), batch)[context.rank :: context.world_size])
    progress: Callable[[Any], Any] = partial(tracked, what="evaluate", total=count)
    found = find_objects(model, data, subnets, batch, shard, progress)
    parts = gather_to_main(found)
    scores = None
    if parts is not None:
        whole = {subnet: [one for part in parts for one in part[subnet]] for subnet in subnets}
        scores = score_all(model, data, whole)
    wait_for_main(context)
    return from_main(scores)
