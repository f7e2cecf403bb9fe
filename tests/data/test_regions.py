"""Regions of training clips, against torchvision's crops."""

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from mutualvideo.config import get_cfg
from mutualvideo.data.regions import GeometrySampler, resample_regions, stack_regions
from mutualvideo.errors import InputError

AREAS, ASPECTS = [0.08, 1.0], [0.75, 4 / 3]


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _sampler(**changes):
    data = get_cfg().DATA
    data.TRAIN_JITTER_SCALES, data.TRAIN_CROP_SIZE = [32, 40], 32
    for key, value in changes.items():
        data[key] = value
    return GeometrySampler(data)


def _relative(areas=AREAS, aspects=ASPECTS, **changes):
    return _sampler(
        TRAIN_JITTER_SCALES_RELATIVE=areas, TRAIN_JITTER_ASPECT_RELATIVE=aspects, **changes
    )


def _draw(sampler, count=400):
    generator = _generator()
    return [sampler.draw(generator) for _ in range(count)]


def _random(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=_generator(seed))


def test_short_sides_are_uniform_and_include_both_ends():
    drawn = [geometry.short_side() for geometry in _draw(_sampler(TRAIN_JITTER_SCALES=[32, 35]))]
    assert set(drawn) == {32, 33, 34, 35}
    assert all(70 < drawn.count(side) < 130 for side in set(drawn))


def test_inverse_sampling_is_uniform_in_one_over_the_short_side():
    sampler = _sampler(TRAIN_JITTER_SCALES=[32, 96], INV_UNIFORM_SAMPLE=True)
    drawn = np.array([geometry.short_side() for geometry in _draw(sampler, 2000)])
    assert drawn.min() == 32 and drawn.max() == 96
    # 1/x uniform on (1/96, 1/32): the median is the harmonic middle, 48, and E[x] = 48 ln 3.
    assert np.median(drawn) == pytest.approx(48, abs=1.5)
    assert drawn.mean() == pytest.approx(48 * np.log(3), abs=1.0)


def test_jitter_cuts_every_square_of_the_crop_size():
    sampler = _sampler(TRAIN_CROP_SIZE=30, TRAIN_JITTER_SCALES=[32, 32])
    regions = [geometry.region(32, 36) for geometry in _draw(sampler)]
    assert {region[2:] for region in regions} == {(30, 30)}
    tops, lefts = ([region[axis] for region in regions] for axis in (0, 1))
    assert set(tops) == set(range(3)) and set(lefts) == set(range(7))
    assert all(95 < tops.count(top) < 170 for top in range(3))
    assert all(35 < lefts.count(left) < 80 for left in range(7))


def test_a_clip_smaller_than_the_drawn_size_gives_the_same_share_of_it():
    for geometry in _draw(_sampler(TRAIN_JITTER_SCALES=[64, 128], TRAIN_CROP_SIZE=64), 50):
        top, left, height, width = geometry.region(24, 40)
        assert height == width == round(64 * 24 / geometry.short_side())
        assert 0 <= top <= 24 - height and 0 <= left <= 40 - width


@pytest.mark.parametrize("size", [(240, 320), (320, 240), (100, 100), (100, 190)])
def test_relative_regions_are_those_of_torchvision_for_the_same_draws(size, monkeypatch):
    # torchvision is made to take our uniform numbers, in the order in which it asks.
    rule = v2.RandomResizedCrop(32, AREAS, ASPECTS)
    numbers, places = [], []

    def uniform(tensor, low, high):
        return tensor.fill_(float(low) + (float(high) - float(low)) * numbers.pop(0))

    def randint(low, high, size):
        return torch.tensor([low + int((high - low) * places.pop(0))])

    for geometry in _draw(_relative(), 200):
        low, high = np.log(ASPECTS)
        numbers[:] = np.ravel(
            [
                ((share - AREAS[0]) / (AREAS[1] - AREAS[0]), (np.log(aspect) - low) / (high - low))
                for share, aspect in geometry.shapes
            ]
        )
        places[:] = [geometry.top, geometry.left]
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "uniform_", uniform)
            patch.setattr(torch, "randint", randint)
            wanted = rule.make_params([tv_tensors.Image(torch.zeros(3, *size))])
        # torchvision rounds shapes from float32 numbers.
        found = geometry.region(*size)
        assert (
            np.abs(
                np.subtract(found, [wanted[key] for key in ("top", "left", "height", "width")])
            ).max()
            <= 1
        )


