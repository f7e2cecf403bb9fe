"""Everything that can be known before the first step of a run: by the run and by a dry run.

A run may take days, and its evaluation comes last. What would end it then is looked for here:
keys, lists, backends, the folder and the room in it. Of the videos that are read late a few are
opened, see :func:`~mutualvideo.engine.needed_lists.read_lists`.
"""

import logging
import math
import os
import shutil

from mutualvideo.backends import backend_kind, backend_names
from mutualvideo.engine.multigrid import build_schedule
from mutualvideo.engine.run_keys import check_test_keys, check_training_keys
from mutualvideo.engine.tasks import task_of
from mutualvideo.engine.train import build_sampler
from mutualvideo.errors import InputError
from mutualvideo.evaluation.choose_statistics import require_choice
from mutualvideo.evaluation.continual_rows import check_continual
from mutualvideo.evaluation.grid import find_checkpoint, grid_subnets
from mutualvideo.extras import import_extra
from mutualvideo.media import reader_class
from mutualvideo.models import read_checkpoint
from mutualvideo.models.model_registry import count_numbers
from mutualvideo.run.checkpoint import average_of, checkpoints, keeps_best

logger = logging.getLogger(__name__)

# By extra: what converts a network for its backend, which that imports when it does.
_CONVERTERS = {"onnx": ("onnx", "onnxscript")}
# Of a checkpoint beside its tensors, and of all else that a run writes.
_OVERHEAD_BYTES = 1 << 20
_BYTES = 4  # of a number
_EXAMPLES = 3


def check_keys(cfg):
    """What the configuration alone says.

    Raises:
        InputError: naming the key.
    """
    if not (cfg.TRAIN.ENABLE or cfg.TEST.ENABLE):
        raise InputError("TRAIN.ENABLE and TEST.ENABLE are False: there is nothing to do; set one")
    task_of(cfg).check(cfg)
    if cfg.TRAIN.ENABLE:
        check_training_keys(cfg)
        build_sampler(cfg)
    if cfg.TEST.ENABLE or (cfg.TRAIN.ENABLE and cfg.TRAIN.EVAL_PERIOD):
        check_test_keys(cfg)
    if cfg.TEST.ENABLE:
        require_choice(cfg.TABLE.STATISTICS)
        check_continual(cfg)
        if cfg.TRAIN.ENABLE:
            grid_subnets(cfg)
        else:
            find_checkpoint(cfg)
        if cfg.TABLE.LATENCY:
            _check_backend(cfg.TABLE.LATENCY_BACKEND)


def preflight(cfg, context, has_data=True):
    """What lists, libraries and disks say; warns of what is odd and may be meant.

    Args:
        cfg: the configuration, after :func:`check_keys`.
        context: this process.
        has_data: False: a dry run on a machine without them; lists are not asked for.

    Raises:
        InputError: naming the key, list or folder.
    """
    reader_class(cfg.DATA.DECODING_BACKEND)
    task = task_of(cfg)
    if cfg.TRAIN.ENABLE and has_data:
        cfg = task.settle(cfg)  # so that labels of val are held against those of train
    if cfg.TEST.ENABLE and cfg.TABLE.LATENCY:
        _check_backend(cfg.TABLE.LATENCY_BACKEND, context.device)
    if cfg.TEST.ENABLE and cfg.TEST.EMA and not cfg.TRAIN.ENABLE:
        path = find_checkpoint(cfg)
        average_of(read_checkpoint(path), path)
    splits = task.lists(cfg, context) if has_data else {}
    _check_folder(cfg.OUTPUT_DIR)
    if cfg.TRAIN.ENABLE and cfg.MODEL.NUM_CLASSES:
        _check_room(cfg)
    for warning in _oddities(cfg, splits):
        logger.warning("%s", warning)


