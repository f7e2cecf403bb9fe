"""The command line: both forms of overrides, and bad input in one line with exit code 2."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from mutualvideo import QueryTable
from mutualvideo.commands.tool import run_tool
from mutualvideo.engine import recognition_task
from mutualvideo.evaluation import build as build_module
from mutualvideo.evaluation import choose_statistics as statistics_module
from mutualvideo.models import build_model
from tests.engine.conftest import one_thread, tiny, video_folder  # noqa: F401  (fixtures)
from tests.engine.losing import LosingLoader

ROOT = Path(__file__).resolve().parents[2]


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_net(tiny, tmp_path, monkeypatch, capsys):  # noqa: F811
    """Runs the tool in this process: returns its exit code and its standard error."""
    tool = load_tool("run_net")
    path = tmp_path / "tiny.yaml"

    def run(*arguments, **changes):
        path.write_text(tiny(SOLVER__MAX_EPOCH=1, **changes).dump())
        monkeypatch.setattr(sys, "argv", ["run_net.py", "--cfg", str(path), *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            run_tool(tool.main)
        return stopped.value.code or 0, capsys.readouterr().err

    return run


def test_trains_then_only_evaluates(run_net, tmp_path):
    """With overrides in either form."""
    out = tmp_path / "out"
    assert run_net("OUTPUT_DIR", out, "RNG_SEED", "3")[0] == 0
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["RNG_SEED"] == 3
    assert f"torch {torch.__version__}" in (out / "environment.txt").read_text()
    checkpoint = out / "checkpoints" / "checkpoint_epoch_00001.pyth"
    alone = tmp_path / "alone"
    assert (
        run_net(
            "--opts",
            "TRAIN.ENABLE",
            "False",
            "TEST.CHECKPOINT_FILE_PATH",
            checkpoint,
            # The seed also decides the clips that statistics are calibrated on.
            "OUTPUT_DIR",
            alone,
            "RNG_SEED",
            "3",
        )[0]
        == 0
    )
    tables = [QueryTable.load_json(folder / "query_table.json") for folder in (out, alone)]
    assert [row.top1 for row in tables[0]] == [row.top1 for row in tables[1]]
    assert not (alone / "checkpoints").exists()


def with_csv(text):
    def change(folder):
        (folder / "train.csv").write_text(text)
        (folder / "val.csv").write_text(text)
        return ["DATA.PATH_TO_DATA_DIR", folder]

    return change


def with_empty_video(folder):
    (folder / "empty.mp4").touch()
    return with_csv("empty.mp4 0\n" * 8)(folder)


def with_bad_checkpoint(folder):
    (folder / "bad.pyth").write_bytes(b"PK not a checkpoint")
    return ["TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", folder / "bad.pyth"]


def with_other_checkpoint(folder):
    torch.save({"model_state": {"fc.weight": torch.ones(2)}}, folder / "other.pyth")
    return ["TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", folder / "other.pyth"]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda folder: ["DATA.PATH_TO_DATA_DIR", folder], "train.csv"),
        (with_csv("a.mp4 0\nb.mp4\n"), "train.csv:2: "),
        (with_csv("a.mp4 0\nb.mp4 2\n"), "train.csv:2: "),
        (with_empty_video, "empty.mp4"),
        (lambda folder: ["SOLVER.BASE_RL", "0.1"], "nearest known key is SOLVER.BASE_LR"),
        (lambda folder: ["SOLVER.MAX_EPOCH", "ten"], "SOLVER.MAX_EPOCH is 'ten'"),
        (lambda folder: ["TABLE.WIDTHS", "[0.3]"], "TABLE: width 0.3 of 0.3x4x32 is outside"),
        (lambda folder: ["MUTUAL.WIDTH_RANGE", "[0.5, 1.5]"], "width range"),
        (lambda folder: ["MUTUAL.SIZES", "[16]"], "takes sizes from 32"),
        (lambda folder: ["MUTUAL.FRAMES", "[8]"], "MUTUAL.FRAMES contains 8: expected 1 to 4"),
        (lambda folder: ["TABLE.SUBNETS", "['1xx4']"], "expected WIDTHxFRAMESxSIZE"),
        (lambda folder: ["TABLE.SUBNETS", "['1x40']"], "takes 1 to 4 frames, 1x40 has None"),
        (lambda folder: ["TRAIN.ENABLE", "False"], "holds no checkpoint"),
        (with_bad_checkpoint, "bad.pyth: cannot be read"),
        (with_other_checkpoint, "other.pyth: belongs to another architecture"),
        (lambda folder: ["MODEL.MODEL_NAME", "X4D"], "X4D: no such network"),
        (lambda folder: ["TRAIN.BATCH_SIZE", "9"], "TRAIN.BATCH_SIZE"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run_net, tmp_path, change, message):
    folder = tmp_path / "given"
    folder.mkdir()
    code, error = run_net(*change(folder))
    assert code == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and error.endswith("\n")
    assert message in error


@pytest.mark.parametrize("allowed, code", [("False", 2), ("True", 0)])
def test_missing_videos_decide_the_exit_code(run_net, tiny, tmp_path, monkeypatch, allowed, code):  # noqa: F811
    torch.save({"model_state": build_model(tiny()).state_dict()}, tmp_path / "weights.pyth")
    monkeypatch.setattr(build_module, "build_loader", LosingLoader.build({2: "is damaged"}))
    found, error = run_net(
        "TRAIN.ENABLE",
        "False",
        "TEST.CHECKPOINT_FILE_PATH",
        tmp_path / "weights.pyth",
        "TEST.ALLOW_MISSING",
        allowed,
        "TABLE.LATENCY",
        "False",
    )
    assert found == code
    assert (tmp_path / "run" / "results.json").exists()
    if code:
        assert error.startswith("error: evaluated 3 of 4 videos of ") and error.count("\n") == 1
        assert "2.mp4: is damaged" in error and "TEST.ALLOW_MISSING True" in error
    else:
        assert "error" not in error


def test_missing_videos_do_not_end_training(run_net, tmp_path, monkeypatch):
    monkeypatch.setattr(recognition_task, "build_loader", LosingLoader.build({2: "is damaged"}))
    code, _ = run_net("SOLVER.MAX_EPOCH", "2", "TRAIN.EVAL_PERIOD", "1", "TEST.ENABLE", "False")
    log = (tmp_path / "run" / "stdout.log").read_text()
    assert code == 0 and "evaluated 3 of 4 videos of the list; 2.mp4: is damaged" in log


def test_a_misspelt_key_in_a_real_process():
    command = ["tools/run_net.py", "--cfg", "configs/Toy/X3D_mutual.yaml", "TRIAN.X", "1"]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "unknown key TRIAN.X" in done.stderr


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*/*.yaml")), ids=lambda path: path.stem)
def test_every_config_is_complete_and_opens_with_what_to_expect(path):
    from mutualvideo.config import load_cfg
    from mutualvideo.engine.train import build_sampler
    from mutualvideo.evaluation.grid import grid_subnets

    cfg = load_cfg(path)
    assert len(build_sampler(cfg).draw(0)) == (
        1 if cfg.MUTUAL.MODE == "single" else 2 + cfg.MUTUAL.NUM_RANDOM
    )
    assert grid_subnets(cfg)
    head = path.read_text().split("\nTRAIN:")[0]
    for word in ("# Command:", "# Hardware:", "# Hours:", "# Expected:"):
        assert word in head, f"{path} does not say {word}"
    assert f"--cfg configs/{path.parent.name}/{path.name}" in head


@pytest.mark.parametrize("tool", sorted(ROOT.glob("tools/*.py")), ids=lambda path: path.stem)
def test_tools_only_parse_arguments(tool):
    assert len(tool.read_text().splitlines()) < 80


def test_overrides_on_both_sides_of_an_option(run_net, tmp_path):
    code, error = run_net("RNG_SEED", "5", "--dry-run", "SOLVER.WARMUP_EPOCHS", "2.0")
    assert code == 2 and "SOLVER.WARMUP_EPOCHS 2 of SOLVER.MAX_EPOCH 1" in error
    code, error = run_net("--opts", "RNG_SEED", "5", "--dry-run", "TEST.ENABLE", "maybe")
    assert code == 2 and "TEST.ENABLE is 'maybe'" in error


@pytest.mark.parametrize(
    "number, where",
    [
        (signal.SIGTERM, "evaluate"),
        (signal.SIGINT, "_latencies"),
        pytest.param(signal.SIGTERM, "write_table", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "calibrate_from", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, "evaluate", marks=pytest.mark.slow),
    ],
)
def test_a_signal_in_evaluation_ends_the_run_and_the_command_continues(
    run_net,
    tmp_path,
    monkeypatch,
    number,
    where,
):
    handlers = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    module = build_module if hasattr(build_module, where) else statistics_module
    function = getattr(module, where)

    def interrupted(*args, **kwargs):
        os.kill(os.getpid(), number)
        return function(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module, where, interrupted)
        code, error = run_net()
    log = (tmp_path / "run" / "stdout.log").read_text()
    assert code == 0 and "Traceback" not in error and "the same command continues" in log
    assert not (tmp_path / "run" / "results.json").exists()
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == handlers
    if number == signal.SIGTERM:
        assert run_net()[0] == 0 and (tmp_path / "run" / "results.json").exists()
        assert not list((tmp_path / "run").glob(".*.pyth"))  # nothing half written
