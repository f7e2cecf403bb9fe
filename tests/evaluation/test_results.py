"""Files of an evaluation, against tables filled in by hand."""

import csv
import hashlib
import importlib.metadata
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mutualvideo.data.annotations import Video, read_annotations
from mutualvideo.data.loader import build_loader
from mutualvideo.evaluation import build as build_module
from mutualvideo.evaluation.build import IncompleteError, evaluate_grid
from mutualvideo.evaluation.confusion import plot_confusion
from mutualvideo.evaluation.results import confusion_matrix, write_results
from mutualvideo.evaluation.scores import Evaluation, Missing, Predictions
from mutualvideo.models import build_model
from mutualvideo.run.distributed import Context
from mutualvideo.run.log import setup_logging
from mutualvideo.subnet import Subnet
from mutualvideo.table import QueryTable, Row
from mutualvideo.table.feeding import feeding
from mutualvideo.table.fingerprint import manifest
from tests.engine.logged import stats_of
from tests.engine.losing import LosingLoader

CPU = Context(torch.device("cpu"))
SUBNET = Subnet(1, 8, 160)
NAMES = [f"class {letter}" for letter in "abcdefg"]


def lines_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def written(tmp_path):
    """Six of seven videos: their five best of seven classes are written out here."""
    videos = [Video(f"/data/{n}, x.mp4", n % 3, n + 1, f"{n}, x.mp4") for n in range(7)]
    rows = np.array([0, 1, 2, 3, 5, 6])
    classes = [
        [0, 1, 2, 3, 4],  # label 0: right
        [2, 3, 4, 5, 6],  # label 1: taken for 2, not among five
        [1, 2, 3, 4, 5],  # label 2: taken for 1, among five
        [4, 3, 2, 1, 0],  # label 0: taken for 4, among five
        [2, 1, 0, 3, 4],  # label 2: right
        [4, 3, 2, 1, 0],  # label 0: taken for 4, among five
    ]
    scores = np.tile(np.array([0.5, 0.2, 0.1, 0.05, 0.025], np.float32), (6, 1))
    found = Predictions(
        rows,
        rows % 3,
        np.array(classes, np.int32),
        scores,
        np.array([[3, 6]] * 5 + [[0, 3]]),
        np.ones((6, 6), np.float32),
        np.ones((6, 6), bool),
    )
    accuracy = found.accuracy(6)
    evaluation = Evaluation(
        {SUBNET: accuracy}, 6, 7, (Missing("4, x.mp4", "is damaged"),), {SUBNET: found}
    )
    row = Row(
        SUBNET,
        10,
        3,
        accuracy.top1,
        accuracy.top5,
        clip_top1=accuracy.clip_top1,
        clip_top5=accuracy.clip_top5,
        macs_per_video=60,
    )

    def write(names):
        table = QueryTable([row], {"classes": names})
        write_results(tmp_path, table, evaluation, videos, {"num_classes": 7, "note": "x"})
        return tmp_path

    return write


def test_predictions(written):
    first, second, *_, last = lines_of(written(NAMES) / "evaluation/1x8x160/predictions.csv")
    assert first == {
        "video": "0, x.mp4",
        "label": "0",
        "label_name": "class a",
        "class1": "0",
        "name1": "class a",
        "score1": "0.500000",
        "class2": "1",
        "name2": "class b",
        "score2": "0.200000",
        "class3": "2",
        "name3": "class c",
        "score3": "0.100000",
        "class4": "3",
        "name4": "class d",
        "score4": "0.050000",
        "class5": "4",
        "name5": "class e",
        "score5": "0.025000",
    }
    assert (second["video"], second["label"], second["class1"]) == ("1, x.mp4", "1", "2")
    assert last["video"] == "6, x.mp4"
    first, *_ = lines_of(written(None) / "evaluation/1x8x160/predictions.csv")
    assert (first["label_name"], first["name5"]) == ("", "")


def test_accuracy_of_each_class(written):
    lines = lines_of(written(NAMES) / "evaluation/1x8x160/per_class.csv")
    assert [list(line.values()) for line in lines[:4]] == [
        ["0", "class a", "3", "1", "33.33", "100.00", "4", "class e", "2"],
        ["1", "class b", "1", "0", "0.00", "0.00", "2", "class c", "1"],
        ["2", "class c", "2", "1", "50.00", "100.00", "1", "class b", "1"],
        ["3", "class d", "0", "0", "", "", "", "", ""],
    ]
    assert (
        list(lines[0])
        == [
            "class",
            "name",
            "videos",
            "correct",
            "top1",
            "top5",
            "most_confused_with",
            "most_confused_name",
            "most_confused_videos",
        ]
        and len(lines) == 7
    )


def test_results(written):
    results = json.loads((written(None) / "results.json").read_text())
    assert results["subnets"] == {
        "1x8x160": {
            "top1": pytest.approx(100 * 2 / 6),
            "top5": pytest.approx(100 * 5 / 6),
            "clip_top1": pytest.approx(100 * 15 / 36),
            "clip_top5": pytest.approx(100 * 33 / 36),
            "macs": 10,
            "macs_per_video": 60,
        }
    }
    assert (results["videos"], results["expected"], results["note"]) == (6, 7, "x")
    assert results["missing"] == [{"name": "4, x.mp4", "reason": "is damaged"}]


def test_confusion_matrix_counts():
    draw = np.random.default_rng(0)
    labels, predicted = draw.integers(0, 6, 200), draw.integers(0, 6, 200).astype(np.int32)
    wanted = np.zeros((6, 6), int)
    for i, j in zip(labels, predicted, strict=True):
        wanted[i, j] += 1
    assert np.array_equal(confusion_matrix(labels, predicted, 6), wanted)


