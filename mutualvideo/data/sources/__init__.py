"""Data sets by the name in ``TRAIN.DATASET`` and ``TEST.DATASET``."""

from importlib import import_module
from pkgutil import iter_modules

from mutualvideo.data.sources.dataset_registry import DATASET_REGISTRY, read_videos

__all__ = ["DATASET_REGISTRY", "read_videos"]

# Every file here is looked at: those of data sets register them.
for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
