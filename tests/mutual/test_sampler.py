"""The sandwich rule."""

import random
from statistics import mean

import pytest

from mutualvideo.errors import InputError
from mutualvideo.mutual import SubnetSampler
from mutualvideo.mutual.sampler import default_frames, default_sizes
from mutualvideo.subnet import Subnet

FULL = Subnet(1, 16, 224)


def sampler(
    mode="mutual", full=FULL, seed=0, frames=(16, 10, 6), sizes=(224, 160), random=2, widths=()
):
    return SubnetSampler(
        full, mode, (0.63, 1.0), random, list(frames), list(sizes), seed, widths=widths
    )


def test_full_then_narrowest_then_random():
    for step in range(50):
        full, narrowest, *others = sampler().draw(step)
        assert full == FULL and narrowest.width == 0.63 and len(others) == 2
        for subnet in (narrowest, *others):
            assert 0.63 <= subnet.width <= 1
            assert subnet.frames in (16, 10, 6) and subnet.size in (224, 160)


def test_widths_frames_and_sizes_are_spread_evenly():
    drawn = [subnet for step in range(2000) for subnet in sampler().draw(step)[2:]]
    assert mean(subnet.width for subnet in drawn) == pytest.approx((0.63 + 1) / 2, abs=0.01)
    for attribute, values in (("frames", (16, 10, 6)), ("size", (224, 160))):
        for value in values:
            share = mean(getattr(subnet, attribute) == value for subnet in drawn)
            assert share == pytest.approx(1 / len(values), abs=0.03)


def test_every_subnetwork_has_a_shape_of_its_own():
    steps = [sampler().draw(step) for step in range(200)]
    assert any(len({(s.frames, s.size) for s in subnets[1:]}) == 3 for subnets in steps)


def test_draw_depends_on_seed_and_step_alone():
    one = [sampler().draw(step) for step in range(20)]
    random.seed(1)
    other = sampler()
    assert [other.draw(step) for step in reversed(range(20))] == one[::-1]
    assert [sampler(seed=1).draw(step) for step in range(20)] != one


def test_modes():
    assert sampler("single").draw(3) == [FULL]
    for subnet in sampler("width_only").draw(3)[1:]:
        assert (subnet.frames, subnet.size) == (16, 224)


