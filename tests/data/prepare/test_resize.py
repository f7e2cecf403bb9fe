import json
import os
import re

import av
import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from mutualvideo.data.annotations import read_annotations
from mutualvideo.data.prepare import resize
from mutualvideo.data.prepare.resize import Settings, resize_tree, resize_video
from mutualvideo.errors import InputError
from mutualvideo.media import DecodeError, VideoReader
from tests.data.prepare.test_check import damaged
from tests.data.videos import decode_all, encode, encode_audio, shared
from tests.media.files import BROKEN, FILES, IRREGULAR

SMALL = Settings(short_side=24, gop=5, crf=1)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


@pytest.mark.parametrize("name", FILES)
def test_frames_and_times_are_the_source_s(tmp_path, name):
    source = encode(tmp_path / name, **FILES[name])
    resize_video(source, tmp_path / "new.mp4", SMALL)
    times = [time for time, _ in decode_all(source)]
    assert [time for time, _ in decode_all(tmp_path / "new.mp4")] == pytest.approx(times, abs=1e-6)


def test_a_late_start_is_kept_between_milliseconds(tmp_path):
    source = encode(tmp_path / "a.mkv", [t + 181 for t in IRREGULAR])  # 2.011 s
    resize_video(source, tmp_path / "new.mp4", SMALL)
    with av.open(str(tmp_path / "new.mp4")) as container:
        first = next(container.decode(video=0))
    assert float(first.pts * first.time_base) == pytest.approx(2.011, abs=1e-6)