def test_relative_regions_are_distributed_as_torchvision_s():
    rule = v2.RandomResizedCrop(32, AREAS, ASPECTS)
    picture = [tv_tensors.Image(torch.zeros(3, 240, 320))]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wanted = [rule.make_params(picture) for _ in range(3000)]
    wanted = np.array([[box[key] for key in ("top", "left", "height", "width")] for box in wanted])
    found = np.array([geometry.region(240, 320) for geometry in _draw(_relative(), 3000)])
    for mine, theirs in zip(found.T, wanted.T, strict=True):
        values = np.unique(np.concatenate([mine, theirs]))
        steps = [np.searchsorted(np.sort(x), values, "right") / len(x) for x in (mine, theirs)]
        # Kolmogorov and Smirnov: one pair in a thousand of the same law is further apart.
        assert np.abs(steps[0] - steps[1]).max() < 1.95 * (2 / 3000) ** 0.5


@pytest.mark.parametrize(
    "size, areas",
    [
        ((20, 400), [0.9, 1.0]),
        ((400, 20), [0.9, 1.0]),
        ((60, 60), [1.0, 1.0]),
    ],
)
def test_where_nothing_fits_the_region_is_torchvision_s_central_one(size, areas):
    aspects = [0.5, 0.75] if size[0] == size[1] else ASPECTS
    box = v2.RandomResizedCrop(32, areas, aspects).make_params(
        [tv_tensors.Image(torch.zeros(3, *size))]
    )
    wanted = tuple(box[key] for key in ("top", "left", "height", "width"))
    for geometry in _draw(_relative(areas, aspects), 20):
        assert geometry.region(*size) == wanted


@pytest.mark.parametrize("source", [(480, 854), (90, 51)])
def test_relative_regions_are_decoded_to_about_the_crop_size(source):
    scaled = 0
    for geometry in _draw(_relative(), 400):
        whole = geometry.region(*source)
        # As decoders do it: only ever downwards, the long side rounded.
        scale = min(1, geometry.short_side(source) / min(source))
        decoded = tuple(round(side * scale) for side in source)
        found = geometry.region(*decoded, source)
        assert np.abs(np.subtract(found, np.multiply(whole, scale))).max() <= 1.5
        assert all(found[axis] + found[axis + 2] <= decoded[axis] for axis in (0, 1))
        if scale < 1:
            scaled += 1
            assert abs(min(found[2:]) - 32) <= 1
        else:
            assert min(whole[2:]) <= 32
        assert geometry.short_side() is None
    assert scaled > (390 if source[0] == 480 else 50)


def test_half_of_the_clips_are_mirrored_or_none():
    for make in (_sampler, _relative):
        assert 160 < sum(geometry.mirror for geometry in _draw(make())) < 240
        assert not any(geometry.mirror for geometry in _draw(make(RANDOM_FLIP=False)))


def test_a_data_set_can_forbid_mirroring():
    data = get_cfg().DATA
    assert data.RANDOM_FLIP
    assert not any(geometry.mirror for geometry in _draw(GeometrySampler(data, mirrored=False)))


def test_the_generator_alone_decides():
    for sampler in (_sampler(), _relative()):
        torch.manual_seed(1)
        first, state = _draw(sampler, 3), torch.get_rng_state()
        assert torch.equal(state, torch.get_rng_state())
        torch.manual_seed(2)
        assert _draw(sampler, 3) == first and first[0] != first[1]


