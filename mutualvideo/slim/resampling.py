"""A sub-network's input, made from the full clip on whichever device it lies."""

import torch
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves, tree_map

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
                "lower its frames, or give longer clips"
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
    """What ``model`` is fed as ``subnet``, made from the full ``clip``.

    Args:
        model: a slimmable network.
        clip: a tensor, or a nest of tensors: a tuple of positional arguments, or a list or
            dict that is the one argument.
        subnet: which sub-network.

    Returns:
        The same nest: floating point clips (5 dimensions) and pictures (4 dimensions) as
        :func:`resample_clip` makes them, everything else as it is.
    """
    return resample_nest(clip, *input_shape(model, subnet))


def resample_nest(nest, frames, size):
    """:func:`resample_clip` of every clip and picture of ``nest``; see :func:`subnet_input`."""
    single = isinstance(nest, torch.Tensor)

    def resample(value):
        if not isinstance(value, torch.Tensor) or value.dim() not in (4, 5):
            return value
        if not value.is_floating_point() or value.shape[-2:].numel() == 1:
            return value
        if single and (frames is not None or value.dim() == 4):
            return resample_clip(value, frames, size)
        # In a nest, pictures may accompany clips; without frames a clip keeps its own.
        return resample_clip(value, (frames or value.shape[2]) if value.dim() == 5 else None, size)

    return tree_map(resample, nest)


def batch_length(nest):
    """How many examples ``nest``, a batch, holds: the length of its first tensor."""
    return next(len(t) for t in tree_leaves(nest) if isinstance(t, torch.Tensor) and t.dim())


def run_on(network, nest):
    """``network`` on ``nest``: a tuple is its positional arguments, anything else is the one."""
    return network(*nest) if isinstance(nest, tuple) else network(nest)
