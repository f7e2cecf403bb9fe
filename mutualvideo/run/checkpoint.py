"""Training checkpoints: written whole or not at all, found again, resumed from."""

import logging
import os
import re
from dataclasses import asdict

import torch

from mutualvideo.config.load import cfg_from_dict, cfg_to_dict, changed_keys
from mutualvideo.errors import InputError, shown
from mutualvideo.models import (
    adopt_checkpoint_cfg,
    load_weights,
    needed_modules,
    read_checkpoint,
)
from mutualvideo.run.progress import Progress
from mutualvideo.run.tensor_file import write_tensors

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint_epoch_(\d{5,})(?:_step_(\d{6,}))?\.pyth")
_FORMAT = "mutualvideo-checkpoint"
_VERSION = 2
# What Adam and AdamW keep for every parameter.
_ADAM = {"step", "exp_avg", "exp_avg_sq"}


def checkpoint_path(output_dir, epoch, step=0):
    """Where the checkpoint after ``epoch`` epochs lies, named as PySlowFast names it.

    One of ``step`` further steps says so in its name.
    """
    steps = f"_step_{step:06d}" if step else ""
    return os.path.join(output_dir, "checkpoints", f"checkpoint_epoch_{epoch:05d}{steps}.pyth")


def best_path(output_dir):
    """Where the checkpoint lies that validation found best (TRAIN.KEEP_BEST)."""
    return os.path.join(output_dir, "checkpoints", "best.pyth")


def keeps_best(cfg):
    """Whether a run keeps the checkpoint that validation found best: PATIENCE implies KEEP_BEST."""
    return cfg.TRAIN.KEEP_BEST or cfg.TRAIN.PATIENCE > 0


def checkpoints(output_dir):
    """``[((epoch, step), path), ...]`` of a run's checkpoints, the newest first."""
    folder = os.path.join(output_dir, "checkpoints")
    if not os.path.isdir(folder):
        return []
    found = []
    for name in os.listdir(folder):
        if match := _NAME.fullmatch(name):
            found.append(((int(match[1]), int(match[2] or 0)), os.path.join(folder, name)))
    return sorted(found, reverse=True)


def newest_checkpoint(output_dir):
    """Path of the newest checkpoint of a run, or ``None``."""
    found = checkpoints(output_dir)
    return found[0][1] if found else None


def save_checkpoint(cfg, updater, progress, path=None, classes=None, videos=None):
    """Writes everything a resume needs; returns the path.

    The configuration travels inside, and with it the rounding rule and the width range. When it
    is on the disk, older checkpoints that are not wanted any more are removed: those within an
    epoch, and what is beyond TRAIN.KEEP_CHECKPOINTS.

    Args:
        cfg: the configuration.
        updater: :class:`~mutualvideo.engine.update.Updater`.
        progress: :class:`~mutualvideo.run.progress.Progress` of all processes together.
        path: where to, instead of where it is found again; then no other is removed.
        classes: ``{label: name}`` of the classes that the data have, or ``None``.
        videos: what :mod:`~mutualvideo.run.trained_videos` notes of the training list, or ``None``.

    Raises:
        InputError: if it cannot be written; the ones before are as they were.
    """
    place = path or checkpoint_path(cfg.OUTPUT_DIR, progress.epoch, progress.step)
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "epoch": progress.epoch,
        "progress": asdict(progress),
        "model_state": updater.model.state_dict(),
        "optimizer_state": updater.optimizer.state_dict(),
        "scaler_state": updater.scaler.state_dict(),
        "cfg": cfg_to_dict(cfg),
    }
    if needs := needed_modules(cfg):
        content["needs"] = needs
    if updater.ordered is not None:
        content["ordered"] = updater.ordered
    if updater.ema is not None:
        content["ema_state"] = updater.ema.state_dict()
    if classes:
        content["classes"] = classes
    content |= videos or {}
    write_tensors(content, place, durable=True)
    if path is None:
        _remove_old(cfg, (progress.epoch, progress.step))
    return place


