"""Names of sub-networks."""

import pytest

from mutualvideo import Subnet
from mutualvideo.errors import InputError


@pytest.mark.parametrize("text", ["0.75x8x160", "0.75x160", "1x16x224", "0.6312x5x184"])
def test_round_trip(text):
    subnet = Subnet.parse(text)
    assert str(subnet) == text and Subnet.parse(str(subnet)) == subnet
    assert len({subnet, Subnet.parse(text)}) == 1


def test_widths_that_print_alike_are_one_key():
    assert Subnet(0.1 + 0.2, 8, 64) == Subnet(0.3, 8, 64)


@pytest.mark.parametrize("text", ["", "8x160x0.5x3", "ax8x160", "0.5", "-1x8x64", "0x8x64"])
def test_bad_names(text):
    with pytest.raises(InputError, match="sub-network"):
        Subnet.parse(text)
