"""What the measurements of a GPU share: how large everything is, and how time is taken."""

import gc
from dataclasses import dataclass

import torch
from torch.utils.benchmark import Timer

from mutualvideo.config import load_cfg
from mutualvideo.config.named_files import find_config

LAST, BF16 = torch.channels_last_3d, torch.bfloat16
# Frames of SlowFast's Fast pathway over those of its Slow pathway.
ALPHA = 8


@dataclass(frozen=True)
class Size:
    """How large everything is.

    Args:
        clips: ``{network: (frames, size, clips a training step)}``.
        depth: X3D-M's DEPTH_FACTOR.
        grid: widths, frames and sizes of X3D-M whose latency is measured.
        seconds: that a measurement takes, about.
        copied: bytes that the bandwidth of memory is measured with.
        compiler: backend of ``torch.compile``.
    """

    clips: dict
    depth: float
    grid: tuple
    seconds: float
    copied: int
    compiler: str


ON_GPU = Size(
    {
        "X3D-M": (16, 224, 16),
        "X3D-S": (13, 160, 16),
        "Slow 8x8": (8, 224, 8),
        "SlowFast 4x16": (32, 224, 8),
    },
    2.2,
    ((1.0, 0.8, 0.63), (16, 10, 6), (224, 160, 128)),
    1.0,
    1 << 30,
    "inductor",
)
TINY = Size(
    {
        "X3D-M": (4, 32, 2),
        "X3D-S": (4, 32, 2),
        "Slow 8x8": (4, 32, 2),
        "SlowFast 4x16": (32, 32, 2),
    },
    0.4,
    ((1.0, 0.63), (4,), (32,)),
    0.0,
    1 << 20,
    "eager",
)

# Frames, size, depth and what is drawn are those of these, on a GPU.
_CONFIGS = {
    "X3D-M": "Kinetics/X3D_M_mutual",
    "X3D-M multigrid": "Kinetics/X3D_M_mutual_multigrid",
    "X3D-S": "Kinetics/X3D_S_mutual",
    "Slow 8x8": "Kinetics/SLOW_8x8_R50_mutual",
    "SlowFast 4x16": "Kinetics/SLOWFAST_4x16_R50_mutual",
}


def configuration(name, size, mode="mutual", more=()):
    """The configuration of a network at ``size``; ``more``: further keys and values in turn."""
    network = name.removesuffix(" multigrid")
    frames, pixels, clips = size.clips[network]
    found = ["DATA.NUM_FRAMES", frames, "DATA.TRAIN_CROP_SIZE", pixels, "MUTUAL.MODE", mode]
    found += ["TRAIN.BATCH_SIZE", clips]
    if pixels < 64:
        slow = frames // ALPHA if network.startswith("SlowFast") else frames
        found += ["MUTUAL.SIZES", [pixels], "MUTUAL.FRAMES", sorted({slow, max(1, slow // 2)})]
    if network.startswith("X3D"):
        found += ["X3D.DEPTH_FACTOR", size.depth]
    return load_cfg(find_config(_CONFIGS[name]), [str(value) for value in (*found, *more)])


def milliseconds(run, seconds):
    """Median over calls that take about ``seconds``; those that warm up do not count."""
    for _ in range(3 if seconds else 1):
        run()
    timer = Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
    return 1000 * timer.blocked_autorange(min_run_time=seconds).median


def forget(device):
    """Frees what the last measurement held."""
    gc.collect()
    torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()
