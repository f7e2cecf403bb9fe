"""Videos in folders of their classes: nothing else has to be written."""

import logging
import os
import re
from pathlib import Path

from fvcore.common.config import CfgNode

from mutualvideo.data.annotations import Video, VideoList
from mutualvideo.data.share_split import held_out
from mutualvideo.data.sources.archives import check_classes
from mutualvideo.data.sources.dataset_registry import DATASET_REGISTRY
from mutualvideo.errors import InputError
from mutualvideo.media_kind import PICTURE_ENDINGS, VIDEO_ENDINGS, is_of_kind

logger = logging.getLogger(__name__)

_ADVICE = "DATA.PATH_TO_DATA_DIR holds CLASS/NAME.mp4, or train/CLASS/NAME.mp4 and val/CLASS"


@DATASET_REGISTRY.register()
def videofolder(cfg: CfgNode, split: str) -> VideoList:
    """``CLASS/*.mp4`` in ``DATA.PATH_TO_DATA_DIR``, or ``train/CLASS/*.mp4`` and ``val/CLASS``.

    Where there is no ``val``, ``DATA.VAL_SHARE`` of every class's videos is for validation, see
    ``DATA.GROUP_PATTERN`` and ``DATA.SPLIT``. Test is ``test``, or else what val is. Labels are
    the rank of a class's name among those of ``train``. Videos are files with the usual endings,
    also in folders below that of the class; hidden ones (``.name``) are passed over.

    Raises:
        InputError: for a missing or unreadable folder, no class, a class without a video, classes
            of ``val`` that are not those of ``train``, a class that cannot be divided, or a bad
            pattern.
    """
    top = Path(cfg.DATA.PATH_TO_DATA_DIR)
    there = [name for name in _subfolders(top) if name in ("train", "val", "test")]
    # A class may be called train: then it holds videos itself.
    parts = {name for name in there if not _has_video(top / name)}
    whole = top / "train" if "train" in parts else top
    if "train" not in parts and parts & {"val", "test"}:
        raise InputError(f"{top}: has {' and '.join(sorted(parts))} but no train; {_ADVICE}")
    if "train" in parts:
        _require_no_other_class(top)
    classes, videos = _read(whole, top)
    if whole == top and len(there) > 1 and set(there) == set(classes):
        raise InputError(
            f"{top}: {' and '.join(there)} hold videos themselves, which are of no class; "
            f"{_ADVICE}; with lists of the videos (train.csv and val.csv) TRAIN.DATASET and "
            "TEST.DATASET are kinetics"
        )
    check_classes(whole, classes, cfg)
    own = next((name for name in (split, "val", "test") if name in parts and name != "train"), None)
    if split != "train" and own is not None:
        folder = top / own
        found, videos = _read(folder, top)
        if found != classes:
            odd = sorted(set(found) ^ set(classes))[0]
            raise InputError(
                f"{folder}: its classes are not those of {whole}: {odd} is in one alone; rename, "
                "add or remove its folder"
            )
        return VideoList(str(folder), videos, classes=classes)
    if parts & {"val", "test"}:
        return VideoList(str(whole), videos, classes=classes)
    chosen, groups = _validation(cfg.DATA, whole, videos, classes)
    if cfg.DATA.GROUP_PATTERN and split == "train":
        logger.info("%s: %d videos of %d groups", whole, len(videos), groups)
    kept = [one for at, one in enumerate(videos) if (at in chosen) == (split != "train")]
    what = "training" if split == "train" else "validation"
    return VideoList(f"{whole} ({what} part)", kept, classes=classes)


def _subfolders(folder):
    try:
        entries = list(os.scandir(folder))
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: no folder of videos ({error.strerror}); {_ADVICE}") from None


def _read(folder, top):
    """(names of the classes, their :class:`Video`s) of ``folder/CLASS``."""
    classes = _subfolders(folder)
    if not classes:
        raise InputError(f"{folder}: holds no folder of a class; {_ADVICE}")
    videos = []
    for label, name in enumerate(classes):
        paths = _videos_below(folder / name)
        if not paths:
            what = f"{folder / name}: the class has no video ({' '.join(sorted(VIDEO_ENDINGS))})"
            if any(is_of_kind(one, PICTURE_ENDINGS) for one in os.listdir(folder / name)):
                raise InputError(
                    f"{what} but pictures: to train a network of pictures on them TRAIN.DATASET "
                    "and TEST.DATASET are imagefolder (docs/pictures.md)"
                )
            raise InputError(f"{what}; add some, or remove the folder")
        for path in paths:
            number = len(videos) + 1
            videos.append(Video(str(path), label, number, path.relative_to(top).as_posix()))
    return classes, videos


def _require_no_other_class(top):
    """Beside ``train`` no folder of videos: it would be a class of which nothing is read."""
    for name in _subfolders(top):
        if name not in ("train", "val", "test") and _videos_below(top / name):
            raise InputError(
                f"{top / name}: holds videos that would not be read, for {top / 'train'} holds "
                "folders of classes; move it there, or, if train is a class itself, put its videos "
                f"right into {top / 'train'}"
            )


def _has_video(folder):
    try:
        return any(_is_video(name) for name in os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from None


def _is_video(name):
    return is_of_kind(name, VIDEO_ENDINGS)


def _videos_below(folder):
    """Paths, sorted, of all videos in ``folder`` and below; links are followed, circles are not."""

    def refuse(error):
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from None

    found, seen = [], set()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place) / name for name in names if _is_video(name)]
    return sorted(found)


def _validation(data, folder, videos, classes):
    """(Positions of the videos that are for validation, number of groups of all)."""
    if not 0 < data.VAL_SHARE < 1:
        raise InputError(f"DATA.VAL_SHARE must be above 0 and below 1, not {data.VAL_SHARE:g}")
    if data.SPLIT < 0:
        raise InputError(f"DATA.SPLIT must not be negative, got {data.SPLIT}")
    names = [Path(one.path).relative_to(folder).as_posix() for one in videos]
    groups = _groups(names, data.GROUP_PATTERN)
    labels = [one.label for one in videos]
    try:
        inside = held_out(names, labels, groups, data.VAL_SHARE, data.SPLIT, classes)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    return inside, len(set(groups))


def _groups(names, pattern):
    if not pattern:
        return names
    try:
        found = [re.search(pattern, name) for name in names]
    except re.error as error:
        raise InputError(
            f"DATA.GROUP_PATTERN {pattern!r} is no regular expression: {error}"
        ) from None
    for name, match in zip(names, found, strict=True):
        if match is None:
            raise InputError(
                f"DATA.GROUP_PATTERN {pattern!r}: finds nothing in {name}; make it fit every video"
            )
    return ["/".join(map(str, one.groups())) or one[0] for one in found]
