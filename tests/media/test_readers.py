"""What holds for every backend, on files made here."""

import os
import struct
import sys

import av
import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from mutualvideo.errors import InputError
from mutualvideo.media import DecodeError, Reader, open_video
from tests.data.videos import decode_all, encode, encode_audio, encode_covered

from .files import FILES, IRREGULAR, REFUSED, STEADY


def _is_refused(video, backend):
    """Whether the file is one of those the backend must refuse; if so, checks how it does."""
    if os.path.basename(video) not in REFUSED[backend]:
        return False
    with pytest.raises(DecodeError, match=f"{backend} .*pyav") as caught:
        with open_video(video, backend) as reader:
            reader.read(range(len(reader)))
    assert video in str(caught.value) and "\n" not in str(caught.value)
    return True


def _check_frames(frames, expected, backend, video):
    assert frames.dtype == np.uint8
    if backend == "pyav":
        np.testing.assert_array_equal(frames, expected)
    else:
        # Chroma of odd sizes is smoothed in several ways, and these patterns are saturated;
        # neighbouring frames differ by more than 30.
        limit = 3 if "odd" in video else 2
        assert np.abs(frames.astype(float) - expected).mean() < limit


def test_every_frame_and_its_time(video, backend):
    if _is_refused(video, backend):
        return
    expected = decode_all(video)
    with open_video(video, backend) as reader:
        assert isinstance(reader, Reader) and len(reader) == len(expected)
        assert reader.timestamps == pytest.approx([time for time, _ in expected])
        frames = reader.read(range(len(reader)))
    _check_frames(frames, np.stack([frame for _, frame in expected]), backend, video)


def test_any_frames_in_any_order(video, backend):
    if _is_refused(video, backend):
        return
    expected = decode_all(video)
    rng = np.random.default_rng(0)
    with open_video(video, backend) as reader:
        for count in (1, 2, 5, 5, 5):
            indices = rng.integers(0, len(reader), count)  # unordered, with repetitions
            frames = reader.read(indices)
            _check_frames(frames, np.stack([expected[i][1] for i in indices]), backend, video)


def test_frame_rate_comes_from_the_frames(tmp_path, backend):
    with open_video(encode(tmp_path / "a.mkv", IRREGULAR), backend) as reader:
        assert reader.fps == pytest.approx(90 * 17 / 160, rel=1e-3)
    with open_video(encode(tmp_path / "b.mp4", STEADY), backend) as reader:
        assert reader.fps == pytest.approx(30)


@pytest.mark.parametrize("size", [(160, 120), (120, 160), (161, 121)])
def test_short_side_scales_down(tmp_path, backend, size):
    path = encode(tmp_path / "a.webm", STEADY, codec="libvpx-vp9", size=size)
    with open_video(path, backend) as reader:
        full, small = reader.read([3, 7]), reader.read([3, 7], short_side=56)
        np.testing.assert_array_equal(reader.read([3], short_side=500), full[:1])
    long = round(56 * max(size) / min(size))
    assert small.shape == (2, *((56, long) if size[0] > size[1] else (long, 56)), 3)
    expected = F.resize(torch.from_numpy(full).permute(0, 3, 1, 2), list(small.shape[1:3]))
    difference = small.astype(float) - expected.permute(0, 2, 3, 1).numpy()
    # These saturated patterns are hard on the decoder's chroma; real video stays near 1.
    assert np.abs(difference).mean() < 5


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotation_is_applied(tmp_path, backend, turns):
    path = encode(tmp_path / "a.mp4", STEADY, size=(160, 120))
    upright = decode_all(path)[5][1]
    # The display matrix of ISO/IEC 14496-12, 8.3.2: quarter turns clockwise.
    a, b = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]
    one = 1 << 16
    matrix = struct.pack(">9i", a * one, b * one, 0, -b * one, a * one, 0, 0, 0, 1 << 30)
    data = bytearray(open(path, "rb").read())
    start = data.index(b"tkhd") + 4 + 40
    data[start : start + 36] = matrix
    open(path, "wb").write(data)
    with open_video(path, backend) as reader:
        np.testing.assert_array_equal(reader.read([5])[0], np.rot90(upright, -turns))
        height, width = reader.read([5], short_side=60).shape[1:3]
        assert (height, width) == ((80, 60) if turns % 2 else (60, 80))


