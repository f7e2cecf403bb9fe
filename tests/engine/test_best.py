"""The best checkpoint by validation, and early stopping, whatever validation finds."""

import json
import shutil

import pytest
import torch

from mutualvideo.engine.best import Best
from mutualvideo.engine.monitor import Monitor
from mutualvideo.engine.preflight import check_keys
from mutualvideo.engine.train import build_sampler, train
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


def test_patience_counts_validations_however_far_apart(tiny):
    """Under MULTIGRID they follow its phases, not TRAIN.EVAL_PERIOD."""
    cfg = tiny(TRAIN__PATIENCE=2, TRAIN__EVAL_PERIOD=10)
    kept = []
    best = Best(cfg, False, "list")
    for epoch, score in ((12, 40.0), (25, 50.0), (26, 45.0)):
        best.judge(epoch, score, kept.append)
        assert best.gives_up() is None
    again = Best(cfg, True, "list")  # from its notes
    again.judge(57, 49.0, kept.append)
    assert again.gives_up() == "TRAIN.PATIENCE: the best was after epoch 25 of 57"
    assert len(kept) == 2


def test_the_last_epoch_is_validated_where_no_table_follows(tiny, scores):
    train(tiny(**{**KEYS, "SOLVER__MAX_EPOCH": 2}, TEST__ENABLE=False), CPU)
    assert scores == [1, 2]


@pytest.mark.parametrize(
    "mode, narrowest", [("mutual", "0.5x2x32"), ("width_only", "0.5x4x40"), ("single", None)]
)
def test_what_is_validated(tiny, mode, narrowest):
    cfg = tiny(MUTUAL__MODE=mode)
    found = Monitor(cfg, CPU, build_sampler(cfg), 3).subnets
    assert list(map(str, found)) == ["1x4x40", *([narrowest] if narrowest else [])]


def test_a_new_run_does_not_mix_with_an_old_one(tiny, scores):
    keys = {**KEYS, "SOLVER__MAX_EPOCH": 1}
    train(tiny(**keys), CPU)
    with pytest.raises(InputError, match="AUTO_RESUME False: .*checkpoint_epoch_00001.pyth is of"):
        train(tiny(**keys, TRAIN__AUTO_RESUME=False), CPU)
    train(tiny(**keys, TRAIN__AUTO_RESUME=False, OUTPUT_DIR=f"{tiny().OUTPUT_DIR}2"), CPU)


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
