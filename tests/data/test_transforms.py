import pytest
import torch
from torchvision.transforms.v2 import functional as F

from mutualvideo.data.transforms import draw_short_side, normalize, train_transform
from mutualvideo.data.transforms import test_transform as make_view
from mutualvideo.errors import InputError


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _clip(height, width, frames=3):
    """Smooth colours that tell where a pixel was: red along x, green along y."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    frame = torch.stack([x * 255 // width, y * 255 // height, torch.zeros_like(x)], dim=-1)
    return frame.to(torch.uint8).expand(frames, -1, -1, -1).clone()


@pytest.mark.parametrize("height, width", [(48, 80), (80, 48), (48, 48)])
@pytest.mark.parametrize("crop_index", [0, 1, 2])
def test_views_equal_resize_then_crop(height, width, crop_index):
    clip = _clip(height, width)
    view = make_view(clip, 24, crop_index, 3)
    assert view.shape == (3, 3, 24, 24) and view.dtype == torch.uint8
    assert view.permute(1, 2, 3, 0).is_contiguous()
    small = F.resize(clip.permute(0, 3, 1, 2), [height // 2, width // 2], antialias=True)
    slack = abs(height - width) // 2
    offset = [0, (slack + 1) // 2, slack][crop_index]
    top, left = (offset, 0) if height > width else (0, offset)
    expected = F.crop(small, top, left, 24, 24).transpose(0, 1)
    # The antialiasing filter sees the cut at the rim of a crop, one pixel wide.
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    assert (view[inner].int() - expected[inner].int()).abs().max() <= 1


def test_a_view_of_the_right_size_is_only_cropped():
    clip = torch.randint(0, 256, (2, 24, 40, 3), dtype=torch.uint8, generator=_generator())
    expected = clip[:, :, 8:32].permute(3, 0, 1, 2)
    assert torch.equal(make_view(clip, 24, 0, 1), expected)


def test_training_covers_scales_places_and_mirrors():
    clip = _clip(64, 96)
    sides, lefts, mirrored = [], [], []
    for seed in range(300):
        out = train_transform(clip, _generator(seed), (32, 64), 32, True)
        assert out.shape == (3, 3, 32, 32) and out.dtype == torch.uint8
        red = out[0, 0, 16].float()
        # Every frame has the same geometry, and mirroring turns the slope of red.
        assert torch.equal(out[:, 0], out[:, 2])
        mirrored.append(bool(red[-1] < red[0]))
        sides.append(float((red[-1] - red[0]).abs()) / 255 * 96)
        lefts.append(float(red.min()) / 255 * 96)
    assert 0.4 < sum(mirrored) / 300 < 0.6
    # 32 of a short side of 32 to 64 is 32 to 64 source pixels.
    assert min(sides) < 34 and max(sides) > 60 and 29 < min(sides) and max(sides) < 66
    assert min(lefts) < 2 and max(lefts) > 96 - 36


def test_training_never_mirrors_when_told_not_to():
    for seed in range(40):
        red = train_transform(_clip(40, 60), _generator(seed), (32, 40), 32, False)[0, 0, 0].float()
        assert red[-1] > red[0]


def test_training_depends_on_the_generator_alone():
    clip = _clip(40, 60)
    torch.manual_seed(1)
    first = train_transform(clip, _generator(5), (32, 40), 32, True)
    torch.manual_seed(2)
    assert torch.equal(first, train_transform(clip, _generator(5), (32, 40), 32, True))
    others = [train_transform(clip, _generator(s), (32, 40), 32, True) for s in range(6, 10)]
    assert not all(torch.equal(first, other) for other in others)


def test_short_sides_are_uniform_and_include_both_ends():
    generator = _generator()
    drawn = [draw_short_side(generator, [10, 13]) for _ in range(400)]
    assert set(drawn) == {10, 11, 12, 13}
    assert all(70 < drawn.count(side) < 130 for side in set(drawn))


def test_impossible_crops():
    with pytest.raises(InputError, match="TRAIN_CROP_SIZE"):
        train_transform(_clip(40, 60), _generator(), (32, 40), 33, True)
    with pytest.raises(InputError, match="TRAIN_JITTER_SCALES"):
        train_transform(_clip(40, 60), _generator(), (40, 32), 32, True)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5, 6), (2, 3, 5, 6)])
def test_normalize_equals_torchvision(shape):
    batch = torch.randint(0, 256, shape, dtype=torch.uint8, generator=_generator())
    mean, std = (0.4, 0.45, 0.5), (0.2, 0.225, 0.25)
    frames = batch.transpose(1, 2) if len(shape) == 5 else batch
    expected = F.normalize(F.to_dtype(frames, torch.float32, scale=True), mean, std)
    expected = expected.transpose(1, 2) if len(shape) == 5 else expected
    out = normalize(batch, mean, std)
    assert out.dtype == torch.float32 and out.shape == batch.shape
    torch.testing.assert_close(out, expected, rtol=0, atol=2e-6)


def test_normalize_keeps_the_memory_format():
    batch = torch.zeros(2, 3, 4, 8, 8, dtype=torch.uint8)
    out = normalize(batch.contiguous(memory_format=torch.channels_last_3d), [0.5] * 3, [0.2] * 3)
    assert out.is_contiguous(memory_format=torch.channels_last_3d)


def test_normalize_refuses_other_input():
    clips = torch.zeros(2, 3, 4, 8, 8, dtype=torch.uint8)
    for batch, mean in [(clips.float(), [0.5] * 3), (clips[0, 0], [0.5] * 3), (clips, [0.5])]:
        with pytest.raises(InputError):
            normalize(batch, mean, mean)
