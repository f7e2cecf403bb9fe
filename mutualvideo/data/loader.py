"""Batches of clips for training, monitoring, testing and calibration."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from mutualvideo.data.dataset import VideoDataset
from mutualvideo.data.sources import read_videos
from mutualvideo.errors import InputError

SPLITS = ("train", "val", "test", "calibration")


def build_loader(cfg, split, rank=0, world_size=1):
    """The batches of one split, for one of ``world_size`` processes.

    - train: train.csv, shuffled by (``RNG_SEED``, epoch), random clips; batches of
      ``TRAIN.BATCH_SIZE // world_size``, an incomplete last one left out. The batches of all
      processes together do not depend on ``world_size``.
    - calibration: the batches of train, always of epoch 0.
    - val: val.csv in its order, one centred clip and crop a video; batches of
      ``TEST.BATCH_SIZE`` clips.
    - test: test.csv, or val.csv where there is none, ``TEST.NUM_ENSEMBLE_VIEWS`` clips x
      ``TEST.NUM_SPATIAL_CROPS``; batches of ``TEST.BATCH_SIZE`` clips.

    In val and test a process gets every ``world_size``-th video: each video once, no padding,
    so the processes may have different numbers of batches.

    Args:
        cfg: the configuration.
        split: one of ``SPLITS``.
        rank, world_size: which process this is, of how many.

    Returns:
        :class:`ClipLoader`.

    Raises:
        InputError: for an unknown split or bad lists and sizes; while iterating, a
            ``DecodeError`` for a video that does not decode.
    """
    if split not in SPLITS:
        raise InputError(f"split {split!r} is unknown; choose from: {', '.join(SPLITS)}")
    if split in ("train", "calibration"):
        videos = read_videos(cfg.TRAIN.DATASET, cfg, "train").videos
        dataset = VideoDataset(cfg, videos, training=True)
        order = _ShuffledBatches(len(videos), cfg.TRAIN.BATCH_SIZE, cfg.RNG_SEED, rank, world_size)
        order.is_fixed = split == "calibration"
    else:
        if split == "val":
            videos = read_videos(cfg.TRAIN.DATASET, cfg, "val").videos
            dataset = VideoDataset(cfg, videos, training=False)
        else:
            videos = read_videos(cfg.TEST.DATASET, cfg, "test").videos
            dataset = VideoDataset(
                cfg, videos, False, cfg.TEST.NUM_ENSEMBLE_VIEWS, cfg.TEST.NUM_SPATIAL_CROPS
            )
        rows = range(rank, len(videos), world_size)
        order = _OrderedBatches(rows, dataset.num_views, cfg.TEST.BATCH_SIZE)
    return ClipLoader(dataset, order, cfg.DATA_LOADER.NUM_WORKERS, cfg.DATA_LOADER.PIN_MEMORY)


class ClipLoader:
    """Iterates over batches; ``len()`` is the number of batches of a whole epoch.

    A batch is a dict of ``clip`` (uint8, (B, 3, T, S, S)) and of ``label``, ``video`` and
    ``view`` (int64, (B,)), see :class:`mutualvideo.data.dataset.VideoDataset`.

    Attributes:
        dataset: the ``VideoDataset``; ``len(dataset)`` is the number of videos of the whole
            list, ``dataset.num_views`` the clips of each.
        bad: ``{row of the list: message}`` of this process's videos that did not decode.
    """

    def __init__(self, dataset, order, num_workers=0, pin_memory=False):
        if num_workers < 0:
            raise InputError(f"DATA_LOADER.NUM_WORKERS must not be negative, got {num_workers}")
        self.dataset = dataset
        self.bad = {}
        self._order = order
        self._loader = DataLoader(
            _Guarded(dataset),
            batch_sampler=order,
            num_workers=num_workers,
            collate_fn=_collate,
            # Pinning without a GPU warns and does nothing.
            pin_memory=pin_memory and torch.cuda.is_available(),
            worker_init_fn=_start_worker,
            persistent_workers=num_workers > 0,
        )

    def set_epoch(self, epoch, start_step=0):
        """What the next iterations yield: the batches of ``epoch`` from ``start_step`` on.

        The batches before it are skipped without being decoded. Calibration keeps epoch 0,
        val and test have one order only.

        Raises:
            InputError: if ``start_step`` is outside ``0 .. len(self)``.
        """
        if not 0 <= start_step <= len(self):
            raise InputError(f"step {start_step} is outside an epoch of {len(self)} steps")
        self._order.epoch, self._order.start_step = epoch, start_step

    def __len__(self):
        return self._order.num_batches

    def __iter__(self):
        for batch in self._loader:
            if isinstance(batch, _Failure):
                raise batch.kind(batch.message)
            yield batch


class _ShuffledBatches:
    """Keys (video, epoch) of one process's batches; the last incomplete batch is left out."""

    def __init__(self, num_videos, batch_size, seed, rank, world_size):
        if batch_size < 1 or batch_size % world_size:
            raise InputError(
                f"TRAIN.BATCH_SIZE {batch_size} does not divide among {world_size} process(es)"
            )
        if num_videos < batch_size:
            raise InputError(
                f"train.csv holds {num_videos} videos, fewer than TRAIN.BATCH_SIZE {batch_size}; "
                "lower TRAIN.BATCH_SIZE"
            )
        self.epoch = self.start_step = 0
        self.is_fixed = False
        self.num_batches = num_videos // batch_size
        self._num_videos, self._batch_size, self._seed = num_videos, batch_size, seed
        self._rank, self._world_size = rank, world_size

    def __len__(self):
        return self.num_batches - self.start_step

    def __iter__(self):
        epoch = 0 if self.is_fixed else self.epoch
        rows = np.random.default_rng((self._seed, epoch)).permutation(self._num_videos).tolist()
        for step in range(self.start_step, self.num_batches):
            batch = rows[step * self._batch_size : (step + 1) * self._batch_size]
            yield [(row, epoch) for row in batch[self._rank :: self._world_size]]


class _OrderedBatches:
    """Keys (video, view) in order, so that the views of a video share one opening."""

    def __init__(self, rows, num_views, batch_size):
        if batch_size < 1:
            raise InputError(f"TEST.BATCH_SIZE must be at least 1, not {batch_size}")
        self.epoch = self.start_step = 0
        self._rows, self._num_views, self._batch_size = rows, num_views, batch_size
        self.num_batches = -(-len(rows) * num_views // batch_size)

    def __len__(self):
        return self.num_batches - self.start_step

    def __iter__(self):
        total = len(self._rows) * self._num_views
        for first in range(self.start_step * self._batch_size, total, self._batch_size):
            numbers = range(first, min(first + self._batch_size, total))
            yield [(self._rows[n // self._num_views], n % self._num_views) for n in numbers]


@dataclass(frozen=True)
class _Failure:
    """An input error on its way from a worker, without the worker's traceback."""

    kind: type
    message: str


class _Guarded(Dataset):
    """A data set whose input errors come back as the batch."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __getitems__(self, keys):
        try:
            return self.dataset.__getitems__(keys)
        except InputError as error:
            return _Failure(type(error), str(error))


def _collate(samples):
    return samples if isinstance(samples, _Failure) else default_collate(samples)


def _start_worker(worker):
    # The workers themselves are the parallelism.
    torch.set_num_threads(1)
