"""Frame lists with labels, as PySlowFast has them for Charades."""

from pathlib import Path

from fvcore.common.config import CfgNode

from mutualvideo.data.annotations import Video, VideoList, several_labels
from mutualvideo.data.sources.archives import read_class_names, videos_place
from mutualvideo.data.sources.dataset_registry import DATASET_REGISTRY
from mutualvideo.data.sources.frame_lists import read_frame_list
from mutualvideo.errors import InputError


@DATASET_REGISTRY.register()
def charades(cfg: CfgNode, split: str) -> VideoList:
    """``train.csv``, or ``val.csv`` for val and test: frame lists of pictures.

    Paths are relative to ``DATA.PATH_PREFIX``; where that is empty, to the list. A list says
    nothing about time: ``DATA.SAMPLING_RATE`` counts pictures, as in PySlowFast.

    Raises:
        InputError: as :func:`~mutualvideo.data.sources.frame_lists.read_frame_list`, and without
            ``DATA.MULTI_LABEL`` for a video that does not have exactly one label.
    """
    folder = Path(cfg.DATA.PATH_TO_DATA_DIR)
    path = folder / ("train.csv" if split == "train" else "val.csv")
    place = videos_place(cfg, folder)
    videos = []
    for name, video in read_frame_list(path).items():
        where = f"{path}:{video.line}"
        if len(video.labels) != 1 and not cfg.DATA.MULTI_LABEL:
            raise InputError(
                f"{where}: {name} has the labels {sorted(video.labels)}; set DATA.MULTI_LABEL "
                "True, or give every video one label"
            )
        videos.append(
            Video(
                place.join(video.folder, where),
                line=video.line,
                name=name,
                fps=cfg.DATA.TARGET_FPS,
                frames=video.frames,
                **several_labels(video.labels, where, cfg.MODEL.NUM_CLASSES),
            )
        )
    return VideoList(str(path), videos, classes=read_class_names(cfg))
