"""Videos to uint8 clips: one sample is one view of one video. A picture is a clip without time.

A sample is a function of its key (video, draw) and the configuration alone, where the draw
is the epoch in training, which may be followed by the clip's shape, and the view in testing. So
it does not matter which worker makes it, nor what was made before.
"""

import functools
import itertools

import numpy as np
import torch
from torch.utils.data import Dataset

from mutualvideo.config import takes_pictures
from mutualvideo.data.clip_shape import ClipShape
from mutualvideo.data.regions import Geometries, RelativeGeometry
from mutualvideo.data.sampling import (
    clip_indices,
    read_size,
    segment_indices,
    test_positions,
    view_indices,
)
from mutualvideo.data.transforms import test_transform
from mutualvideo.errors import InputError
from mutualvideo.media import DecodeError
from mutualvideo.media.reader_cache import ReaderCache
from mutualvideo.media.reading import open_reader

# Videos in a row that may fail to stand in for one another before a run is given up.
_MAX_TRIES = 10


class VideoDataset(Dataset):
    """Clips of a list of videos, by key ``(video, draw)``: row of the list, epoch or view.

    In training a key may be ``(video, epoch, shape)``: the clip has that
    :class:`~mutualvideo.data.clip_shape.ClipShape` instead of the configuration's. Of smaller
    squares the range of DATA.TRAIN_JITTER_SCALES begins at as much less, as in PySlowFast. Where a
    video comes several times in an epoch, ``(video, epoch, shape or None, how often it came
    before)`` is another clip of it.

    Args:
        cfg: the configuration; its ``DATA`` section and ``RNG_SEED`` are read.
        listing: :class:`mutualvideo.data.annotations.VideoList`.
        training: random clips and regions, decided by (``RNG_SEED``, epoch, row).
        num_clips, num_crops: not in training: views of a video, ``num_clips`` evenly over
            time (or over the segments, where the list asks for them) times ``num_crops`` along
            the longer side. View v is clip ``v // num_crops``,
            crop ``v % num_crops``, as in PySlowFast.

    A sample is a dict of ``clip``, uint8 tensor (T, H, W, 3), of pictures (H, W, 3), and the
    ints ``label``, ``video`` (row of the list) and ``view`` (0 in training); with
    ``DATA.MULTI_LABEL`` ``label`` is float32 (classes,), 1 for those that it has. In testing
    a clip is a square of ``DATA.TEST_CROP_SIZE``. In training it is a region cut out of the
    frames, not scaled and not mirrored yet; ``mirror`` (bool) and ``seed`` (int) say how
    :class:`mutualvideo.data.augment.Augmentation` goes on with it on the device. (They become
    tensors once a batch: a tensor of one number costs more than drawing it.)

    A video that does not decode is left out in testing. In training another one takes its
    place, drawn by (``RNG_SEED``, epoch, row), and brings its own label.

    Raises:
        InputError: for crops, views, scales or a cache that are impossible, or pictures for a
            network of clips, and the other way round.
    """

    def __init__(self, cfg, listing, training, num_clips=1, num_crops=1):
        data = cfg.DATA
        self._open_picture = listing.open_picture
        _require_what_the_network_takes(cfg, listing, num_clips)
        if num_crops not in (1, 3):
            raise InputError(f"TEST.NUM_SPATIAL_CROPS must be 1 or 3, not {num_crops}")
        if not 0 < data.TEST_CROP_SHARE <= 1:
            raise InputError(
                f"DATA.TEST_CROP_SHARE must be above 0 and at most 1, not {data.TEST_CROP_SHARE}"
            )
        if data.CACHE < 0 or (data.CACHE and cfg.DATA_LOADER.NUM_WORKERS > 1):
            raise InputError(
                f"DATA.CACHE {data.CACHE:g}: expected GiB, 0 for none, and with it at most one of "
                f"DATA_LOADER.NUM_WORKERS, not {cfg.DATA_LOADER.NUM_WORKERS}: each would keep "
                "frames of its own"
            )
        self.videos, self.classes = listing.videos, listing.classes
        self.origin, self.segments = listing.origin, listing.segments
        self._geometries = Geometries(data, listing.mirrored) if training else None
        self.num_views = 1 if training else num_clips * num_crops
        self._data, self._seed, self._training = data, cfg.RNG_SEED, training
        self._num_classes = cfg.MODEL.NUM_CLASSES if data.MULTI_LABEL else None
        test_positions(num_clips)  # refuses a bad number
        self._num_clips, self._num_crops = num_clips, num_crops
        self._shape = ClipShape(data.NUM_FRAMES, data.TRAIN_CROP_SIZE, data.SAMPLING_RATE)
        # Testing decodes each video once for all sub-networks: there is nothing to keep.
        self._cache = ReaderCache(data.CACHE) if training and data.CACHE else None

    def __len__(self):
        """Number of videos."""
        return len(self.videos)

    @property
    def cached_bytes(self):
        """Bytes of frames that DATA.CACHE keeps so far, in this process."""
        return 0 if self._cache is None else self._cache.used

    def __getitem__(self, key):
        """One sample.

        Raises:
            DecodeError: if there is none; names the file.
        """
        samples, failures = self.__getitems__([key])
        if not samples:
            raise DecodeError(failures[key[0]])
        return samples[0]

    def __getitems__(self, keys):
        """Samples of several keys; a video whose keys stand together is opened once.

        Returns:
            (samples, failures): a list, and ``{row: message}`` of the videos that did not
            decode.

        Raises:
            DecodeError: in training, if what should replace a video does not decode either.
        """
        samples, failures = [], {}
        for row, group in itertools.groupby(keys, key=lambda key: key[0]):
            if self._training:
                samples += [self._one_that_decodes(failures, *key) for key in group]
                continue
            try:
                samples += self._views(row, [view for _, view in group])
            except DecodeError as error:
                failures[row] = str(error)
        return samples, failures

    def _open(self, row):
        if self._cache is None:
            return self._open_anew(row)
        return self._cache.open(row, lambda: self._open_anew(row))

    def _open_anew(self, row):
        if self._open_picture is not None:
            return self._open_picture(self.videos[row])
        return open_reader(self.videos[row], self._data.DECODING_BACKEND)

    def _random_indices(self, reader, generator, shape):
        if self._open_picture is not None:
            return [0]
        if self.segments:
            offsets = torch.rand(shape.frames, generator=generator, dtype=torch.float64)
            return segment_indices(len(reader), shape.frames, offsets.tolist())
        position, low = float(torch.rand(1, generator=generator)), self._data.SAMPLING_RATE
        rate = low
        if shape.sampling_rate > low:
            rate = int(torch.randint(low, shape.sampling_rate + 1, (1,), generator=generator))
        target_fps = self._data.TARGET_FPS
        return clip_indices(len(reader), reader.fps, shape.frames, rate, target_fps, position)

    def _view_indices(self, reader, number):
        """Frames of clip ``number`` of a video's ``num_clips``."""
        if self._open_picture is not None:
            return [0]
        about = self._data, number, self._num_clips, self.segments
        return view_indices(len(reader), reader.fps, *about)

    def _sample(self, row, view, clip):
        return {
            "clip": clip if self._open_picture is None else clip[0],
            "label": self._label(self.videos[row]),
            "video": row,
            "view": view,
        }

    def _label(self, video):
        if self._num_classes is None:
            return video.label
        marks = torch.zeros(self._num_classes)
        marks[list(video.labels)] = 1
        return marks

    def _one_that_decodes(self, failures, row, epoch, shape=None, use=0):
        """The sample of a key; notes in ``failures`` which rows it is not from."""
        first = row
        seed = (self._seed, epoch, first) if not use else (self._seed, epoch, first, 0, use)
        for attempt in range(1, _MAX_TRIES + 1):
            try:
                return self._random_clip(row, np.random.SeedSequence(seed), shape or self._shape)
            except DecodeError as error:
                failures[row] = str(error)
            draw = np.random.default_rng((*seed, attempt))
            row = int(draw.integers(len(self.videos)))
        raise DecodeError(
            f"{failures[first]} (and none of {_MAX_TRIES - 1} videos drawn in its place decodes)"
        )

    def _random_clip(self, row, entropy, shape):
        seed, later_seed = entropy.generate_state(2).tolist()
        generator = torch.Generator().manual_seed(seed)
        geometry = self._geometries.of(shape.size).draw(generator)
        with self._open(row) as reader:
            if self._open_picture is not None and isinstance(geometry, RelativeGeometry):
                # Pillow scales nothing but the region.
                region = torch.from_numpy(reader.read_crop(geometry.region, geometry.crop_size))
            else:
                region = self._random_region(reader, geometry, generator, shape)
        return {
            **self._sample(row, 0, region),
            "mirror": geometry.mirror,
            "seed": later_seed,
        }

    def _random_region(self, reader, geometry, generator, shape):
        indices = self._random_indices(reader, generator, shape)
        # The decoder scales down for next to nothing; what is left is a crop. How large a rotated
        # video is shown, the first frame of it says.
        frames = reader.read(indices, lambda *source: geometry.short_side(source))
        rows, columns = (_reflected(side, geometry.padding) for side in frames.shape[1:3])
        top, left, height, width = geometry.region(len(rows), len(columns))
        if geometry.padding:
            rows, columns = rows[top : top + height], columns[left : left + width]
            return torch.from_numpy(frames.take(rows, axis=1).take(columns, axis=2))
        return torch.from_numpy(frames)[:, top : top + height, left : left + width]

    def _views(self, row, views):
        size, share = self._data.TEST_CROP_SIZE, self._data.TEST_CROP_SHARE
        with self._open(row) as reader:
            clips = {view: self._view_indices(reader, view // self._num_crops) for view in views}
            # Overlapping clips and the crops of one clip share their frames.
            needed = sorted(set(itertools.chain.from_iterable(clips.values())))
            frames = torch.from_numpy(reader.read(needed, read_size(self._data)))
        where = {index: number for number, index in enumerate(needed)}
        for view in views:
            clip = frames[[where[index] for index in clips[view]]]
            clip = test_transform(clip, size, view % self._num_crops, self._num_crops, share)
            yield self._sample(row, view, clip)


@functools.cache
def _reflected(side, padding):
    """Which of ``side`` pixels stands at each place of the padded side; shared, not to be changed.

    Padding the places, not the pixels: what is cut away again is never made.
    """
    return np.pad(np.arange(side), padding, mode="reflect")


def _require_what_the_network_takes(cfg, listing, num_clips):
    pictures = listing.open_picture is not None
    if pictures != takes_pictures(cfg):
        holds, takes = ("pictures", "clips") if pictures else ("videos", "pictures")
        raise InputError(
            f"{listing.origin}: holds {holds}, but {cfg.MODEL.MODEL_NAME} takes {takes}: correct "
            "TRAIN.DATASET and TEST.DATASET, or MODEL.MODEL_NAME"
        )
    if pictures and num_clips != 1:
        raise InputError(
            f"TEST.NUM_ENSEMBLE_VIEWS {num_clips}: a picture has one; views in time are of videos"
        )
