"""Batches of clips for training, monitoring, testing and calibration."""

import logging
import signal
import threading
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from mutualvideo.data.batch_orders import (
    BalancedBatches,
    OrderedBatches,
    ShardedBatches,
    ShuffledBatches,
)
from mutualvideo.data.dataset import VideoDataset
from mutualvideo.data.regions import stack_regions
from mutualvideo.data.sources import read_videos
from mutualvideo.data.worker_faults import (
    forget,
    hand_over,
    is_death,
    limit_of,
    outlive,
    too_many_deaths,
)
from mutualvideo.errors import InputError
from mutualvideo.media import DecodeError
from mutualvideo.media.shards import shard_of

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test", "calibration")
# Of workers in an iteration; more is no accident.
_MAX_DEATHS = 3


def build_loader(cfg, split, rank=0, world_size=1, turns_of=None):
    """The batches of one split, for one of ``world_size`` processes.

    - train: train.csv, shuffled by (``RNG_SEED``, epoch), random clips; batches of
      ``TRAIN.BATCH_SIZE // world_size``, an incomplete last one left out. The batches of all
      processes together do not depend on ``world_size``. With DATA.SAMPLER ``balanced`` every
      class comes as often as any other, in an epoch of the same length; with ``shards`` videos
      of a few shards are shuffled at a time.
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
        turns_of: of train: function from an epoch to the kinds of batches that come in turn,
            ``[Turn, ...]`` (:mod:`mutualvideo.data.batch_orders`); ``None``: all are alike.

    Returns:
        :class:`ClipLoader`.

    Raises:
        InputError: for an unknown split or bad lists and sizes; while iterating, a
            ``DecodeError`` for a video that does not decode.
    """
    if split not in SPLITS:
        raise InputError(f"split {split!r} is unknown; choose from: {', '.join(SPLITS)}")
    if split in ("train", "calibration"):
        listing = read_videos(cfg.TRAIN.DATASET, cfg, "train")
        dataset = VideoDataset(cfg, listing, training=True)
        sizes = cfg.TRAIN.BATCH_SIZE, cfg.RNG_SEED, rank, world_size, turns_of
        order = _training_order(cfg.DATA, dataset, sizes)
        order.is_fixed = split == "calibration"
        max_bad = cfg.DATA.MAX_BAD_FRACTION
    else:
        if split == "val":
            listing, views = read_videos(cfg.TRAIN.DATASET, cfg, "val"), (1, 1)
        else:
            listing = read_videos(cfg.TEST.DATASET, cfg, "test")
            views = cfg.TEST.NUM_ENSEMBLE_VIEWS, cfg.TEST.NUM_SPATIAL_CROPS
        dataset = VideoDataset(cfg, listing, False, *views)
        rows = range(rank, len(dataset), world_size)
        max_bad = None
        order = OrderedBatches(rows, dataset.num_views, cfg.TEST.BATCH_SIZE)
    workers = cfg.DATA_LOADER
    return ClipLoader(dataset, order, max_bad, workers.NUM_WORKERS, workers.PIN_MEMORY)


def _training_order(data, dataset, sizes):
    if data.SAMPLER == "balanced":
        return BalancedBatches([one.label for one in dataset.videos], *sizes)
    if data.SAMPLER != "shards":
        return ShuffledBatches(len(dataset), *sizes)
    shards = [shard_of(one.path) for one in dataset.videos]
    if None in shards:
        video = dataset.videos[shards.index(None)]
        raise InputError(
            f"{dataset.origin}:{video.line}: {video.name} is in no shard, and DATA.SAMPLER is "
            "shards: write some with `mutualvideo resize --shards`, or set DATA.SAMPLER random"
        )
    return ShardedBatches(shards, data.SHARD_WINDOW, *sizes)


