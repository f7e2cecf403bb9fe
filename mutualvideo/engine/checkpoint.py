"""Training checkpoints: written whole or not at all, found again, resumed from."""

import os
import re

import torch

from mutualvideo.config.load import cfg_to_dict
from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.models import adopt_checkpoint_cfg, load_weights, read_checkpoint

_NAME = re.compile(r"checkpoint_epoch_(\d{5})\.pyth")
_FORMAT = "mutualvideo-checkpoint"


def checkpoint_path(output_dir, epoch):
    """Where the checkpoint after ``epoch`` epochs lies, named as PySlowFast names it."""
    return os.path.join(output_dir, "checkpoints", f"checkpoint_epoch_{epoch:05d}.pyth")


def newest_checkpoint(output_dir):
    """Path of the newest checkpoint of a run, or ``None``."""
    folder = os.path.join(output_dir, "checkpoints")
    if not os.path.isdir(folder):
        return None
    names = sorted(name for name in os.listdir(folder) if _NAME.fullmatch(name))
    return os.path.join(folder, names[-1]) if names else None


def save_checkpoint(cfg, model, optimizer, epoch):
    """Writes everything a resume needs, after ``epoch`` whole epochs; returns the path.

    The configuration travels inside, and with it the rounding rule and the width range.
    """
    path = checkpoint_path(cfg.OUTPUT_DIR, epoch)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    content = {
        "format": _FORMAT,
        "version": 1,
        "epoch": epoch,
        "model_state": model.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "cfg": cfg_to_dict(cfg),
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)
    return path


def resume(path, cfg, model, optimizer):
    """Loads weights and optimiser from ``path``; returns the number of epochs done.

    Raises:
        InputError: if the file is damaged, of another architecture, or no checkpoint of a
            training run.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.get("format") != _FORMAT:
        raise InputError(
            f"{path}: not written by training here, so it cannot be resumed; name it in "
            "TRAIN.CHECKPOINT_FILE_PATH to start from its weights"
        )
    adopt_checkpoint_cfg(cfg, checkpoint, path)
    load_weights(model, checkpoint["model_state"], path)
    optimizer.load_state_dict(checkpoint["optimizer_state"])
    return checkpoint["epoch"]
