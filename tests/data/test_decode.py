import json
import os
import struct

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from mutualvideo.data.decode import DecodeError, VideoReader

from .videos import decode_all, encode, encode_audio, shared

STEADY = range(0, 120, 3)  # 40 frames at 30 fps
IRREGULAR = [0, 3, 4, 9, 12, 30, 33, 60, 61, 62, 90, 93, 95, 120, 150, 151, 152, 160]
FILES = {
    "h264.mp4": dict(times=STEADY, options={"g": "12", "bf": "3"}),
    "open_gop.mp4": dict(times=STEADY, options={"x264-params": "keyint=10:open-gop=1:bframes=3"}),
    "irregular.mkv": dict(times=IRREGULAR, options={"g": "6", "bf": "2"}),
    "irregular.mp4": dict(times=IRREGULAR, options={"g": "6", "bf": "2"}),
    "late.mkv": dict(times=[t + 180 for t in STEADY], options={"g": "10"}),
    "late.ts": dict(times=[t + 180 for t in STEADY], options={"g": "10", "bf": "2"}),
    "fragmented.mp4": dict(
        times=STEADY, options={"g": "10"}, container={"movflags": "frag_keyframe+empty_moov"}
    ),
    "mpeg4.avi": dict(times=STEADY, codec="mpeg4", options={"g": "8"}),
    "odd.webm": dict(times=STEADY, codec="libvpx-vp9", size=(61, 47), options={"g": "15"}),
    "hidden_vp9.webm": dict(
        times=STEADY, codec="libvpx-vp9", options={"auto-alt-ref": "1", "lag-in-frames": "16"}
    ),
    "hidden_vp8.webm": dict(
        times=STEADY, codec="libvpx",
        options={"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"},
    ),
    "single.mp4": dict(times=[0]),
}  # fmt: skip


@pytest.fixture(scope="module", params=FILES)
def video(request, tmp_path_factory):
    return encode(tmp_path_factory.mktemp("video") / request.param, **FILES[request.param])


def test_every_frame_and_its_time(video):
    expected = decode_all(video)
    with VideoReader(video) as reader:
        assert len(reader) == len(expected)
        assert reader.timestamps == pytest.approx([time for time, _ in expected])
        frames = reader.read(range(len(reader)))
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, np.stack([frame for _, frame in expected]))


def test_any_frames_in_any_order(video):
    expected = decode_all(video)
    rng = np.random.default_rng(0)
    with VideoReader(video) as reader:
        for count in (1, 2, 5, 5, 5):
            indices = rng.integers(0, len(reader), count)  # unordered, with repetitions
            frames = reader.read(indices)
            np.testing.assert_array_equal(frames, np.stack([expected[i][1] for i in indices]))


def test_frame_rate_comes_from_the_frames(tmp_path):
    with VideoReader(encode(tmp_path / "a.mkv", IRREGULAR)) as reader:
        assert reader.fps == pytest.approx(90 * 17 / 160, rel=1e-3)
    with VideoReader(encode(tmp_path / "b.mp4", STEADY)) as reader:
        assert reader.fps == pytest.approx(30)


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


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (61, 47)])
def test_short_side_scales_down(tmp_path, size):
    path = encode(tmp_path / "a.webm", STEADY, codec="libvpx-vp9", size=size)
    with VideoReader(path) as reader:
        full, small = reader.read([3, 7]), reader.read([3, 7], short_side=24)
        assert reader.read([3], short_side=500).shape == (1, *full.shape[1:])
    long = round(24 * max(size) / min(size))
    assert small.shape == (2, *((24, long) if size[0] > size[1] else (long, 24)), 3)
    expected = F.resize(torch.from_numpy(full).permute(0, 3, 1, 2), list(small.shape[1:3]))
    difference = small.astype(float) - expected.permute(0, 2, 3, 1).numpy()
    # These saturated patterns are hard on the decoder's chroma; real video stays near 1.
    assert np.abs(difference).mean() < 5


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotation_is_applied(tmp_path, turns):
    path = encode(tmp_path / "a.mp4", STEADY)
    upright = decode_all(path)[5][1]
    # The display matrix of ISO/IEC 14496-12, 8.3.2: quarter turns clockwise.
    a, b = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]
    one = 1 << 16
    matrix = struct.pack(">9i", a * one, b * one, 0, -b * one, a * one, 0, 0, 0, 1 << 30)
    data = bytearray(open(path, "rb").read())
    start = data.index(b"tkhd") + 4 + 40
    data[start : start + 36] = matrix
    open(path, "wb").write(data)
    with VideoReader(path) as reader:
        np.testing.assert_array_equal(reader.read([5])[0], np.rot90(upright, -turns))


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
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(tmp_path, make, words):
    path = make(tmp_path)
    with pytest.raises(DecodeError, match=words) as caught:
        VideoReader(path)
    assert path in str(caught.value) and "\n" not in str(caught.value)


