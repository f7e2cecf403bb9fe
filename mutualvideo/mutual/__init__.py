"""Mutual learning: which sub-networks a step runs, on what, with which losses."""

from mutualvideo.mutual.compiled import compile_training
from mutualvideo.mutual.sampler import MODES, SubnetSampler
from mutualvideo.mutual.step import (
    DivergedError,
    PassResult,
    check_finite,
    distillation_loss,
    mutual_step,
)

__all__ = [
    "MODES",
    "DivergedError",
    "PassResult",
    "SubnetSampler",
    "check_finite",
    "compile_training",
    "distillation_loss",
    "mutual_step",
]
