"""Detectors through a run: trained, resumed, evaluated, opened again."""

import json
import logging
import os

import numpy as np
import pytest
import torch
from PIL import Image

from mutualvideo import AdaptiveDetector, QueryTable
from mutualvideo.commands.command_line import main
from mutualvideo.commands.running import run_net
from mutualvideo.detection import evaluate_detector
from mutualvideo.detection.coco_splits import read_split
from mutualvideo.detection.toy_shapes import make_toy_detection
from mutualvideo.engine.dry_run import dry_run
from mutualvideo.engine.preflight import check_keys
from mutualvideo.engine.train import train
from mutualvideo.errors import InputError
from mutualvideo.evaluation.build import cost_table
from mutualvideo.models import load_model, read_checkpoint
from mutualvideo.registry import DETECTORS
from mutualvideo.run.checkpoint import checkpoint_path, newest_checkpoint
from mutualvideo.run.distributed import Context
from mutualvideo.run.log import setup_logging
from tests.detection.mask_detector import SmallMaskRCNN
from tests.engine.logged import stats_of
from tests.engine.small_detector import small_detector

CPU = Context(torch.device("cpu"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    make_toy_detection(folder, 8, 3, 0, progress=False)
    return folder


@pytest.fixture
def small(toy, tmp_path):
    """Makes configurations of :func:`tests.engine.small_detector.small_detector`."""

    def build(folder="run", **changes):
        return small_detector(toy, tmp_path / folder, **changes)

    return build


def run(cfg):
    setup_logging(cfg.OUTPUT_DIR, True)
    return train(cfg, CPU)


def steps_of(cfg):
    return [line for line in stats_of(cfg) if line["_type"] == "train_iter"]


@pytest.mark.parametrize(("mode", "passes"), [("mutual", 4), ("width_only", 4), ("single", 1)])
def test_modes_and_what_is_logged(small, mode, passes):
    cfg = small(MUTUAL__MODE=mode, TRAIN__EVAL_PERIOD=1)
    assert run(cfg) == checkpoint_path(cfg.OUTPUT_DIR, 2) == newest_checkpoint(cfg.OUTPUT_DIR)
    steps = steps_of(cfg)
    assert len(steps) == 2 * 2 * passes and all(line["loss"] > 0 for line in steps)
    assert steps[0]["subnet"] == "1x48" and "top1_err" not in steps[0]
    sizes = {line["subnet"].rpartition("x")[2] for line in steps}
    assert sizes == {"48"} if mode != "mutual" else len(sizes) > 1
    validated = [line for line in stats_of(cfg) if line["_type"] == "val_epoch"]
    wanted = {"mutual": ["1x48", "0.25x32"], "width_only": ["1x48", "0.25x48"], "single": ["1x48"]}
    assert [line["subnet"] for line in validated] == wanted[mode]
    assert all(0 <= line["box_ap"] <= line["box_ap50"] <= 100 for line in validated)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_is_the_uninterrupted_one_bit_by_bit(small, workers):
    keys = {"DATA_LOADER__NUM_WORKERS": workers, "TRAIN__EMA_DECAY": 0.9}
    keys |= {"SOLVER__CLIP_GRAD_L2NORM": 1.0, "TRAIN__CHECKPOINT_STEPS": 1}
    whole, cut = small("whole", **keys), small("cut", **keys)
    run(whole)
    once = small("cut", **keys)
    once.TRAIN.TIME_LIMIT = 1e-9  # ends it after the first step
    assert run(once) is None
    torch.manual_seed(123)
    run(cut)
    assert [line["loss"] for line in steps_of(cut)] == [line["loss"] for line in steps_of(whole)]
    states = [read_checkpoint(newest_checkpoint(cfg.OUTPUT_DIR)) for cfg in (whole, cut)]
    for part in ("model_state", "ema_state"):
        for name, tensor in states[0][part].items():
            torch.testing.assert_close(states[1][part][name], tensor, rtol=0, atol=0)


def test_a_run_writes_the_table_and_opens_again(small, tmp_path, capsys):
    cfg = small(TABLE__LATENCY=True, DETECTOR__PICTURE=[96, 128], TRAIN__EMA_DECAY=0.5)
    cfg.TEST.EMA = True
    run_net(cfg)
    folder = cfg.OUTPUT_DIR
    table = QueryTable.load_json(f"{folder}/query_table.json")
    assert [str(row.subnet) for row in table] == ["1x48", "1x32", "0.25x48", "0.25x32"]
    assert "96 x 128 pixels" in table.metadata["macs"] and table.metadata["classes"][1] == "arrow"
    assert all(row.latency_ms > 0 and row.box_ap is not None for row in table)
    with open(f"{folder}/results.json") as file:
        results = json.load(file)
    assert results["videos"] == 3 and results["manifest"] == table.metadata["manifest"]
    with open(f"{folder}/training_cost.json") as file:
        assert json.load(file)["macs"] > 8 * table["1x48"].macs
    for name in ("query_table.csv", "query_table.md", "flops_accuracy.png", "training.png"):
        assert os.path.getsize(os.path.join(folder, name))
    assert QueryTable.load_json(f"{folder}/ema/query_table.json").metadata["model"] == (
        "RetinaNet_R18_FPN"
    )
    detector = AdaptiveDetector.from_run(folder, device="cpu")
    found = detector.predict(f"{cfg.DATA.PATH_TO_DATA_DIR}/val/00001.png", subnet="0.25x32")
    assert found.class_names[1] == "arrow" and detector.table["1x48"] == table["1x48"]
    capsys.readouterr()
    files = [f"{cfg.DATA.PATH_TO_DATA_DIR}/val", "--output", str(tmp_path / "drawn")]
    assert not main(["detect", *files, "--run", folder, "--threshold", "0", "--device", "cpu"])
    printed = capsys.readouterr().out.splitlines()  # the run's log is still on the screen
    lines = [json.loads(line) for line in printed if line.startswith("{")]
    assert len(lines) == 3 and all(line["subnet"] in printed[-1] for line in lines)
    assert sorted(os.listdir(tmp_path / "drawn")) == ["00001.png", "00002.png", "00003.png"]
    # What stands in the table is what the checkpoint scores by the library alone.
    model, _ = load_model(newest_checkpoint(folder), f"{folder}/query_table.bn.pyth")
    subnets = [row.subnet for row in table]
    for subnet, scores in evaluate_detector(model, read_split(cfg, "test"), subnets, 2).items():
        assert scores["box"].ap == pytest.approx(table[subnet].box_ap, abs=1e-6)


def test_training_starts_from_weights_for_other_classes(small, caplog):
    path = run(small("first", SOLVER__MAX_EPOCH=1))
    cfg = small("second", TRAIN__CHECKPOINT_FILE_PATH=path, MODEL__NUM_CLASSES=9)
    cfg.SOLVER.MAX_EPOCH = 1
    with caplog.at_level(logging.WARNING):
        run(cfg)
    assert "cls_logits.weight, head.classification_head.cls_logits.bias not loaded" in caplog.text


@pytest.mark.parametrize(
    "name", ["SSDLite_MobileNetV2", pytest.param("MaskRCNN_R50_FPN", marks=pytest.mark.slow)]
)
def test_others_take_steps_too(small, name):
    cfg = small(MODEL__MODEL_NAME=name, SOLVER__MAX_EPOCH=1, TRAIN__BATCH_SIZE=8)
    cfg.DETECTOR.ANCHOR_SIZES, cfg.MUTUAL.NUM_RANDOM, cfg.SOLVER.BASE_LR = [], 0, 1e-4
    run(cfg)
    full, narrowest = steps_of(cfg)
    assert full["subnet"] == "1x48" and 0 < full["loss"] < 100 and 0 < narrowest["loss"] < 100


@pytest.mark.usefixtures("extensions_stay_out")
def test_masks_are_learnt_scored_and_drawn(small, tmp_path, capsys):
    DETECTORS.register()(SmallMaskRCNN)
    cfg = small(MODEL__MODEL_NAME="SmallMaskRCNN", MUTUAL__NUM_RANDOM=0, SOLVER__MAX_EPOCH=5)
    cfg.TABLE.WIDTHS, cfg.TABLE.SIZES = [1.0], [48]
    cfg.SOLVER.OPTIMIZING_METHOD, cfg.SOLVER.BASE_LR = "adamw", 3e-3
    run_net(cfg)
    for role in ("full", "narrowest"):
        losses = [line["loss"] for line in steps_of(cfg) if line["role"] == role]
        assert len(losses) == 10 and sum(losses[-2:]) < 0.8 * sum(losses[:2])
    (row,) = QueryTable.load_json(f"{cfg.OUTPUT_DIR}/query_table.json")
    assert 0 <= row.mask_ap <= row.mask_ap50 <= 100 and 0 <= row.box_ap <= row.box_ap50
    picture = f"{cfg.DATA.PATH_TO_DATA_DIR}/val/00001.png"
    detector = AdaptiveDetector.from_run(cfg.OUTPUT_DIR, device="cpu")
    found = detector.predict(picture, subnet="1x48")
    assert found.masks.shape == (len(found), 128, 128) and found.masks.any()
    files = [picture, "--output", str(tmp_path / "drawn"), "--run", cfg.OUTPUT_DIR]
    assert not main(["detect", *files, "--threshold", "0", "--device", "cpu"])
    with Image.open(picture) as before, Image.open(tmp_path / "drawn/00001.png") as after:
        changed = (np.asarray(before) != np.asarray(after)).any(axis=2)
    # Masks are filled; of boxes there are lines alone.
    assert changed[found.masks.any(axis=0)].mean() > 0.9


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MIXUP.ENABLE", True),
        ("AUG.ENABLE", True),
        ("MULTIGRID.SHORT_CYCLE", True),
        ("TRAIN.COMPILE", True),
        ("TRAIN.MICRO_BATCHES", 2),
        ("MUTUAL.SUBNET", "0.5x48"),
        ("MUTUAL.LABEL_SHARE", 0.5),
        ("BN.MOMENTUM", 0.2),
        ("DATA.TRAIN_JITTER_SCALES", [48, 64]),
        ("TABLE.STATISTICS", "own"),
        ("MODEL.CLASS_WEIGHTS", "balanced"),
        ("TABLE.LATENCY_BACKEND", "openvino"),
    ],
)
def test_what_does_not_go_with_detectors_is_named(small, key, value):
    cfg = small(**{key.replace(".", "__"): value})
    with pytest.raises(InputError, match=f"{key} .*: does not go with the detector RetinaNet"):
        check_keys(cfg)


