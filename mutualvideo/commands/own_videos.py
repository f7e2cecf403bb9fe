"""Training on a folder of one's own videos: what follows from them and from the machine."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from fvcore.common.config import CfgNode

from mutualvideo.commands.latest_run import FOLDER
from mutualvideo.config import in_pairs, trace_run
from mutualvideo.data.class_count import settle_classes
from mutualvideo.data.sources import read_videos
from mutualvideo.engine.kept_memory import kept_bytes
from mutualvideo.engine.train import build_trained
from mutualvideo.errors import InputError
from mutualvideo.files import StrPath
from mutualvideo.models import full_subnet
from mutualvideo.run.checkpoint import newest_checkpoint
from mutualvideo.slim import input_shape, set_subnet

# Clips that are seen in a training, as far as the numbers of epochs allow.
_CLIPS, _EPOCHS, _EPOCHS_KEY = 60_000, (15, 60), "SOLVER.MAX_EPOCH"
_BATCHES = (64, 32, 16, 8, 4)
# Rates of configurations are for their own batch, and follow it in proportion (arXiv 1706.02677).
_RATES = ("SOLVER.BASE_LR", "SOLVER.WARMUP_START_LR", "SOLVER.COSINE_END_LR")
# What follows from memory and videos where nobody decided it.
_RECIPE = (
    "TRAIN.BATCH_SIZE", "TEST.BATCH_SIZE", *_RATES, _EPOCHS_KEY, "TRAIN.EVAL_PERIOD",
    "SOLVER.WARMUP_EPOCHS",
)  # fmt: skip
# Of the memory that is free: a CPU has other things to keep there.
_SHARE = {"cuda": 0.8, "cpu": 0.4}
# Steps of an epoch that there should be.
_FEWEST_STEPS = 4
_MEASURED_CLIPS = 2
_GIB = 2**30


@dataclass(frozen=True)
class Choice:
    """A key that nobody gave, what it was set to, and why."""

    key: str
    value: Any
    why: str

    def __str__(self) -> str:
        return f"{self.key} {self.value}: {self.why}"


def own_run(
    folder: StrPath,
    config: StrPath,
    overrides: Iterable[str] = (),
    device: str | torch.device = "cpu",
    free_bytes: int | None = None,
) -> tuple[CfgNode, list[Choice]]:
    """The configuration of a training on the videos in ``folder``.

    Processes that decode follow from the cores, the place of the run from the folder's name, and
    under a configuration of ``Own``, which is made for it, batch and learning rate from the memory
    and epochs from the number of videos. What ``overrides`` give stays as given, and so does the
    recipe of another configuration. A run that has begun goes on with what was chosen then.

    Args:
        folder: one folder a class, see :func:`~mutualvideo.data.sources.videofolder.videofolder`,
            or with lists as of Kinetics, see :func:`~mutualvideo.data.sources.kinetics.kinetics`.
        config: YAML file, such as ``configs/Own/X3D_S_finetune.yaml``.
        overrides: ``[KEY, VALUE, ...]``, as on a command line.
        device: where it will train.
        free_bytes: memory there; ``None``: as much as is free now.

    Returns:
        ``(cfg, [Choice, ...])``, the choices in the order of their keys' importance.

    Raises:
        InputError: for a folder that cannot be trained on, or a bad configuration.
    """
    overrides = in_pairs(str(text) for text in overrides)
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder; name one that holds a folder for each class")
    given = dict(zip(overrides[::2], overrides[1::2], strict=True))
    where = ["DATA.PATH_TO_DATA_DIR", str(folder)]
    kinds = _kinds(folder, trace_run(config, [*where, *overrides])[0], given)
    where += [text for one in kinds for text in (one.key, str(one.value))]
    place = given.get("OUTPUT_DIR") or os.path.join(FOLDER, Path(folder).resolve().name)
    asked, _ = trace_run(config, [*where, *overrides])
    begun, decided = None, given
    if asked.TRAIN.AUTO_RESUME:
        begun = _begun(place, folder if "OUTPUT_DIR" not in given else None)
    if begun is not None or Path(config).parent.name != "Own":
        decided = {**dict.fromkeys(_RECIPE, ""), **given}
    # Its own epochs: the warm-up is a share of them.
    own = [text for key, value in given.items() if key != _EPOCHS_KEY for text in (key, value)]
    cfg, _ = trace_run(config, [*where, *own])
    cfg = settle_classes(cfg)
    videos = len(read_videos(cfg.TRAIN.DATASET, cfg, "train").videos)
    checked = len(read_videos(cfg.TRAIN.DATASET, cfg, "val").videos)
    what = "folders of classes" if cfg.TRAIN.DATASET == "videofolder" else "labels in the list"
    what = f"{what}; {videos} videos to train on, {checked} to validate on"
    chosen = [Choice("MODEL.NUM_CLASSES", cfg.MODEL.NUM_CLASSES, what)]
    if begun is not None:
        chosen += [one for one in begun if one.key not in given]
    if "TRAIN.BATCH_SIZE" not in decided:
        free = free_memory(device) if free_bytes is None else free_bytes
        chosen += _batch(cfg, videos, free, torch.device(device).type, decided)
    chosen += _epochs(cfg, videos, decided, asked.SOLVER.MAX_EPOCH)
    if "DATA_LOADER.NUM_WORKERS" not in given:
        cores = os.cpu_count() or 1
        workers = max(1, min(cfg.DATA_LOADER.NUM_WORKERS, cores - 1))
        chosen.append(Choice("DATA_LOADER.NUM_WORKERS", workers, f"{cores} CPU cores"))
    if "OUTPUT_DIR" not in given:
        chosen.append(Choice("OUTPUT_DIR", place, "called after the videos' folder"))
    found = [text for one in chosen[1:] for text in (one.key, str(one.value))]
    cfg, _ = trace_run(config, [*where, *found, *overrides])
    return settle_classes(cfg), [chosen[0], *kinds, *chosen[1:]]


def _kinds(folder: StrPath, cfg: CfgNode, given: Mapping[str, str]) -> list[Choice]:
    """Lists where the folder has some and folders are read; folders where it has no lists."""
    names = os.listdir(folder)
    if cfg.TRAIN.DATASET == "videofolder" and "train.csv" in names:
        kind, why = "kinetics", "the folder holds the list train.csv"
    elif cfg.TRAIN.DATASET == "kinetics" and not any(n.endswith((".csv", ".txt")) for n in names):
        kind, why = "videofolder", "the folder holds no list, its folders are classes"
    else:
        return []
    found = [
        Choice(key, kind, why) for key in ("TRAIN.DATASET", "TEST.DATASET") if key not in given
    ]
    if "MODEL.NUM_CLASSES" not in given and cfg.MODEL.NUM_CLASSES:
        found.append(Choice("MODEL.NUM_CLASSES", 0, "as many as there are classes"))
    return found


def _begun(place: str, folder: StrPath | None) -> list[Choice] | None:
    """What the run in ``place`` that is to go on trains by; ``None``: there is none.

    Raises:
        InputError: if it is one on other videos than those in ``folder``.
    """
    if newest_checkpoint(place) is None:
        return None
    try:
        with open(os.path.join(place, "config.yaml"), encoding="utf-8") as file:
            kept = yaml.safe_load(file)
        values = {key: kept[key.split(".")[0]][key.split(".")[1]] for key in _RECIPE}
        theirs = str(kept["DATA"]["PATH_TO_DATA_DIR"])
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        return None
    if folder is not None and os.path.realpath(theirs) != os.path.realpath(folder):
        raise InputError(
            f"{place}: holds a run on {theirs}: give OUTPUT_DIR another folder, or, if these are "
            f"the same videos and it is to go on, OUTPUT_DIR {place}"
        )
    return [Choice(key, value, f"the run in {place} has it") for key, value in values.items()]


def free_memory(device: str | torch.device) -> int:
    """Bytes that are free on ``device`` now: of a GPU its own, else the machine's."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass  # not Linux
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def clip_bytes(cfg: CfgNode) -> int:
    """Bytes that the full network keeps of a training clip for its backward pass."""
    with torch.random.fork_rng(devices=()):
        model = build_trained(cfg, torch.device("cpu")).train()
        full = full_subnet(cfg)
        set_subnet(model, full)
        frames, size = input_shape(model, full)
        shape = (size, size) if frames is None else (frames, size, size)
        clips = torch.randn(_MEASURED_CLIPS, 3, *shape)
        return kept_bytes(model, lambda: model(clips).sum().backward()) // _MEASURED_CLIPS


