"""Data sets by the name in ``TRAIN.DATASET`` and ``TEST.DATASET``."""

# Each registers itself.
from mutualvideo.data.sources import charades, hmdb51, kinetics, picture_sets, ssv2, ucf101  # noqa: F401
from mutualvideo.data.sources.dataset_registry import DATASET_REGISTRY, read_videos

__all__ = ["DATASET_REGISTRY", "read_videos"]
