"""Decoded frames in other colours and sizes: RGB for networks and people, YUV for encoders.

Conversion to RGB goes by the matrix (BT.601, 709, 2020) and range that the stream declares;
where it declares none, BT.601 and limited range, as FFmpeg does.
"""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from mutualvideo.media.reader import ShortSide, scaled_size

# ISO/IEC 23091-2, matrix coefficients; 0 would be RGB.
UNSPECIFIED = 2


class ToRgb:
    """Decoded frames as upright uint8 arrays (H, W, 3), RGB.

    Args:
        short_side: frames with a longer short side are scaled down to it; ``None``: none is.
        one_size: whether all frames take the size that the first one gets.
    """

    def __init__(self, short_side: ShortSide = None, one_size: bool = True) -> None:
        self._short_side, self._one_size = short_side, one_size
        self._size: tuple[int, int] | None = None
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        size = frame.width, frame.height
        turns = round(frame.rotation / 90)
        if self._size is None or not self._one_size:
            self._size = scaled_size(*size, self._short_side, turns)
        width, height = self._size
        # Deep colour takes another route than 8 bits, which smooths chroma unless told not to.
        is_deep = frame.format.components[0].bits > 8
        rgb = self._reformatter.reformat(
            frame,
            width,
            height,
            format="rgb24",
            interpolation="POINT" if is_deep and self._size == size else None,
            threads=1,  # starting a pool takes longer than converting a clip
        ).to_ndarray()
        # Degrees counter-clockwise, as np.rot90 turns; oblique angles go to the nearest side.
        return np.rot90(rgb, turns)


class ToUprightYuv:
    """Decoded frames as upright yuv420p of limited range, all of the first one's new size.

    Args:
        short_side: of the new frames, in pixels, even; smaller frames keep their size, made even.
    """

    def __init__(self, short_side: int) -> None:
        self._short_side = short_side
        self._size: tuple[int, int] | None = None
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        turns = round(frame.rotation / 90) % 4
        self._size = self._size or self._size_for(frame.width, frame.height)
        width, height = self._size
        picture = self._reformatter.reformat(
            frame,
            width,
            height,
            format="yuv420p",
            interpolation=Interpolation.BICUBIC,
            threads=1,
            src_color_range=frame.color_range or ColorRange.MPEG,
            dst_color_range=ColorRange.MPEG,
        )
        # A frame of its own: no display matrix, and x264 chooses the picture types.
        turned = av.VideoFrame.from_ndarray(_turned(picture.to_ndarray(), turns), format="yuv420p")
        turned.pts, turned.time_base = frame.pts, frame.time_base
        turned.color_range, turned.colorspace = ColorRange.MPEG, frame.colorspace or UNSPECIFIED
        turned.color_primaries, turned.color_trc = frame.color_primaries, frame.color_trc
        return turned

    def _size_for(self, width: int, height: int) -> tuple[int, int]:
        short = min(width, height)
        scale = min(self._short_side, short - short % 2) / short
        wide, high = (2 * max(round(side * scale / 2), 1) for side in (width, height))
        return wide, high


def _turned(planes: np.ndarray, turns: int) -> np.ndarray:
    """Planes Y, U and V below each other, (3 / 2 H, W), by quarter turns counter-clockwise."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    luma, chroma = planes[:height], planes[height:].reshape(2, height // 2, width // 2)
    luma, chroma = np.rot90(luma, turns), np.rot90(chroma, turns, axes=(1, 2))
    return np.concatenate([luma, chroma.reshape(-1, luma.shape[1])])
