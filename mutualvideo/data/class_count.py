"""How many classes a run has, where nobody said so: as many as its data have."""

import logging

from fvcore.common.config import CfgNode

from mutualvideo.data.annotations import VideoList
from mutualvideo.data.sources import read_videos
from mutualvideo.errors import InputError

logger = logging.getLogger(__name__)

_EXAMPLES = 5


def settle_classes(cfg: CfgNode) -> CfgNode:
    """``cfg`` with MODEL.NUM_CLASSES as many as the training list has, where that was 0.

    They are as many as the list's names of classes; without names one more than the highest label.

    Args:
        cfg: the configuration; a copy of it is returned if something is to be changed.

    Raises:
        InputError: as the data set does, or if all of its videos are of one class.
    """
    if cfg.MODEL.NUM_CLASSES:
        return cfg
    listing = read_videos(cfg.TRAIN.DATASET, cfg, "train")
    count = count_classes(listing)
    if count < 2:
        raise InputError(
            f"{listing.origin}: all of its videos are of one class, so there is nothing to tell "
            "apart; add videos of others, or set MODEL.NUM_CLASSES"
        )
    cfg = cfg.clone()
    cfg.MODEL.NUM_CLASSES = count
    logger.info("MODEL.NUM_CLASSES %d, from %s", count, listing.origin)
    unused = sorted(set(range(count)) - {label for one in listing.videos for label in one.labels})
    if unused:
        named = ", ".join(map(str, unused[:_EXAMPLES])) + ", ..." * (len(unused) > _EXAMPLES)
        logger.warning(
            "%s: %d of %d classes have no video (%s); labels count from 0",
            listing.origin,
            len(unused),
            count,
            named,
        )
    return cfg


def count_classes(listing: VideoList) -> int:
    """As many as the names of classes in ``listing``; without names, the highest label and one."""
    if listing.classes is not None:
        return len(listing.classes)
    return 1 + max(max(video.labels, default=-1) for video in listing.videos)
