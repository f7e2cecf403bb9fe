"""Mutual learning: which sub-networks a step runs, on what, with which losses."""

from mutualvideo.mutual.compiled import compile_training
from mutualvideo.mutual.sampler import MODES, SubnetSampler
from mutualvideo.mutual.step import (
    Passes,
    PassResult,
    mutual_step,
    not_finite,
)
from mutualvideo.mutual.teaching import Teaching, distillation_loss

__all__ = [
    "MODES",
    "PassResult",
    "Passes",
    "SubnetSampler",
    "Teaching",
    "compile_training",
    "distillation_loss",
    "mutual_step",
    "not_finite",
]
