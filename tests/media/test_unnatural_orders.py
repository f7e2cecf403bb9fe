"""One contract of all decoders and files: every frame, in orders that are not the natural one.

What a decoder does may depend on what it was asked first. So each question here goes to a reader
that has just been opened; the reference is FFmpeg, from the first frame to the last.
"""

import struct

import av
import numpy as np
import pytest

from mutualvideo.data.prepare.check import check_video
from mutualvideo.media import DecodeError, open_video
from tests.data.videos import decode_all, encode

from .files import IRREGULAR, STEADY

# Of 40 frames; pyramids of frames that nothing refers to, where the encoder has them.
TODAY = {
    "av1.mp4": dict(times=STEADY, codec="libsvtav1", options={"preset": "12", "crf": "40"}),
    "av1.webm": dict(times=STEADY, codec="libsvtav1", options={"preset": "12", "g": "16"}),
    "hevc.mp4": dict(times=STEADY, codec="libx265", options={"x265-params": "log-level=none"}),
    "h264.mkv": dict(times=STEADY, options={"bf": "7", "g": "40"}),
    "irregular_av1.mkv": dict(times=IRREGULAR, codec="libsvtav1", options={"preset": "12"}),
    "irregular.mp4": dict(times=IRREGULAR, options={"bf": "2", "g": "9"}),
    "vp9.webm": dict(times=STEADY, codec="libvpx-vp9", options={"lag-in-frames": "16"}),
    "loop.gif": dict(times=STEADY, codec="gif", pixels="rgb8"),
    "mjpeg.avi": dict(times=STEADY, codec="mjpeg", pixels="yuvj420p"),
    "ffv1.mkv": dict(times=STEADY, codec="ffv1"),
    "prores.mov": dict(times=STEADY, codec="prores", pixels="yuv422p10le"),
}
ORDERS = {
    "the last first": [[-1], [0], [-2]],
    "backwards": [[n] for n in range(-1, -19, -3)],
    "out of the middle": [[9, 10], [13, 3], [17], [5]],
}


def has_encoder(name):
    try:
        av.codec.Codec(name, "w")
    except ValueError:
        return False
    return True


@pytest.fixture(scope="module", params=TODAY)
def today(request, tmp_path_factory):
    options = TODAY[request.param]
    if not has_encoder(options.get("codec", "libx264")):
        pytest.skip(f"FFmpeg is built without {options['codec']}")
    path = encode(tmp_path_factory.mktemp("today") / request.param, **options)
    return path, decode_all(path)


@pytest.mark.parametrize("order", ORDERS)
def test_a_fresh_reader_gives_any_frame(today, backend, order):
    path, expected = today
    for asked in ORDERS[order]:
        numbers = [number % len(expected) for number in asked]
        try:
            with open_video(path, backend) as reader:
                assert len(reader) == len(expected)
                frames = reader.read(numbers)
        except DecodeError as error:
            # Only pyav must read all there is; the others say that it does.
            assert backend != "pyav" and "DATA.DECODING_BACKEND to pyav" in str(error)
            continue
        wanted = np.stack([expected[number][1] for number in numbers])
        if backend == "pyav":
            np.testing.assert_array_equal(frames, wanted)
        else:
            assert np.abs(frames.astype(float) - wanted).mean() < 3


def test_times(today):
    path, expected = today
    with open_video(path) as reader:
        assert reader.timestamps == pytest.approx([time for time, _ in expected])


def test_the_checker_finds_them_good(today):
    assert check_video(today[0]) is None


def test_the_checker_reads_as_training_does(tmp_path, monkeypatch):
    """A decoder that gives no frame where it is opened in the middle."""
    from mutualvideo.media import VideoReader

    path = encode(tmp_path / "a.mp4", STEADY, options={"g": "10"})
    decode = VideoReader._decode

    def only_from_the_start(self, numbers, short_side):
        if numbers[0] > 0:
            raise DecodeError(f"{path}: frame {numbers[0]} does not decode")
        return decode(self, numbers, short_side)

    with monkeypatch.context() as patch:
        patch.setattr(VideoReader, "_decode", only_from_the_start)
        assert check_video(path) == "frame 39 does not decode"
    assert check_video(path) is None


def rotated(path, height):
    """Writes a quarter turn into an mp4's track header (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(open(path, "rb").read())
    start = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    data[start : start + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, height * one, 0, 1 << 30)
    open(path, "wb").write(data)
    return path


def test_the_short_side_may_depend_on_the_size_that_is_shown(tmp_path, backend):
    path = rotated(encode(tmp_path / "a.mp4", STEADY, size=(160, 120)), 120)
    seen = []

    def short_side(height, width):
        seen.append((height, width))
        return 60

    with open_video(path, backend) as reader:
        assert reader.read([7, 3], short_side).shape == (2, 80, 60, 3)
    assert set(seen) == {(160, 120)}