# Enumerations of ITU-T H.273: 1 is BT.709, 2 unspecified, 9 BT.2020.
@pytest.mark.parametrize(
    "pixels, matrix, is_full, red_blue",
    [
        ("yuv420p", 2, False, (0.299, 0.114)),
        ("yuv420p", 1, False, (0.2126, 0.0722)),
        ("yuv420p", 1, True, (0.2126, 0.0722)),
        ("yuv420p", 9, False, (0.2627, 0.0593)),
        ("yuv444p", 1, False, (0.2126, 0.0722)),
        ("yuv420p10le", 2, False, (0.299, 0.114)),
        ("yuv420p10le", 1, False, (0.2126, 0.0722)),
    ],
)
def test_colours_follow_the_matrix_and_range_of_the_stream(
    tmp_path, backend, pixels, matrix, is_full, red_blue
):
    deep = pixels.endswith("10le")
    luma, u, v = 120, 90, 160  # of 8 bits
    path = str(tmp_path / "a.mp4")
    with av.open(path, "w") as output:
        stream = output.add_stream("libx264", rate=30, options={"qp": "0", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if is_full else 1
        for _ in range(3):
            frame = av.VideoFrame(64, 48, pixels)
            frame.colorspace, frame.color_range = matrix, 2 if is_full else 1
            for plane, value in zip(frame.planes, (luma, u, v), strict=True):
                count = plane.buffer_size // (2 if deep else 1)
                values = np.full(count, value * 4 if deep else value, "<u2" if deep else "u1")
                plane.update(values.tobytes())
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    # ITU-R BT.601, BT.709 and BT.2020, from luma and colour differences back to RGB.
    y = luma / 255 if is_full else (luma - 16) / 219
    blue, red = ((c - 128) / (255 if is_full else 224) for c in (u, v))
    weight_r, weight_b = red_blue
    r, b = y + 2 * (1 - weight_r) * red, y + 2 * (1 - weight_b) * blue
    g = (y - weight_r * r - weight_b * b) / (1 - weight_r - weight_b)
    expected = 255 * np.array([r, g, b])
    with open_video(path, backend) as reader:
        for short_side in (None, 24):
            frames = reader.read([1], short_side=short_side).astype(float)
            assert np.abs(frames - expected).max() < 2.5


def test_a_cover_picture_is_not_the_video(tmp_path, backend):
    path = str(tmp_path / "a.mp4")
    encode_covered(path)
    with open_video(path, backend) as reader:
        assert reader.read([0, 4]).shape == (2, 48, 64, 3)


def _missing(folder):
    return str(folder / "missing.mp4")


def _empty(folder):
    (folder / "empty.mp4").touch()
    return str(folder / "empty.mp4")


def _text(folder):
    (folder / "text.mp4").write_text("not a video " * 100)
    return str(folder / "text.mp4")


def _audio(folder):
    return encode_audio(folder / "audio.mp4")


def _no_frames(folder):
    path = encode(folder / "none.mp4", **FILES["fragmented.mp4"])
    data = open(path, "rb").read()
    open(path, "wb").write(data[: data.index(b"moof") - 4])  # the header alone
    return path


def _cut(folder, name, fraction, **kwargs):
    path = encode(folder / name, range(0, 900, 3), options={"g": "30"}, **kwargs)
    data = open(path, "rb").read()
    open(path, "wb").write(data[: int(len(data) * fraction)])
    return path


def _cut_without_index(folder):
    return _cut(folder, "cut.mp4", 0.5)


def _cut_with_index(folder):
    return _cut(folder, "cut.mp4", 0.7, container={"movflags": "faststart"})


def _h264_in_avi(folder):
    # Its packets carry decoding times alone, while B-frames are shown in another order.
    return encode(folder / "b.avi", STEADY, options={"bf": "2"})


@pytest.mark.parametrize(
    "make, words",
    [
        (_missing, "no such video file"),
        (_empty, "cannot be opened|no video"),
        (_text, "cannot be opened"),
        (_audio, "audio only"),
        (_no_frames, "no video frame"),
        (_cut_without_index, "cannot be opened|truncated"),
        (_cut_with_index, "truncated"),
        (_h264_in_avi, "cannot say in what order"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(tmp_path, backend, make, words):
    path = make(tmp_path)
    with pytest.raises(DecodeError, match=words) as caught:
        open_video(path, backend)
    assert path in str(caught.value) and "\n" not in str(caught.value)


def test_damage_is_reported(tmp_path, backend):
    path = encode(tmp_path / "a.mp4", STEADY, options={"g": "10"})
    data = bytearray(open(path, "rb").read())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    open(path, "wb").write(data)
    with open_video(path, backend) as reader:
        with pytest.raises(DecodeError, match="a.mp4: .*does not decode"):
            reader.read(range(40))
        if backend != "decord":  # which reads ahead
            # The failure is forgotten: what is whole still reads.
            assert reader.read([0, 39]).shape == (2, 48, 64, 3)


def test_indices_outside_raise(tmp_path, backend):
    with open_video(encode(tmp_path / "a.mp4", STEADY), backend) as reader:
        for indices in ([], [-1], [40]):
            with pytest.raises(IndexError):
                reader.read(indices)


def test_closing_twice_and_reading_afterwards(tmp_path, backend):
    with open_video(encode(tmp_path / "a.mp4", STEADY), backend) as reader:
        frames = reader.read([20])
        reader.close()
    np.testing.assert_array_equal(reader.read([20]), frames)
    reader.close()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts files through /proc")
def test_files_are_closed(tmp_path, backend):
    path, bad = encode(tmp_path / "a.mp4", STEADY), encode_audio(tmp_path / "b.mp4")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with open_video(path, backend) as reader:
            reader.read([0, 20])
        with pytest.raises(DecodeError):
            open_video(bad, backend)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isfile("/proc/self/statm"), reason="measures through /proc")
def test_resident_memory_is_flat_over_500_opens(tmp_path, backend):
    path = encode(tmp_path / "a.mp4", STEADY, options={"g": "12", "bf": "2"}, size=(160, 120))

    def open_often(times):
        for number in range(times):
            with open_video(path, backend) as reader:
                reader.read([3, 17, 30], short_side=80 if number % 2 else None)
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])

    before = open_often(50)
    assert open_often(500) < 1.05 * before


def test_an_unknown_backend_names_the_choices(tmp_path):
    with pytest.raises(InputError, match="DATA.DECODING_BACKEND 'opencv'.*pyav, decord"):
        open_video(tmp_path / "a.mp4", "opencv")


@pytest.mark.parametrize("name", ["decord", "torchcodec"])
def test_an_absent_backend_says_what_to_install(tmp_path, monkeypatch, name):
    monkeypatch.delitem(sys.modules, f"mutualvideo.media.with_{name}", raising=False)
    for module in [m for m in sys.modules if m.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)  # import of it fails
    with pytest.raises(InputError, match=f"DECODING_BACKEND {name} .*install.*{name}") as caught:
        open_video(tmp_path / "a.mp4", name)
    # It is not the fault of the video.
    assert not isinstance(caught.value, DecodeError)
