"""Rounding of channels, against MobileNet's published rule written out."""

from fractions import Fraction

import pytest
from torchvision.models._utils import _make_divisible

from mutualvideo.slim import Fixed, Ratio, Scaled, round_channels


@pytest.mark.parametrize("width", [0.25, 0.35, 0.5, 0.63, 0.75, 0.9, 0.95])
@pytest.mark.parametrize("channels", [16, 24, 32, 54, 64, 108, 160, 432, 1280, 2048])
def test_equals_torchvisions_rule(channels, width):
    # torchvision's may round up beyond the layer itself, which a slice cannot.
    assert round_channels(channels, width, 8) == min(_make_divisible(channels * width, 8), channels)


@pytest.mark.parametrize("channels", [3, 54, 100])
def test_full_width_is_exact_whatever_the_divisor(channels):
    assert round_channels(channels, 1.0, 8) == channels


def test_rules():
    assert Scaled().active(64, 0.5, 8) == 32
    assert Fixed().active(400, 0.5, 8) == 400
    # The base is rounded, then multiplied: 0.9 x 256 = 230.4 -> 232, a quarter of it is 58.
    assert Ratio(256, Fraction(1, 4)).active(64, 0.9, 8) == 58
    # 0.75 x 24 = 18 -> 24 because 16 would lose more than 10 %; six times that.
    assert Ratio(24, 6).active(144, 0.75, 8) == 144