def test_other_refusals(small):
    with pytest.raises(InputError, match="DETECTOR.IMITATION must not be negative"):
        check_keys(small(DETECTOR__IMITATION=-1.0))
    with pytest.raises(InputError, match="DETECTOR.PICTURE must be .height, width."):
        check_keys(small(DETECTOR__PICTURE=[64]))
    with pytest.raises(InputError, match="has labels to 6, and 0 is the background: set it to 7"):
        run_net(small(MODEL__NUM_CLASSES=6))


def test_a_dry_run_says_what_a_run_would_be(small, tmp_path):
    lines = []
    estimate = dry_run(small(), CPU, lines.append, lambda line: None)
    assert estimate.steps == 2 and estimate.total_s > 0 and estimate.activations_bytes > 0
    assert lines[1].startswith("RetinaNet_R18_FPN, 7 classes")
    without = small(DATA__PATH_TO_DATA_DIR="")
    told = dry_run(without, CPU, lines.append, lambda line: None)
    assert told.macs == estimate.macs and told.total_s is None
    assert not list(tmp_path.iterdir())


def test_costs_need_no_training(small):
    table = cost_table(small(DETECTOR__PICTURE=[96, 128]), CPU, write=False)
    assert table["1x48"].macs > 1.9 * table["0.25x32"].macs > 0
    assert "96 x 128 pixels" in table.metadata["macs"] and table.rows[0].box_ap is None


def test_classes_come_from_the_data(small):
    cfg = small(MODEL__NUM_CLASSES=0, SOLVER__MAX_EPOCH=1, MUTUAL__MODE="single")
    path = run(cfg)
    assert load_model(path)[1].MODEL.NUM_CLASSES == 7
