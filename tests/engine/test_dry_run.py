"""What a run would be, against counting by hand and against the run itself."""

import functools
import os
import statistics
import sys
import threading

import pytest
import torch
from torch import nn

from mutualvideo.commands.command_line import main
from mutualvideo.commands.tool import run_tool
from mutualvideo.engine.dry_run import _kept_bytes, dry_run
from mutualvideo.engine.preflight import check_keys, preflight
from mutualvideo.engine.train import build_sampler, train
from mutualvideo.engine.update import Updater
from mutualvideo.errors import InputError
from mutualvideo.models import build_model
from mutualvideo.run.distributed import Context
from mutualvideo.run.heartbeat import heard
from mutualvideo.run.log import setup_logging
from mutualvideo.slim import count_macs
from tests.engine.logged import stats_of
from tests.mutual.test_memory import peak_over
from tests.networks import few_blocks, make_cfg
from tests.tools.test_run_net import load_tool

CPU = Context(torch.device("cpu"))


def test_what_it_says(tiny, tmp_path):
    cfg, lines = tiny(TRAIN__EMA_DECAY=0.5, SOLVER__MAX_EPOCH=5), []
    before = sorted(tmp_path.rglob("*"))
    found = dry_run(cfg, CPU, lines.append)
    assert sorted(tmp_path.rglob("*")) == before
    model, sampler = build_model(cfg), build_sampler(cfg)
    macs_of = functools.cache(lambda one: count_macs(model, one))
    macs = [sum(map(macs_of, sampler.draw(step))) for step in range(32)]
    assert found.macs == pytest.approx(statistics.mean(macs))
    assert found.steps == 2  # eight videos, four a step
    # Weights, gradients, momentum and average, float32.
    numbers = sum(p.numel() for p in model.parameters())
    assert found.weights_bytes == 4 * 4 * numbers
    # Without workers one comes after the other.
    assert found.total_s == pytest.approx(10 * (found.step_s + found.data_s))
    text = "\n".join(lines)
    for words in (
        "running on CPU",
        f"X3D, 2 classes, {numbers:,} parameters; MUTUAL.MODE mutual",
        "full 1x4x40",
        "input 4 x 3 x 4 x 40 x 40",
        "2 steps of 4 clips an epoch, 5 epochs: 10",
        "starts from random weights",
        "nothing was written",
    ):
        assert words in text
    assert str(sampler.draw(0)[1]) in text


def test_a_run_that_goes_on_and_one_that_starts_from_weights(tiny, tmp_path):
    cfg, lines = tiny(SOLVER__MAX_EPOCH=1), []
    path = train(cfg, CPU)
    content = open(path, "rb").read()
    cfg.SOLVER.MAX_EPOCH = 3
    found = dry_run(cfg, CPU, lines.append)
    assert f"starts from {path}, 2 steps done" in lines
    assert found.total_s == pytest.approx(4 * (found.step_s + found.data_s))
    assert open(path, "rb").read() == content
    again = tiny(OUTPUT_DIR=tmp_path / "again", TRAIN__CHECKPOINT_FILE_PATH=path)
    dry_run(again, CPU, lines.append)
    assert f"starts from {path}" in lines
    with open(path, "r+b") as file:
        file.truncate(1000)
    with pytest.raises(InputError, match="none of its 1 checkpoint"):
        dry_run(cfg, CPU, lines.append)


def test_epochs_in_which_the_full_network_is_alone_take_less(tiny):
    found = dry_run(tiny(MUTUAL__ALONE_EPOCHS=2, SOLVER__MAX_EPOCH=3), CPU, lambda line: None)
    model = build_model(tiny())
    share = count_macs(model, build_sampler(tiny()).full) / found.macs
    wanted = 4 * share * found.step_s + 2 * found.step_s + 6 * found.data_s
    assert found.total_s == pytest.approx(wanted)


def test_a_network_with_pathways_tells_the_clip_it_takes(video_folder, tmp_path):
    lines = []
    keys = {"DATA__PATH_TO_DATA_DIR": video_folder, "TRAIN__BATCH_SIZE": 2}
    keys |= {"OUTPUT_DIR": tmp_path, "DATA_LOADER__NUM_WORKERS": 0, "MODEL__NUM_CLASSES": 2}
    keys |= {"MUTUAL__WIDTHS": [0.7, 1], "MUTUAL__FRAMES": [4, 2], "MUTUAL__SIZES": [64, 48]}
    cfg = make_cfg("SlowFast", **keys)
    with few_blocks():
        dry_run(cfg, CPU, lines.append)
    size = cfg.DATA.TRAIN_CROP_SIZE
    assert f"input 2 x 3 x {cfg.DATA.NUM_FRAMES} x {size} x {size}" in lines[2]


@pytest.mark.parametrize("keys", [{"DATA__MULTI_LABEL": True}, {"MIXUP__ENABLE": True}, {}])
def test_without_data(tiny, tmp_path, keys):
    if "DATA__MULTI_LABEL" in keys:
        keys = {**keys, "MODEL__LOSS_FUNC": "bce_logit"}
    cfg, lines = tiny(DATA__PATH_TO_DATA_DIR="", **keys), []
    check_keys(cfg)
    preflight(cfg, CPU, has_data=False)
    found = dry_run(cfg, CPU, lines.append)
    text = "\n".join(lines)
    assert (found.steps, found.data_s, found.total_s) == (None, None, None)
    assert found.activations_bytes > 0 and found.step_s > 0
    assert "input 4 x 3 x 4 x 40 x 40" in text and "s a step" in text
    assert "no data: DATA.PATH_TO_DATA_DIR is empty. Not checked: lists, labels" in text
    assert "NUM_CLASSES" not in text and not os.path.exists(tmp_path / "run")


