"""Videos that are written: their codec, frames, times and colours, read back by FFmpeg."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from mutualvideo.media import VideoReader
from mutualvideo.media.encode import VideoWriter
from tests.play.fakes import number_of, numbered


def about(path):
    with av.open(str(path)) as container:
        (stream,) = container.streams
        context = stream.codec_context
        return context.name, context.pix_fmt, (context.height, context.width), stream.average_rate


@pytest.mark.parametrize("as_picture", [lambda frame: frame, Image.fromarray])
def test_one_frame_follows_the_other(tmp_path, as_picture):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 25, options={"crf": "10", "threads": "1"}) as writer:
        for number in range(5):
            writer.write(as_picture(numbered(number)))
    assert about(path) == ("h264", "yuv420p", (48, 80), 25)
    with VideoReader(path) as reader:
        assert [number_of(frame) for frame in reader.read(range(5))] == list(range(5))
        np.testing.assert_allclose(np.diff(reader.timestamps), 1 / 25, atol=1e-6)


def test_frames_come_at_their_times_on_the_clock(tmp_path):
    path, times = tmp_path / "a.mkv", [0.0, 0.25, 0.25, 1.0]
    with VideoWriter(path, 30, clock=Fraction(1, 1000), form="matroska") as writer:
        for number, time_s in enumerate(times):
            writer.write(numbered(number), time_s)
    with VideoReader(path) as reader:
        # Twice the same tick: the later one comes a tick later.
        np.testing.assert_allclose(reader.timestamps, [0.0, 0.25, 0.251, 1.0], atol=1e-9)


def test_other_codecs_and_pixels(tmp_path):
    path = tmp_path / "a.webm"
    with VideoWriter(path, 10, codec="libvpx-vp9", pixels="yuv444p") as writer:
        writer.write(numbered(3))
    assert about(path)[:2] == ("vp9", "yuv444p")


def test_no_frame_no_film_and_errors_pass(tmp_path):
    with pytest.raises(ZeroDivisionError):
        with VideoWriter(tmp_path / "a.mp4", 30) as writer:
            writer.write(numbered(0))
            raise ZeroDivisionError
    with VideoWriter(tmp_path / "b.mp4", 30):
        pass
    with pytest.raises(OSError):
        with VideoWriter(tmp_path / "nowhere" / "a.mp4", 30) as writer:
            writer.write(numbered(0))
