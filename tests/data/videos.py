"""Small video files made on the spot, and the way to the shared real ones."""

import os
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def shared(name):
    """A folder of real data beside the checkout; the test is skipped where there is none."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


def moving_picture(number, width, height):
    """uint8 (height, width, 3): smooth, and different in every frame."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [
        127 + 120 * np.sin(x / 9 + number / 3),
        127 + 120 * np.sin(y / 7 - number / 4),
        np.full((height, width), number * 37 % 256),
    ]
    return np.stack(channels, axis=-1).astype(np.uint8)


@contextmanager
def as_scheduled():
    """What this process is to the system's scheduler stays as it was.

    SVT-AV1, run by root, makes the thread that encodes a real-time one, and for good: it and all
    that it starts later keep everybody else from the cores.
    """
    if not hasattr(os, "sched_getscheduler"):  # not Linux
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


@as_scheduled()
def encode(
    path, times, codec="libx264", size=(64, 48), options=None, container=None, pixels="yuv420p"
):
    """Write one frame per presentation time (in units of 1/90 s); returns the path as str."""
    # Opened explicitly, so that a stream may end up with no frame at all.
    with av.open(str(path), "w", options=container or {}) as output:
        stream = output.add_stream(codec, rate=30, options={"threads": "1", **(options or {})})
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, 90)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(moving_picture(number, *size), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 90)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return str(path)


def encode_audio(path):
    """Write a second of silence, no video."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=16000, layout="mono")
        for _ in range(16):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate = 16000
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return str(path)


def encode_covered(path):
    """Five frames of 64x48 at 30 a second, MP4, with a picture of 32x32 as their cover."""
    with av.open(str(path), "w") as output:
        cover, video = output.add_stream("mjpeg", rate=30), output.add_stream("libx264", rate=30)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = Disposition.attached_pic.value
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        output.mux(cover.encode(av.VideoFrame(32, 32, "yuvj420p")))
        output.mux(cover.encode())
        for _ in range(5):
            output.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
        output.mux(video.encode())


def decode_all(path):
    """The reference: every frame of the file in order, (pts in seconds, RGB)."""
    with av.open(str(path)) as container:
        return [
            (
                float(frame.pts * frame.time_base),
                np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)),
            )
            for frame in container.decode(video=0)
        ]
