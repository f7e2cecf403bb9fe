"""check_videos and resize_videos as commands: exit codes, messages, an interrupt."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.data.videos import encode

ROOT = Path(__file__).resolve().parents[2]


def start(tool, *arguments, **kwargs):
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, **kwargs
    )


def run(tool, *arguments):
    process = start(tool, *arguments)
    out, error = process.communicate(timeout=120)
    return process.returncode, out.splitlines(), error


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    encode(tmp_path / "in/a.mp4", range(0, 30, 3))
    encode(tmp_path / "in/b.mkv", range(0, 30, 3))
    (tmp_path / "in/train.csv").write_text("a.mp4 0\nb.mkv 1\n")
    return tmp_path


def test_check_videos(folder):
    arguments = "--csv", folder / "in/train.csv", "--output", folder / "out"
    code, out, error = run("check_videos", *arguments)
    assert (code, error) == (0, "")
    assert out[-1] == "2 of 2 videos are good"
    assert out[-2].endswith(f"DATA.PATH_PREFIX {folder}/in")
    (folder / "in/absolute.csv").write_text(f"{folder}/in/a.mp4 0\n")
    absolute = "--csv", folder / "in/absolute.csv", "--output", folder / "other"
    assert run("check_videos", *absolute, "--workers", 1)[1][-2].endswith(
        f"DATA.PATH_PREFIX {folder}/in DATA.ALLOW_ABSOLUTE_PATHS True"
    )
    (folder / "in/b.mkv").write_text("not a video")
    code, out, error = run("check_videos", *arguments, "--workers", 1)
    assert (code, error) == (1, "")
    assert out[-1] == f"1 of 2 videos are good; 1 bad: see {folder}/out/bad.csv"
    assert (folder / "out/bad.csv").read_text().startswith("b.mkv,1,cannot be opened")


def test_resize_videos(folder):
    arguments = "--input", folder / "in", "--output", folder / "out", "--short-side", 24
    code, out, error = run("resize_videos", *arguments, "--csv", folder / "in/train.csv")
    assert (code, out, error) == (0, ["2 videos resized, 0 were there already"], "")
    assert (folder / "out/train.csv").read_text() == "a.mp4 0\nb.mp4 1\n"
    (folder / "in/c.mp4").write_text("not a video")
    code, out, error = run("resize_videos", *arguments)
    assert (code, error) == (1, "")
    assert out == [
        "0 videos resized, 2 were there already",
        f"1 could not be resized: see {folder}/out/bad.csv",
    ]


def test_resize_videos_into_shards(folder):
    arguments = "--input", folder / "in", "--output", folder / "out", "--short-side", 24, "--shards"
    code, out, error = run("resize_videos", *arguments, "--csv", folder / "in/train.csv")
    assert (code, error) == (0, "")
    assert out == [
        f"train with DATA.PATH_TO_DATA_DIR {folder}/out DATA.SAMPLER shards",
        "2 videos resized, 0 were there already",
    ]
    lines = sorted((folder / "out/train.csv").read_text().splitlines())
    assert lines == ["train-000000.tar/a.mp4 0", "train-000000.tar/b.mp4 1"]
    check = "--csv", folder / "out/train.csv", "--output", folder / "checked", "--workers", 1
    assert run("check_videos", *check)[:1] == (0,)
    code, _, error = run("resize_videos", *arguments[:-1], "--shard-mb", 5)
    assert code == 2 and "--shard-mb is of --shards" in error


@pytest.mark.parametrize(
    "tool, arguments, words",
    [
        ("check_videos", ["--csv", "none.csv", "--output", "out"], "none.csv: no such file"),
        ("resize_videos", ["--input", "none", "--output", "out"], "none: no such folder"),
    ],
)
def test_bad_input_is_one_line(tmp_path, tool, arguments, words):
    code, _, error = run(tool, *(tmp_path / a if a[0] != "-" else a for a in arguments))
    assert code == 2 and words in error and error.count("\n") == 1


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="sends ^C to a group of processes")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_is_continued(folder, kind):
    encode(folder / "in/long.mp4", range(0, 6000, 3), options={"preset": "ultrafast"})
    arguments = "--input", folder / "in", "--output", folder / "out", "--workers", 2
    process = start("resize_videos", *arguments, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list((folder / "out").glob(".long.*.mp4")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    # ^C of a terminal goes to the whole group; a kill, to the parent or all.
    os.killpg(process.pid, kind)
    error = process.communicate(timeout=60)[1]
    if kind == signal.SIGINT:
        assert (process.returncode, error) == (130, "")
        assert not list((folder / "out").glob(".*"))
    assert not (folder / "out/long.mp4").exists()
    encode(folder / "in/long.mp4", range(0, 9, 3))
    code, out, _ = run("resize_videos", *arguments)
    assert code == 0 and len(list((folder / "out").glob("*.mp4"))) == 3
    assert not list((folder / "out").glob(".*"))
