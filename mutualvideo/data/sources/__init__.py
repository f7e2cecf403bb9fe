"""Data sets by the name in ``TRAIN.DATASET`` and ``TEST.DATASET``."""

from mutualvideo.data.sources import kinetics  # noqa: F401  (registers itself)
from mutualvideo.data.sources.registry import DATASET_REGISTRY, read_videos

__all__ = ["DATASET_REGISTRY", "read_videos"]
