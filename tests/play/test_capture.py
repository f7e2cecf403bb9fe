import functools
import http.server
import socket
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mutualvideo.errors import InputError
from mutualvideo.media import VideoReader
from mutualvideo.play import capture
from mutualvideo.play.capture import SourceError, open_source, public_address
from tests.data.videos import encode_audio, encode_covered, shared
from tests.play.fakes import number_of, write_numbered

TIMES = [number / 30 for number in range(40)]


def frames_of(source):
    """((time, number) of the frames given out, those seen)."""
    seen, given = [], []
    with source:
        for time_s, frame in source.frames(
            lambda time_s, frame: seen.append((time_s, number_of(frame))), threading.Event()
        ):
            given.append((time_s, number_of(frame)))
    return given, seen


@pytest.fixture
def serve(tmp_path):
    """Serves ``tmp_path`` over HTTP on this machine; gives the address of a file in it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield lambda name: f"http://user:secret@127.0.0.1:{server.server_port}/{name}?token=secret"
        server.shutdown()
        thread.join()


@pytest.fixture
def silent():
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed():
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return port


def test_a_file(tmp_path):
    # Variable frame rate, and it does not begin at 0.
    times = [2.0, 2.1, 2.3, 2.35, 2.8]
    source = open_source(write_numbered(tmp_path / "a.mkv", times))
    assert (source.name, source.path, source.live) == ("a", tmp_path / "a.mkv", False)
    assert source.fps == pytest.approx(4 / 0.8)
    assert source.duration_s == pytest.approx(1.0)
    assert (source.count, source.dropped) == (5, 0)
    given, seen = frames_of(source)
    assert given == seen
    assert [number for _, number in given] == list(range(5))
    np.testing.assert_allclose([time_s for time_s, _ in given], np.subtract(times, 2), atol=2e-3)


@pytest.mark.parametrize(
    "name",
    [
        "decord__unordered.mov",
        "decord__video_90.mov",
        "decord__video_270.mov",
        "media__iibbibb_editlist_videoonly.mp4",
        "media__bbb_2500ms.ts",
        "media__bbb_176x144_128kbps_15fps_h263.3gp",
        "media__bbb_960x540_60fps_vp8.webm",
        "media__bear-vp9-odd-dimensions.webm",
        "media__h265_bframes.mp4",
    ],
)
def test_real_files_show_what_the_reader_reads(name):
    path = shared("decoder_clips") / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with VideoReader(path) as reader:
        times, last = reader.timestamps, len(reader) - 1
        expected = reader.read([0, last], short_side=720)
    with open_source(path) as source:
        shown = list(source.frames(lambda *_: None, threading.Event()))
    np.testing.assert_allclose([t for t, _ in shown], np.subtract(times, times[0]), atol=1e-6)
    for (_, frame), same in zip((shown[0], shown[-1]), expected, strict=True):
        np.testing.assert_array_equal(frame, same)


@pytest.mark.parametrize("name", ["decord__corrupted.mp4", "media__invalid-bitstream.webm"])
def test_a_file_that_breaks_off_is_named(name):
    with pytest.raises(SourceError, match=f"{name}: broke off"):
        frames_of(open_source(shared("decoder_clips") / name))


def test_large_frames_are_scaled_down(tmp_path):
    path = write_numbered(tmp_path / "large.mp4", [0, 0.1], (800, 1200))
    with open_source(path) as source:
        shapes = [frame.shape for _, frame in source.frames(lambda *_: None, threading.Event())]
    assert shapes == [(720, 1080, 3)] * 2


def test_stopping(tmp_path):
    stop, given = threading.Event(), []
    with open_source(write_numbered(tmp_path / "a.mp4", TIMES)) as source:
        for time_s, _ in source.frames(lambda *_: None, stop):
            given.append(time_s)
            if len(given) == 3:
                stop.set()
    assert len(given) == 3


def test_http_of_known_length_is_a_recording(tmp_path, serve):
    write_numbered(tmp_path / "a.mp4", TIMES)
    source = open_source(serve("a.mp4"))
    assert not source.live and source.duration_s == pytest.approx(40 / 30, abs=0.05)
    assert source.fps == pytest.approx(30, rel=0.05)
    assert source.name == f"127.0.0.1_{serve('').split(':')[-1].split('/')[0]}_a.mp4"
    given, _ = frames_of(source)
    assert [number for _, number in given] == list(range(40))
    np.testing.assert_allclose([time_s for time_s, _ in given], TIMES, atol=2e-3)


def test_http_without_a_length_is_live(tmp_path, serve):
    # The bare stream of a codec: no container, no duration, no times.
    write_numbered(tmp_path / "a.h264", TIMES, form="h264")
    source = open_source(serve("a.h264"), reconnects=0)
    assert source.live and source.duration_s is None
    given, seen = frames_of(source)
    assert [number for _, number in seen] == list(range(40))
    assert given[-1] == seen[-1] and set(given) <= set(seen)
    assert len(given) + source.dropped == 40
    assert all(a < b for (a, _), (b, _) in zip(seen, seen[1:], strict=False))


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_nobody_there(closed, scheme):
    with pytest.raises(SourceError, match="refused") as raised:
        open_source(f"{scheme}://me:secret@127.0.0.1:{closed}/cam?key=secret", timeout_s=5)
    assert f"{scheme}://127.0.0.1:{closed}/cam: cannot be opened" in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_no_answer_within_the_time(silent, scheme):
    with pytest.raises(SourceError, match=r"no answer within 0.2 s"):
        open_source(f"{scheme}://127.0.0.1:{silent}/cam", timeout_s=0.2)


def test_rtsp_is_live_over_tcp(tmp_path, monkeypatch):
    # No RTSP server here: a file stands in for what FFmpeg opens.
    path, asked = str(write_numbered(tmp_path / "a.mp4", TIMES)), []

    def fake(address, **arguments):
        asked.append((address, arguments))
        return real(path)

    real = av.open
    monkeypatch.setattr(av, "open", fake)
    source = open_source("rtsps://me:secret@10.0.0.7/front", timeout_s=3, reconnects=0)
    assert source.live and source.name == "10.0.0.7_front"
    assert [number for _, number in frames_of(source)[1]] == list(range(40))
    ((address, arguments),) = asked
    assert address == "rtsps://me:secret@10.0.0.7/front" and arguments["timeout"] == 3
    assert arguments["options"] == {"rtsp_transport": "tcp"}


@pytest.mark.parametrize(
    ("platform", "address", "opened", "form"),
    [
        ("linux", "webcam:2", "/dev/video2", "v4l2"),
        ("linux", "/dev/video0", "/dev/video0", "v4l2"),
        ("linux", "webcam:", "/dev/video0", "v4l2"),
        ("darwin", "webcam:1", "1", "avfoundation"),
        ("win32", "webcam:Integrated Camera", "video=Integrated Camera", "dshow"),
    ],
)
def test_cameras(monkeypatch, platform, address, opened, form):
    def fake(address, **arguments):
        assert (address, arguments["format"]) == (opened, form)
        raise OSError(19, "No such device")

    monkeypatch.setattr(capture.sys, "platform", platform)
    monkeypatch.setattr(av, "open", fake)
    with pytest.raises(SourceError, match=f"{address}: cannot be opened .No such device"):
        open_source(address)


def test_a_camera_is_live(monkeypatch):
    # FFmpeg's virtual device takes the place of the camera.
    if "lavfi" not in av.formats_available:
        pytest.skip("this FFmpeg has no lavfi device")
    monkeypatch.setattr(capture.sys, "platform", "linux")
    pattern = "testsrc=size=64x48:rate=200:duration={},realtime"
    monkeypatch.setitem(capture._CAMERA, "linux", ("lavfi", pattern))
    source = open_source("webcam:0.1")
    assert source.live and source.name == "webcam_0.1"
    seen = []
    with source:
        shapes = {
            frame.shape
            for _, frame in source.frames(lambda t, _: seen.append(t), threading.Event())
        }
    assert shapes == {(48, 64, 3)} and len(seen) == 20


def test_an_unknown_platform(monkeypatch):
    monkeypatch.setattr(capture.sys, "platform", "plan9")
    with pytest.raises(InputError, match="webcam:0: cameras are not known on plan9"):
        open_source("webcam:0")


def test_what_is_no_video(tmp_path, serve):
    (tmp_path / "text.mp4").write_text("hello")
    encode_audio(tmp_path / "sound.mp4")
    for name, reason in [("text.mp4", "cannot be opened"), ("sound.mp4", "no video stream")]:
        for address in (tmp_path / name, serve(name)):
            with pytest.raises(InputError, match=f"{name}: .*{reason}"):
                open_source(address)
    for address in (tmp_path / "missing.mp4", serve("missing.mp4")):
        with pytest.raises(InputError, match="missing.mp4: "):
            open_source(address)


def test_a_picture_is_no_film(tmp_path):
    for name in ("a.png", "b.webp"):
        Image.new("RGB", (32, 32)).save(tmp_path / name)
        with pytest.raises(InputError, match=f"{name}: is a picture, and this takes video"):
            open_source(tmp_path / name)
    frames = [Image.new("RGB", (32, 32), (number, 0, 0)) for number in (0, 200)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:], duration=100)
    assert len(frames_of(open_source(tmp_path / "moving.gif"))[0]) == 2


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    (tmp_path / "jump:high").mkdir()
    write_numbered(tmp_path / "jump:high" / "10:30.mkv", [0.0, 0.1])
    monkeypatch.chdir(tmp_path)
    for name in ("jump:high/10:30.mkv", Path("jump:high", "10:30.mkv")):
        assert [number for _, number in frames_of(open_source(name))[0]] == [0, 1]


def test_the_cover_is_not_played_where_it_comes_first(tmp_path):
    """Metadata before the tracks make it FFmpeg's first video stream."""
    path = tmp_path / "covered.mp4"
    encode_covered(path)
    content = path.read_bytes()
    begin = content.index(b"moov") - 4
    end = begin + int.from_bytes(content[begin : begin + 4], "big")
    boxes, at = [], begin + 8
    while at < end:
        size = int.from_bytes(content[at : at + 4], "big")
        boxes.append(content[at : at + size])
        at += size
    boxes.sort(key=lambda box: (b"mvhd", b"udta").index(box[4:8]) if box[4:8] != b"trak" else 2)
    path.write_bytes(content[: begin + 8] + b"".join(boxes) + content[end:])
    with av.open(path) as found:
        assert [one.codec_context.name for one in found.streams.video] == ["mjpeg", "h264"]
    source = open_source(path)
    with source:
        shapes = [frame.shape for _, frame in source.frames(lambda *_: None, threading.Event())]
    assert shapes == [(48, 64, 3)] * 5 and source.fps == pytest.approx(30)


@pytest.mark.parametrize("wrong", [{"timeout_s": 0}, {"reconnects": -1}])
def test_options(tmp_path, wrong):
    with pytest.raises(InputError, match="timeout .* reconnects"):
        open_source(tmp_path / "a.mp4", **wrong)


def test_a_file_played_as_if_live(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", [number / 200 for number in range(20)])
    source = open_source(path, realtime=True)
    assert source.live and source.path == path and source.name == "a"
    given, seen = frames_of(source)
    assert [number for _, number in seen] == list(range(20))
    # At its own times, so that a test can rely on them.
    np.testing.assert_allclose([t for t, _ in seen], np.arange(20) / 200, atol=1e-3)
    assert len(given) + source.dropped == 20 and given[-1][1] == 19


def test_names_to_show():
    assert public_address("rtsp://a:b@host:554/x?y=z#f") == "rtsp://host:554/x"
    assert public_address("videos/a b.mp4") == "videos/a b.mp4"
    assert public_address("webcam:0") == "webcam:0"