def save_weights(cfg, model, path):
    """Writes somebody else's weights, that ``model`` has, with the configuration that fits them.

    So a recogniser opens them, and an export; a run does not go on from them.

    Raises:
        InputError: if they cannot be written.
    """
    content = {"cfg": cfg_to_dict(cfg), "model_state": model.state_dict()}
    if needs := needed_modules(cfg):
        content["needs"] = needs
    write_tensors(content, path, durable=True)


def average_of(content, path):
    """The state of the moving average in what a checkpoint holds; ``path`` names it.

    Raises:
        InputError: if there is none in it.
    """
    average = content.get("ema_state")
    if not isinstance(average, dict):
        raise InputError(f"{path}: holds no moving average of weights; train with TRAIN.EMA_DECAY")
    return average


def save_average(path, output_dir):
    """The moving average of the checkpoint ``path`` as one of its own; returns its path.

    Raises:
        InputError: if there is none in it.
    """
    content = read_checkpoint(path)
    average = average_of(content, path)
    state = {
        name.removeprefix("module."): values
        for name, values in average.items()
        if name.startswith("module.")
    }
    kept = {key: content.get(key) for key in ("format", "version", "epoch", "cfg")}
    kept |= {
        key: content[key]
        for key in ("needs", "classes", "videos", "videos_before")
        if key in content
    }
    found = os.path.join(output_dir, "checkpoints", os.path.basename(path))
    write_tensors({**kept, "model_state": state}, found, durable=True)
    return found


def _remove_old(cfg, newest):
    keep = cfg.TRAIN.KEEP_CHECKPOINTS
    older = [(place, path) for place, path in checkpoints(cfg.OUTPUT_DIR) if place < newest]
    surplus = [path for (_, step), path in older if step]
    if keep:
        whole = [path for (_, step), path in older if not step]
        surplus += whole[keep if newest[1] else keep - 1 :]
    for path in surplus:
        os.remove(path)


def read_newest(output_dir):
    """The newest intact checkpoint of a run: ``(path, content)``, or ``None`` if it has none.

    Those that are passed over are logged.

    Raises:
        InputError: if there are checkpoints and none of them is intact.
    """
    faults = []
    for _, path in checkpoints(output_dir):
        try:
            found = path, read_checkpoint(path)
        except InputError as error:
            faults.append(str(error))
            continue
        for fault in faults:
            logger.warning("passed over: %s", fault)
        return found
    if faults:
        raise InputError(
            f"{output_dir}: none of its {len(faults)} checkpoint(s) is intact, remove them to "
            f"start anew; the newest: {faults[0]}"
        )
    return None