def _batch_size(cfg: CfgNode, videos: int, free: int, kind: str) -> tuple[int, str]:
    each, share = clip_bytes(cfg), _SHARE.get(kind, _SHARE["cpu"])
    most = max(1, videos // _FEWEST_STEPS)
    limit = next((size for size in _BATCHES if size <= most), most)
    size = next((size for size in _BATCHES if size <= limit and size * each <= share * free), None)
    memory = f"{each / _GIB:.2g} GiB a clip, {free / _GIB:.1f} GiB free"
    if size is None:
        size = min(_BATCHES[-1], limit)
        if size * each > share * free:
            return size, f"{memory}: this may not fit; free some, or set MODEL.ACT_CHECKPOINT True"
    if size == limit < _BATCHES[0]:
        return size, f"{videos // size} steps an epoch ({memory})"
    return size, memory


def _batch(
    cfg: CfgNode, videos: int, free: int, kind: str, given: Mapping[str, str]
) -> list[Choice]:
    """Clips a step, and the rates that go with them."""
    before = cfg.TRAIN.BATCH_SIZE
    size, why = _batch_size(cfg, videos, free, kind)
    chosen = [Choice("TRAIN.BATCH_SIZE", size, why)]
    if "TEST.BATCH_SIZE" not in given:
        chosen.append(Choice("TEST.BATCH_SIZE", size, "as in training"))
    for key in _RATES:
        section, leaf = key.split(".")
        rate = cfg[section][leaf]
        if key not in given and rate and size != before:
            value = float(f"{rate * size / before:.3g}")
            why = f"{rate:g} for {before} clips a step, in proportion"
            chosen.append(Choice(key, value, why))
    return chosen


def _epochs(cfg: CfgNode, videos: int, given: Mapping[str, str], asked: int) -> list[Choice]:
    """Epochs by the number of videos unless they are given, and what goes with them.

    ``cfg`` has the epochs of the configuration file, of which its warm-up is a share.
    """
    chosen, epochs = [], asked
    if _EPOCHS_KEY not in given:
        fewest, most = _EPOCHS
        epochs = min(most, max(fewest, round(_CLIPS / videos)))
        chosen.append(Choice(_EPOCHS_KEY, epochs, f"{epochs * videos:,} clips in all"))
    if "TRAIN.EVAL_PERIOD" not in given and cfg.TRAIN.EVAL_PERIOD:
        period = max(1, epochs // 10)
        times = epochs // period
        why = f"{times} validation{'s' * (times != 1)}"
        chosen.append(Choice("TRAIN.EVAL_PERIOD", period, why))
    if "SOLVER.WARMUP_EPOCHS" not in given and cfg.SOLVER.WARMUP_EPOCHS:
        warm_up = round(cfg.SOLVER.WARMUP_EPOCHS * epochs / cfg.SOLVER.MAX_EPOCH, 1)
        chosen.append(Choice("SOLVER.WARMUP_EPOCHS", warm_up, "the same share of the epochs"))
    return chosen
