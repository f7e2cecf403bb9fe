"""UCF101 by its official lists, as UCF101TrainTestSplits-RecognitionTask.zip holds them."""

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

_ADVICE = (
    "point DATA.PATH_TO_DATA_DIR to the folder that UCF101TrainTestSplits-RecognitionTask.zip "
    "was unpacked in"
)


@DATASET_REGISTRY.register()
def ucf101(cfg: CfgNode, split: str) -> VideoList:
    """``trainlist0N.txt``, or ``testlist0N.txt`` for val and test; N is ``DATA.SPLIT``.

    The lists and ``classInd.txt`` lie in ``DATA.PATH_TO_DATA_DIR`` or ``ucfTrainTestlist``
    below it, the videos in ``DATA.PATH_PREFIX``; where that is empty, in ``UCF-101`` below
    ``DATA.PATH_TO_DATA_DIR`` or in that itself.

    Raises:
        InputError: for a bad list or class file, with the line, or a bad ``DATA.SPLIT``.
    """
    kind = "train" if split == "train" else "test"
    folder = lists_folder(cfg, "ucfTrainTestlist")
    path = folder / f"{kind}list{official_split(cfg):02d}.txt"
    classes = _read_classes(folder / "classInd.txt")
    check_classes(folder / "classInd.txt", classes, cfg)
    labels = {name: label for label, name in enumerate(classes)}
    place = videos_place(cfg, lists_folder(cfg, "UCF-101"))
    videos = []
    for number, line in read_lines(path, "video", _ADVICE):
        where = f"{path}:{number}"
        name, label = _parse(line, where, labels, kind == "train")
        videos.append(Video(place.join(name, where), label, number, name))
    return VideoList(str(path), videos, classes=classes)


def _read_classes(path):
    names = []
    for number, line in read_lines(path, "class", _ADVICE):
        index, _, name = line.partition(" ")
        # Labels are positions: an index that is left out would shift all after it.
        if index != str(len(names) + 1) or not name.strip() or name.strip() in names:
            raise InputError(
                f"{path}:{number}: expected '{len(names) + 1} NAME' with a name of its own, "
                f"not {line!r}; take the official file"
            )
        names.append(name.strip())
    return names


def _parse(line, where, labels, labelled):
    """(path, label from 0) of a line: ``Class/video.avi`` and, in training, the index from 1."""
    name, _, index = line.partition(" ")
    folder = name.partition("/")[0]
    if folder not in labels:
        raise InputError(
            f"{where}: the folder {folder!r} is not a class of classInd.txt; write "
            "'Class/video.avi'"
        )
    if labelled and not index:
        raise InputError(f"{where}: no label in {line!r}; write 'Class/video.avi INDEX'")
    if index and index.strip() != str(labels[folder] + 1):
        raise InputError(
            f"{where}: the label {index.strip()!r} is not the index of {folder} in classInd.txt, "
            f"{labels[folder] + 1}; take the official files, both of them"
        )
    return name, labels[folder]
