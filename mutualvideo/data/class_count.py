"""How many classes a run has, where nobody said so, and what each counts in the loss."""

import logging
import math
from collections.abc import Sequence

import numpy as np
import torch
from fvcore.common.config import CfgNode

from mutualvideo.data.annotations import Video, VideoList
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


def class_weights(cfg: CfgNode, videos: Sequence[Video]) -> torch.Tensor | None:
    """What MODEL.CLASS_WEIGHTS says: float32 (classes,), or ``None``: 1 each.

    ``balanced`` is scikit-learn's rule: videos over classes times the videos of a class; a class
    without a video has 1. With DATA.MULTI_LABEL it is torch's advice for ``pos_weight``; a label
    that every video has, or none, has 1.

    Args:
        cfg: the configuration.
        videos: of the training list.

    Raises:
        InputError: for a text that is neither ``balanced`` nor a positive number for each class.
    """
    text, count = cfg.MODEL.CLASS_WEIGHTS.strip(), cfg.MODEL.NUM_CLASSES
    if not text:
        return None
    if text != "balanced":
        return torch.tensor(_numbers(text, count))
    labels = [label for video in videos for label in video.labels]
    there = np.bincount(labels, minlength=count).astype(np.float64)
    if cfg.DATA.MULTI_LABEL:
        weights = (len(videos) - there) / np.maximum(there, 1)
        weights[there == len(videos)] = 1  # 0 would leave it untrained
    else:
        weights = len(videos) / (np.count_nonzero(there) * np.maximum(there, 1))
    weights[there == 0] = 1
    return torch.tensor(weights, dtype=torch.float32)


def _numbers(text, count):
    try:
        found = [float(part) for part in text.strip("[]()").replace(",", " ").split()]
    except ValueError:
        found = []
    if len(found) != count or not all(0 < one < math.inf for one in found):
        raise InputError(
            f"MODEL.CLASS_WEIGHTS {text!r}: expected balanced, or {count} positive numbers, one "
            "for each class"
        )
    return found


def class_names(dataset):
    """``{label: name}`` of the classes of what a loader reads; ``None``: the data do not say."""
    found = getattr(dataset, "classes", None)
    return dict(enumerate(found)) if isinstance(found, list) else found
