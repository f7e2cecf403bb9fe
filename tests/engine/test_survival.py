"""Runs that are ended, killed or fed with rubbish, and what they leave."""

import logging
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from mutualvideo.engine.train import DivergedError, train
from mutualvideo.engine.update import Updater
from mutualvideo.errors import InputError
from mutualvideo.models import read_checkpoint
from mutualvideo.run.checkpoint import checkpoint_path, newest_checkpoint
from mutualvideo.run.distributed import Context
from mutualvideo.run.log import setup_logging
from tests.engine.conftest import KEYS
from tests.engine.logged import stats_of
from tests.networks import make_cfg

CPU = Context(torch.device("cpu"))
ROOT = Path(__file__).resolve().parents[2]
# Everything random, everything that has a state: two steps an epoch.
ALL = {
    "AUG__ENABLE": True,
    "AUG__AA_TYPE": "",
    "MIXUP__ENABLE": True,
    "MODEL__DROPOUT_RATE": 0.5,
    "TRAIN__EMA_DECAY": 0.5,
    "TRAIN__MIXED_PRECISION": True,
    "TRAIN__PRECISION": "float16",
    "SOLVER__CLIP_GRAD_L2NORM": 1.0,
    "TRAIN__MICRO_BATCHES": 2,
}


def run(cfg):
    setup_logging(cfg.OUTPUT_DIR, True)
    return train(cfg, CPU)


@pytest.fixture(scope="module")
def whole(video_folder, tmp_path_factory):
    """The configuration of a run of two epochs that nothing ended."""
    folder = tmp_path_factory.mktemp("whole")
    paths = {"DATA__PATH_TO_DATA_DIR": video_folder, "OUTPUT_DIR": folder}
    cfg = make_cfg("X3D", **{**KEYS, **paths, "SOLVER__MAX_EPOCH": 2, **ALL})
    root, threads = logging.getLogger(), torch.get_num_threads()
    level = root.level
    torch.set_num_threads(1)
    run(cfg)
    torch.set_num_threads(threads)
    root.setLevel(level)
    return cfg


def lines(cfg):
    """``{where: what}`` of all that the log tells of losses; ``where`` is there once or alike."""
    found = {}
    for line in stats_of(cfg):
        where = line["_type"], line["epoch"], line.get("iter"), line.get("role")
        what = [line.get(key) for key in ("subnet", "loss", "top1_err", "lr", "steps_skipped")]
        assert found.setdefault(where, what) == what
    return found


def check_same_end(found, wanted):
    assert lines(found) == lines(wanted)
    paths = [newest_checkpoint(cfg.OUTPUT_DIR) for cfg in (found, wanted)]
    assert len({os.path.basename(path) for path in paths}) == 1
    mine, theirs = map(read_checkpoint, paths)
    assert mine["progress"] == theirs["progress"]
    assert mine["scaler_state"] == theirs["scaler_state"]
    states = [
        [c["model_state"], c["ema_state"], *c["optimizer_state"]["state"].values()]
        for c in (mine, theirs)
    ]
    for one, other in zip(*states, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)


def signals_after(monkeypatch, step, number):
    """Sends this process a signal within step ``step`` (counted from 0) of its training."""
    count, take = iter(range(10**6)), Updater.__call__

    def call(self, *args):
        if next(count) == step:
            os.kill(os.getpid(), number)
        return take(self, *args)

    monkeypatch.setattr(Updater, "__call__", call)


@pytest.mark.parametrize(
    "number, step", [(signal.SIGTERM, 0), (signal.SIGINT, 1), (signal.SIGTERM, 2)]
)
def test_a_signal_ends_the_run_with_a_checkpoint(tiny, whole, monkeypatch, number, step):
    cfg = tiny(SOLVER__MAX_EPOCH=2, **ALL)
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with monkeypatch.context() as patch:
        signals_after(patch, step, number)
        assert run(cfg) is None
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    done = divmod(step + 1, 2)
    assert newest_checkpoint(cfg.OUTPUT_DIR) == checkpoint_path(cfg.OUTPUT_DIR, *done)
    assert run(cfg) == checkpoint_path(cfg.OUTPUT_DIR, 2)
    check_same_end(cfg, whole)


def test_the_last_step_is_the_end_all_the_same(tiny, monkeypatch):
    cfg = tiny(SOLVER__MAX_EPOCH=1)
    signals_after(monkeypatch, 1, signal.SIGTERM)
    assert run(cfg) == checkpoint_path(cfg.OUTPUT_DIR, 1)


def test_a_time_limit_ends_the_run_with_a_checkpoint(tiny, whole):
    cfg = tiny(SOLVER__MAX_EPOCH=2, TRAIN__TIME_LIMIT=1e-9, **ALL)
    ends = []
    while run(cfg) is None:
        ends.append(os.path.basename(newest_checkpoint(cfg.OUTPUT_DIR)))
    assert ends == [
        "checkpoint_epoch_00000_step_000001.pyth",
        "checkpoint_epoch_00001.pyth",
        "checkpoint_epoch_00001_step_000001.pyth",
    ]
    check_same_end(cfg, whole)


