"""From frames or pictures as a camera gives them to a sub-network's input, as evaluation makes it.

NumPy and Pillow only: a machine that runs exported sub-networks needs no torch.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from mutualvideo.data.sampling import crop_offset
from mutualvideo.errors import InputError
from mutualvideo.frame_indices import frame_indices
from mutualvideo.media_kind import takes_pictures

_SHAPES = "uint8 (T, H, W, 3), (3, T, H, W) or (B, 3, T, H, W)"
_PICTURE_SHAPES = "uint8 (H, W, 3), (3, H, W), (B, H, W, 3) or (B, 3, H, W)"


@dataclass(frozen=True)
class Preprocessing:
    """What a network wants its clips to look like.

    Args:
        num_frames: frames of a full clip (``DATA.NUM_FRAMES``); ``None``: of pictures.
        crop_size: side of a full clip in pixels (``DATA.TEST_CROP_SIZE``).
        mean, std: per channel (R, G, B), of values from 0 to 1 (``DATA.MEAN``, ``DATA.STD``).
        crop_share: that side over the short side of what is seen (``DATA.TEST_CROP_SHARE``).
    """

    num_frames: int | None
    crop_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_share: float = 1.0

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != 3:
                raise InputError(f"DATA.{name.upper()} must have 3 values, not {len(values)}")
            object.__setattr__(self, name, values)

    @classmethod
    def of(cls, cfg: Any) -> Preprocessing:
        """That of a configuration."""
        data = cfg.DATA
        frames = None if takes_pictures(cfg) else data.NUM_FRAMES
        look = tuple(data.MEAN), tuple(data.STD), data.TEST_CROP_SHARE
        return cls(frames, data.TEST_CROP_SIZE, *look)


def as_clips(clip: Any, pictures: bool = False) -> list[np.ndarray]:
    """The clips, or pictures, that were given, one by one.

    Args:
        clip: uint8 array or tensor (T, H, W, 3), (3, T, H, W) or a batch (B, 3, T, H, W); a
            last dimension of 3 means (T, H, W, 3).
        pictures: that is what they are: (H, W, 3), (3, H, W) or a batch (B, H, W, 3) or
            (B, 3, H, W); a last dimension of 3 means (H, W, 3).

    Returns:
        list of uint8 arrays (T, H, W, 3), T of a picture 1, which share memory with a clip on
        the CPU.

    Raises:
        InputError: for another dtype or shape.
    """
    shapes = _PICTURE_SHAPES if pictures else _SHAPES
    if str(getattr(clip, "dtype", "")) not in ("uint8", "torch.uint8"):
        kind = f"{clip.dtype} {tuple(clip.shape)}" if hasattr(clip, "dtype") else type(clip)
        raise InputError(f"clip: expected {shapes}, got {kind}")
    if not isinstance(clip, np.ndarray):
        clip = clip.detach().cpu().numpy()
    shape = clip.shape
    if pictures and 0 not in shape and len(shape) in (3, 4):
        if shape[-1] != 3 and shape[-3] == 3:
            clip = np.moveaxis(clip, -3, -1)
        if clip.shape[-1] == 3:
            return [clip[None]] if len(shape) == 3 else list(clip[:, None])
    elif not pictures and 0 not in shape:
        # With a last dimension of 3 as well it may be (B, 3, H, W, 3): clips of three frames.
        if len(shape) == 5 and shape[1] == 3 and shape[4] != 3:
            return list(clip.transpose(0, 2, 3, 4, 1))
        if len(shape) == 4 and shape[3] == 3:
            return [clip]
        if len(shape) == 4 and shape[0] == 3:
            return [clip.transpose(1, 2, 3, 0)]
    raise InputError(f"clip: expected {shapes}, got uint8 {shape}")


def full_clip(clip: np.ndarray, preprocessing: Preprocessing) -> tuple[np.ndarray, Preprocessing]:
    """The frames and pixels that any sub-network may want of a clip, as 8-bit pictures.

    :func:`prepare` gives the same numbers for it as for the clip, in less time.

    Args:
        clip: uint8 array (T, H, W, 3), RGB, any T, H and W.
        preprocessing: :class:`Preprocessing`.

    Returns:
        ``(uint8 array (num_frames, crop_size, crop_size, 3) with memory of its own,
        the Preprocessing that is left to do)``; of a picture there is one frame.
    """
    frames = preprocessing.num_frames
    taken = [0] if frames is None else frame_indices(len(clip), frames)
    return _square(clip, taken, preprocessing), replace(preprocessing, crop_share=1.0)


def prepare(
    clip: np.ndarray, preprocessing: Preprocessing, frames: int | None, size: int
) -> np.ndarray:
    """One clip, or picture, as a sub-network takes it: the same numbers as in evaluation.

    ``num_frames`` frames are taken evenly (repeated if there are fewer) and of these
    ``frames``; the short side is resized to ``crop_size`` and the centre cut out, as 8-bit
    pictures; values are normalised; then the picture is made ``size``, in floating point.
    Only the frames and pixels that arrive at the end are computed.

    Args:
        clip: uint8 array (T, H, W, 3), RGB, any T, H and W; of a picture the first frame.
        preprocessing: :class:`Preprocessing`.
        frames, size: of the sub-network's input; frames ``None``: of a picture.

    Returns:
        float32 array (3, frames, size, size), of a picture (3, size, size), contiguous.

    Raises:
        InputError: if more frames are wanted than a full clip has.
    """
    if frames is None:
        taken = [0]
    elif preprocessing.num_frames is None:
        raise InputError("a network of pictures has no sub-network that takes frames")
    elif frames > preprocessing.num_frames:
        raise InputError(
            f"a sub-network of {frames} frames cannot be fed from a clip of "
            f"{preprocessing.num_frames}: lower its frames or raise DATA.NUM_FRAMES"
        )
    else:
        taken = frame_indices(len(clip), preprocessing.num_frames)
        taken = [taken[i] for i in frame_indices(preprocessing.num_frames, frames)]
    pictures = _square(clip, taken, preprocessing)
    # Normalisation is linear and the weights of a resize sum to 1: the smaller picture is
    # normalised instead of the larger one.
    pixels = _resize(pictures.astype(np.float32), size)
    mean, std = (
        np.asarray(values, np.float32)[:, None, None, None]
        for values in (preprocessing.mean, preprocessing.std)
    )
    pixels *= 1 / (255 * std)
    pixels -= mean / std
    return pixels[:, 0] if frames is None else pixels


def seen_region(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int, int]:
    """``(top, left, side)`` of the square in a frame that networks see, in pixels."""
    side = max(1, round(preprocessing.crop_share * min(height, width)))
    rim = (min(height, width) - side) // 2
    top, left = crop_offset(height, width, 0, 1)
    return top + rim, left + rim, side


def _square(clip: np.ndarray, taken: list[int], preprocessing: Preprocessing) -> np.ndarray:
    """The centre of the frames ``taken``, uint8 (frames, crop_size, crop_size, 3)."""
    crop_size, share = preprocessing.crop_size, preprocessing.crop_share
    short, wanted = min(clip.shape[1:3]), round(crop_size / share)
    if short > wanted and (share < 1 or preprocessing.num_frames is None):
        # As evaluation has it from the reader of pictures: scaled, then cut.
        size = [round(side * wanted / short) for side in clip.shape[2:0:-1]]
        clip = np.stack(
            [
                np.asarray(Image.fromarray(clip[i]).resize(size, Image.Resampling.BILINEAR))
                for i in taken
            ]
        )
        taken = list(range(len(taken)))
    height, width = clip.shape[1:3]
    top, left, side = seen_region(height, width, preprocessing)
    region = clip[:, top : top + side, left : left + side]
    if side == crop_size:
        return region[taken]
    resized = {
        i: Image.fromarray(np.ascontiguousarray(region[i])).resize(
            (crop_size, crop_size), Image.Resampling.BILINEAR
        )
        for i in set(taken)
    }
    return np.stack([np.asarray(resized[i]) for i in taken])


def _resize(pictures: np.ndarray, size: int) -> np.ndarray:
    """float32 (T, S, S, 3) -> (3, T, size, size), anti-aliased; a matrix for each direction."""
    frames, side = pictures.shape[:2]
    if side == size:
        return np.ascontiguousarray(pictures.transpose(3, 0, 1, 2))
    weights = resize_weights(side, size)
    rows = weights @ pictures.reshape(frames, side, side * 3)
    rows = np.ascontiguousarray(rows.reshape(frames, size, side, 3).transpose(3, 0, 1, 2))
    return (rows.reshape(-1, side) @ weights.T).reshape(3, frames, size, size)


@functools.lru_cache(maxsize=64)
def resize_weights(side: int, size: int) -> np.ndarray:
    """The matrix (size, side) that resizes ``side`` pixels to ``size``, float32.

    A triangle filter, widened by the factor that the picture shrinks by: torch's
    ``interpolate(mode="bilinear", antialias=True, align_corners=False)``.
    """
    scale = side / size
    reach = max(scale, 1.0)
    weights = np.zeros((size, side))
    for i in range(size):
        centre = scale * (i + 0.5)
        first = max(int(centre - reach + 0.5), 0)
        last = min(int(centre + reach + 0.5), side)
        distance = np.abs(np.arange(first, last) - centre + 0.5) / reach
        weights[i, first:last] = np.maximum(1 - distance, 0)
    weights /= weights.sum(1, keepdims=True)
    weights = weights.astype(np.float32)
    weights.flags.writeable = False
    return weights
