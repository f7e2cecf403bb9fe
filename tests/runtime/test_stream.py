import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from mutualvideo.data.decode import VideoReader
from mutualvideo.errors import InputError
from mutualvideo.runtime import AdaptiveRecognizer, stream
from mutualvideo.runtime.stream import plan_windows, play

DATA = SimpleNamespace(NUM_FRAMES=6, SAMPLING_RATE=2, TARGET_FPS=30)
DEMO = Path(__file__).parents[2] / "tools" / "demo.py"


@pytest.fixture(scope="module")
def recognizer(run_dir):
    return AdaptiveRecognizer(run_dir / "c.pyth", run_dir / "query_table.json", device="cpu")


@pytest.fixture(scope="module")
def budgets(recognizer):
    cheap, *_, full = recognizer.table.pareto()
    return [("macs", full.macs), ("macs", cheap.macs)]


@pytest.mark.parametrize("frames", [1, 2, 5, 30, 61, 300])
@pytest.mark.parametrize("fps", [8.0, 29.97])
@pytest.mark.parametrize("parts", [1, 3])
def test_windows_cover_every_frame_once(frames, fps, parts):
    times = [3.2 + number / fps for number in range(frames)]
    windows = plan_windows(times, fps, DATA, 0.5, parts)
    assert [n for window in windows for n in window.shown] == list(range(frames))
    assert [window.part for window in windows] == sorted(window.part for window in windows)
    assert {window.part for window in windows} == set(range(parts))
    assert len(windows) == parts * max(1, round(frames / fps / parts / 0.5))
    for window in windows:
        assert len(window.indices) == 6
        assert 0 <= min(window.indices) and max(window.indices) < frames


def test_windows_by_hand():
    # 2 s at 30 fps, a window a second; a clip spans 12 frames around the window's middle.
    first, second = plan_windows([n / 30 for n in range(60)], 30.0, DATA, 1.0, 1)
    assert (first.start_s, first.shown) == (0.0, range(0, 30))
    assert (second.start_s, second.shown) == (1.0, range(30, 60))
    # Middle 15: from 9 to 9 + 11 in six even steps, rounded down.
    assert first.indices == (9, 11, 13, 15, 17, 20)
    assert second.indices == (39, 41, 43, 45, 47, 50)
    # Moved inwards at the ends: windows of 0.1 s begin with frames 0 to 11.
    assert plan_windows([n / 30 for n in range(60)], 30.0, DATA, 0.1, 1)[0].indices[0] == 0
    assert plan_windows([n / 30 for n in range(60)], 30.0, DATA, 0.1, 1)[-1].indices[-1] == 59


def test_play(recognizer, write_video, budgets, tmp_path, monkeypatch):
    video = write_video("clip.mp4", 75)
    # Chunks that end inside windows.
    monkeypatch.setattr(stream, "_CHUNK", 7)
    summaries, mp4, table = play(recognizer, video, budgets, tmp_path / "out", stride_s=0.5)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["clip.csv", "clip.mp4"]

    with open(table, newline="") as file:
        lines = list(csv.DictReader(file))
    # 2.5 s: two windows per part of 1.25 s.
    assert [line["time_s"] for line in lines] == ["0.000", "0.625", "1.250", "1.875"]
    assert [line["subnet"] for line in lines] == ["1x6x40"] * 2 + ["0.5x3x32"] * 2
    assert [int(line["macs"]) for line in lines[::2]] == [macs for _, macs in budgets]
    for line in lines:
        scores = [float(line[f"score{rank}"]) for rank in (1, 2, 3)]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=2e-4)
        assert {line[f"top{rank}"] for rank in (1, 2, 3)} == {"wave", "point", "push"}
        assert float(line["latency_ms"]) > 0

    assert [part.row.macs for part in summaries] == [macs for _, macs in budgets]
    assert [part.clips for part in summaries] == [2, 2]
    for part, mine in zip(summaries, (lines[:2], lines[2:]), strict=True):
        by_name = [
            {line[f"top{rank}"]: float(line[f"score{rank}"]) for rank in (1, 2, 3)} for line in mine
        ]
        means = {name: np.mean([scores[name] for scores in by_name]) for name in by_name[0]}
        assert part.label == max(means, key=means.get)
        assert part.score == pytest.approx(means[part.label], abs=1e-3)

    with av.open(str(mp4)) as film:
        assert film.streams.video[0].codec_context.name == "h264"
    with VideoReader(mp4) as drawn, VideoReader(video) as original:
        assert len(drawn) == len(original) == 75
        np.testing.assert_allclose(
            np.subtract(drawn.timestamps, drawn.timestamps[0]),
            np.subtract(original.timestamps, original.timestamps[0]),
            atol=1e-3,
        )
        # The frames are the video's, in order: the middle row is not drawn on.
        frames, source = drawn.read(range(0, 75, 10)), original.read(range(0, 75, 10))
        assert frames.shape[1:] == (240, 320, 3)
        np.testing.assert_allclose(
            frames[:, 110:130].mean((1, 2, 3)), source.mean((1, 2, 3)), atol=4
        )


