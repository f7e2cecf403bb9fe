"""Clips out of files of strangers: the right frames of good ones, one line about bad ones."""

import os
import re
from pathlib import Path

import av
import numpy as np
import pytest

from mutualvideo.data.sampling import segment_indices
from mutualvideo.errors import InputError
from mutualvideo.runtime.recorded import read_views
from mutualvideo.web.upload import Limits, display_name, read_clip
from tests.data.videos import decode_all, encode, encode_audio

SECOND = range(0, 90, 3)  # 30 frames


def test_takes_the_middle_of_the_video(tmp_path, tiny_cfg):
    # 6 frames, 2 apart, of 30: 12 frames from 9 to 20, worked out by hand.
    path = encode(tmp_path / "a.mp4", SECOND, size=(40, 40))
    clip = read_clip(path, tiny_cfg.DATA, Limits())
    reference = [rgb for _, rgb in decode_all(path)]
    wanted = np.stack([reference[i] for i in (9, 11, 13, 15, 17, 20)])
    assert np.abs(clip.frames.astype(int) - wanted).mean() < 2
    assert np.array_equal(clip.pictures, clip.frames)
    assert (clip.name, clip.duration_s, clip.span_s) == ("a.mp4", pytest.approx(1), 0.4)


@pytest.mark.parametrize(
    ("size", "pictures"), [((640, 480), (240, 320)), ((48, 64), (64, 48)), ((2000, 40), (9, 450))]
)
def test_keeps_little_of_large_pictures(tmp_path, tiny_cfg, size, pictures):
    clip = read_clip(encode(tmp_path / "a.mp4", SECOND, size=size), tiny_cfg.DATA, Limits())
    assert clip.frames.shape == (6, 40, 40, 3)
    assert clip.pictures.shape[1:3] == pytest.approx(pictures, abs=1)


def test_short_video_is_taken_whole(tmp_path, tiny_cfg):
    clip = read_clip(encode(tmp_path / "a.webm", [0, 3], "libvpx"), tiny_cfg.DATA, Limits())
    assert len(clip.frames) == 6
    assert clip.span_s == pytest.approx(clip.duration_s)


def truncated(path, _):
    content = Path(encode(path, SECOND)).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])


def playlist(path, other):
    """Would show another file of this machine."""
    path.write_text(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n"
        f"#EXTINF:1.0,\nfile://{other}\n#EXT-X-ENDLIST\n"
    )


def huge(path, in_container):
    """A motion JPEG whose pictures of 64 x 48 claim to have 16000 x 16000 pixels."""
    avi = Path(encode(path.with_suffix(".avi"), SECOND, "mjpeg", pixels="yuvj420p"))
    frame_header = b"(\xff\xc0..\x08)" + (48).to_bytes(2, "big") + (64).to_bytes(2, "big")
    claim = rb"\g<1>" + (16000).to_bytes(2, "big") * 2
    content, count = re.subn(frame_header, claim, avi.read_bytes(), flags=re.S)
    assert count == 30
    if in_container:
        size = (64).to_bytes(4, "little") + (48).to_bytes(4, "little")
        content = content.replace(size, (16000).to_bytes(4, "little") * 2)
    path.write_bytes(content)


def picture(path, _):
    with av.open(str(path), "w", format="image2") as output:
        stream = output.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        output.mux(stream.encode(av.VideoFrame(64, 48, "rgb24")))


