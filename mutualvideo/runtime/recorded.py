"""Clips out of a file, as evaluation takes them: the frames to read, in their places in time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from mutualvideo.errors import InputError
from mutualvideo.files import StrPath
from mutualvideo.media_kind import require_moving, takes_pictures

# Of a video; papers take up to 30.
_MOST_VIEWS = 1000


def is_path(clip: object) -> bool:
    """Whether ``clip`` is the path of a file rather than pixels."""
    return isinstance(clip, (str, os.PathLike))


def read_views(path: StrPath, cfg: Any, views: int = 1, segments: bool = False) -> np.ndarray:
    """Clips of a video, evenly over it: those of TEST.NUM_ENSEMBLE_VIEWS; or a picture.

    Args:
        path: of a video; for a network of pictures, of a picture.
        cfg: configuration; its ``DATA`` section is read.
        views: how many clips; one is the middle. Of a picture there is one.
        segments: the network was trained on segments of whole videos (the metadata of its table
            say so), and a clip is one frame out of each.

    Returns:
        uint8 array (views, 3, T, H, W), of a picture (1, 3, H, W): what ``predict`` takes. The
        short side is at most what the network sees.

    Raises:
        DecodeError: if it cannot be read.
        InputError: if ``views`` is below 1, or it is a picture and the network takes clips.
    """
    # Imported here: what runs exported folders on clips of its own needs no decoder.
    from mutualvideo.data.sampling import read_size, view_indices
    from mutualvideo.media import DecodeError, open_video
    from mutualvideo.media.picture_reader import PictureReader

    if type(views) is not int or not 1 <= views <= _MOST_VIEWS:
        raise InputError(f"views {views!r}: must be an integer from 1 to {_MOST_VIEWS}")
    data = cfg.DATA
    short_side = read_size(data)
    if Path(path).is_dir():
        raise DecodeError(f"{path}: is a folder, expected a file")
    if takes_pictures(cfg):
        with PictureReader(path) as reader:
            return reader.read([0]).transpose(0, 3, 1, 2)
    with open_video(path) as reader:
        require_moving(path, len(reader))
        numbers = [
            view_indices(len(reader), reader.fps, data, number, views, segments)
            for number in range(views)
        ]
        clips = [reader.read(one, short_side) for one in numbers]
    # Frames of a file may change their size: each view has that of its first.
    return np.stack([_like(clip, clips[0]) for clip in clips]).transpose(0, 4, 1, 2, 3)


def _like(clip: np.ndarray, other: np.ndarray) -> np.ndarray:
    if clip.shape == other.shape:
        return clip
    from PIL import Image

    size = other.shape[2], other.shape[1]
    return np.stack(
        [np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BILINEAR)) for f in clip]
    )