def test_first_clip_is_what_the_network_saw(recognizer, write_video, budgets, tmp_path):
    video = write_video("short.mp4", 12)
    _, _, table = play(recognizer, video, budgets[:1], tmp_path)
    with VideoReader(video) as reader:
        clip = reader.read([0, 2, 4, 6, 8, 11])
    expected = recognizer.predict(clip).top(1)[0]
    with open(table, newline="") as file:
        (line,) = csv.DictReader(file)
    assert line["top1"] == expected[0]
    assert float(line["score1"]) == pytest.approx(expected[1], abs=0.02)


def test_memory_is_bounded(recognizer, write_video, budgets, tmp_path, monkeypatch):
    video, asked = write_video("long.mp4", 400), []
    read = VideoReader.read

    def counting(self, indices, short_side=None):
        asked.append((len(list(indices)), short_side))
        return read(self, indices, short_side)

    monkeypatch.setattr(VideoReader, "read", counting)
    play(recognizer, video, budgets[1:], tmp_path, stride_s=4.0)
    assert max(count for count, _ in asked) <= 32
    assert all(short_side is not None for _, short_side in asked)


def test_nothing_is_written_when_something_is_wrong(recognizer, write_video, tmp_path):
    video = write_video("a.mp4", 12)
    good = ("macs", 10**12)
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    out = tmp_path / "out"
    for arguments, named in [
        ((video, [good, ("macs", 1)], out), "below the cheapest"),
        ((tmp_path / "broken.mp4", [good], out), "broken.mp4"),
        ((tmp_path / "missing.mp4", [good], out), "missing.mp4"),
        ((video, [], out), "at least one budget"),
        ((video, [good], out, 0), "stride"),
        ((video, [good], video), "cannot be written"),
        ((video, [good], video.parent), "is the video itself"),
    ]:
        with pytest.raises(InputError, match=named):
            play(recognizer, *arguments)
    assert not out.exists()


def test_a_failure_half_way_leaves_no_file(recognizer, write_video, budgets, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("half way")

    monkeypatch.setattr(stream, "annotate", fail)
    with pytest.raises(RuntimeError, match="half way"):
        play(recognizer, write_video("a.mp4", 12), budgets, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def demo(*arguments):
    # The tree that is tested, installed or not.
    environment = {**os.environ, "PYTHONPATH": str(DEMO.parents[1])}
    command = [sys.executable, DEMO, *map(str, arguments)]
    with tempfile.TemporaryDirectory() as empty:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=120, env=environment, cwd=empty
        )


@pytest.mark.slow
def test_demo(run_dir, write_video, recognizer, tmp_path):
    video = write_video("clip.mp4", 45)
    done = demo(
        "--run", run_dir, "--video", video, "--output", tmp_path,
        "--budget", "1G", "--budget", "900ms", "--budget", recognizer.table[
            recognizer.table.pareto()[0].subnet
        ].macs,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # No progress bar where there is no terminal.
    assert "frame" not in done.stderr
    _, *parts, wrote = done.stdout.splitlines()
    assert [line.split()[2] for line in parts] == ["1x6x40", "1x6x40", "0.5x3x32"]
    assert "clip.mp4" in wrote and (tmp_path / "clip.mp4").stat().st_size > 1000
    explicit = demo(
        "--checkpoint", run_dir / "c.pyth", "--table", run_dir / "query_table.json",
        "--video", video, "--output", tmp_path, "--budget", "1G",
    )  # fmt: skip
    assert explicit.returncode == 0, explicit.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--run", "nowhere", "--budget", "1G"], "query_table.json"),
        (["--run", "RUN", "--budget", "cheap"], "'cheap'"),
        (["--run", "RUN", "--budget", "1K"], "below the cheapest sub-network, 0.5x3x32"),
        (["--run", "RUN", "--budget", "1G", "--checkpoint", "nowhere.pyth"], "nowhere.pyth"),
        # Without --run it is what `make demo` leaves, seen from where the command runs.
        (["--budget", "1G"], "output/toy/query_table.json"),
    ],
)
def test_demo_errors(run_dir, write_video, tmp_path, arguments, named):
    arguments = [run_dir if argument == "RUN" else argument for argument in arguments]
    done = demo(*arguments, "--video", write_video("a.mp4", 12), "--output", tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert "error: " in line and named in line