@pytest.mark.parametrize(
    "key, value",
    [
        ("TRAIN_JITTER_SCALES", [40, 32]),
        ("TRAIN_JITTER_SCALES", [32]),
        ("TRAIN_CROP_SIZE", 33),
        ("TRAIN_CROP_SIZE", 0),
        ("TRAIN_CROP_PADDING", -1),
        ("TRAIN_JITTER_SCALES_RELATIVE", [0.1, 1.0]),
        ("TRAIN_JITTER_ASPECT_RELATIVE", [0.5, 2.0]),
    ],
)
def test_impossible_ranges(key, value):
    with pytest.raises(InputError, match=f"DATA.{key}"):
        _sampler(**{key: value})


@pytest.mark.parametrize(
    "areas, aspects, key",
    [
        ([0.0, 1.0], ASPECTS, "SCALES"),
        ([0.5, 1.1], ASPECTS, "SCALES"),
        (AREAS, [2.0, 1.0], "ASPECT"),
        (AREAS, [0.0, 1.0], "ASPECT"),
        (AREAS, [1.0], "ASPECT"),
    ],
)
def test_impossible_relative_ranges(areas, aspects, key):
    with pytest.raises(InputError, match=f"DATA.TRAIN_JITTER_{key}_RELATIVE"):
        _relative(areas, aspects)


def test_relative_ranges_take_the_place_of_the_jitter_scales():
    assert _relative(TRAIN_JITTER_SCALES=[8, 9]).draw(_generator()).region(64, 64)


@pytest.mark.parametrize("frames", [(2,), ()])
def test_stacking_pads_at_the_bottom_and_the_right(frames):
    regions = [_random(*frames, 5, 9, 3), _random(*frames, 7, 4, 3), _random(*frames, 2, 2, 3)]
    batch, size = stack_regions(regions)
    assert batch.shape == (3, 3, *frames, 7, 9) and batch.dtype == torch.uint8
    layout = torch.channels_last_3d if frames else torch.channels_last
    assert batch.is_contiguous(memory_format=layout)
    assert size.tolist() == [[5, 9], [7, 4], [2, 2]] and size.dtype == torch.int64
    for row, region in zip(batch, regions, strict=True):
        height, width = region.shape[-3:-1]
        assert torch.equal(row[..., :height, :width], region.movedim(-1, 0))
        assert row.sum() == region.sum()


@pytest.mark.parametrize("frames", [(2,), ()])
@pytest.mark.parametrize("sizes", [[(16, 16)] * 3, [(16, 16), (20, 31), (9, 12)]])
def test_resampling_equals_torchvision_region_by_region(frames, sizes):
    regions = [_random(*frames, *size, 3) for size in sizes]
    batch, size = stack_regions(regions)
    before = batch.clone()
    out = resample_regions(batch, size, 16, torch.tensor([True, False, True]))
    assert torch.equal(batch, before) and out.dtype == torch.uint8
    layout = torch.channels_last_3d if frames else torch.channels_last
    assert out.is_contiguous(memory_format=layout)
    for number, (found, region) in enumerate(zip(out, regions, strict=True)):
        # Resized in float32 and planar: what other devices than the CPU do.
        wanted = F.resize(region.movedim(-1, -3).float().contiguous(), [16, 16], antialias=True)
        wanted = F.horizontal_flip(wanted) if number != 1 else wanted
        wanted = wanted.transpose(0, 1) if frames else wanted
        limit = 0 if sizes[number] == (16, 16) else 1
        assert (found - wanted).abs().max() <= limit


def test_padding_does_not_leak_into_the_picture():
    white = [torch.full((2, 20, 12, 3), 255, dtype=torch.uint8), _random(2, 30, 40, 3)]
    batch, size = stack_regions(white)
    assert (resample_regions(batch, size, 16, torch.tensor([False, True]))[0] == 255).all()
