"""Films written: h264 in mp4, and a GIF of one."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from PIL import Image

from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.media import VideoReader
from mutualvideo.media.encode import VideoWriter

_CLOCK = Fraction(1, 90000)
# Width, hundredths of a second per frame (a GIF's finest unit) and colours: the first that fits.
_GIF_STEPS = ((480, 10, 128), (480, 12, 64), (480, 12, 48), (400, 12, 48), (320, 12, 32))
_GIF_LONGEST_S = 60
_CHUNK = 32


def film(path: str | os.PathLike[str], fps: float) -> VideoWriter:
    """A writer of an h264 mp4 whose frames are shown when :meth:`VideoWriter.write` is told.

    Args:
        path: the file, mp4 whatever it is called.
        fps: nominal frame rate; times need not keep to it.
    """
    options = {"crf": "20", "preset": "veryfast"}
    return VideoWriter(path, fps, clock=_CLOCK, options=options, form="mp4")


def write_gif(
    video: str | os.PathLike[str], path: str | os.PathLike[str], max_bytes: int = 4_000_000
) -> int:
    """A GIF of a short film: 480 px wide, 10 frames per second, one palette of 128 colours.

    Where that is more than ``max_bytes``: 8.3 frames per second, fewer colours, at last 320 px.

    Args:
        video: path of the film, 60 s at most.
        path: the GIF; it appears when it is whole.

    Returns:
        Its size in bytes.

    Raises:
        InputError: if the film cannot be read, is too long, or does not fit.
    """
    with VideoReader(video) as reader:
        seconds = reader.timestamps[-1] - reader.timestamps[0] + 1 / reader.fps
        if seconds > _GIF_LONGEST_S:
            raise InputError(
                f"{path}: a GIF holds {_GIF_LONGEST_S} s at most and {video} lasts {seconds:.0f} s"
            )
        for width, hundredths, colours in _GIF_STEPS:
            pictures = list(_pictures(reader, seconds, hundredths / 100, width))
            content = _encode(pictures, 10 * hundredths, colours)
            if len(content) <= max_bytes:
                break
        else:
            raise InputError(
                f"{path}: {seconds:.0f} s of {video} need {len(content)} bytes at the least, more "
                f"than {max_bytes}; shorten the film"
            )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return len(content)


def _pictures(
    reader: VideoReader, seconds: float, step_s: float, width: int
) -> Iterator[Image.Image]:
    """PIL images ``width`` wide (never enlarged): what is on screen every ``step_s`` seconds."""
    begin = reader.timestamps[0]
    instants = begin + np.arange(max(1, round(seconds / step_s))) * step_s
    # A thousandth: instants that fall upon a frame show it, whatever the clock rounds.
    numbers = np.searchsorted(reader.timestamps, instants + 1e-3, side="right") - 1
    for first in range(0, len(numbers), _CHUNK):
        for frame in reader.read(numbers[first : first + _CHUNK]):
            picture = Image.fromarray(frame)
            height = round(picture.height * width / picture.width)
            if width < picture.width:
                picture = picture.resize((width, height), Image.Resampling.LANCZOS)
            yield picture


def _encode(pictures: Sequence[Image.Image], frame_ms: int, colours: int) -> bytes:
    palette = _palette(pictures[:: max(1, len(pictures) // 8)], colours)
    # Without dithering: its noise changes from frame to frame and triples the size.
    first, *others = (
        picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures
    )
    content = io.BytesIO()
    first.save(
        content,
        "GIF",
        save_all=True,
        append_images=others,
        duration=frame_ms,
        loop=0,
        optimize=False,
    )
    return content.getvalue()


def _palette(samples: Sequence[Image.Image], colours: int) -> Image.Image:
    together = Image.fromarray(np.concatenate([np.asarray(sample) for sample in samples]))
    # The octree keeps the rare colours, of bars and lines, which the median cut merges.
    return together.quantize(colours, Image.Quantize.FASTOCTREE)
