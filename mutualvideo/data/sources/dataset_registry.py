"""The registry of data sets."""

from typing import Protocol

from fvcore.common.config import CfgNode

from mutualvideo.data.annotations import VideoList
from mutualvideo.errors import InputError
from mutualvideo.registry import DATASETS


class DataSource(Protocol):
    """A data set: a function that is registered under its own name."""

    def __call__(self, cfg: CfgNode, split: str) -> VideoList:
        """What is in ``split``, which is ``train``, ``val`` or ``test``.

        Raises:
            InputError: naming the file, and the line, that is wrong.
        """


# The registry of data sets, each a :class:`DataSource`.
DATASET_REGISTRY = DATASETS


def read_videos(name: str, cfg: CfgNode, split: str) -> VideoList:
    """What the registered data set ``name`` holds in ``split``.

    Args:
        name: as in ``TRAIN.DATASET``.
        cfg: the configuration; ``DATA.PATH_TO_DATA_DIR`` says where the lists lie.
        split: ``train``, ``val`` or ``test``.

    Returns:
        :class:`~mutualvideo.data.annotations.VideoList`.

    Raises:
        InputError: if the name is not registered, no folder is given, the name of a video or class
            is no text in UTF-8, or as the source does.
    """
    there = DATASET_REGISTRY.all()
    if name not in there:
        raise InputError(
            f"DATASET {name!r} is unknown; choose from: {', '.join(sorted(there))} (one of your "
            "own: name its file in EXTENSIONS)"
        )
    read: DataSource = there[name]
    if not cfg.DATA.PATH_TO_DATA_DIR:
        raise InputError("DATA.PATH_TO_DATA_DIR is empty: name the folder that holds the lists")
    listing = read(cfg, split)
    _require_text(listing)
    return listing


def _require_text(listing: VideoList) -> None:
    """Names go into tables and CSVs; those of files may be any bytes."""
    names = [video.name for video in listing.videos] + list(listing.classes or ())
    for name in names:
        readable = name.encode(errors="backslashreplace")
        if readable != name.encode(errors="surrogateescape"):
            raise InputError(
                f"{listing.origin}: the name {readable.decode()} is not in UTF-8: rename that file "
                "or folder (`convmv -f latin1 -t utf8` does it for many)"
            )