def resume(path, content, cfg, updater, classes=None):
    """Takes up a run where a checkpoint left it; logs the keys that were changed since.

    What the configuration says of optimiser, precision and moving average holds, not what it
    said then.

    Args:
        path, content: from :func:`read_newest`.
        cfg: the configuration.
        updater: :class:`~mutualvideo.engine.update.Updater`; its parts are overwritten.
        classes: ``{label: name}`` of the classes that the data have now, or ``None``.

    Returns:
        :class:`~mutualvideo.run.progress.Progress`.

    Raises:
        InputError: if it is of another architecture or other classes, or no checkpoint of training
            here.
    """
    if content.get("format") != _FORMAT:
        raise InputError(
            f"{path}: not written by training here, so it cannot be resumed; name it in "
            "TRAIN.CHECKPOINT_FILE_PATH to start from its weights"
        )
    if content.get("version") not in (1, _VERSION):
        raise InputError(
            f"{path}: has version {shown(content.get('version'))}, this release continues 1 to "
            f"{_VERSION}; name it in TRAIN.CHECKPOINT_FILE_PATH to start from its weights"
        )
    require_same_classes(
        path,
        content,
        classes,
        "give another OUTPUT_DIR, or name the file in TRAIN.CHECKPOINT_FILE_PATH to start from its "
        "weights",
    )
    adopt_checkpoint_cfg(cfg, content, path)
    if isinstance(content.get("cfg"), dict):
        theirs = cfg_from_dict(content["cfg"], path)
        if theirs.MUTUAL.SUBNET != cfg.MUTUAL.SUBNET:
            raise InputError(
                f"{path}: trains MUTUAL.SUBNET {theirs.MUTUAL.SUBNET or '(none: the full network)'}"
                f", not {cfg.MUTUAL.SUBNET or 'the full network'}: give another OUTPUT_DIR"
            )
        _log_changes(path, cfg_to_dict(theirs), cfg_to_dict(cfg))
    # Version 1 was written between epochs alone.
    progress = content.get("progress", asdict(Progress(content.get("epoch"))))
    progress = Progress.from_dict(progress, path)
    load_weights(updater.model, content["model_state"], path)
    updater.ordered = content.get("ordered")
    try:
        _load_optimizer(updater.optimizer, content["optimizer_state"])
        if updater.scaler.is_enabled() and content.get("scaler_state"):
            updater.scaler.load_state_dict(content["scaler_state"])
        if updater.ema is not None and "ema_state" in content:
            updater.ema.load_state_dict(content["ema_state"])
    # What they raise for a state that is not theirs is not documented.
    except Exception as error:
        raise InputError(
            f"{path}: its optimiser does not fit this network and configuration "
            f"({shown(str(error))}); name the file in TRAIN.CHECKPOINT_FILE_PATH to start from "
            "its weights"
        ) from error
    return progress


def require_same_classes(
    path, content, ours, remedy="give it data of its own classes, by the same names"
):
    """Refuses data of other classes: a network answers with the place of a class among them.

    Names that are spelt in another way, and a few that nobody else has, are taken for the same
    classes, renamed, with a warning. Data may have some of the classes alone.

    Args:
        path, content: of a checkpoint; those that training here did not write tell no classes.
        ours: ``{label: name}`` of the classes that the data have, or ``None``.
        remedy: what helps, in words.

    Raises:
        InputError: if a name has another label, or fewer than half of them are where they were.
    """
    theirs = content.get("classes") if content.get("format") == _FORMAT else None
    if not isinstance(theirs, dict) or not ours:
        return
    theirs, ours = ({k: _plain(v) for k, v in one.items()} for one in (theirs, ours))
    labels = {name: label for label, name in theirs.items()}
    odd = [label for label, name in ours.items() if theirs.get(label) != name]
    moved = next((label for label in odd if labels.get(ours[label], label) != label), None)
    if moved is None and len(odd) > len(ours) / 2:
        moved = odd[0]
    if moved is not None:
        told = f"{theirs.get(moved, 'none')} where the data have {ours[moved]}"
        raise InputError(f"{path}: was trained on other classes ({told}): {remedy}")
    if odd:
        told = ", ".join(f"{theirs.get(label, 'none')} -> {ours[label]}" for label in odd)
        logger.warning("%s: names of classes were changed since: %s", path, told)


def _plain(name):
    return " ".join(str(name).casefold().replace("_", " ").split())


def _log_changes(path, before, now):
    changes = changed_keys(before, now)
    changes.pop("OUTPUT_DIR", None)  # a run that was moved
    if changes:
        text = ", ".join(f"{key}: {old} -> {new}" for key, (old, new) in changes.items())
        logger.warning("changed since %s was written: %s", path, text)


def _load_optimizer(optimizer, state):
    """Momentum of ``state``; rates and decays stay those of the configuration."""
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, values in zip(optimizer.param_groups, groups, strict=True):
        group.update(values)
    expected = {"momentum_buffer"} if isinstance(optimizer, torch.optim.SGD) else _ADAM
    for parameter, found in optimizer.state.items():
        if found and not found.keys() <= expected:
            raise ValueError("it is of another SOLVER.OPTIMIZING_METHOD")
        for name in expected - {"step"}:
            mean = found.get(name)
            if mean is not None and mean.shape != parameter.shape:
                raise ValueError(f"momentum of shape {tuple(mean.shape)}")
