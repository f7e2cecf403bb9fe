import av
import numpy as np
import pytest

from mutualvideo.media import DecodeError, VideoReader
from tests.data.videos import encode

from .files import STEADY


def test_only_what_is_needed_goes_through_the_decoder(tmp_path):
    packets = []

    class Counting(VideoReader):
        def _collect(self, stream, *args):
            return super()._collect((packets.append(p) or p for p in stream), *args)

    path = encode(tmp_path / "a.mp4", range(0, 360, 3), options={"g": "20", "bf": "0"})
    with Counting(path) as reader:
        reader.read([65, 68])  # the fourth group begins at 60
        assert len(packets) == 9
        packets.clear()
        reader.read([2, 119])  # the groups between are left out
        assert len(packets) == 3 + 20


def test_damage_is_reported_with_the_frame(tmp_path):
    path = encode(tmp_path / "a.mp4", STEADY, options={"g": "10"})
    data = bytearray(open(path, "rb").read())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    open(path, "wb").write(data)
    with VideoReader(path) as reader:
        with pytest.raises(DecodeError, match=r"a.mp4: frame \d+ of 40 does not decode"):
            reader.read(range(40))


def test_deep_colour_looks_like_eight_bits(tmp_path):
    path = encode(tmp_path / "a.mp4", [0, 3], options={"qp": "0"}, pixels="yuv420p10le")
    with av.open(path) as container:
        y, u, v = (
            np.frombuffer(plane, "<u2").reshape(plane.height, -1)[:, : plane.width] / 4.0
            for plane in next(container.decode(video=0)).planes
        )
    # Each chroma sample serves its four pixels; ITU-R BT.601.
    red, blue = ((np.kron(c, np.ones((2, 2))) - 128) / 224 for c in (v, u))
    y = (y - 16) / 219
    r, b = y + 1.402 * red, y + 1.772 * blue
    g = (y - 0.299 * r - 0.114 * b) / 0.587
    expected = np.clip(255 * np.stack([r, g, b], axis=-1), 0, 255)
    with VideoReader(path) as reader:
        assert np.abs(reader.read([0])[0] - expected).mean() < 2
