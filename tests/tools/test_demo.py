"""tools/demo.py: in this process, and as users start and interrupt it."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from mutualvideo.commands.tool import run_tool
from mutualvideo.media import VideoReader
from mutualvideo.table.query import QueryTable
from tests.play.fakes import write_numbered
from tests.runtime.conftest import (  # noqa: F401
    UNCALIBRATED,
    one_thread,
    run_dir,
    tiny_cfg,
    write_video,
)

from .test_run_net import load_tool

DEMO = Path(__file__).parents[2] / "tools" / "demo.py"


@pytest.fixture
def run_demo(run_dir, write_video, tmp_path, monkeypatch, capsys):  # noqa: F811
    """Runs the tool in this process on a short film: its exit code and standard error."""
    film = write_video("film.mp4", 30)
    tool = load_tool("demo")

    def run(*arguments):
        given = ["demo.py", "--run", run_dir, "--source", film, "--output", tmp_path, *arguments]
        monkeypatch.setattr(sys, "argv", [str(argument) for argument in given])
        with pytest.raises(SystemExit) as stopped:
            run_tool(tool.main)
        return stopped.value.code or 0, capsys.readouterr().err

    return run


def test_backends_give_the_same_answers(run_demo, tmp_path):
    found = {}
    for backend in ("torch", "torch-extracted"):
        assert run_demo("--backend", backend, "--budget", "1G")[0] == 0
        with open(tmp_path / "film.csv", newline="") as file:
            found[backend] = list(csv.DictReader(file))
    torch, extracted = found.values()
    assert torch and len(torch) == len(extracted)
    for a, b in zip(torch, extracted, strict=True):
        assert (a["subnet"], a["top1"]) == (b["subnet"], b["top1"])
        assert float(a["score1"]) == pytest.approx(float(b["score1"]), abs=1e-3)


def test_an_unknown_backend_is_named(run_demo):
    code, error = run_demo("--backend", "abacus", "--budget", "1G")
    assert code == 2
    assert "abacus" in error and "openvino" in error and "Traceback" not in error


def test_threads(run_demo):
    assert run_demo("--backend", "openvino", "--threads", "1", "--budget", "1G")[0] == 0
    for arguments, named in (
        (("--backend", "openvino", "--threads", "0"), "threads 0: must be an integer of at least"),
        (("--threads", "1"), "threads 1: backend 'torch' cannot"),
    ):
        code, error = run_demo(*arguments, "--budget", "1G")
        assert code == 2 and named in error and "Traceback" not in error


def demo(*arguments, **options):
    # The tree that is tested, installed or not.
    environment = {**os.environ, "PYTHONPATH": str(DEMO.parents[1])}
    command = [sys.executable, DEMO, *map(str, arguments)]
    with tempfile.TemporaryDirectory() as empty:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
            cwd=empty,
            **options,
        )


@pytest.mark.slow
def test_demo(run_dir, write_video, tmp_path):  # noqa: F811
    # Under a budget of time any row of the table may be needed: calibrated ones alone.
    run = shutil.copytree(run_dir, tmp_path / "run")
    table = QueryTable.load_json(run / "query_table.json")
    table = QueryTable([r for r in table if r.subnet != UNCALIBRATED], table.metadata)
    table.save_json(run / "query_table.json")
    video = write_video("clip.mp4", 45)
    done = demo(
        "--run",
        run,
        "--video",
        video,
        "--output",
        tmp_path,
        "--budget",
        "1G",
        "--budget",
        "900ms",
        "--budget",
        table.pareto()[0].macs,
        "--gif",
        tmp_path / "clip.gif",
    )
    assert done.returncode == 0, done.stderr
    # No progress bar where there is no terminal.
    assert "frame" not in done.stderr
    _, *parts, wrote = done.stdout.splitlines()
    assert [line.split()[2] for line in parts] == ["1x6x40", "1x6x40", "0.5x3x32"]
    assert "clip.mp4" in wrote and (tmp_path / "clip.mp4").stat().st_size > 1000
    assert (tmp_path / "clip.gif").read_bytes()[:4] == b"GIF8"
    (tmp_path / "budgets.txt").write_text("0 1G\n0.6 900ms\n")
    explicit = demo(
        "--checkpoint",
        run / "c.pyth",
        "--table",
        run / "query_table.json",
        "--source",
        video.parent,
        "--output",
        tmp_path,
        "--realtime",
        "--smooth",
        "1",
        "--budget-script",
        tmp_path / "budgets.txt",
    )
    assert explicit.returncode == 0, explicit.stderr


# In this process; test_demo_error_of_the_command starts one as users do.
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--run", "nowhere", "--budget", "1G"], "query_table.json"),
        (["--run", "RUN", "--budget", "cheap"], "'cheap'"),
        (["--run", "RUN", "--budget", "1K"], "below the cheapest sub-network, 0.5x3x32"),
        (["--run", "RUN", "--budget", "1G", "--checkpoint", "nowhere.pyth"], "nowhere.pyth"),
        # Without --run it is the newest run, seen from where the command runs.
        (["--budget", "1G"], "no run with a query_table.json in output: name one by --run"),
        (
            ["--run", "RUN", "--budget", "1G", "--budget-script", "budgets.txt"],
            "give either budgets or a budget script",
        ),
        (["--run", "RUN", "--budget-script", "nowhere.txt"], "nowhere.txt: cannot be read"),
    ],
)
def test_demo_errors(
    run_dir,  # noqa: F811
    write_video,  # noqa: F811
    tmp_path,
    monkeypatch,
    capsys,
    arguments,
    named,
):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    arguments = [run_dir if argument == "RUN" else argument for argument in arguments]
    given = ["demo.py", *arguments, "--video", write_video("a.mp4", 12), "--output", tmp_path]
    monkeypatch.setattr(sys, "argv", [str(argument) for argument in given])
    with pytest.raises(SystemExit) as stopped:
        run_tool(load_tool("demo").main)
    check_error(stopped.value.code, capsys.readouterr().err, named)


@pytest.mark.slow
def test_demo_error_of_the_command(run_dir, write_video, tmp_path):  # noqa: F811
    video = write_video("a.mp4", 12)
    done = demo("--run", run_dir, "--video", video, "--output", tmp_path, "--budget", "1K")
    check_error(done.returncode, done.stderr, "below the cheapest sub-network, 0.5x3x32")


def check_error(code, error, named):
    assert code == 2
    assert "Traceback" not in error
    line = error.splitlines()[-1]
    assert "error: " in line and named in line


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_playable_files(run_dir, tmp_path, number):  # noqa: F811
    # Ten minutes of film, at its own pace.
    video = write_numbered(tmp_path / "slow.mp4", range(0, 600, 2))
    process = subprocess.Popen(
        [
            sys.executable,
            str(DEMO),
            "--run",
            str(run_dir),
            "--source",
            str(video),
            "--realtime",
            "--budget",
            "1G",
            "--output",
            str(tmp_path / "out"),
        ],
        env={**os.environ, "PYTHONPATH": str(DEMO.parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(600):
            # Hidden until they are whole: the film has begun.
            if list((tmp_path / "out").glob(".slow*.mp4")):
                break
            assert process.poll() is None, process.stderr.read()
            threading.Event().wait(0.1)
        threading.Event().wait(1.0)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "wrote" in output and not errors
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["slow.csv", "slow.mp4"]
    with VideoReader(tmp_path / "out" / "slow.mp4") as reader:
        assert reader.read([0]).any()
