"""Videos written: pictures in, a file out. The one place that sets up an encoder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from types import TracebackType
from typing import cast

import av
import numpy as np
from PIL import Image

from mutualvideo.media.colour import UNSPECIFIED


class VideoWriter:
    """Encodes pictures, h264 in yuv420p unless told otherwise. A context manager.

    The file is whole once the block has ended without an exception. The first picture decides
    the size; its sides must be even.

    Args:
        path: the file.
        fps: nominal frame rate; ``None``: frames carry their own times (``av.VideoFrame``).
        clock: unit of the times given to :meth:`write`, in seconds; ``None``: one frame follows
            the other at ``fps``.
        codec: FFmpeg's name of the encoder.
        options: of the encoder: ``{"crf": "20", "preset": "veryfast"}``. For the same bytes each
            time, x264 needs ``{"threads": "1", "x264-params": "mbtree=0"}``.
        form: container format; ``None``: by the ending of the path.
        container_options: of the container.
        pixels: pixel format.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: float | Fraction | None = None,
        *,
        clock: Fraction | None = None,
        codec: str = "libx264",
        options: Mapping[str, str] | None = None,
        form: str | None = None,
        container_options: Mapping[str, str] | None = None,
        pixels: str = "yuv420p",
    ) -> None:
        self._container = av.open(
            str(path), "w", format=form, options=dict(container_options or {})
        )
        rate = None if fps is None else Fraction(fps).limit_denominator(1001)
        stream = self._container.add_stream(codec, rate=rate, options=dict(options or {}))
        self._stream = cast(av.VideoStream, stream)
        self._stream.pix_fmt = pixels
        if clock is not None:
            self._stream.codec_context.time_base = clock
        self._clock, self._last, self._begun = clock, -1, False

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._container:
            if kind is None and self._begun:
                self._container.mux(self._stream.encode(None))

    def write(
        self, picture: np.ndarray | Image.Image | av.VideoFrame, time_s: float | None = None
    ) -> None:
        """Adds a picture.

        Args:
            picture: uint8 array (H, W, 3), RGB; a PIL image; or a frame of PyAV in the pixel
                format of the file, whose time and colours the file takes over.
            time_s: when it is shown, in seconds; needs a clock. Two pictures in one tick of it
                come one tick after the other, since an encoder takes no time twice.
        """
        if isinstance(picture, av.VideoFrame):
            frame = picture
        elif isinstance(picture, Image.Image):
            frame = av.VideoFrame.from_image(picture)
        else:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        if not self._begun:
            self._begin(frame, own_colours=frame is picture)
        if time_s is not None and self._clock is not None:
            self._last = max(round(time_s / self._clock), self._last + 1)
            frame.pts, frame.time_base = self._last, self._clock
        self._container.mux(self._stream.encode(frame))

    def _begin(self, frame: av.VideoFrame, own_colours: bool) -> None:
        self._begun = True
        context = self._stream.codec_context
        context.width, context.height = frame.width, frame.height
        if own_colours:
            if frame.time_base is not None:
                context.time_base = frame.time_base
            context.color_range = frame.color_range
            context.colorspace = frame.colorspace or UNSPECIFIED
            context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
