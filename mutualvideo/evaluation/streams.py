"""Videos as streams: all of their frames, as far apart as those of a clip."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from mutualvideo.data.annotations import Video
from mutualvideo.data.sampling import read_size, seconds_apart
from mutualvideo.data.transforms import normalize, test_transform
from mutualvideo.media import DecodeError
from mutualvideo.media.reading import open_reader

logger = logging.getLogger(__name__)

# Frames that are decoded and prepared at a time.
_CHUNK = 64
# Streams that are calibrated on together, and how many such batches are read before they are
# sorted by length: the streams of a batch are cut to the shortest.
_TOGETHER, _SORTED = 8, 4
# The longest stream to calibrate on, in clips.
_CLIPS = 3


def frames_of(video: Video, cfg: CfgNode, most: int | None = None) -> Iterator[Tensor]:
    """The centre crops of a video's frames, some frames at a time.

    Args:
        video: of a list.
        cfg: configuration.
        most: of the frames, the first so many; ``None``: all.

    Yields:
        float32 (T, 3, size, size), normalised, frames as far apart as a clip's.

    Raises:
        DecodeError: if it does not decode.
    """
    data = cfg.DATA
    size, share = data.TEST_CROP_SIZE, data.TEST_CROP_SHARE
    with open_reader(video, data.DECODING_BACKEND) as reader:
        apart = seconds_apart(data) * reader.fps
        # 1e-6: 2.9999999 out of the multiplication means 3.
        numbers = (int(apart * n + 1e-6) for n in itertools.count())
        wanted = list(itertools.takewhile(lambda number: number < len(reader), numbers))[:most]
        for begin in range(0, len(wanted), _CHUNK):
            pictures = reader.read(wanted[begin : begin + _CHUNK], read_size(data))
            square = test_transform(torch.from_numpy(pictures), size, 0, 1, share)
            yield normalize(square.movedim(-1, 1), data.MEAN, data.STD)


def calibration_streams(videos: Sequence[Video], cfg: CfgNode) -> Iterator[Tensor]:
    """Batches of streams for :func:`~mutualvideo.continual.calibrate_streams`.

    As many videos as clips are calibrated on, TABLE.CALIBRATION_BATCHES * TRAIN.BATCH_SIZE or all,
    drawn by RNG_SEED, of each the beginning: at most three times DATA.NUM_FRAMES frames. One that
    does not decode is left out, and so is one that would be a batch by itself: of a single short
    stream there may be no variance. The only one of all is given twice.

    Args:
        videos: of the training list.
        cfg: configuration.

    Yields:
        float32 (B, 3, T, size, size), normalised, on the CPU.
    """
    wanted = cfg.TABLE.CALIBRATION_BATCHES * cfg.TRAIN.BATCH_SIZE
    order = np.random.default_rng(cfg.RNG_SEED).permutation(len(videos))[:wanted]
    most, any_yet = _CLIPS * cfg.DATA.NUM_FRAMES, False
    for begin in range(0, len(order), _SORTED * _TOGETHER):
        read = []
        for number in order[begin : begin + _SORTED * _TOGETHER]:
            try:
                parts = frames_of(videos[number], cfg, most)
                read.append(torch.cat(list(parts)).transpose(0, 1))
            except DecodeError as error:
                logger.warning("not calibrated on: %s", error)
        read.sort(key=lambda stream: stream.shape[1])
        for first in range(0, len(read), _TOGETHER):
            batch = read[first : first + _TOGETHER]
            if len(batch) == 1 and any_yet:
                continue
            batch *= 1 + (len(batch) == 1)
            any_yet = True
            yield torch.stack([stream[:, : batch[0].shape[1]] for stream in batch])
