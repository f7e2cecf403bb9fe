"""Backbones: ordinary networks by their builders, made slimmable by the registry."""

from importlib import import_module
from pkgutil import iter_modules

import mutualvideo.quiet_fvcore  # noqa: F401
from mutualvideo.models.alone import train_alone
from mutualvideo.models.blocks import recompute_blocks
from mutualvideo.models.frozen_stages import freeze
from mutualvideo.models.model_registry import (
    MODEL_REGISTRY,
    build_model,
    full_subnet,
    network_of,
    published_curve,
    published_curves,
    require_runnable,
    whole_subnet,
    width_range,
)
from mutualvideo.models.network import Network
from mutualvideo.models.weights.fetch import local_weights
from mutualvideo.models.weights.pretrained import Loaded, load_pretrained, load_weights
from mutualvideo.models.weights.trained import (
    adopt_checkpoint_cfg,
    classes_of,
    load_model,
    needed_modules,
)
from mutualvideo.models.weights.weights_file import read_checkpoint

__all__ = [
    "Loaded",
    "MODEL_REGISTRY",
    "Network",
    "adopt_checkpoint_cfg",
    "build_model",
    "classes_of",
    "freeze",
    "full_subnet",
    "load_model",
    "load_pretrained",
    "load_weights",
    "local_weights",
    "needed_modules",
    "network_of",
    "published_curve",
    "published_curves",
    "read_checkpoint",
    "recompute_blocks",
    "require_runnable",
    "train_alone",
    "whole_subnet",
    "width_range",
]

# Every file here is looked at: those of networks register them.
for _module in iter_modules(__path__):
    if not _module.ispkg:
        import_module(f"{__name__}.{_module.name}")
