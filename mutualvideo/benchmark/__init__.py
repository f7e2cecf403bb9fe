"""Measurements that the claims of the README rest on: two things side by side, in one run.

Every command is a function that returns ``{name: {"ratio", "ours_ms", "theirs_ms"}}`` (MiB for
memory, clips_per_s for the loader, both for resize); ratios hold better than values on a machine
that others use too.
"""

from mutualvideo.benchmark import (
    decode,
    gpu,
    grid,
    images,
    networks,
    resize,
    runtime,
    service,
)

COMMANDS = {
    "train": networks.train_step,
    "depthwise": networks.depthwise,
    "switching": networks.switching,
    "memory": networks.memory,
    "slim": networks.slices,
    "costs": networks.costs,
    "grid": grid.grid,
    "decode": decode.decode,
    "resize": resize.resized,
    "runtime": runtime.latency,
    "service": service.throughput,
    "images": images.images,
    "gpu": gpu.measure,
}
