"""Which sub-networks a training step runs."""

import itertools
import random

from mutualvideo.errors import InputError
from mutualvideo.subnet import Subnet

MODES = ("mutual", "width_only", "single")
DRAWS = ("random", "even")


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
        widths: widths that random sub-networks draw from, or empty: any in ``width_range``.
        how: ``random``: each draw is independent, as in the papers; ``even``: they are dealt from
            a shuffled deck of the grid, a new one when too few for a step are left; the full one
            is not in it, and the narrowest width has a deck of its own, so that no pass repeats
            another of its step.

    Raises:
        InputError: for an unknown mode or way to draw, a frame count or size above the full
            network's, a width outside of the range, or even draws of any width in a range.
    """

    def __init__(
        self,
        full,
        mode,
        width_range,
        num_random,
        frames,
        sizes,
        seed,
        alone=0,
        widths=(),
        how="random",
    ):
        for key, value, known in (("MODE", mode, MODES), ("DRAW", how, DRAWS)):
            if value not in known:
                raise InputError(f"MUTUAL.{key} {value}: choose one of {', '.join(known)}")
        self.full, self.mode, self.seed, self.alone = full, mode, seed, alone
        # Four digits, as sub-networks have.
        width_range = tuple(round(float(width), 4) for width in width_range)
        self.width_range, self.num_random = width_range, num_random
        self.widths = list(widths)
        for width in self.widths:
            if not width_range[0] <= round(width, 4) <= width_range[1]:
                raise InputError(
                    f"MUTUAL.WIDTHS contains {width:g}: expected one in MUTUAL.WIDTH_RANGE "
                    f"[{width_range[0]:g}, {width_range[1]:g}]"
                )
        self.frames = list(frames) or default_frames(full.frames)
        self.sizes = list(sizes) or default_sizes(full.size)
        if mode == "mutual":
            _check("MUTUAL.SIZES", self.sizes, full.size)
            if full.frames is not None:
                _check("MUTUAL.FRAMES", self.frames, full.frames)
        self.how = how
        if how == "even" and mode != "single":
            grid = self.grid()[1:]
            # The full network where it is the only width.
            self._narrow = [one for one in grid if one.width == width_range[0]] or [full]
            self._others = [one for one in grid if one.width != width_range[0]]
            if num_random > len(self._others):
                raise InputError(
                    f"MUTUAL.DRAW even: MUTUAL.NUM_RANDOM {num_random} is more than the "
                    f"{len(self._others)} sub-networks that MUTUAL.WIDTHS, FRAMES and SIZES give"
                )

    def draw(self, step, clip=None):
        """Sub-networks of step number ``step``: the full one first, then the narrowest.

        Args:
            step: counted over the whole run.
            clip: :class:`~mutualvideo.subnet.Subnet` of the step's clips, where they are shorter or
                smaller than the full network's: what is drawn is cut to their frames and size, and
                what then repeats another is left out.
        """
        drawn = self._drawn(step)
        cut = drawn if clip is None else [one.within(clip) for one in drawn]
        return drawn if cut == drawn else list(dict.fromkeys(cut))

    def _drawn(self, step):
        if self.mode == "single" or step < self.alone:
            return [self.full]
        if self.how == "even":
            others = self._dealt(self._others, "others", step, self.num_random)
            return [self.full, *self._dealt(self._narrow, "narrowest", step, 1), *others]
        # A string seed is hashed by value (SHA-512), the same in every process.
        rng = random.Random(f"{self.seed} {step}")
        low, high = self.width_range
        widths = [low]
        for _ in range(self.num_random):
            widths.append(rng.choice(self.widths) if self.widths else rng.uniform(low, high))
        return [self.full] + [self._shape(width, rng) for width in widths]

    def grid(self):
        """Every sub-network that a step can draw, the full one first.

        Raises:
            InputError: if there is no end of them, because widths are drawn from a range.
        """
        if self.mode == "single":
            return [self.full]
        if self.num_random and not self.widths:
            raise InputError(
                "MUTUAL.WIDTHS is empty, so any width in MUTUAL.WIDTH_RANGE is drawn: list those "
                "that random sub-networks draw from, such as [0.63, 0.75, 0.88, 1.0]"
            )
        widths = [self.width_range[0], *(self.widths if self.num_random else ())]
        frames, sizes = [self.full.frames], [self.full.size]
        if self.mode == "mutual":
            frames, sizes = self.frames or frames, self.sizes
        others = itertools.starmap(Subnet, itertools.product(widths, frames, sizes))
        return list(dict.fromkeys([self.full, *others]))

    def _dealt(self, cards, name, step, count):
        number, place = divmod(step, len(cards) // max(count, 1) or 1)
        deck = random.Random(f"{self.seed} {name} {number}").sample(cards, len(cards))
        return deck[place * count : (place + 1) * count]

    def _shape(self, width, rng):
        if self.mode == "width_only":
            return Subnet(width, self.full.frames, self.full.size)
        frames = None if self.full.frames is None else rng.choice(self.frames)
        return Subnet(width, frames, rng.choice(self.sizes))


def default_sizes(full):
    """Seven to four sevenths of ``full`` pixels: 224, 192, 160, 128 and 32, 28, 24, 20.

    In multiples of 8, from 32; of 32 pixels and less, in multiples of 4.
    """
    least, step = (32, 8) if full > 32 else (4, 4)
    smaller = (max(least, round(full * part / 7 / step) * step) for part in (6, 5, 4))
    return [full] + [min(full, size) for size in smaller]


def default_frames(full):
    """Sixteen, 13, 10 and 6 sixteenths of ``full`` frames, each once; ``[]`` for images."""
    if full is None:
        return []
    return list(dict.fromkeys(max(1, round(full * part / 16)) for part in (16, 13, 10, 6)))


def _check(key, values, limit):
    for value in values:
        if not 1 <= value <= limit:
            raise InputError(f"{key} contains {value}: expected 1 to {limit}, the full network's")
