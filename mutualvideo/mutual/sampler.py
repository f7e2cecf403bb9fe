"""Which sub-networks a training step runs."""

import random

from mutualvideo.errors import InputError
from mutualvideo.subnet import Subnet

MODES = ("mutual", "width_only", "single")


class SubnetSampler:
    """The sandwich rule: the full network, the narrowest, and random ones between.

    In mode ``mutual`` every sub-network but the full one draws its own frame count and
    size (MutualNet, arXiv 2105.07085); in ``width_only`` only widths vary (US-Net, arXiv
    1903.05134); in ``single`` the full network is alone.

    The draw is a function of (seed, step) and nothing else: the same on every process of a
    distributed run, and the same after a resume.

    Args:
        full: the full network.
        mode: one of :data:`MODES`.
        width_range: narrowest and widest width multiplier.
        num_random: random sub-networks a step.
        frames: frame counts to draw from, or empty: see :func:`default_frames`. Ignored for
            images (``full.frames`` is ``None``).
        sizes: sizes to draw from, in pixels, or empty: see :func:`default_sizes`.
        seed: of the whole run.
        alone: steps at the start in which the full network runs alone.

    Raises:
        InputError: for an unknown mode, or a frame count or size above the full network's.
    """

    def __init__(self, full, mode, width_range, num_random, frames, sizes, seed, alone=0):
        if mode not in MODES:
            raise InputError(f"MUTUAL.MODE {mode}: choose one of {', '.join(MODES)}")
        self.full, self.mode, self.seed, self.alone = full, mode, seed, alone
        self.width_range, self.num_random = width_range, num_random
        self.frames = list(frames) or default_frames(full.frames)
        self.sizes = list(sizes) or default_sizes(full.size)
        if mode == "mutual":
            _check("MUTUAL.SIZES", self.sizes, full.size)
            if full.frames is not None:
                _check("MUTUAL.FRAMES", self.frames, full.frames)

    def draw(self, step):
        """Sub-networks of step number ``step``: the full one first, then the narrowest."""
        if self.mode == "single" or step < self.alone:
            return [self.full]
        # A string seed is hashed by value (SHA-512), the same in every process.
        rng = random.Random(f"{self.seed} {step}")
        low, high = self.width_range
        widths = [low] + [rng.uniform(low, high) for _ in range(self.num_random)]
        return [self.full] + [self._shape(width, rng) for width in widths]

    def _shape(self, width, rng):
        if self.mode == "width_only":
            return Subnet(width, self.full.frames, self.full.size)
        frames = None if self.full.frames is None else rng.choice(self.frames)
        return Subnet(width, frames, rng.choice(self.sizes))


def default_sizes(full):
    """Seven to four sevenths of ``full`` pixels, in multiples of 8: 224, 192, 160, 128."""
    return [full] + [max(32, round(full * part / 7 / 8) * 8) for part in (6, 5, 4)]


def default_frames(full):
    """Sixteen, 13, 10 and 6 sixteenths of ``full`` frames, each once; ``[]`` for images."""
    if full is None:
        return []
    return list(dict.fromkeys(max(1, round(full * part / 16)) for part in (16, 13, 10, 6)))


def _check(key, values, limit):
    for value in values:
        if not 1 <= value <= limit:
            raise InputError(f"{key} contains {value}: expected 1 to {limit}, the full network's")
