import pytest
import torch
from torchvision.transforms.v2 import functional as F

from mutualvideo.data.transforms import normalize
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
    assert view.shape == (3, 24, 24, 3) and view.dtype == torch.uint8
    small = F.resize(clip.permute(0, 3, 1, 2), [height // 2, width // 2], antialias=True)
    slack = abs(height - width) // 2
    offset = [0, (slack + 1) // 2, slack][crop_index]
    top, left = (offset, 0) if height > width else (0, offset)
    expected = F.crop(small, top, left, 24, 24).movedim(1, -1)
    # The antialiasing filter sees the cut at the rim of a crop, one pixel wide.
    inner = (slice(None), slice(1, -1), slice(1, -1))
    assert (view[inner].int() - expected[inner].int()).abs().max() <= 1


def test_a_view_of_the_right_size_is_only_cropped():
    clip = torch.randint(0, 256, (2, 24, 40, 3), dtype=torch.uint8, generator=_generator())
    expected = clip[:, :, 8:32]
    assert torch.equal(make_view(clip, 24, 0, 1), expected)


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
