"""Run as ``python -m mutualvideo.web.isolated JOB``: reads a clip and writes it to stdout.

A process of its own, because a file made for it can have a decoder ask for all memory, loop or
crash, none of which a thread survives. JOB is JSON, see :func:`mutualvideo.web.upload.read_clip`.
The answer is a line of JSON, ``{"error": text}`` or the header of the arrays that follow it.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import numpy as np

from mutualvideo.data.sampling import clip_indices, crop_offset, segment_indices
from mutualvideo.errors import InputError
from mutualvideo.media import open_video
from mutualvideo.media.packet_index import moving_streams
from mutualvideo.media.stream import SourceError, duration_s, open_untrusted

# FFmpeg's names. What is left out on purpose are lists of other files (HLS, concat, DASH), which
# would show a visitor the files of this machine, and single pictures.
_CONTAINERS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogg")
# The picture for people, where the network's own is too small to be recognised.
_SHORT_SIDE, _LONG_SIDE = 240, 480


def confine(memory_mib: int, seconds: float) -> None:
    """Bounds this process: memory in MiB, CPU time in seconds, and it can write no file."""
    try:
        import resource
    except ImportError:  # Windows: the process that started this one still bounds its time
        return
    bounds = {
        "RLIMIT_AS": memory_mib * 2**20,
        "RLIMIT_CPU": math.ceil(seconds),
        "RLIMIT_FSIZE": 0,
        "RLIMIT_CORE": 0,
    }
    for name, bound in bounds.items():
        try:
            resource.setrlimit(getattr(resource, name), (bound, bound))
        except (AttributeError, ValueError, OSError):
            pass  # not every system has every bound


def read(
    path: str,
    num_frames: int,
    sampling_rate: int,
    target_fps: float,
    short_side: int,
    segments: bool,
    seconds: float,
    side: int,
) -> tuple[np.ndarray, np.ndarray, float]:
    """The clip in the middle of a video, as evaluation with one view takes it.

    Args:
        path: the file.
        num_frames, sampling_rate, target_fps: of the DATA section.
        short_side: pixels, see :func:`mutualvideo.data.sampling.read_size`.
        segments: one frame out of each segment of the whole video.
        seconds: longest video, by its header and by its frames.
        side: largest width and height, in pixels.

    Returns:
        ``(frames, pictures, duration_s)``: uint8 (T, S, S, 3), the centre with a side of at most
        ``short_side``; uint8 (T, H, W, 3), the same frames for people; length of the video.

    Raises:
        InputError: names ``path``.
    """
    _check_header(path, seconds, side)
    with open_video(path) as reader:
        length_s = reader.timestamps[-1] - reader.timestamps[0] + 1 / reader.fps
        _check_duration(path, length_s, seconds)
        if segments:
            indices = segment_indices(len(reader), num_frames, 0.5)
        else:
            indices = clip_indices(
                len(reader), reader.fps, num_frames, sampling_rate, target_fps, position=0.5
            )
        frames = _centre(reader.read(indices, short_side))
        assert reader.size is not None  # a file's is known
        short, long = sorted(reader.size)
        pictures = reader.read(indices, max(1, min(_SHORT_SIDE, _LONG_SIDE * short // long)))
    return frames, pictures, length_s


def _check_header(path: str, seconds: float, side: int) -> None:
    try:
        container = open_untrusted(path, _CONTAINERS)
    except SourceError as error:
        raise InputError(
            f"{path}: cannot be opened as a video ({error}); give a whole mp4, webm, mkv, mov or "
            "avi"
        ) from None
    with container:
        streams = moving_streams(container)
        if not streams:
            raise InputError(f"{path}: holds no video stream (audio only?)")
        width, height = streams[0].width, streams[0].height
        if not 0 < max(width, height) <= side:
            raise InputError(
                f"{path}: is {width}x{height} pixels, at most {side} a side are taken; make it "
                "smaller"
            )
        length_s = duration_s(container)
        if length_s is not None:
            _check_duration(path, length_s, seconds)


def _check_duration(path: str, length_s: float, seconds: float) -> None:
    # Containers round: a film of exactly the limit is fine.
    if length_s > seconds + 0.1:
        raise InputError(f"{path}: lasts {length_s:.1f} s, at most {seconds:g} s are taken; cut it")


def _centre(frames: np.ndarray) -> np.ndarray:
    height, width = frames.shape[1:3]
    side = min(height, width)
    top, left = crop_offset(height, width, 0, 1)
    return frames[:, top : top + side, left : left + side]


def main() -> None:
    job = json.loads(sys.argv[1])
    memory_mib = job.pop("memory_mib")
    confine(memory_mib, job.pop("patience_s"))
    out = sys.stdout.buffer
    arrays: list[np.ndarray] = []
    answer: dict[str, Any]
    try:
        *arrays, length_s = read(**job)
    except InputError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": f"{job['path']}: needs more than {memory_mib} MiB to decode"}
    else:
        answer = {"shapes": [array.shape for array in arrays], "duration_s": length_s}
    out.write(json.dumps(answer).encode() + b"\n")
    for array in arrays:
        out.write(np.ascontiguousarray(array).tobytes())


if __name__ == "__main__":
    main()
