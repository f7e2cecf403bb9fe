"""prepare() against the torch pipeline that evaluation uses."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from mutualvideo.data.transforms import normalize, test_transform
from mutualvideo.errors import InputError
from mutualvideo.media.picture_reader import PictureReader
from mutualvideo.runtime.preprocess import Preprocessing, as_clips, prepare, resize_weights
from mutualvideo.slim import frame_indices, resample_clip

MEAN, STD = (0.3, 0.4, 0.5), (0.2, 0.25, 0.3)


def smooth_clip(*shape):
    """Noise at a scale of some pixels, so that a shift by one would show."""
    noise = torch.rand(shape[0], 3, shape[1] // 3 + 1, shape[2] // 3 + 1)
    noise = F.interpolate(noise, shape[1:], mode="bicubic").clamp(0, 1)
    return (noise * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def evaluated(clip, num_frames, crop, frames, size):
    """What evaluation feeds the network."""
    clip = test_transform(clip[frame_indices(len(clip), num_frames)], crop, 0, 1)
    return resample_clip(normalize(clip.movedim(-1, 0)[None], MEAN, STD), frames, size)[0].numpy()


@pytest.mark.parametrize("shape", [(6, 40, 40), (11, 40, 57), (3, 61, 40)])
@pytest.mark.parametrize(("frames", "size"), [(6, 40), (4, 24), (1, 33), (6, 56)])
def test_equals_evaluation_where_the_crop_needs_no_resize(shape, frames, size):
    torch.manual_seed(0)
    clip = smooth_clip(*shape)
    found = prepare(clip.numpy(), Preprocessing(6, 40, MEAN, STD), frames, size)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_allclose(found, evaluated(clip, 6, 40, frames, size), atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 90, 120), (5, 121, 64), (4, 30, 37)])
@pytest.mark.parametrize(("frames", "size"), [(6, 48), (3, 32)])
def test_equals_evaluation_within_one_level_of_eight_bits(shape, frames, size):
    torch.manual_seed(1)
    clip = smooth_clip(*shape)
    found = prepare(clip.numpy(), Preprocessing(6, 48, MEAN, STD), frames, size)
    level = 1 / 255 / min(STD)
    np.testing.assert_allclose(found, evaluated(clip, 6, 48, frames, size), atol=level + 1e-5)


def of_pictures(crop, share):
    return Preprocessing(None, crop, MEAN, STD, share)


@pytest.mark.parametrize("shape", [(40, 40), (70, 57), (91, 122), (35, 60)])
@pytest.mark.parametrize("share", [1.0, 0.875])
@pytest.mark.parametrize("size", [40, 28])
def test_pictures_equal_evaluation(shape, share, size, tmp_path):
    torch.manual_seed(2)
    picture = smooth_clip(1, *shape)[0]
    Image.fromarray(picture.numpy()).save(tmp_path / "a.png")
    # As the data set does it: read at the scale of the crop, then cut.
    read = PictureReader(tmp_path / "a.png").read([0], round(40 / share))
    view = test_transform(torch.from_numpy(read), 40, 0, 1, share).movedim(-1, 1)
    expected = resample_clip(normalize(view, MEAN, STD), None, size)[0].numpy()
    (clip,) = as_clips(picture, pictures=True)
    found = prepare(clip, of_pictures(40, share), None, size)
    assert found.shape == (3, size, size)
    # Eight bits are rounded elsewhere, and the rim of a crop that is scaled afterwards differs.
    level = 1 / 255 / min(STD)
    difference = np.abs(found - expected)
    assert np.quantile(difference, 0.9) < level + 1e-5 and difference.mean() < level / 2
    if share < 1 and min(shape) > 46 or shape == (40, 40) and share == 1:
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "shape, count",
    [
        ((8, 9, 3), 1),
        ((3, 8, 9), 1),
        ((5, 8, 9, 3), 5),
        ((5, 3, 8, 9), 5),
        ((3, 8, 3), 1),
    ],
)
def test_pictures_and_batches_of_them(shape, count):
    clips = as_clips(np.zeros(shape, np.uint8), pictures=True)
    assert len(clips) == count and all(clip.shape[0] == 1 for clip in clips)
    assert all(clip.shape[-1] == 3 for clip in clips)


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 4), (2, 3, 4, 5, 6), (0, 8, 9, 3)])
def test_no_pictures(shape):
    with pytest.raises(InputError, match=r"expected uint8 \(H, W, 3\), .* got uint8"):
        as_clips(np.zeros(shape, np.uint8), pictures=True)


@pytest.mark.parametrize(("side", "size"), [(224, 112), (224, 160), (37, 36), (32, 50), (9, 1)])
def test_weights_are_torchs(side, size):
    # The matrix is the resize of the identity in one direction.
    identity = torch.eye(side, dtype=torch.float64)[None, None]
    expected = F.interpolate(identity, (size, side), mode="bilinear", antialias=True)
    np.testing.assert_allclose(resize_weights(side, size), expected[0, 0], atol=1e-6)


def test_frames_are_selected_before_pixels_are_computed():
    class Counting(np.ndarray):
        read = set()

        def __getitem__(self, index):
            if isinstance(index, int):
                self.read.add(index)
            return super().__getitem__(index)

    clip = np.zeros((100, 64, 64, 3), np.uint8).view(Counting)
    prepare(clip, Preprocessing(10, 32, MEAN, STD), 2, 16)
    assert Counting.read == {0, 99}


def test_more_frames_than_a_clip_has():
    with pytest.raises(InputError, match="7 frames cannot be fed from a clip of 6"):
        prepare(np.zeros((6, 8, 8, 3), np.uint8), Preprocessing(6, 8, MEAN, STD), 7, 8)


def test_clips_share_memory():
    clip = np.zeros((2, 3, 4, 8, 9), np.uint8)
    clips = as_clips(clip)
    assert [c.shape for c in clips] == [(4, 8, 9, 3)] * 2
    assert all(np.shares_memory(c, clip) for c in clips)
    (of_tensor,) = as_clips(torch.zeros(3, 4, 8, 9, dtype=torch.uint8))
    assert of_tensor.shape == (4, 8, 9, 3)


def test_a_batch_with_channels_last_is_none():
    """Of three frames it could be taken for one with channels first."""
    for frames in (3, 4):
        with pytest.raises(InputError, match="got uint8"):
            as_clips(np.zeros((2, frames, 48, 64, 3), np.uint8))


def test_three_channels():
    with pytest.raises(InputError, match="DATA.STD must have 3 values, not 2"):
        Preprocessing(6, 40, MEAN, (1.0, 1.0))