def test_damage_is_reported_with_the_frame(tmp_path):
    path = encode(tmp_path / "a.mp4", STEADY, options={"g": "10"})
    data = bytearray(open(path, "rb").read())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    open(path, "wb").write(data)
    with VideoReader(path) as reader:
        reader.read(range(10))
        with pytest.raises(DecodeError, match=r"a.mp4: frame \d+ of 40 does not decode"):
            reader.read(range(40))
        # The failure is forgotten: what is whole still reads.
        assert reader.read([0, 39]).shape == (2, 48, 64, 3)


def test_indices_outside_raise(tmp_path):
    with VideoReader(encode(tmp_path / "a.mp4", STEADY)) as reader:
        for indices in ([], [-1], [40]):
            with pytest.raises(IndexError):
                reader.read(indices)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts files through /proc")
def test_files_are_closed(tmp_path):
    path, bad = encode(tmp_path / "a.mp4", STEADY), encode_audio(tmp_path / "b.mp4")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with VideoReader(path) as reader:
            reader.read([0, 20])
        with pytest.raises(DecodeError):
            VideoReader(bad)
    assert len(os.listdir("/proc/self/fd")) == before


# Files whose frames cannot all be had, and the word that says why.
BROKEN = {
    "media__sample_audio_only.mp4": "no video stream",
    "media__invalid-bitstream.webm": "does not decode",
    "decord__corrupted.mp4": "does not decode",
}
# Long ones, of which a part is compared.
PARTS = {"media__long_1080p_videoonly_lowbitrate.mp4": range(4320, 4332, 5)}


def _real_files():
    folder = shared("decoder_clips")
    for entry in json.loads((folder / "manifest.json").read_text()):
        if not entry["file"].endswith(".pt"):
            yield folder / entry["file"], entry


def test_real_files():
    for path, entry in _real_files():
        if entry["file"] in BROKEN:
            with pytest.raises(DecodeError, match=BROKEN[entry["file"]]):
                with VideoReader(path) as reader:
                    reader.read([0, len(reader) - 1])
            continue
        with VideoReader(path) as reader:
            count = len(reader)
            assert count == entry["frames_decoded"], entry["file"]
            indices = PARTS.get(entry["file"], sorted({0, count // 2, count - 1}))
            frames = reader.read(indices, short_side=64)
            rotated = entry["rotation"] % 180 == 90
        wide = (entry["width"] > entry["height"]) != rotated
        assert frames.shape[0] == len(indices), entry["file"]
        assert (frames.shape[2] >= frames.shape[1]) == (wide or entry["width"] == entry["height"])


@pytest.mark.slow
def test_real_files_pixel_by_pixel():
    for path, entry in _real_files():
        # 4K is left out for its time.
        if entry["file"] in BROKEN or entry["file"] in PARTS or entry["width"] > 2000:
            continue
        expected = dict(enumerate(decode_all(path)))
        count = len(expected)
        indices = sorted({0, count // 3, count // 2, count // 2 + 1, count - 1} & set(expected))
        with VideoReader(path) as reader:
            frames = reader.read(indices)
        for frame, index in zip(frames, indices, strict=True):
            np.testing.assert_array_equal(frame, expected[index][1], err_msg=entry["file"])
