"""How many of a layer's channels are active at a width."""

from dataclasses import dataclass
from fractions import Fraction


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
    """The default rule: the layer's own channel count, rounded."""

    def active(self, channels, width, divisor):
        return round_channels(channels, width, divisor)


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
class Segment:
    """One part of a channel concatenation: its full channel count and the rule it follows."""

    channels: int
    rule: Scaled | Fixed | Ratio = Scaled()
