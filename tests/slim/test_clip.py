"""Inputs of sub-networks, made from the full clip."""

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from mutualvideo.errors import InputError
from mutualvideo.slim import frame_indices, resample_clip


@pytest.mark.parametrize("available", [4, 8, 13, 16, 32])
@pytest.mark.parametrize("wanted", [2, 3, 4])
def test_frames_are_pyslowfasts(available, wanted):
    pyslowfast = torch.linspace(0, available - 1, wanted, dtype=torch.float64).add(1e-9).long()
    assert frame_indices(available, wanted) == pyslowfast.tolist()


def test_one_frame_is_the_middle():
    assert frame_indices(9, 1) == [4]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_equals_torchvisions_resize_of_the_selected_frames(layout):
    torch.manual_seed(0)
    clip = torch.rand(2, 3, 8, 48, 48).contiguous(memory_format=layout)
    found = resample_clip(clip, 4, 32)
    chosen = clip[:, :, frame_indices(8, 4)]
    wanted = torch.stack([F.resize(c.transpose(0, 1), [32, 32], antialias=True) for c in chosen])
    torch.testing.assert_close(found, wanted.transpose(1, 2), rtol=1e-5, atol=1e-5)


def test_images_and_the_full_clip():
    image = torch.rand(2, 3, 48, 48)
    torch.testing.assert_close(resample_clip(image, None, 32), F.resize(image, [32, 32]))
    clip = torch.rand(1, 3, 4, 32, 32)
    assert resample_clip(clip, 4, 32) is clip


def test_more_frames_than_there_are():
    with pytest.raises(InputError, match="8 frames cannot be fed from a clip of 4"):
        resample_clip(torch.rand(1, 3, 4, 32, 32), 8, 32)