@pytest.mark.slow
def test_killed_at_ten_random_points(tiny, tmp_path):
    changes = {"SOLVER__MAX_EPOCH": 4, "TRAIN__BATCH_SIZE": 2, "TRAIN__CHECKPOINT_STEPS": 3, **ALL}
    wanted = tiny(OUTPUT_DIR=tmp_path / "whole", **changes)
    run(wanted)
    cfg = tiny(**changes)
    path = tmp_path / "tiny.yaml"
    path.write_text(cfg.dump())
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.killed", str(path), "10", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0 and "10 killed" in done.stdout, done.stdout + done.stderr
    check_same_end(cfg, wanted)


def nan_in_steps(monkeypatch, steps, subnet):
    """Makes the loss of ``subnet`` ("full" or "pupils") NaN in these steps of the training."""
    count, take = iter(range(10**6)), Updater.__call__

    def call(self, clips, *args):
        bad = next(count) in steps

        def hook(model, inputs, scores):
            is_full = model.slim_state.is_full
            return scores * float("nan") if is_full == (subnet == "full") else scores

        handle = self.model.register_forward_hook(hook) if bad else None
        try:
            return take(self, clips, *args)
        finally:
            if handle:
                handle.remove()

    monkeypatch.setattr(Updater, "__call__", call)


@pytest.mark.parametrize("subnet", ["full", "pupils"])
def test_steps_that_are_not_finite_are_skipped_counted_and_named(tiny, monkeypatch, caplog, subnet):
    cfg = tiny(SOLVER__MAX_EPOCH=2)
    nan_in_steps(monkeypatch, {1, 2}, subnet)
    path = run(cfg)
    skipped = [r.getMessage() for r in caplog.records if "skipped step" in r.getMessage()]
    assert [text.split(":")[0] for text in skipped] == ["skipped step 1", "skipped step 2"]
    for text in skipped:
        assert ("the loss of 1x4x40 is nan" in text) == (subnet == "full")
        assert re.search(r"the loss of 0\.5x\dx\d\d is nan", text)
    counts = [what[-1] for where, what in lines(cfg).items() if where[0] == "train_epoch"]
    assert counts == [1, 1]
    for name, tensor in read_checkpoint(path)["model_state"].items():
        assert tensor.isfinite().all(), name


def test_too_many_of_them_end_the_run_with_the_last_good_checkpoint(tiny, monkeypatch):
    cfg = tiny(TRAIN__MAX_SKIPPED_STEPS=1)
    nan_in_steps(monkeypatch, {1, 2, 3}, "full")
    last = re.escape(checkpoint_path(cfg.OUTPUT_DIR, 1))
    with pytest.raises(DivergedError, match=rf"step 3: the loss of 1x4x40 is nan.*2 steps.*{last}"):
        run(cfg)
    monkeypatch.undo()
    for tensor in read_checkpoint(newest_checkpoint(cfg.OUTPUT_DIR))["model_state"].values():
        assert tensor.isfinite().all()
    assert run(cfg) == checkpoint_path(cfg.OUTPUT_DIR, 3)


def test_none_are_allowed(tiny, monkeypatch):
    nan_in_steps(monkeypatch, {0}, "pupils")
    with pytest.raises(DivergedError, match="step 0.*allows 0; no checkpoint is the last good one"):
        run(tiny(TRAIN__MAX_SKIPPED_STEPS=0))


def test_the_count_outlives_a_resume(tiny, monkeypatch):
    cfg = tiny(TRAIN__MAX_SKIPPED_STEPS=1, TRAIN__TIME_LIMIT=1e-9)
    nan_in_steps(monkeypatch, {0, 1}, "full")
    assert run(cfg) is None
    with pytest.raises(DivergedError, match="step 1: .*; 2 steps of this epoch"):
        run(cfg)


@pytest.mark.parametrize("key", ["TIME_LIMIT", "CHECKPOINT_STEPS", "KEEP_CHECKPOINTS"])
def test_negative_settings(tiny, key):
    with pytest.raises(InputError, match=f"TRAIN.{key} must not be negative, got -1"):
        run(tiny(**{f"TRAIN__{key}": -1}))


def test_a_list_that_was_shortened_within_an_epoch(tiny):
    cfg = tiny(TRAIN__BATCH_SIZE=2, TRAIN__TIME_LIMIT=1e-9)
    for _ in range(3):
        run(cfg)
    cfg.TRAIN.BATCH_SIZE = 4
    with pytest.raises(InputError, match="step_000003.pyth: 3 steps of an epoch are done, which"):
        run(cfg)


def test_a_disk_that_is_full(tiny, tmp_path):
    """Of a real process, which may not write files as large as its checkpoint."""
    cfg = tiny(SOLVER__MAX_EPOCH=1, TEST__ENABLE=False)
    path = tmp_path / "tiny.yaml"
    path.write_text(cfg.dump())
    limit = 100_000
    done = subprocess.run(
        [sys.executable, "tools/run_net.py", "--cfg", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2, done.stderr
    assert re.search(r"^error: .*00001.pyth: cannot be written .File too large", done.stderr, re.M)
    assert "Traceback" not in done.stderr
    assert os.listdir(Path(cfg.OUTPUT_DIR, "checkpoints")) == []


def test_training_in_a_thread_takes_no_signals(tiny):
    cfg = tiny(SOLVER__MAX_EPOCH=1)
    found = []
    thread = threading.Thread(target=lambda: found.append(train(cfg, CPU)))
    thread.start()
    thread.join()
    assert found == [checkpoint_path(cfg.OUTPUT_DIR, 1)]
