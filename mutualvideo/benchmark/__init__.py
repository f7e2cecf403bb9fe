"""Measurements that the claims of the README rest on: two things side by side, in one run.

Every command is a function that returns ``{name: {"ratio", "ours_ms", "theirs_ms"}}`` (MiB for
memory, clips or frames a second for the loader, both for resize); ratios hold better than values on
a machine that others use too.
"""

from collections.abc import Callable
from importlib import import_module

# Name: module and function. Imported when asked for: nearly all import torch.
COMMANDS = {
    "train": "training_steps.train_step",
    "depthwise": "network_steps.depthwise",
    "switching": "network_steps.switching",
    "memory": "network_steps.memory",
    "slim": "network_steps.slices",
    "costs": "network_steps.costs",
    "grid": "grid_cost.grid",
    "decode": "decoding.decode",
    "resize": "resized.resized",
    "load": "loader_speed.load",
    "runtime": "answering.latency",
    "service": "serving_batches.throughput",
    "stream": "streaming.streams",
    "images": "picture_loading.images",
    "gpu": "gpu_figures.measure",
}


def measurement(name: str) -> Callable[..., dict[str, dict[str, float]]]:
    """The function of one of ``COMMANDS``."""
    module, function = COMMANDS[name].split(".")
    return getattr(import_module(f"{__name__}.{module}"), function)
