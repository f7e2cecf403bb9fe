"""How many of a layer's channels are active at a width, and which of a concatenation."""

import math
from dataclasses import dataclass
from fractions import Fraction

import torch

# Widths whose positions a concatenation remembers.
_KEPT = 64


def round_channels(channels, width, divisor):
    """Channels left of ``channels`` at ``width``: a multiple of ``divisor``.

    MobileNet's rule: to the nearest multiple, never below ``divisor`` and never below
    90 % of the exact value. Width 1 gives ``channels`` itself, multiple or not, so that
    the full network is always the upstream network.

    Args:
        channels: channels of the full network.
        width: width multiplier, above 0 and at most 1.
        divisor: what the result is a multiple of.

    Returns:
        int: from 1 to ``channels``.
    """
    if width >= 1:
        return channels
    exact = channels * width
    rounded = max(divisor, int(exact + divisor / 2) // divisor * divisor)
    if rounded < 0.9 * exact:
        rounded += divisor
    return min(rounded, channels)


@dataclass(frozen=True)
class Scaled:
    """The default rule: the layer's own channel count, rounded.

    ``multiple``: the count is also a multiple of this, because a grouped convolution reads
    the channels that many at a time.
    """

    multiple: int = 1

    def active(self, channels, width, divisor):
        return round_channels(channels, width, math.lcm(divisor, self.multiple))


@dataclass(frozen=True)
class Fixed:
    """Never slimmed: classifiers, SlowFast's Fast pathway."""

    def active(self, channels, width, divisor):
        return channels


@dataclass(frozen=True)
class Ratio:
    """Another layer's count is rounded, then multiplied.

    Blocks whose inner width is a fixed multiple of their outer one keep that multiple at
    every width: ``Ratio(256, Fraction(1, 4))`` for the inner layers of a ResNet
    bottleneck with 256 output channels, ``Ratio(32, 6)`` for an inverted residual.
    """

    base: int
    times: int | Fraction

    def active(self, channels, width, divisor):
        return int(round_channels(self.base, width, divisor) * Fraction(self.times))


@dataclass(frozen=True)
class Share:
    """Channels of which the forward takes pieces of unequal size: these keep their proportions.

    A forward that takes a third of the channels that arrive then takes the same channels at every
    width, which it would not if each piece were rounded by itself.

    ``unit``: the largest number of channels that all pieces are a multiple of; it is rounded.
    ``parts``: all pieces together are a multiple of so many units.
    ``multiple``: of each unit's channels, because a grouped convolution reads so many at a time.
    """

    unit: int
    parts: int
    multiple: int = 1

    def active(self, channels, width, divisor):
        step = math.lcm(divisor // math.gcd(divisor, self.parts), self.multiple)
        return round_channels(self.unit, width, step) * (channels // self.unit)


@dataclass(frozen=True)
class Segment:
    """One part of a channel concatenation: its full channel count and the rule it follows.

    ``times``: entries in the concatenation for each channel, above 1 where pixels were
    flattened into channels or a depthwise convolution makes several of one.
    """

    channels: int
    rule: Scaled | Fixed | Ratio | Share = Scaled()
    times: int | Fraction = 1

    @property
    def entries(self):
        return int(self.channels * self.times)

    def active(self, width, divisor):
        return int(self.rule.active(self.channels, width, divisor) * self.times)


class _Positions:
    """Which entries are active at a width, remembered for the widths that come up."""

    def __init__(self):
        self._kept = {}

    def index(self, width, divisor, device):
        """int64 (active entries,): positions of the active entries, on ``device``."""
        if torch.compiler.is_compiling():  # a graph has them as a constant, and asks for no key
            return self._positions(width, divisor, device)
        key = width, divisor, device
        if key not in self._kept:
            if len(self._kept) >= _KEPT:  # training draws widths without end
                self._kept.clear()
            with torch.inference_mode(False):  # or training could not use what eval made
                self._kept[key] = self._positions(width, divisor, device)
        return self._kept[key]


class Segments(_Positions):
    """A channel concatenation: which of its entries are active at a width.

    Where a plain layer takes the prefix of its input, the consumer of a concatenation takes
    the prefix of each segment.

    Args:
        parts: iterable of :class:`Segment`, in order.
    """

    def __init__(self, parts):
        super().__init__()
        self.parts = tuple(parts)

    def __deepcopy__(self, memo):
        return Segments(self.parts)

    def __eq__(self, other):
        return isinstance(other, Segments) and self.parts == other.parts

    def __repr__(self):
        return f"Segments({list(self.parts)})"

    @property
    def entries(self):
        return sum(part.entries for part in self.parts)

    def active(self, width, divisor):
        """Number of active entries."""
        return sum(part.active(width, divisor) for part in self.parts)

    def _positions(self, width, divisor, device):
        positions, start = [], 0
        for part in self.parts:
            positions.extend(range(start, start + part.active(width, divisor)))
            start += part.entries
        return torch.tensor(positions, dtype=torch.int64, device=device)


class Mixed(_Positions):
    """Channels of several layers in any order, as a channel shuffle leaves them.

    Args:
        parts: :class:`Segment` of every block of channels, each once.
        part: list of int: the part that each entry belongs to.
        place: list of int: which of the part's channels each entry is.
    """

    def __init__(self, parts, part, place):
        super().__init__()
        self.parts, self.part, self.place = tuple(parts), tuple(part), tuple(place)

    def __deepcopy__(self, memo):
        return Mixed(self.parts, self.part, self.place)

    def __eq__(self, other):
        same = isinstance(other, Mixed) and self.parts == other.parts
        return same and (self.part, self.place) == (other.part, other.place)

    def __repr__(self):
        return f"Mixed({list(self.parts)}, {self.entries} entries)"

    @property
    def entries(self):
        return len(self.part)

    def _list(self, width, divisor):
        counts = [part.active(width, divisor) for part in self.parts]
        both = zip(self.part, self.place, strict=True)
        return [entry for entry, (part, place) in enumerate(both) if place < counts[part]]

    def active(self, width, divisor):
        """Number of active entries."""
        return len(self._list(width, divisor))

    def _positions(self, width, divisor, device):
        return torch.tensor(self._list(width, divisor), dtype=torch.int64, device=device)
