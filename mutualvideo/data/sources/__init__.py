"""Data sets by the name in ``TRAIN.DATASET`` and ``TEST.DATASET``."""

# Each registers itself.
from mutualvideo.data.sources import (  # noqa: F401
    charades,
    hmdb51,
    kinetics,
    pictures,
    ssv2,
    ucf101,
)
from mutualvideo.data.sources.registry import DATASET_REGISTRY, read_videos

__all__ = ["DATASET_REGISTRY", "read_videos"]
