"""HMDB51 by its official lists, as test_train_splits.rar holds them."""

import os

from fvcore.common.config import CfgNode

from mutualvideo.data.annotations import Video, VideoList, read_lines
from mutualvideo.data.sources.archives import (
    check_classes,
    lists_folder,
    official_split,
    videos_place,
)
from mutualvideo.data.sources.dataset_registry import DATASET_REGISTRY
from mutualvideo.errors import InputError

_UNUSED, _TRAIN, _TEST = "0", "1", "2"
_ADVICE = (
    "point DATA.PATH_TO_DATA_DIR to the folder that holds testTrainMulti_7030_splits, "
    "unpacked from test_train_splits.rar"
)


@DATASET_REGISTRY.register()
def hmdb51(cfg: CfgNode, split: str) -> VideoList:
    """``CLASS_test_splitN.txt`` of every class; N is ``DATA.SPLIT``, val and test are the same.

    The lists lie in ``DATA.PATH_TO_DATA_DIR`` or ``testTrainMulti_7030_splits`` below it, the
    videos, ``CLASS/NAME.avi``, in ``DATA.PATH_PREFIX``; where that is empty, in ``hmdb51_org``
    below ``DATA.PATH_TO_DATA_DIR`` or in that itself. Labels are the rank of the class's name.
    The line of a video is that in the list of its class.

    Raises:
        InputError: for missing or bad lists, with the line, or a bad ``DATA.SPLIT``.
    """
    folder = lists_folder(cfg, "testTrainMulti_7030_splits")
    ending = f"_test_split{official_split(cfg)}.txt"
    classes = _list_classes(folder, ending)
    check_classes(folder / f"*{ending}", classes, cfg)
    wanted = _TRAIN if split == "train" else _TEST
    place = videos_place(cfg, lists_folder(cfg, "hmdb51_org"))
    videos = []
    for label, name in enumerate(classes):
        path = folder / f"{name}{ending}"
        for number, line in read_lines(path, "video", _ADVICE):
            where = f"{path}:{number}"
            video, use = _parse(line, where)
            if use == wanted:
                video = f"{name}/{video}"
                videos.append(Video(place.join(video, where), label, number, video))
    if not videos:
        raise InputError(f"{folder}/*{ending}: no video is marked {wanted}; {_ADVICE}")
    return VideoList(f"{folder}/*{ending}", videos, classes=classes)


def _list_classes(folder, ending):
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise InputError(f"{folder}: no folder of lists ({error.strerror}); {_ADVICE}") from None
    # A leading dot: macOS keeps its own notes about a file in ._file.
    names = [name for name in names if name.endswith(ending) and not name.startswith(".")]
    classes = sorted(name.removesuffix(ending) for name in names)
    if not classes:
        raise InputError(f"{folder}: holds no list CLASS{ending}; {_ADVICE}")
    return classes


def _parse(line, where):
    """(file name, use) of a line; names may hold any character but a line break."""
    video, _, use = line.rpartition(" ")
    if not video.strip() or use not in (_UNUSED, _TRAIN, _TEST):
        raise InputError(
            f"{where}: no use in {line!r}; write 'NAME.avi' and 1 (train), 2 (test) or 0 (neither)"
        )
    return video.strip(), use