def test_without_data_by_the_command(tiny, tmp_path, capfd):
    keys = {"DATA__PATH_TO_DATA_DIR": "", "MODEL__NUM_CLASSES": 0}
    (tmp_path / "tiny.yaml").write_text(tiny(**keys).dump())
    main(["train", "--cfg", str(tmp_path / "tiny.yaml"), "--dry-run"])
    out, err = capfd.readouterr()
    assert "X3D, 400 classes" in out and "no data: DATA.PATH_TO_DATA_DIR is empty" in out
    assert "MODEL.NUM_CLASSES is not given, and there are no data to count: 400 were assumed" in out
    for what in ("looking at keys", "counting multiply-adds ...", "two steps of 4, for their time"):
        assert what in err


def test_what_takes_long_is_heard_of():
    lines, twice = [], threading.Event()

    def say(line):
        lines.append(line)
        if len(lines) == 3:
            twice.set()

    with heard("measuring", say, every_s=0.01):
        assert twice.wait(60)
    assert lines[:3] == ["measuring ...", *["measuring ... 0:00:00 so far"] * 2]
    count = len(lines)
    with pytest.raises(ZeroDivisionError), heard("dividing", say, every_s=1000):
        1 / 0  # noqa: B018
    assert lines[count:] == ["dividing ..."]


def test_of_an_evaluation(tiny):
    with pytest.raises(InputError, match="TRAIN.ENABLE is False"):
        dry_run(tiny(TRAIN__ENABLE=False), CPU)


def test_the_time_is_that_of_steps(tiny):
    """Within what such a machine varies by; a forgotten factor would be four or more."""
    cfg = tiny(SOLVER__MAX_EPOCH=4, TRAIN__BATCH_SIZE=8)
    found = dry_run(cfg, CPU, lambda line: None)
    setup_logging(cfg.OUTPUT_DIR, True)
    train(cfg, CPU)
    times = [one["dt"] - one["dt_data"] for one in stats_of(cfg) if one.get("role") == "full"]
    assert 1 / 4 < found.step_s / statistics.median(times) < 4


def test_kept_bytes_by_hand():
    layers = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5), nn.Sigmoid())
    clips = torch.randn(8, 10)

    def twice():
        # One pass after the other: the first one's are gone by then.
        for count in (8, 3):
            layers(clips[:count]).sum().backward()

    # The clips; what the activations put out, of which ReLU's is the second layer's input too.
    assert _kept_bytes(layers, twice) == 4 * 8 * (10 + 20 + 5)


@pytest.mark.parametrize("parts", [1, 4])
def test_memory_is_near_what_is_allocated(tiny, parts):
    """Against torch's profiler, which also sees what a pass holds for a moment.

    What does not grow with the clips is scaled up with them, so it may be too much as well.
    """
    cfg = tiny(TRAIN__BATCH_SIZE=8, TRAIN__MICRO_BATCHES=parts)
    found = dry_run(cfg, CPU, lambda line: None)
    model, sampler = build_model(cfg).train(), build_sampler(cfg)
    model.to(memory_format=torch.channels_last_3d)
    updater = Updater(cfg, torch.device("cpu"), model)
    clips = torch.randn(8, 3, 4, 40, 40).contiguous(memory_format=torch.channels_last_3d)

    def step():
        updater(clips, torch.arange(8) % 2, sampler.draw(0), 0.0, 0.05)

    step()
    peak = peak_over(step)
    # Gradients are made in the step, weights and momentum are there before.
    gradients = found.weights_bytes / 3
    assert 0.7 < (found.activations_bytes + gradients) / peak < 1.3


@pytest.mark.parametrize(
    "change, words",
    [
        ({"DATA__PATH_TO_DATA_DIR": "nowhere"}, "nowhere/train.csv"),
        ({"MUTUAL__SIZES": [400]}, "MUTUAL.SIZES contains 400"),
        ({"TRAIN__PRECISION": "float8"}, "TRAIN.PRECISION float8"),
        ({"TABLE__WIDTHS": [0.1]}, "TABLE: width 0.1"),
        ({"TRAIN__BATCH_SIZE": 9}, "fewer than TRAIN.BATCH_SIZE 9"),
    ],
)
def test_what_a_run_would_be_refused_for(tiny, tmp_path, monkeypatch, capsys, change, words):
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny(**change).dump())
    monkeypatch.setattr(sys, "argv", ["run_net.py", "--dry-run", "--cfg", str(path)])
    with pytest.raises(SystemExit) as stopped:
        run_tool(load_tool("run_net").main)
    assert stopped.value.code == 2 and words in capsys.readouterr().err
    assert not os.path.exists(tmp_path / "run")


def test_of_the_tool(tiny, tmp_path, monkeypatch, capsys):
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny().dump())
    monkeypatch.setattr(sys, "argv", ["run_net.py", "--cfg", str(path), "--dry-run"])
    with pytest.raises(SystemExit) as stopped:
        run_tool(load_tool("run_net").main)
    assert not stopped.value.code and "nothing was written" in capsys.readouterr().out
    assert not os.path.exists(tmp_path / "run")
