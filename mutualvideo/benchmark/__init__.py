"""Measurements that the claims of the README rest on: two things side by side, in one run.

Every command is a function that returns ``{name: {"ratio", "ours_ms", "theirs_ms"}}`` (MiB for
memory; both for resize); ratios hold better than values on a machine that others use too.
"""

from mutualvideo.benchmark import networks, resize

COMMANDS = {
    "train": networks.train_step,
    "depthwise": networks.depthwise,
    "switching": networks.switching,
    "memory": networks.memory,
    "slim": networks.slices,
    "costs": networks.costs,
    "resize": resize.resized,
}