def _check_backend(name, device=None):
    """Whether there is such a backend and, with ``device``, whether it can work there."""
    try:
        kind = backend_kind(name)
        if not kind.takes_network:
            raise InputError(
                f"runs only exported files; choose one of {', '.join(backend_names())}"
            )
        if device is not None:
            kind(str(device) if name.startswith("torch") else None)
            for package in _CONVERTERS.get(kind.extra, ()):
                import_extra(package, kind.extra, f"backend {name!r}")
    except InputError as error:
        raise InputError(
            f"TABLE.LATENCY_BACKEND {name}: {error}; or set TABLE.LATENCY False"
        ) from error


def _check_folder(folder):
    """Whether the folder, or the one that it will be made in, can be written to."""
    place = os.path.abspath(folder)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        raise InputError(f"OUTPUT_DIR {folder}: {place} is a file; choose another folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(
            f"OUTPUT_DIR {folder}: {place} cannot be written to; choose another folder"
        )


def _check_room(cfg):
    """Whether the checkpoints that are coming fit on the disk."""
    train = cfg.TRAIN
    states = 1 + (2 if cfg.SOLVER.OPTIMIZING_METHOD != "sgd" else bool(cfg.SOLVER.MOMENTUM))
    size = (states + bool(train.EMA_DECAY)) * _BYTES * count_numbers(cfg) + _OVERHEAD_BYTES
    there = {epoch for (epoch, step), _ in checkpoints(cfg.OUTPUT_DIR) if not step}
    first = max(there, default=0) if train.AUTO_RESUME else 0
    last = build_schedule(cfg).epochs
    epochs = range(first + 1, last + 1)
    period = train.CHECKPOINT_PERIOD or math.inf
    coming = sum(1 for epoch in epochs if epoch % period == 0 or epoch == last)
    if train.KEEP_CHECKPOINTS:
        coming = min(coming, max(0, train.KEEP_CHECKPOINTS - len(there)))
    # One more is written before an old one is removed.
    count = coming + bool(epochs) + keeps_best(cfg)
    place = os.path.abspath(cfg.OUTPUT_DIR)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free
    if count * size > free:
        raise InputError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR}: {count} checkpoints of {_shown(size)} are coming, "
            f"{_shown(count * size)}, and {_shown(free)} are free: set TRAIN.KEEP_CHECKPOINTS or "
            "raise TRAIN.CHECKPOINT_PERIOD, or free some space"
        )


def _shown(size):
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _oddities(cfg, splits):
    if cfg.TRAIN.ENABLE and cfg.TEST.ENABLE and cfg.TEST.CHECKPOINT_FILE_PATH:
        yield (
            f"TEST.CHECKPOINT_FILE_PATH {cfg.TEST.CHECKPOINT_FILE_PATH} is not evaluated: after "
            "training it is what was trained; set TRAIN.ENABLE False to evaluate that file"
        )
    for origin, videos in dict(splits.values()).items():
        yield from _two_labels(origin, videos)
    names = {"calibration": "train"}
    lists = {names.get(split, split): found for split, found in splits.items()}
    if "train" in lists:
        for split in ("val", "test"):
            if split in lists:
                yield from _in_both(lists["train"], lists[split])
                break


def _two_labels(origin, videos):
    """Videos that stand in a list with more than one label."""
    labels, odd = {}, {}
    for video in videos:
        first = labels.setdefault(video.path, video)
        if first.labels != video.labels:
            odd.setdefault(video.path, (first, video))
    if odd:
        examples = [
            f"{a.name} (lines {a.line} and {b.line}: {a.written_labels} and {b.written_labels})"
            for a, b in list(odd.values())[:_EXAMPLES]
        ]
        yield f"{origin}: {len(odd)} videos have two labels, such as {', '.join(examples)}"


def _in_both(train, other):
    paths = {video.path for video in train[1]}
    both = list(dict.fromkeys(video.name for video in other[1] if video.path in paths))
    if both and train[0] != other[0]:
        yield (
            f"{len(both)} videos are in {train[0]} and in {other[0]}, such as "
            f"{', '.join(both[:_EXAMPLES])}: accuracies on them are those of training"
        )
