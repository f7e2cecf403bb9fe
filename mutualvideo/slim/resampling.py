"""A sub-network's input, made from the full clip on whichever device it lies."""

import torch
from torch.nn import functional as F

from mutualvideo.errors import InputError
from mutualvideo.frame_indices import frame_indices
from mutualvideo.slim.network_protocol import shapes_clips


def resample_clip(clip, frames, size):
    """Fewer frames over the same time span, and a smaller picture.

    Frames are selected by even index; the size is changed by anti-aliased bilinear
    interpolation. A clip that already has that shape is returned as it is.

    Args:
        clip: floating point (B, C, T, H, W), or (B, C, H, W) for images.
        frames: frames wanted, at most T; ``None`` for images.
        size: height and width wanted, in pixels.

    Returns:
        Tensor (B, C, frames, size, size) or (B, C, size, size), same dtype and device.

    Raises:
        InputError: if more frames are wanted than the clip has.
    """
    if frames is not None and frames != clip.shape[2]:
        if frames > clip.shape[2]:
            raise InputError(
                f"a sub-network of {frames} frames cannot be fed from a clip of {clip.shape[2]}: "
                "lower its frames or raise DATA.NUM_FRAMES"
            )
        index = torch.tensor(frame_indices(clip.shape[2], frames), device=clip.device)
        # Selecting with the channels last keeps them last in memory, the fast layout for 3D.
        clip = clip.permute(0, 2, 3, 4, 1).index_select(1, index).permute(0, 4, 1, 2, 3)
    if clip.shape[-2:] == (size, size):
        return clip
    if frames is None:
        return _resize(clip, size)
    batch, channels, count, height, width = clip.shape
    # interpolate() anti-aliases pictures only, so frames join the batch for a moment.
    pictures = clip.transpose(1, 2).reshape(batch * count, channels, height, width)
    pictures = _resize(pictures, size)
    return pictures.reshape(batch, count, channels, size, size).transpose(1, 2)


def _resize(pictures, size):
    return F.interpolate(
        pictures, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )


def input_shape(model, subnet):
    """(frames, size) of the clip that ``model`` takes as ``subnet``.

    The sub-network's own, unless the network makes its pathways inside (SlowFast).
    """
    if shapes_clips(model):
        return model.clip_shape(subnet)
    return subnet.frames, subnet.size


def subnet_input(model, clip, subnet):
    """What ``model`` is fed as ``subnet``, from the full ``clip``; see :func:`resample_clip`."""
    return resample_clip(clip, *input_shape(model, subnet))
