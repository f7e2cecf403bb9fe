"""The best checkpoint by validation, and early stopping, whatever validation finds."""

import json
import shutil

import pytest
import torch

from mutualvideo.engine.monitor import Monitor
from mutualvideo.engine.preflight import check_keys
from mutualvideo.engine.train import train
from mutualvideo.errors import InputError
from mutualvideo.evaluation.grid import find_checkpoint
from mutualvideo.models import read_checkpoint
from mutualvideo.run.checkpoint import best_path, checkpoint_path, newest_checkpoint
from mutualvideo.run.distributed import Context

CPU = Context(torch.device("cpu"))
KEYS = {"TRAIN__EVAL_PERIOD": 1, "SOLVER__MAX_EPOCH": 5, "MUTUAL__MODE": "single"}


@pytest.fixture
def scores(monkeypatch):
    """What validation finds after each epoch, and which epochs it was asked about."""
    found = {1: 40.0, 2: 60.0, 3: 50.0, 4: 60.0, 5: 55.0}
    asked = []

    def run(self, model, epoch, scalars):
        asked.append(epoch)
        return found[epoch], [("full", found[epoch])]

    monkeypatch.setattr(Monitor, "run", run)
    return asked


def notes(cfg):
    with open(f"{cfg.OUTPUT_DIR}/checkpoints/best.json") as file:
        return json.load(file)


def test_the_best_is_kept_and_evaluated(tiny, scores):
    cfg = tiny(**KEYS, TRAIN__KEEP_BEST=True, TRAIN__KEEP_CHECKPOINTS=1)
    path = train(cfg, CPU)
    assert path == best_path(cfg.OUTPUT_DIR) == find_checkpoint(cfg)
    assert scores == [1, 2, 3, 4, 5] and read_checkpoint(path)["epoch"] == 2
    # A run goes on from its last one.
    assert newest_checkpoint(cfg.OUTPUT_DIR) == checkpoint_path(cfg.OUTPUT_DIR, 5)
    assert notes(cfg).items() >= {"score": 60.0, "epoch": 2, "judged": 5}.items()


def test_training_gives_up_and_stays_so(tiny, scores, caplog):
    cfg = tiny(**KEYS, TRAIN__PATIENCE=2, TRAIN__CHECKPOINT_PERIOD=3)
    with caplog.at_level("INFO"):
        assert train(cfg, CPU) == best_path(cfg.OUTPUT_DIR)
    assert "TRAIN.PATIENCE: the best was after epoch 2 of 4" in caplog.text
    assert newest_checkpoint(cfg.OUTPUT_DIR) == checkpoint_path(cfg.OUTPUT_DIR, 4)
    assert train(cfg, CPU) == best_path(cfg.OUTPUT_DIR) and scores == [1, 2, 3, 4]


def test_a_validation_that_a_run_missed_is_made_up_for(tiny, scores):
    cfg = tiny(**{**KEYS, "SOLVER__MAX_EPOCH": 2}, TRAIN__KEEP_BEST=True)
    train(cfg, CPU)
    # As if it had been killed between the second checkpoint and its validation.
    kept = {"score": 40.0, "epoch": 1, "judged": 1}
    with open(f"{cfg.OUTPUT_DIR}/checkpoints/best.json", "w") as file:
        json.dump(kept, file)
    train(cfg, CPU)
    assert scores == [1, 2, 2] and notes(cfg)["epoch"] == notes(cfg)["judged"] == 2
    with open(f"{cfg.OUTPUT_DIR}/checkpoints/best.json", "w") as file:
        file.write("{")
    with pytest.raises(InputError, match="best.json: cannot be read as what validation found"):
        train(cfg, CPU)


def test_scores_of_another_val_list_are_not_compared(tiny, scores, video_folder, tmp_path, caplog):
    keys = {**KEYS, "TRAIN__KEEP_BEST": True, "DATA__PATH_PREFIX": str(video_folder)}
    lists = tmp_path / "lists"
    shutil.copytree(video_folder, lists, ignore=shutil.ignore_patterns("*.mp4"))
    train(tiny(**{**keys, "SOLVER__MAX_EPOCH": 2}, DATA__PATH_TO_DATA_DIR=lists), CPU)
    lines = (lists / "val.csv").read_text().splitlines()
    (lists / "val.csv").write_text("\n".join(lines[1:]))
    cfg = tiny(**{**keys, "SOLVER__MAX_EPOCH": 3}, DATA__PATH_TO_DATA_DIR=lists)
    train(cfg, CPU)
    assert "best.json: the val list is another since" in caplog.text and "60.00 %" in caplog.text
    assert scores == [1, 2, 3] and notes(cfg)["score"] == 50.0
    assert read_checkpoint(best_path(cfg.OUTPUT_DIR))["epoch"] == 3


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"TRAIN__KEEP_BEST": True}, "TRAIN.KEEP_BEST goes by the val list, and TRAIN.EVAL_PERIOD"),
        ({"TRAIN__PATIENCE": 1}, "TRAIN.PATIENCE goes by the val list"),
        ({"TRAIN__PATIENCE": -1}, "TRAIN.PATIENCE must not be negative"),
        ({"DATA__SAMPLER": "weighted"}, "DATA.SAMPLER weighted: choose random, balanced or"),
    ],
)
def test_keys_that_make_no_sense(tiny, changes, message):
    with pytest.raises(InputError, match=message):
        check_keys(tiny(**changes))
