"""``mutualvideo table --weights``: a released network on one's own videos, without training."""

import shutil

import numpy as np
import pytest
import torch

from mutualvideo import AdaptiveRecognizer, InputError, QueryTable
from mutualvideo.commands.command_line import main
from mutualvideo.commands.released_table import halves, labels_of, released_run
from mutualvideo.config import load_cfg
from mutualvideo.data.annotations import Video, read_annotations
from mutualvideo.evaluation.grid import grid_subnets
from mutualvideo.models import build_model, full_subnet
from mutualvideo.models.model_registry import count_numbers
from mutualvideo.models.weights.released_networks import class_names, released_network
from mutualvideo.models.weights.zoo import ZOO
from tests.data.videos import encode

VIDEO_NETWORKS = [name for name, one in ZOO.items() if one.dataset == "Kinetics-400"]
# A network of the same kind that answers at once.
SMALL = {
    "X3D.DEPTH_FACTOR": 0.4, "X3D.WIDTH_FACTOR": 1.0, "X3D.DIM_C1": 8, "X3D.DIM_C5": 16,
    "DATA.NUM_FRAMES": 4, "DATA.SAMPLING_RATE": 2, "DATA.TRAIN_CROP_SIZE": 32,
    "DATA.TEST_CROP_SIZE": 32, "DATA.TRAIN_JITTER_SCALES": "[32,40]", "TABLE.FRAMES": "[4,2]",
    "TABLE.SIZES": "[32]", "DATA_LOADER.NUM_WORKERS": 0, "TABLE.CASCADES": False,
}  # fmt: skip
OVERRIDES = [str(text) for pair in SMALL.items() for text in pair]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for name in ("playing_guitar", "Abseiling"):
        (folder / name).mkdir()
        for number in range(2):
            encode(folder / name / f"{number}.mp4", range(0, 60, 3), size=(48, 40 + 8 * number))
    return folder


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """``zoo:x3d_m`` as if it had been fetched; of a smaller network, whose answer is abseiling."""
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "cache" / ZOO["x3d_m"].url.removeprefix("https://")
    place.parent.mkdir(parents=True)
    state = build_model(load_cfg(None, OVERRIDES)).state_dict()
    *_, bias = (name for name in state if name.endswith("proj.bias"))
    state[bias][0] = 100.0
    torch.save({"model_state": state}, place)
    return "zoo:x3d_m"


def test_a_table_of_folders_named_as_the_classes_are(videos, weights, tmp_path, capfd):
    run = tmp_path / "run"
    main(["table", "--weights", weights, "--videos", str(videos), "--output", str(run), *OVERRIDES])
    out = capfd.readouterr().out
    assert "2 videos to calibrate on, 2 of 2 of its 400 classes to measure on" in out
    assert "widths need training" in out
    table = QueryTable.load_json(run / "query_table.json")
    assert {str(row.subnet) for row in table} == {"1x4x32", "1x2x32"}
    # It says abseiling to everything, and so are half of the videos.
    assert {row.top1 for row in table} == {50.0}
    assert {row.statistics for row in table} <= {"own", "calibrated"}
    lists = [(run / "lists" / f"{name}.csv").read_text() for name in ("train", "val")]
    assert all("Abseiling" in one and " 0\n" in one for one in lists)
    answer = AdaptiveRecognizer(run).predict(np.zeros((4, 32, 32, 3), np.uint8), subnet="1x4x32")
    assert answer.labels[0] == "abseiling"