class ClipLoader:
    """Iterates over batches; ``len()`` is the number of batches of the whole epoch that is set.

    Without ``batch_of`` a batch is a dict of ``clip`` (uint8, (B, 3, T, S, S), channels last in
    memory) and of ``label``, ``video`` and ``view`` (int64, (B,); of several labels float32 (B,
    classes)), see
    :class:`mutualvideo.data.dataset.VideoDataset`. In training clips are regions of their own
    ``size`` (int64, (B, 2)) that :class:`mutualvideo.data.augment.Augmentation` takes.

    Args:
        dataset: the ``VideoDataset``.
        order: yields the keys of each batch.
        max_bad: share of an epoch's videos, of all processes, that may be unreadable, 0 to 1;
            ``None``: any.
        num_workers, pin_memory: as ``torch.utils.data.DataLoader`` takes them.
        batch_of: function from samples to a batch, a nest of tensors, for other data sets whose
            ``__getitems__`` returns (samples, ``{row: why it is missing}``).

    Attributes:
        dataset: the ``VideoDataset``; ``len(dataset)`` is the number of videos of the whole
            list, ``dataset.num_views`` the clips of each.
        bad: ``{row: message}`` of the videos that did not decode in the current iteration. In
            training others took their place; in val and test a video listed here has views
            missing, a batch may be smaller for it, and an empty one is not yielded.
        position: batches of the epoch that were yielded or left out so far, those before
            ``start_step`` included.
    """

    def __init__(
        self, dataset, order, max_bad=None, num_workers=0, pin_memory=False, batch_of=None
    ):
        if num_workers < 0:
            raise InputError(f"DATA_LOADER.NUM_WORKERS must not be negative, got {num_workers}")
        if max_bad is not None and not 0 <= max_bad <= 1:
            raise InputError(f"DATA.MAX_BAD_FRACTION must be from 0 to 1, got {max_bad}")
        self.dataset, self.bad, self.position = dataset, {}, 0
        self._order, self._max_bad = order, max_bad
        # Pinning without a GPU warns and does nothing.
        self._options = {
            "collate_fn": partial(_collate, batch_of or _batch_of),
            "num_workers": num_workers,
            "pin_memory": pin_memory and torch.cuda.is_available(),
            "persistent_workers": num_workers > 0,
        }
        self._loader = self._of(order)

    def _of(self, order):
        return DataLoader(
            _Guarded(self.dataset),
            batch_sampler=order,
            worker_init_fn=_start_worker,
            **self._options,
        )

    def set_epoch(self, epoch, start_step=0):
        """What the next iterations yield: the batches of ``epoch`` from ``start_step`` on.

        The batches before it are skipped without being decoded. Calibration keeps epoch 0,
        val and test have one order only.

        Raises:
            InputError: if ``start_step`` is outside ``0 .. len(self)``.
        """
        self._order.epoch, self._order.start_step = epoch, 0
        if not 0 <= start_step <= len(self):
            raise InputError(f"step {start_step} is outside an epoch of {len(self)} steps")
        self._order.start_step = start_step

    def __len__(self):
        return self._order.num_batches

    def __iter__(self):
        """Batches. Workers that die are started anew; no batch is lost by it, none comes twice.

        Raises:
            InputError: if more videos do not decode than ``max_bad`` allows, or as the data
                set does; if workers die again and again.
        """
        self.bad, self.position = {}, self._order.start_step
        for batch in self._batches():
            self.position += 1
            if isinstance(batch, _Failure):
                raise batch.kind(batch.message)
            batch, failures = batch
            if failures:
                self.bad.update(failures)
                self.check_bad(len(self.bad), self.bad)
            if batch is not None:
                yield batch

    def _batches(self):
        deaths, first, loader = 0, self.position, self._loader
        while True:
            try:
                yield from _quiet_iter(loader)
                return
            except (RuntimeError, OSError, EOFError) as error:
                if limit := limit_of(error):
                    raise limit from error
                if not is_death(error):
                    raise
                deaths += 1
                what = " ".join(str(error).split()) or type(error).__name__
                if deaths > _MAX_DEATHS:
                    raise too_many_deaths(deaths, what) from error
                logger.warning("workers of the loader are started anew: %s", what)
                if loader is not self._loader:
                    _end(loader)
                _end(self._loader)
                self._loader = self._of(self._order)  # of later iterations
                loader = self._of(list(islice(self._order, self.position - first, None)))

    def check_bad(self, count, bad):
        """Raises DecodeError if ``count`` videos of an epoch, ``bad`` among them, are too many.

        An iteration asks it of this process's own; whoever has counted those of all processes may
        ask it again.
        """
        if self._max_bad is None or count <= self._max_bad * self._order.num_videos:
            return
        example = "".join(f"{message}; " for message in list(bad.values())[:1])
        raise DecodeError(
            f"{count} of {self._order.num_videos} videos do not decode, DATA.MAX_BAD_FRACTION "
            f"allows {self._max_bad:g} of them; {example}list them all with "
            "`mutualvideo check --csv LIST_OR_FOLDER --output FOLDER`"
        )


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


def _collate(batch_of, found):
    """(batch, failures) of what the data set returns; no batch of no sample."""
    if isinstance(found, _Failure):
        return found
    samples, failures = found
    if not samples:
        return None, failures
    try:
        return hand_over(batch_of(samples)), failures
    except (RuntimeError, OSError) as error:
        if limit := limit_of(error):
            return _Failure(InputError, str(limit))
        raise


def _batch_of(samples):
    clip, size = stack_regions([sample.pop("clip") for sample in samples])
    batch = {"clip": clip, **default_collate(samples)}
    if "seed" in batch:
        batch["size"] = size
    return batch


def _quiet_iter(loader):
    """``iter(loader)``, which tells of a dead worker when a batch is asked for, and only then.

    torch's handler of SIGCHLD would raise wherever the main thread is, within an optimiser's step
    too, and half a step cannot be taken back.
    """
    mine = hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGCHLD) if mine else None
    try:
        return outlive(iter(loader))
    except OSError as error:
        forget(error)
        raise
    finally:
        if mine:
            signal.signal(signal.SIGCHLD, before)


def _end(loader):
    """Ends the workers of a loader one of which is gone: the others may wait for it for ever."""
    for worker in getattr(loader._iterator, "_workers", ()):
        worker.kill()


def _start_worker(worker):
    # The workers themselves are the parallelism.
    torch.set_num_threads(1)
    # ^C reaches all processes of a terminal; what is done about it, the main one decides, and
    # what it made of SIGTERM is not for those that it ends by it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
