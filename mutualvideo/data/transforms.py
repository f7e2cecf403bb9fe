"""The crops of testing, in the loader, and normalisation, on whichever device holds the batch."""

import torch
from torchvision.transforms.v2 import functional as F

from mutualvideo.data.sampling import crop_offset
from mutualvideo.errors import InputError


def test_transform(clip, crop_size, crop_index, num_crops, share=1.0):
    """One of ``num_crops`` square crops along the longer side, scaled to ``crop_size``.

    Args:
        clip: uint8 tensor (T, H, W, 3).
        crop_size: side of the result, in pixels.
        crop_index, num_crops: see :func:`mutualvideo.data.sampling.crop_offset`.
        share: side of the crop over the short side, in the middle of the larger square
            (``DATA.TEST_CROP_SHARE``), above 0 and at most 1.

    Returns:
        uint8 tensor (T, crop_size, crop_size, 3).

    Raises:
        InputError: for a number of crops other than 1 and 3.
    """
    height, width = clip.shape[1:3]
    top, left = crop_offset(height, width, crop_index, num_crops)
    side = max(1, round(share * min(height, width)))
    rim = (min(height, width) - side) // 2
    top, left = top + rim, left + rim
    region = clip[:, top : top + side, left : left + side]
    if side == crop_size:
        return region
    # (T, 3, H, W) with channels last in memory: torchvision's fast path for uint8.
    return F.resize(region.movedim(-1, 1), [crop_size, crop_size], antialias=True).movedim(1, -1)


test_transform.__test__ = False


def normalize(batch, mean, std):
    """``(batch / 255 - mean) / std`` per channel, on the device that holds the batch.

    Args:
        batch: uint8 tensor of clips (B, C, T, H, W) or images (B, C, H, W).
        mean, std: C numbers each, of values from 0 to 1 (``DATA.MEAN``, ``DATA.STD``).

    Returns:
        float32 tensor of the same shape and memory format.

    Raises:
        InputError: if the batch is not uint8 or the channels do not fit.
    """
    if batch.dtype != torch.uint8 or batch.dim() not in (4, 5):
        raise InputError(
            "normalize takes uint8 clips (B, C, T, H, W) or images (B, C, H, W), "
            f"not {batch.dtype} of shape {tuple(batch.shape)}"
        )
    if not len(mean) == len(std) == batch.shape[1]:
        raise InputError(
            f"DATA.MEAN and DATA.STD must have {batch.shape[1]} values, "
            f"not {len(mean)} and {len(std)}"
        )
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=batch.device) for values in (mean, std)
    )
    # One multiplication and one addition in place: this touches every pixel of a batch.
    factor, offset = 1 / (255 * std), mean / std
    pixels = batch.movedim(1, -1)
    if not pixels.is_contiguous():
        shape = (-1,) + (1,) * (batch.dim() - 2)
        return batch.to(torch.float32).mul_(factor.view(shape)).sub_(offset.view(shape))
    # Constants as long as a row of pixels: torch's loops are slow over three numbers.
    width = pixels.shape[-2]
    rows = pixels.flatten(-2).to(torch.float32).mul_(factor.repeat(width))
    return rows.sub_(offset.repeat(width)).unflatten(-1, pixels.shape[-2:]).movedim(-1, 1)