HOSTILE = {
    "truncated": (truncated, "cannot be opened as a video"),
    "text": (lambda path, _: path.write_text("not a video\n" * 100), "cannot be opened"),
    "empty": (lambda path, _: path.write_bytes(b""), "cannot be opened"),
    "noise": (lambda path, _: path.write_bytes(np.random.default_rng(0).bytes(9999)), "cannot"),
    "audio": (lambda path, _: encode_audio(path), "holds no video stream"),
    "picture": (picture, "cannot be opened"),
    "playlist": (playlist, "cannot be opened"),
    "concat": (
        lambda path, other: path.write_text(f"ffconcat version 1.0\nfile '{other}'\n"),
        "cannot be opened",
    ),
    "wide": (lambda path, _: encode(path, [0, 3], size=(4112, 16)), "4112x16 pixels, at most 4096"),
    "huge": (lambda path, _: huge(path, True), "16000x16000 pixels, at most 4096"),
    "huge, says its frames": (lambda path, _: huge(path, False), "."),
    "long": (lambda path, _: encode(path, range(0, 90 * 61, 90)), "lasts 6.* at most 60 s"),
    "folder": (lambda path, _: path.mkdir(), "no such video"),
    "pipe": (lambda path, _: os.mkfifo(path), "no such video"),
    "missing": (lambda path, _: None, "no such video"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_get_one_line(kind, tmp_path, tiny_cfg, good_path):
    # FFmpeg opens playlists by their ending too.
    path = tmp_path / f"of a stranger.{'m3u8' if kind == 'playlist' else 'mp4'}"
    write, words = HOSTILE[kind]
    write(path, good_path)
    # Given up by the decoder, not by the clock: so long nothing would be waited for.
    with pytest.raises(InputError, match=words) as raised:
        read_clip(path, tiny_cfg.DATA, Limits(patience_s=600))
    message = str(raised.value)
    assert message.startswith(f"{path.name}: ") and "\n" not in message
    # Where the file lies on the server is nobody's business.
    assert str(tmp_path) not in message
    assert "not decoded within" not in message


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(megabytes=0.001), "MB, at most 0.001 MB"),
        (Limits(seconds=0.5), "lasts 1.0 s, at most 0.5 s"),
        (Limits(side=63), "64x48 pixels, at most 63"),
        (Limits(patience_s=0.01), "not decoded within 0.01 s"),
        (Limits(memory_mib=1), "MiB|cannot|made the decoder fail"),
    ],
)
def test_limits(good_path, tiny_cfg, limits, words):
    with pytest.raises(InputError, match=words):
        read_clip(good_path, tiny_cfg.DATA, limits)


@pytest.mark.parametrize("bad", [{"megabytes": 0}, {"seconds": float("nan")}, {"megabytes": -1}])
def test_bad_limits(bad):
    with pytest.raises(InputError, match="must be above 0"):
        Limits(**bad)


def test_a_zero_byte_in_a_path(tiny_cfg):
    with pytest.raises(InputError, match="no such video"):
        read_clip("a\0.mp4", tiny_cfg.DATA, Limits())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/var/uploads/clip.mp4", "clip.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\clip.mp4", "clip.mp4"),
        ("a\nb\x1b[31m\u202e.mp4", "a b [31m .mp4"),
        ("x" * 300 + ".mp4", "x" * 29 + "…" + "x" * 26 + ".mp4"),
        ("/", "unnamed"),
    ],
)
def test_display_name(path, name):
    assert display_name(path) == name


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_what_the_network_sees_is_what_evaluation_reads(tmp_path, tiny_cfg, share):
    """The centre is a share of frames that are as much larger, not of smaller ones made large."""
    cfg = tiny_cfg.clone()
    cfg.DATA.TEST_CROP_SHARE = share
    path = encode(tmp_path / "a.mp4", SECOND, size=(320, 240))
    seen = read_views(path, cfg)[0].transpose(1, 2, 3, 0)
    side = round(cfg.DATA.TEST_CROP_SIZE / share)
    frames = read_clip(path, cfg.DATA, Limits()).frames
    assert frames.shape == (6, side, side, 3)
    left = (seen.shape[2] - side + 1) // 2
    assert np.array_equal(frames, seen[:, :, left : left + side])


def test_one_frame_of_each_segment(tmp_path, tiny_cfg):
    """As networks of Something-Something see a video: the middles of its six fifths of a second."""
    path = encode(tmp_path / "a.mp4", SECOND, size=(40, 40))
    clip = read_clip(path, tiny_cfg.DATA, Limits(), segments=True)
    whole = [rgb for _, rgb in decode_all(path)]
    wanted = np.stack([whole[number] for number in segment_indices(30, 6, 0.5)])
    assert np.abs(clip.frames.astype(int) - wanted).mean() < 2
    assert clip.span_s == pytest.approx(1)
