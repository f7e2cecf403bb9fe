"""From decoded frames to a square uint8 clip, and from there to network input.

Geometry runs in the loader on uint8: the region that survives is cut out first, in source
pixels, and resized once. Normalisation runs on whichever device holds the batch.
"""

import torch
from torchvision.transforms.v2 import functional as F

from mutualvideo.data.sampling import crop_offset
from mutualvideo.errors import InputError


def draw_short_side(generator, jitter_scales):
    """A random length for the short side, uniform over the integers of a range, ends included.

    Args:
        generator: ``torch.Generator`` on the CPU.
        jitter_scales: (smallest, largest) in pixels (``DATA.TRAIN_JITTER_SCALES``).

    Returns:
        int, pixels.

    Raises:
        InputError: if the range is not two positive numbers in order.
    """
    if len(jitter_scales) != 2 or not 1 <= jitter_scales[0] <= jitter_scales[1]:
        raise InputError(
            "DATA.TRAIN_JITTER_SCALES must be two sizes, smallest first, "
            f"not {list(jitter_scales)}"
        )
    low, high = (int(scale) for scale in jitter_scales)
    return int(torch.randint(low, high + 1, (1,), generator=generator))


def train_transform(clip, generator, jitter_scales, crop_size, flip):
    """Random scale, random square crop, random mirror: one draw for the whole clip.

    Equals resizing the short side to a random length of ``jitter_scales`` and cropping
    ``crop_size`` at random, but resizes the cropped region alone. A clip whose short side
    is already the drawn length is only cropped.

    Args:
        clip: uint8 tensor (T, H, W, 3).
        generator: ``torch.Generator`` on the CPU; every random choice comes from it.
        jitter_scales: range of the short side, in pixels.
        crop_size: side of the result, in pixels, at most the smallest short side.
        flip: whether to mirror one clip in two.

    Returns:
        uint8 tensor (3, T, crop_size, crop_size), channels last in memory.

    Raises:
        InputError: if the crop is larger than the smallest short side.
    """
    short_side = draw_short_side(generator, jitter_scales)
    if crop_size > min(jitter_scales):
        raise InputError(
            f"DATA.TRAIN_CROP_SIZE {crop_size} is larger than the smallest of "
            f"DATA.TRAIN_JITTER_SCALES {list(jitter_scales)}"
        )
    height, width = clip.shape[1:3]
    # Side of the region in source pixels; the clip's short side itself when it stays whole.
    side = max(1, round(crop_size * min(height, width) / short_side))
    top, left = (
        int(torch.randint(0, length - side + 1, (1,), generator=generator))
        for length in (height, width)
    )
    mirrored = bool(torch.rand(1, generator=generator) < 0.5) and flip
    return _cut(clip, top, left, side, crop_size, mirrored)


def test_transform(clip, crop_size, crop_index, num_crops):
    """Short side to ``crop_size``, one of ``num_crops`` square crops along the longer side.

    Args:
        clip: uint8 tensor (T, H, W, 3).
        crop_size: side of the result, in pixels.
        crop_index, num_crops: see :func:`mutualvideo.data.sampling.crop_offset`.

    Returns:
        uint8 tensor (3, T, crop_size, crop_size), channels last in memory.

    Raises:
        InputError: for a number of crops other than 1 and 3.
    """
    height, width = clip.shape[1:3]
    top, left = crop_offset(height, width, crop_index, num_crops)
    return _cut(clip, top, left, min(height, width), crop_size, mirrored=False)


test_transform.__test__ = False


def _cut(clip, top, left, side, size, mirrored):
    # (T, 3, H, W) with channels last in memory: torchvision's fast path for uint8.
    region = clip[:, top : top + side, left : left + side].permute(0, 3, 1, 2)
    if side != size:
        region = F.resize(region, [size, size], antialias=True)
    if mirrored:
        region = F.horizontal_flip(region)
    return region.contiguous(memory_format=torch.channels_last).transpose(0, 1)


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
    shape = (1, -1) + (1,) * (batch.dim() - 2)
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=batch.device).view(shape)
        for values in (mean, std)
    )
    # One multiplication and one addition in place: this touches every pixel of a batch.
    return batch.to(torch.float32).mul_(1 / (255 * std)).sub_(mean / std)