@pytest.mark.parametrize("classes, side", [(2, 600), (6, 600), (101, 1680), (400, 1680)])
def test_picture_of_the_confusion(tmp_path, classes, side):
    matrix = np.eye(classes, dtype=np.int64) * 3
    matrix[0] = 0  # a class without videos
    path = tmp_path / "confusion.png"
    plot_confusion(matrix, path, [f"a long name {n}" for n in range(classes)], "a title")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    with Image.open(path) as picture:
        assert picture.size == (side + 120, side)
        colours = dict((c, n) for n, c in picture.convert("RGB").getcolors(1 << 24))
    # The diagonal in full, in the darkest of the colours; the first row in grey.
    assert colours.get((8, 48, 107), 0) > 500 and colours.get((204, 204, 204), 0) > 100


def test_manifest_is_the_lists_not_the_folders(tmp_path):
    text = "a b.mp4 1\nc.mp4 0\n"
    lists = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "val.csv").write_text("\n" + text)
        lists.append(read_annotations(tmp_path / folder / "val.csv"))
    wanted = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert [manifest(videos) for videos in lists] == [wanted, wanted]
    first, second = lists[0]
    others = [
        [second, first],
        [first],
        [replace(first, label=0), second],
        [replace(first, name="A b.mp4"), second],
    ]
    assert len({wanted, *map(manifest, others)}) == 5


@pytest.fixture
def weights(tiny, tmp_path):
    torch.manual_seed(0)
    path = str(tmp_path / "weights.pyth")
    torch.save({"model_state": build_model(tiny()).state_dict()}, path)
    return path


def test_a_grid_leaves_an_account(tiny, weights):
    cfg = tiny(TEST__NUM_SPATIAL_CROPS=3, TABLE__LATENCY=False)
    setup_logging(cfg.OUTPUT_DIR, True)
    table = evaluate_grid(cfg, CPU, weights)
    assert table.metadata["data"] == feeding(cfg) and feeding(cfg)["SAMPLING_RATE"] == 2
    with open(f"{cfg.OUTPUT_DIR}/results.json") as file:
        results = json.load(file)
    videos = build_loader(cfg, "test").dataset.videos
    wanted = {
        "views": {"clips": 2, "crops": 3},
        "videos": 4,
        "expected": 4,
        "missing": [],
        "manifest": manifest(videos),
        "list": "val.csv",
        "source": "kinetics",
        "backend": "pyav",
        "macs_convention": "multiply-adds of convolutions and linear layers, one clip",
        # Of what the table names: with a configuration beside the weights.
        "fingerprint": "sha256:"
        + hashlib.sha256(open(f"{cfg.OUTPUT_DIR}/weights.pyth", "rb").read()).hexdigest(),
    }
    assert {key: results[key] for key in wanted} == wanted
    for name in ("torch", "torchvision", "av"):
        assert results["versions"][name] == importlib.metadata.version(name)
    assert {"python", "mutualvideo"} <= results["versions"].keys()
    assert (table.metadata["expected"], table.metadata["manifest"]) == (4, wanted["manifest"])
    for row in table:
        found = results["subnets"][str(row.subnet)]
        assert found["macs_per_video"] == row.macs_per_video == 6 * row.macs
        lines = lines_of(f"{cfg.OUTPUT_DIR}/evaluation/{row.subnet}/predictions.csv")
        assert [line["video"] for line in lines] == [video.name for video in videos]
        hits = sum(line["label"] == line["class1"] for line in lines)
        assert found["top1"] == row.top1 == 25 * hits
        assert [line["class1"] != line["class2"] for line in lines] == [True] * 4
        sums = [float(line["score1"]) + float(line["score2"]) for line in lines]
        assert sums == pytest.approx([1] * 4, abs=1e-5)
        with Image.open(f"{cfg.OUTPUT_DIR}/evaluation/{row.subnet}/confusion.png") as picture:
            assert picture.size == (720, 600)
    logged = stats_of(cfg)
    assert [line["subnet"] for line in logged] == [str(row.subnet) for row in table]
    for line, row in zip(logged, table, strict=True):
        assert line["_type"] == line["split"] == "test_final" and line["views"] == "2x3"
        assert line["top1_acc"] == pytest.approx(row.top1, abs=1e-4)
        assert line["clip_top1_acc"] == pytest.approx(row.clip_top1, abs=1e-4)
        assert line["macs_per_video"] == row.macs_per_video


@pytest.mark.parametrize("allowed", [False, True])
def test_missing_videos_end_it_unless_allowed(tiny, weights, monkeypatch, allowed):
    monkeypatch.setattr(
        build_module, "build_loader", LosingLoader.build({1: "1.mp4 is damaged", 3: "so is this"})
    )
    cfg = tiny(TABLE__LATENCY=False, TEST__ALLOW_MISSING=allowed)
    if allowed:
        assert evaluate_grid(cfg, CPU, weights).metadata["videos"] == 2
    else:
        message = r"evaluated 2 of 4 videos of .*val.csv; 1.mp4: .* \(and 1 more\).*ALLOW_MISSING"
        with pytest.raises(IncompleteError, match=message) as info:
            evaluate_grid(cfg, CPU, weights)
        assert "\n" not in str(info.value)
    # Written either way.
    with open(f"{cfg.OUTPUT_DIR}/results.json") as file:
        results = json.load(file)
    assert (results["videos"], results["expected"]) == (2, 4)
    assert results["missing"] == [
        {"name": "1.mp4", "reason": "1.mp4 is damaged"},
        {"name": "3.mp4", "reason": "so is this"},
    ]
    table = QueryTable.load_json(f"{cfg.OUTPUT_DIR}/query_table.json")
    assert (table.metadata["videos"], table.metadata["expected"]) == (2, 4)
