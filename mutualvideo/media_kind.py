"""Whether a network takes clips or pictures, what files of each are called; light to import."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mutualvideo.errors import InputError

# Of files that are taken for videos in folders.
VIDEO_ENDINGS = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()
)
# Of files that are taken for pictures in folders.
PICTURE_ENDINGS = frozenset(
    ".avif .bmp .gif .heic .heif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split()
)


def is_of_kind(
    path: str | os.PathLike[str],
    endings: Collection[str],
    top: str | os.PathLike[str] | None = None,
) -> bool:
    """Whether a file in a folder is meant: by its ending; hidden ones (macOS's ``._name``) are not.

    Args:
        path: of the file; or its name.
        endings: in lower case, as :data:`VIDEO_ENDINGS` has them.
        top: of no folder on the way from this one to the file may the name be hidden.
    """
    parts = (os.path.basename(path),) if top is None else Path(path).relative_to(top).parts
    hidden = any(part.startswith(".") for part in parts)
    return not hidden and os.path.splitext(path)[1].lower() in endings


def require_moving(path: str | os.PathLike[str], frames: int) -> None:
    """Raises InputError for a picture where a video is wanted.

    Args:
        path: of a file that opens as a video; its ending may be a picture's, as an animation's is.
        frames: how many it has.
    """
    if frames == 1 and os.path.splitext(path)[1].lower() in PICTURE_ENDINGS:
        raise InputError(f"{path}: is a picture, and this takes video")


def takes_pictures(cfg: Any) -> bool:
    """Whether the network of ``cfg`` takes pictures, not clips.

    MODEL.ARCH says so, where it is given (``2d``: pictures); else MODEL.MODEL_NAME does.

    Args:
        cfg: configuration; its ``MODEL`` section is read.

    Raises:
        InputError: if there is no such network.
    """
    if cfg.MODEL.ARCH:
        return cfg.MODEL.ARCH == "2d"
    # Imported when it is asked: the registry is fvcore's, which running an exported folder does
    # not need.
    from mutualvideo.registry import network_named

    return network_named(cfg.MODEL.MODEL_NAME).takes_pictures