@pytest.mark.parametrize(
    "size, expected",
    [
        ((96, 72), (24, 32)),
        ((72, 96), (32, 24)),
        ((97, 55), (24, 42)),
        ((31, 19), (18, 30)),
        ((30, 20), (20, 30)),
    ],
)
def test_sizes_are_even_smaller_and_of_the_same_aspect(tmp_path, size, expected):
    source = encode(tmp_path / "a.webm", range(0, 12, 3), codec="libvpx-vp9", size=size)
    resize_video(source, tmp_path / "new.mp4", SMALL)
    with av.open(str(tmp_path / "new.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.height, context.width) == expected
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")


def soft_video(path, format, turns):
    """4 frames of 160x120 whose colours change slowly, so that chroma is no matter."""
    y, x = np.mgrid[0:120, 0:160]
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=30, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, format
        for n in range(4):
            red, green = 128 + 90 * np.sin(x / 40 + n / 3), 128 + 90 * np.sin(y / 30)
            picture = np.stack([red, green, x], -1).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            output.mux(stream.encode(frame.reformat(format=format)))
        output.mux(stream.encode(None))
    if turns:
        # The display matrix of ISO/IEC 14496-12, 8.3.2: quarter turns clockwise.
        a, b = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]
        one = 1 << 16
        matrix = np.array([a * one, b * one, 0, -b * one, a * one, 0, 0, 0, 1 << 30], ">i4")
        data = bytearray(path.read_bytes())
        start = data.index(b"tkhd") + 4 + 40
        data[start : start + 36] = matrix.tobytes()
        path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("format", ["yuv420p", "yuvj420p", "yuv444p10le"])
def test_pixels_are_those_of_an_independent_resize(tmp_path, format, turns):
    source = soft_video(tmp_path / "a.mp4", format, turns)
    resize_video(source, tmp_path / "new.mp4", Settings(short_side=60, crf=1))
    before = np.stack([frame for _, frame in decode_all(source)])
    after = np.stack([frame for _, frame in decode_all(tmp_path / "new.mp4")])
    assert after.shape == (4, *((80, 60) if turns % 2 else (60, 80)), 3)
    expected = F.resize(torch.from_numpy(before.copy()).permute(0, 3, 1, 2), list(after.shape[1:3]))
    assert psnr(expected.permute(0, 2, 3, 1).numpy(), after) > 38
    with av.open(str(tmp_path / "new.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0  # upright without a matrix


@pytest.mark.parametrize("gop", [1, 5, 12])
def test_key_frames_are_at_most_gop_apart(tmp_path, gop):
    source = encode(tmp_path / "a.mp4", range(0, 120, 3), options={"g": "250"})
    resize_video(source, tmp_path / "new.mp4", Settings(gop=gop))
    with av.open(str(tmp_path / "new.mp4")) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    keys = [n for n, packet in enumerate(packets) if packet.is_keyframe] + [len(packets)]
    assert keys[0] == 0 and max(np.diff(keys)) <= gop


def test_real_files(tmp_path):
    for path in sorted(shared("decoder_clips").iterdir()):
        if path.stat().st_size > 35_000 or path.suffix in (".md", ".json"):
            continue
        if path.name in BROKEN:
            with pytest.raises(DecodeError):
                resize_video(path, tmp_path / "new.mp4", SMALL)
        elif path.name != "media__sample_fragmented_seekable_multiple_sidx.mp4":  # for its time
            resize_video(path, tmp_path / "new.mp4", SMALL)
            with VideoReader(path) as old, VideoReader(tmp_path / "new.mp4") as new:
                assert new.timestamps == pytest.approx(old.timestamps, abs=1e-6), path.name


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "in"
    (folder / "x y").mkdir(parents=True)
    encode(folder / "a.MKV", range(0, 30, 3))
    encode(folder / "x y/b.webm", range(0, 30, 3), codec="libvpx-vp9")
    encode(folder / "x y/.hidden.mp4", range(0, 30, 3))
    (folder / "notes.txt").touch()
    (folder / "x y/train.csv").write_text(f"b.webm 1\n{folder}/a.MKV 0\nmissing.avi 2\n")
    return folder


def everything(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_tree_is_resized_once(tree, tmp_path):
    out = tmp_path / "out"
    done = resize_tree(tree, out, SMALL, [tree / "x y/train.csv"], workers=2)
    assert (done.written, done.skipped, done.bad) == (2, 0, 0)
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*"))
    assert names == ["a.mp4", "resize.json", "train.csv", "x y", "x y/b.mp4"]
    videos = read_annotations(out / "train.csv")
    assert [(v.name, v.label) for v in videos] == [
        ("x y/b.mp4", 1),
        ("a.mp4", 0),
        ("x y/missing.mp4", 2),
    ]
    before = everything(out)
    done = resize_tree(tree, out, SMALL, [tree / "x y/train.csv"])
    assert (done.written, done.skipped) == (0, 2) and everything(out) == before
    with pytest.raises(InputError, match="resize.json: .* other settings .*'gop': 5"):
        resize_tree(tree, out, Settings(short_side=24, gop=6, crf=1))
    assert everything(out) == before


def test_several_labels_stay_as_they_are(tree, tmp_path):
    (tree / "some.csv").write_text("a.MKV 3,1\n")
    resize_tree(tree, tmp_path / "out", SMALL, [tree / "some.csv"])
    assert (tmp_path / "out/some.csv").read_text() == "a.mp4 1,3\n"


def test_what_a_killed_run_leaves_does_not_count(tree, tmp_path):
    out = tmp_path / "out"
    (out / "x y").mkdir(parents=True)
    leftover = out / "x y/.b.123.mp4"
    leftover.write_bytes(b"half a video")
    (out / "resize.json").write_text(json.dumps({"version": 1, **vars(SMALL)}))
    assert resize_tree(tree, out, SMALL, workers=1).written == 2
    assert not leftover.exists() and len(decode_all(out / "x y/b.mp4")) == 10
    # A failure leaves nothing at all.
    bad = damaged(tmp_path / "bad.mp4")
    with pytest.raises(DecodeError):
        resize_video(bad, tmp_path / "new/bad.mp4", SMALL)
    assert not list((tmp_path / "new").iterdir())


def test_bad_files_are_reported_and_tried_again(tree, tmp_path):
    out = tmp_path / "out"
    damaged(tree / "x y/bad, file.mp4")
    encode_audio(tree / "sound.mp4")
    done = resize_tree(tree, out, SMALL, workers=2)
    assert (done.written, done.bad) == (2, 2)
    lines = (out / "bad.csv").read_text().splitlines()
    assert lines[0].startswith("sound.mp4,holds no video stream")
    assert re.match('"x y/bad, file.mp4",.*does not decode', lines[1]) and len(lines) == 2
    for path in (tree / "x y/bad, file.mp4", tree / "sound.mp4"):
        path.unlink()
        encode(path, range(0, 9, 3))
    done = resize_tree(tree, out, SMALL, workers=1)
    assert (done.written, done.skipped, done.bad) == (2, 2, 0) and not (out / "bad.csv").exists()


def test_two_that_would_become_one(tree, tmp_path):
    (tree / "a.avi").touch()
    with pytest.raises(InputError, match="a.MKV and a.avi would both become a.mp4"):
        resize_tree(tree, tmp_path / "out")


def test_a_full_disk_is_not_a_bad_video(tree, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resize, "_encode", full)
    with pytest.raises(InputError, match="new.mp4: cannot be written .No space left") as caught:
        resize_video(tree / "a.MKV", tmp_path / "new.mp4", SMALL)
    assert not isinstance(caught.value, DecodeError)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_ffmpeg_says_so_when_the_disk_is_full(tree, tmp_path, monkeypatch):
    really = resize._encode
    monkeypatch.setattr(
        resize, "_encode", lambda frames, _, settings: really(frames, "/dev/full", settings)
    )
    with pytest.raises(InputError, match="cannot be written"):
        resize_video(tree / "a.MKV", tmp_path / "new.mp4", SMALL)


def test_bad_folders_lists_and_settings(tree, tmp_path):
    outside, other = tmp_path / "list.csv", tree / "other.csv"
    outside.write_text("b.webm 0\n")
    other.write_text("a.MKV 0\nnotes.txt 1\n")
    (tmp_path / "theirs").mkdir()
    encode(tmp_path / "theirs/a.mp4", [0, 3])
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for source, out, lists, words in [
        (tmp_path / "none", "out", (), "no such folder"),
        (tmp_path / "empty", "out", (), "holds no video"),
        (tree, tree, (), "outside --input"),
        (tree, tree / "out", (), "outside --input"),
        (tree, tmp_path, (), "outside --input"),
        (tree, "theirs", (), "no resize.json"),
        (tree, "file/out", (), "cannot be written"),
        (tree, "out", [outside], "list.csv:1: .* not below"),
        (tree, "out", [other], "other.csv:2: .*notes.txt is no video"),
        (tree, "out", [tree / "x y/train.csv"] * 2, "has this name"),
    ]:
        with pytest.raises(InputError, match=words):
            resize_tree(source, tmp_path / out, SMALL, lists, workers=1)
    assert not (tmp_path / "out").exists()
    for values, key in [((15,), "side"), ((2,), "side"), ((256, 0), "gop"), ((256, 1, 52), "crf")]:
        with pytest.raises(InputError, match=f"--.*{key}"):
            Settings(*values)
