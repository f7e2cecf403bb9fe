"""Measurements that the claims of the README rest on: two things side by side, in one run.

Every command is a function that returns ``{name: {"ratio", "ours_ms", "theirs_ms"}}`` (or MiB for
memory); ratios hold better than values on a machine that others use too.
"""

from mutualvideo.benchmark import networks, runtime

COMMANDS = {
    "train": networks.train_step,
    "depthwise": networks.depthwise,
    "switching": networks.switching,
    "memory": networks.memory,
    "slim": networks.slices,
    "costs": networks.costs,
    "runtime": runtime.latency,
}
