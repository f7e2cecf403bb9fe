"""Backbones: ordinary networks by their builders, made slimmable by the registry."""

import warnings

with warnings.catch_warnings():
    # fvcore scripts two losses while it is imported; nobody here uses them.
    warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)
    import fvcore.nn  # noqa: F401

from mutualvideo.models import image_networks, slow, slowfast, x3d  # noqa: F401  (they register themselves)
from mutualvideo.models.alone import train_alone
from mutualvideo.models.blocks import recompute_blocks
from mutualvideo.models.model_registry import (
    MODEL_REGISTRY,
    build_model,
    full_subnet,
    require_runnable,
    width_range,
)
from mutualvideo.models.weights.pretrained import Loaded, load_pretrained, load_weights
from mutualvideo.models.weights.trained import adopt_checkpoint_cfg, load_model
from mutualvideo.models.weights.weights_file import read_checkpoint

__all__ = [
    "Loaded",
    "MODEL_REGISTRY",
    "adopt_checkpoint_cfg",
    "build_model",
    "full_subnet",
    "load_model",
    "load_pretrained",
    "load_weights",
    "read_checkpoint",
    "recompute_blocks",
    "require_runnable",
    "train_alone",
    "width_range",
]