def test_a_list_with_the_labels_of_the_weights(videos, tmp_path):
    lines = [f"{videos}/{name}/{n}.mp4 {label}" for n in (0, 1)
             for name, label in (("Abseiling", 399), ("playing_guitar", 7))]  # fmt: skip
    (tmp_path / "mine.csv").write_text("\n".join([*lines, f"{videos}/Abseiling/1.mp4 3"]))
    run = str(tmp_path / "run")
    cfg, what = released_run("zoo:x3d_m", str(tmp_path / "mine.csv"), run, OVERRIDES)
    found = {
        name: [one.label for one in read_annotations(f"{run}/lists/{name}.csv", num_classes=400)]
        for name in ("train", "val")
    }
    assert sorted(found["train"]) == [7, 399] and sorted(found["val"]) == [3, 7, 399]
    assert "3 of 3 of its 400 classes" in what and cfg.MODEL.NUM_CLASSES == 400
    for name in ("train", "val"):
        shutil.copy(tmp_path / "mine.csv", tmp_path / f"{name}.csv")
    _, what = released_run("zoo:x3d_m", str(tmp_path), run, OVERRIDES)
    assert "5 videos to calibrate on, 3 of" not in what and "5 videos to calibrate on" in what
    (tmp_path / "mine.csv").write_text("a.mp4 400\n")
    with pytest.raises(InputError, match="mine.csv:1: the label 400 is outside 0 .. 399"):
        released_run("zoo:x3d_m", str(tmp_path / "mine.csv"), run, OVERRIDES)


def test_halves_of_a_list():
    videos = [Video(f"{n}.mp4", n % 2, n) for n in range(7)] + [Video("one.mp4", 5, 8)]
    parts = halves(videos)
    assert [sum(one.label == label for one in parts["train"]) for label in (0, 1, 5)] == [2, 1, 0]
    assert sorted(one.path for part in parts.values() for one in part) == sorted(
        one.path for one in videos
    )
    assert halves(videos[-1:]) == {"train": videos[-1:], "val": videos[-1:]}


def test_names_of_classes():
    names = class_names("x3d_m")
    # Labels of PyTorchVideo's own list of the classes.
    for name, label in {"sharpening knives": 290, "marching": 192, "throwing discus": 358}.items():
        assert names[label] == name
    assert labels_of(["Massaging_Persons-head", "marching"], names, "clips", "zoo:x3d_m") == [
        names.index("massaging person's head"), 192,
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"clips/marchin: is no class of zoo:x3d_m \(near: march"):
        labels_of(["marchin", "nothing of the kind"], names, "clips", "zoo:x3d_m")
    assert class_names("resnet50") is None
    with pytest.raises(InputError, match="names of the classes .* are not known; give a list by"):
        labels_of(["marching"], None, "clips", "zoo:mine")


@pytest.mark.parametrize("name", VIDEO_NETWORKS)
def test_networks_are_those_that_the_weights_are_of(name):
    """Their numbers are as many as the file has bytes for, and the whole grid can be run."""
    network = released_network(name)
    frames, _, size = network.clip
    keys = {**network.keys, "DATA.NUM_FRAMES": frames, "DATA.TRAIN_CROP_SIZE": size}
    keys |= {"DATA.TEST_CROP_SIZE": size, "TABLE.WIDTHS": [1.0]}
    keys |= {"TABLE.FRAMES": list(network.frames), "TABLE.SIZES": list(network.sizes)}
    cfg = load_cfg(None, [str(text) for pair in keys.items() for text in pair])
    assert count_numbers(cfg) * 4 / 1e6 == pytest.approx(ZOO[name].megabytes, rel=0.05)
    assert len(grid_subnets(cfg)) == len(network.frames) * len(network.sizes)
    full = full_subnet(cfg)
    assert (full.frames, full.size) == (network.frames[0], network.sizes[0])


@pytest.mark.parametrize(
    "given, words",
    [
        (["--weights", "zoo:x3d_m"], "wants --videos DIR"),
        (["--weights", "zoo:x3d_z", "--videos", "."], "no released weights of that name; known"),
        (["--weights", "zoo:resnet50", "--videos", "."], "takes pictures, not videos; choose one"),
        (["--weights", "my.pyth", "--videos", "."], "give a name of `mutualvideo weights`"),
        (["--weights", "zoo:x3d_m", "--videos", "nowhere"], "no such folder or list"),
        (["--cfg", "Toy/X3D_mutual", "--videos", "."], "--videos goes with --weights"),
    ],
)
def test_bad_arguments(tmp_path, given, words):
    with pytest.raises(InputError, match=words):
        main(["table", *given, "--output", str(tmp_path / "run")])
