"""Lists in PySlowFast's CSV format: Kinetics-400, 600 and 700, and the toy data set."""

from pathlib import Path

from fvcore.common.config import CfgNode

from mutualvideo.data.annotations import VideoList, read_annotations
from mutualvideo.data.sources.archives import read_class_names
from mutualvideo.data.sources.dataset_registry import DATASET_REGISTRY


@DATASET_REGISTRY.register()
def kinetics(cfg: CfgNode, split: str) -> VideoList:
    """``train.csv``, ``val.csv`` and ``test.csv`` (val.csv where there is none).

    ``classes.txt`` beside them, if there, names the classes, one a line.
    """
    folder = Path(cfg.DATA.PATH_TO_DATA_DIR)
    path = folder / f"{split}.csv"
    if split == "test" and not path.exists():
        path = folder / "val.csv"
    videos = read_annotations(
        path,
        separator=cfg.DATA.PATH_LABEL_SEPARATOR,
        prefix=cfg.DATA.PATH_PREFIX,
        num_classes=cfg.MODEL.NUM_CLASSES,
        allow_absolute=cfg.DATA.ALLOW_ABSOLUTE_PATHS,
        multi_label=cfg.DATA.MULTI_LABEL,
    )
    return VideoList(str(path), videos, classes=read_class_names(cfg))


@DATASET_REGISTRY.register()
def toy(cfg: CfgNode, split: str) -> VideoList:
    """What ``tools/toy_dataset.py`` writes: lists as :func:`kinetics` reads them."""
    return kinetics(cfg, split)
