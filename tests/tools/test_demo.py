"""tools/demo.py: the options that choose what answers."""

import csv
import sys

import pytest

from mutualvideo.cli import run_tool
from tests.runtime.conftest import one_thread, run_dir, tiny_cfg, write_video  # noqa: F401

from .test_run_net import load_tool


@pytest.fixture
def demo(run_dir, write_video, tmp_path, monkeypatch, capsys):  # noqa: F811
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


def test_backends_give_the_same_answers(demo, tmp_path):
    found = {}
    for backend in ("torch", "torch-extracted"):
        assert demo("--backend", backend, "--budget", "1G")[0] == 0
        with open(tmp_path / "film.csv", newline="") as file:
            found[backend] = list(csv.DictReader(file))
    torch, extracted = found.values()
    assert torch and len(torch) == len(extracted)
    for a, b in zip(torch, extracted, strict=True):
        assert (a["subnet"], a["top1"]) == (b["subnet"], b["top1"])
        assert float(a["score1"]) == pytest.approx(float(b["score1"]), abs=1e-3)


def test_an_unknown_backend_is_named(demo):
    code, error = demo("--backend", "abacus", "--budget", "1G")
    assert code == 2
    assert "abacus" in error and "openvino" in error and "Traceback" not in error
