"""Videos to uint8 clips: one sample is one view of one video.

A sample is a function of its key (video, draw) and the configuration alone, where the draw
is the epoch in training and the view in testing. So it does not matter which worker makes
it, nor what was made before.
"""

import itertools

import numpy as np
import torch
from torch.utils.data import Dataset

from mutualvideo.data.decode import open_video
from mutualvideo.data.sampling import clip_indices, test_positions
from mutualvideo.data.transforms import draw_short_side, test_transform, train_transform
from mutualvideo.errors import InputError


class VideoDataset(Dataset):
    """Clips of a list of videos, by key ``(video, draw)``: row of the list, epoch or view.

    Args:
        cfg: the configuration; its ``DATA`` section and ``RNG_SEED`` are read.
        videos: list of :class:`mutualvideo.data.annotations.Video`.
        training: random clip, scale, crop and mirror, decided by (``RNG_SEED``, epoch, row).
        num_clips, num_crops: not in training: views of a video, ``num_clips`` evenly over
            time times ``num_crops`` along the longer side. View v is clip ``v // num_crops``,
            crop ``v % num_crops``, as in PySlowFast.

    A sample is a dict of ``clip`` (uint8, (3, T, S, S)), and the int64 scalars ``label``,
    ``video`` (row of the list) and ``view`` (0 in training).

    Raises:
        InputError: for crops, views or scales that are impossible.
    """

    def __init__(self, cfg, videos, training, num_clips=1, num_crops=1):
        data = cfg.DATA
        if training and data.TRAIN_CROP_SIZE > min(data.TRAIN_JITTER_SCALES):
            raise InputError(
                f"DATA.TRAIN_CROP_SIZE {data.TRAIN_CROP_SIZE} is larger than the smallest of "
                f"DATA.TRAIN_JITTER_SCALES {list(data.TRAIN_JITTER_SCALES)}"
            )
        if num_crops not in (1, 3):
            raise InputError(f"TEST.NUM_SPATIAL_CROPS must be 1 or 3, not {num_crops}")
        self.videos = videos
        self.num_views = 1 if training else num_clips * num_crops
        self._data, self._seed, self._training = data, cfg.RNG_SEED, training
        self._positions, self._num_crops = test_positions(num_clips), num_crops

    def __len__(self):
        """Number of videos."""
        return len(self.videos)

    def __getitem__(self, key):
        return self.__getitems__([key])[0]

    def __getitems__(self, keys):
        """Samples of several keys; a video whose keys stand together is opened once.

        Raises:
            DecodeError: if a video does not decode; names file and line.
        """
        samples = []
        for row, group in itertools.groupby(keys, key=lambda key: key[0]):
            draws = [draw for _, draw in group]
            with open_video(self.videos[row].path, self._data.DECODING_BACKEND) as reader:
                make = self._random_clips if self._training else self._views
                for draw, clip in zip(draws, make(reader, row, draws), strict=True):
                    samples.append({
                        "clip": clip,
                        "label": torch.tensor(self.videos[row].label),
                        "video": torch.tensor(row),
                        "view": torch.tensor(0 if self._training else draw),
                    })
        return samples

    def _indices(self, reader, position):
        data = self._data
        return clip_indices(
            len(reader), reader.fps, data.NUM_FRAMES, data.SAMPLING_RATE, data.TARGET_FPS, position
        )

    def _random_clips(self, reader, row, epochs):
        data = self._data
        for epoch in epochs:
            seed = np.random.SeedSequence((self._seed, epoch, row)).generate_state(1)[0]
            generator = torch.Generator().manual_seed(int(seed))
            position = float(torch.rand(1, generator=generator))
            short_side = draw_short_side(generator, data.TRAIN_JITTER_SCALES)
            # The decoder scales down for next to nothing; what is left is a crop.
            frames = reader.read(self._indices(reader, position), short_side)
            yield train_transform(
                torch.from_numpy(frames),
                generator,
                (short_side, short_side),
                data.TRAIN_CROP_SIZE,
                data.RANDOM_FLIP,
            )

    def _views(self, reader, row, views):
        size = self._data.TEST_CROP_SIZE
        clips = {view: self._indices(reader, self._positions[view // self._num_crops])
                 for view in views}
        # Overlapping clips and the crops of one clip share their frames.
        needed = sorted(set(itertools.chain.from_iterable(clips.values())))
        where = {index: number for number, index in enumerate(needed)}
        frames = torch.from_numpy(reader.read(needed, size))
        for view in views:
            clip = frames[[where[index] for index in clips[view]]]
            yield test_transform(clip, size, view % self._num_crops, self._num_crops)
