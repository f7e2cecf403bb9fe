"""Films out: h264 in mp4, and a GIF of one."""

import io
from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np
from PIL import Image

from mutualvideo.errors import InputError
from mutualvideo.files import atomic_path
from mutualvideo.media import VideoReader

_CLOCK = Fraction(1, 90000)
# Width, hundredths of a second a frame (a GIF knows no finer) and colours: the first that fits.
_GIF_STEPS = ((480, 10, 128), (480, 12, 64), (480, 12, 48), (400, 12, 48), (320, 12, 32))
_GIF_LONGEST_S = 60
_CHUNK = 32


@contextmanager
def film(path, fps):
    """Yields ``write(time_s, frame)``; the frames become an h264 mp4 at those times.

    Args:
        path: the file, mp4 whatever it is called.
        fps: nominal frame rate; times need not keep to it.
    """
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        stream.codec_context.time_base = _CLOCK
        last = -1

        def write(time_s, frame):
            nonlocal last
            if last < 0:
                stream.height, stream.width = frame.shape[:2]
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            # Live frames may come in one tick of the clock; an encoder takes no time twice.
            last = max(round(time_s / _CLOCK), last + 1)
            picture.pts, picture.time_base = last, _CLOCK
            container.mux(stream.encode(picture))

        yield write
        if last >= 0:
            container.mux(stream.encode())


def write_gif(video, path, max_bytes=4_000_000):
    """A GIF of a short film: 480 px wide, 10 frames a second, one palette of 128 colours.

    Where that is more than ``max_bytes``, 8.3 frames a second, fewer colours, at last 320 px.

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


def _pictures(reader, seconds, step_s, width):
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


def _encode(pictures, frame_ms, colours):
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


def _palette(samples, colours):
    together = Image.fromarray(np.concatenate([np.asarray(sample) for sample in samples]))
    # The octree keeps the rare colours, of bars and lines, which the median cut merges.
    return together.quantize(colours, Image.Quantize.FASTOCTREE)
