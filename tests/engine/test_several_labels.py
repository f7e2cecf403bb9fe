"""Videos with several labels, the whole way: lists, training, table, recogniser, export."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score

from mutualvideo import AdaptiveRecognizer, QueryTable
from mutualvideo.data.annotations import read_annotations
from mutualvideo.data.augment import plain_input
from mutualvideo.data.loader import build_loader
from mutualvideo.engine.dry_run import dry_run
from mutualvideo.engine.preflight import check_keys
from mutualvideo.engine.train import train
from mutualvideo.errors import InputError
from mutualvideo.evaluation.build import evaluate_grid
from mutualvideo.models import load_model, read_checkpoint
from mutualvideo.run.checkpoint import checkpoint_path, newest_checkpoint
from mutualvideo.run.distributed import Context
from mutualvideo.run.log import setup_logging
from mutualvideo.slim import each_subnet, load_statistics
from tests.data.videos import encode
from tests.engine.logged import stats_of

CPU = Context(torch.device("cpu"))
KEYS = {
    "DATA__MULTI_LABEL": True,
    "MODEL__LOSS_FUNC": "bce_logit",
    "MODEL__NUM_CLASSES": 0,
    "SOLVER__MAX_EPOCH": 2,
    "TABLE__LATENCY": False,
    "TABLE__FRAMES": [4],
}
LABELS = ["0", "1", "0,2", "1,2", "0,1", "2", "0", "1,2"]


@pytest.fixture(scope="module")
def unlike(tmp_path_factory):
    """Videos no two of which are alike: of such a ranking would be by chance."""
    folder = tmp_path_factory.mktemp("unlike")
    for number in range(len(LABELS)):
        size = (64 + 16 * number, 96 - 8 * (number % 5))
        encode(folder / f"{number}.mp4", range(0, 60, 3), size=size)
    return folder


@pytest.fixture
def several(tiny, unlike, tmp_path):
    folder = tmp_path / "lists"
    folder.mkdir()
    lines = [f"{number}.mp4 {labels}\n" for number, labels in enumerate(LABELS)]
    (folder / "train.csv").write_text("".join(lines))
    (folder / "val.csv").write_text("".join(lines[:5]))
    (folder / "classes.txt").write_text("sit\nwave\nwalk\n")

    def build(**changes):
        paths = {"DATA__PATH_TO_DATA_DIR": folder, "DATA__PATH_PREFIX": unlike}
        return tiny(**{**KEYS, **paths, **changes})

    return build


def run(cfg):
    setup_logging(cfg.OUTPUT_DIR, True)
    return train(cfg, CPU)


def by_hand(cfg, path, ensemble):
    """``{sub-network: mAP}`` by scikit-learn, of scores by the network itself."""
    model, theirs = load_model(path)
    load_statistics(model, f"{cfg.OUTPUT_DIR}/query_table.bn.pyth")
    table = QueryTable.load_json(f"{cfg.OUTPUT_DIR}/query_table.json")
    subnets = [row.subnet for row in table]
    views = {subnet: {} for subnet in subnets}
    with torch.inference_mode():
        for batch in build_loader(theirs, "test"):
            for subnet, x in each_subnet(model, plain_input(batch, theirs, "cpu"), subnets):
                scores = model(x).sigmoid().numpy()
                for row, one in zip(batch["video"].tolist(), scores, strict=True):
                    views[subnet].setdefault(row, []).append(one)
    marks = np.array([[str(label) in labels for label in range(3)] for labels in LABELS[:5]])
    return {
        str(subnet): 100
        * average_precision_score(
            marks, [ensemble(found[row], axis=0) for row in range(5)], average="macro"
        )
        for subnet, found in views.items()
    }


def test_mean_average_precision_is_in_table_logs_results_and_recogniser(several):
    cfg = several(TRAIN__EVAL_PERIOD=1)
    path = run(cfg)
    evaluate_grid(cfg, CPU)
    table = QueryTable.load_json(f"{cfg.OUTPUT_DIR}/query_table.json")
    wanted = by_hand(cfg, path, np.mean)
    assert {str(row.subnet): row.mean_ap for row in table} == pytest.approx(wanted, abs=1e-6)
    best = table.best(macs=1e12)
    assert table.merit_name == "mAP" and best.mean_ap == max(row.mean_ap for row in table)
    assert table.metadata["classes"] == ["sit", "wave", "walk"] and "mAP %" in table.to_text()
    folder = f"{cfg.OUTPUT_DIR}/evaluation/1x4x32"
    with open(f"{folder}/per_class.csv") as file:
        found = [float(line["average_precision"]) for line in csv.DictReader(file)]
    assert np.mean(found) == pytest.approx(wanted["1x4x32"], abs=1e-3)
    with open(f"{folder}/predictions.csv") as file:
        lines = list(csv.DictReader(file))
    assert [line["label"] for line in lines] == LABELS[:5]
    assert lines[2]["label_name"] == "sit,walk"
    results = json.loads(open(f"{cfg.OUTPUT_DIR}/results.json").read())
    assert results["subnets"]["1x4x32"]["mean_ap"] == pytest.approx(wanted["1x4x32"], abs=1e-6)
    logged = stats_of(cfg)
    assert {line["map"] for line in logged if line["_type"] == "test_final"} == {
        round(row.mean_ap, 5) for row in table
    }
    assert all(0 <= line["map"] <= 100 for line in logged if line["_type"] == "val_epoch")
    # The recogniser gives a probability for each class.
    recognizer = AdaptiveRecognizer(cfg.OUTPUT_DIR)
    clip = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), np.uint8)
    subnet = next(iter(recognizer.table)).subnet
    answer = recognizer.predict(clip, subnet=subnet)
    extracted = AdaptiveRecognizer(cfg.OUTPUT_DIR, backend="torch-extracted")
    assert extracted.predict(clip, subnet=subnet).scores == pytest.approx(answer.scores, abs=1e-4)
    assert not np.allclose(answer.scores.sum(1), 1)
    best = answer.top(3)
    assert answer.above(best[1][1]) == best[:2] and answer.above(1.1) == []
    # The largest score of the views may count instead of their mean.
    cfg.DATA.ENSEMBLE_METHOD = "max"
    table = evaluate_grid(cfg, CPU)
    wanted = by_hand(cfg, path, np.max)
    assert {str(row.subnet): row.mean_ap for row in table} == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("mode", ["single", "width_only"])
def test_a_run_goes_on_where_it_was(several, tmp_path, mode):
    whole = several(OUTPUT_DIR=tmp_path / "whole", MUTUAL__MODE=mode)
    cut = several(OUTPUT_DIR=tmp_path / "cut", MUTUAL__MODE=mode, SOLVER__COSINE_END_LR=0.01)
    whole.SOLVER.COSINE_END_LR = 0.01
    run(whole), run(cut)
    (tmp_path / "cut" / "checkpoints" / "checkpoint_epoch_00002.pyth").unlink()
    run(cut)
    states = [read_checkpoint(newest_checkpoint(c.OUTPUT_DIR))["model_state"] for c in (whole, cut)]
    assert newest_checkpoint(cut.OUTPUT_DIR) == checkpoint_path(cut.OUTPUT_DIR, 2)
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=0, atol=1e-6)


def test_charades_lists_train_with_mixup_and_smoothing(tiny, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    lines = ["original_vido_id video_id frame_id path labels"]
    for number, labels in enumerate(["0,2", "1", "", "0,1,2"]):
        (folder / str(number)).mkdir()
        for frame in range(6):
            Image.new("RGB", (48, 44), (40 * frame, 60 * number, 9)).save(
                folder / str(number) / f"{frame}.png"
            )
            lines.append(f'V{number} {number} {frame} {number}/{frame}.png "{labels}"')
    for name in ("train.csv", "val.csv"):
        (folder / name).write_text("\n".join(lines))
    cfg = tiny(
        **{**KEYS, "SOLVER__MAX_EPOCH": 1},
        TRAIN__DATASET="charades",
        TEST__DATASET="charades",
        DATA__PATH_TO_DATA_DIR=folder,
        MIXUP__ENABLE=True,
        MUTUAL__LABEL_SHARE=0.5,
    )
    run(cfg)
    losses = [line["loss"] for line in stats_of(cfg) if line["_type"] == "train_iter"]
    assert all(0 < loss < 2 for loss in losses)
    table = evaluate_grid(cfg, CPU)
    assert all(0 <= row.mean_ap <= 100 for row in table)


def test_a_dry_run_knows_them(several, capsys):
    dry_run(several(), CPU)
    assert "3 classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"MODEL__LOSS_FUNC": "cross_entropy"}, "set MODEL.LOSS_FUNC bce_logit"),
        ({"DATA__MULTI_LABEL": False}, "set DATA.MULTI_LABEL True, or MODEL.LOSS_FUNC cross"),
        ({"DATA__ENSEMBLE_METHOD": "mean"}, "DATA.ENSEMBLE_METHOD mean: choose sum or max"),
        ({"MODEL__LOSS_FUNC": "hinge"}, "choose cross_entropy, or of several labels a video bce_"),
    ],
)
def test_keys_that_do_not_go_together(several, changes, message):
    with pytest.raises(InputError, match=message):
        check_keys(several(**changes))


def test_several_labels_in_a_list_of_one_each(tmp_path):
    (tmp_path / "list.csv").write_text("a.mp4 1,2\n")
    with pytest.raises(InputError, match=r"list.csv:1: .*'1,2' .* set DATA.MULTI_LABEL True"):
        read_annotations(tmp_path / "list.csv")
    (video,) = read_annotations(tmp_path / "list.csv", multi_label=True)
    assert video.labels == (1, 2)
    (tmp_path / "list.csv").write_text("a.mp4 1,,2\n")
    with pytest.raises(InputError, match="list.csv:1: the label '' is not an integer"):
        read_annotations(tmp_path / "list.csv", multi_label=True)