def test_images_have_no_frames():
    images = sampler(full=Subnet(1, None, 224), frames=())
    assert all(subnet.frames is None for subnet in images.draw(0))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"mode": "mutal"}, "MUTUAL.MODE mutal: choose one of mutual, width_only, single"),
        ({"sizes": [256]}, "MUTUAL.SIZES contains 256: expected 1 to 224"),
        ({"frames": [32]}, "MUTUAL.FRAMES contains 32: expected 1 to 16"),
        ({"widths": [0.5]}, r"MUTUAL.WIDTHS contains 0.5: .* MUTUAL.WIDTH_RANGE \[0.63, 1\]"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(InputError, match=message):
        sampler(**change)


def test_widths_from_a_list():
    listed = SubnetSampler(FULL, "mutual", (0.63, 1.0), 2, [16, 8], [224], 0, widths=[0.75, 1.0])
    drawn = {subnet for step in range(100) for subnet in listed.draw(step)}
    assert {subnet.width for subnet in drawn} == {0.63, 0.75, 1.0}
    # Everything of the grid is drawn, and nothing else: two frame counts for three widths.
    assert drawn == set(listed.grid()) and len(drawn) == 6 and listed.grid()[0] == FULL


def test_even_draws():
    lists = (0.63, 1.0), 2, [16, 8], [224, 160], 5
    even = SubnetSampler(FULL, "mutual", *lists, widths=[0.63, 0.8, 1.0], how="even")
    steps = [even.draw(step) for step in range(3 * 4)]
    assert all(subnets[0] == FULL and subnets[1].width == 0.63 for subnets in steps)
    assert all(len(set(subnets)) == 4 for subnets in steps)
    # Two widths at four shapes are seven without the full network: three steps deal six of them.
    for number in range(0, 12, 3):
        others = [subnet for subnets in steps[number : number + 3] for subnet in subnets[2:]]
        assert len(set(others)) == 6 and all(subnet.width > 0.63 for subnet in others)
    for number in range(0, 12, 4):
        assert len({subnets[1] for subnets in steps[number : number + 4]}) == 4
    dealt = {subnet for step in range(100) for subnet in even.draw(step)}
    assert dealt == set(even.grid())
    again = SubnetSampler(FULL, "mutual", *lists, widths=[0.63, 0.8, 1.0], how="even")
    assert [again.draw(step) for step in reversed(range(12))] == steps[::-1]
    other = SubnetSampler(FULL, "mutual", *lists[:-1], 6, widths=[0.63, 0.8, 1.0], how="even")
    assert [other.draw(step) for step in range(12)] != steps


def test_even_draws_need_a_grid():
    lists = (0.63, 1.0), 2, [16], [224], 0
    with pytest.raises(InputError, match="MUTUAL.WIDTHS is empty"):
        SubnetSampler(FULL, "mutual", *lists, how="even")
    with pytest.raises(InputError, match="MUTUAL.NUM_RANDOM 2 is more than the 1 sub-networks"):
        SubnetSampler(FULL, "mutual", *lists, widths=[0.8], how="even")
    with pytest.raises(InputError, match="MUTUAL.DRAW evenly: choose one of random, even"):
        SubnetSampler(FULL, "mutual", *lists, how="evenly")
    assert SubnetSampler(FULL, "single", *lists, how="even").draw(0) == [FULL]
    one = SubnetSampler(FULL, "width_only", (1.0, 1.0), 0, [], [], 0, widths=[1.0], how="even")
    assert one.draw(3) == one.draw(3, FULL) == [FULL, FULL]
    assert one.draw(3, Subnet(1.0, 8, 112)) == [Subnet(1.0, 8, 112)]


def test_grids():
    with pytest.raises(InputError, match="MUTUAL.WIDTHS is empty"):
        sampler().grid()
    assert sampler("single").grid() == [FULL]
    narrowest = sampler("width_only", random=0).grid()
    assert narrowest == [FULL, Subnet(0.63, 16, 224)]
    images = SubnetSampler(Subnet(1, None, 224), "mutual", (0.63, 1.0), 0, [], [224, 160], 0)
    assert [str(subnet) for subnet in images.grid()] == ["1x224", "0.63x224", "0.63x160"]


def test_the_full_network_may_start_alone():
    late = SubnetSampler(FULL, "mutual", (0.63, 1.0), 2, [16], [224], 0, alone=3)
    assert [len(late.draw(step)) for step in range(5)] == [1, 1, 1, 4, 4]
    at_once = SubnetSampler(FULL, "mutual", (0.63, 1.0), 2, [16], [224], 0)
    assert late.draw(4) == at_once.draw(4)


def test_lists_nobody_gave_are_the_papers():
    assert default_sizes(224) == [224, 192, 160, 128] and default_frames(16) == [16, 13, 10, 6]
    assert default_frames(4) == [4, 3, 2] and default_frames(None) == []
    chosen = sampler(frames=(), sizes=())
    assert chosen.frames == [16, 13, 10, 6] and chosen.sizes == [224, 192, 160, 128]


@pytest.mark.parametrize("low", [1 / 3, 2 / 3, 0.123456])
def test_widths_of_many_digits_are_drawn_evenly(low):
    """Sub-networks have four of them."""
    widths = [low, (1 + low) / 2, 1.0]
    sampler = SubnetSampler(FULL, "mutual", (low, 1.0), 2, [], [], 0, widths=widths, how="even")
    for step in range(20):
        full, narrowest, *others = sampler.draw(step)
        assert full == FULL and narrowest.width == round(low, 4)
        assert all(one.width > narrowest.width for one in others)
