"""What is found before the first step, by the configuration, the lists and the machine alone."""

import itertools
import logging
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from mutualvideo.data import loader, sources
from mutualvideo.engine import preflight as module
from mutualvideo.engine.needed_lists import read_lists
from mutualvideo.engine.preflight import check_keys, preflight
from mutualvideo.engine.train import DivergedError, train
from mutualvideo.engine.update import Updater
from mutualvideo.errors import InputError
from mutualvideo.media import BACKENDS
from mutualvideo.run.checkpoint import checkpoint_path, checkpoints
from mutualvideo.run.distributed import Context
from tests.engine.test_survival import nan_in_steps

CPU = Context(torch.device("cpu"))

KEYS = [
    ("LOG_PERIOD", 0, "LOG_PERIOD must be at least 1"),
    ("TRAIN.EVAL_PERIOD", -1, "TRAIN.EVAL_PERIOD must not be negative"),
    ("TRAIN.CHECKPOINT_PERIOD", -1, "TRAIN.CHECKPOINT_PERIOD must not be negative"),
    ("TRAIN.CHECKPOINT_STEPS", -5, "TRAIN.CHECKPOINT_STEPS must not be negative"),
    ("TRAIN.MICRO_BATCHES", 0, "TRAIN.MICRO_BATCHES must be at least 1"),
    ("TRAIN.TIME_LIMIT", "nan", "TRAIN.TIME_LIMIT"),
    ("SOLVER.MAX_EPOCH", 0, "SOLVER.MAX_EPOCH must be at least 1"),
    ("SOLVER.WARMUP_EPOCHS", 3.0, "SOLVER.WARMUP_EPOCHS 3 of SOLVER.MAX_EPOCH 3"),
    ("SOLVER.OPTIMIZING_METHOD", "lamb", "SOLVER.OPTIMIZING_METHOD lamb: choose"),
    ("MUTUAL.ALONE_EPOCHS", 3, "MUTUAL.ALONE_EPOCHS 3 of SOLVER.MAX_EPOCH 3"),
    ("MUTUAL.ALONE_EPOCHS", -1, "MUTUAL.ALONE_EPOCHS must not be negative"),
    ("MUTUAL.RAMP_EPOCHS", -1.0, "MUTUAL.RAMP_EPOCHS must not be negative"),
    ("MUTUAL.RAMP_EPOCHS", 3.5, "MUTUAL.RAMP_EPOCHS 3.5 after .* SOLVER.MAX_EPOCH 3"),
    ("MUTUAL.NUM_RANDOM", -1, "MUTUAL.NUM_RANDOM must not be negative"),
    ("MUTUAL.WIDTH_RANGE", [0.9], "MUTUAL.WIDTH_RANGE must be the narrowest and the widest"),
    ("MUTUAL.WIDTH_RANGE", [0.9, 0.5], "MUTUAL.WIDTH_RANGE must be the narrowest and the widest"),
    ("TABLE.STATISTICS", "mine", "TABLE.STATISTICS 'mine' is unknown"),
    ("BN.NORM_TYPE", "layernorm", "BN.NORM_TYPE layernorm: choose"),
    ("BN.WEIGHT_DECAY", -1.0, "BN.WEIGHT_DECAY must not be negative"),
    ("RNG_SEED", -1, "RNG_SEED must be from 0 to 4294967295"),
    ("RNG_SEED", 1 << 32, "RNG_SEED must be from 0 to 4294967295"),
    ("DATA.SAMPLING_RATE", 0, "DATA.SAMPLING_RATE must be at least 1"),
    ("DATA.STD", [0.2, 0.2, 0.0], "DATA.STD must be above 0"),
    ("DATA.MEAN", [0.5], "DATA.MEAN must have 3 values"),
    ("MODEL.LABEL_SMOOTHING", 1.5, "MODEL.LABEL_SMOOTHING must be from 0 to 1"),
    ("TEST.NUM_SPATIAL_CROPS", 2, "TEST.NUM_SPATIAL_CROPS must be 1 or 3"),
    ("TEST.NUM_ENSEMBLE_VIEWS", 0, "TEST.NUM_ENSEMBLE_VIEWS must be at least 1"),
    ("TEST.BATCH_SIZE", 0, "TEST.BATCH_SIZE must be at least 1"),
    ("TABLE.CALIBRATION_BATCHES", 0, "TABLE.CALIBRATION_BATCHES must be at least 1"),
    ("TABLE.LATENCY_BATCH", 0, "TABLE.LATENCY_BATCH must be at least 1"),
    ("TABLE.LATENCY_BACKEND", "torhc", "TABLE.LATENCY_BACKEND torhc: .*expected one of torch"),
    ("TABLE.WIDTHS", [0.1], "TABLE: width 0.1"),
]
LISTS = [
    ("TEST.DATASET", "kinetcs", "DATASET 'kinetcs' is unknown"),
    ("TRAIN.DATASET", "kinetcs", "DATASET 'kinetcs' is unknown"),
    ("DATA.DECODING_BACKEND", "opencv", "DATA.DECODING_BACKEND 'opencv' is unknown"),
    ("DATA.TEST_CROP_SHARE", 0.0, "DATA.TEST_CROP_SHARE"),
    ("DATA.MAX_BAD_FRACTION", 2.0, "DATA.MAX_BAD_FRACTION"),
    ("TRAIN.BATCH_SIZE", 9, "fewer than TRAIN.BATCH_SIZE 9"),
]


def as_change(key, value):
    return {key.replace(".", "__"): value}


@pytest.mark.parametrize("key, value, message", KEYS)
def test_keys(tiny, key, value, message):
    with pytest.raises(InputError, match=message):
        check_keys(tiny(**as_change(key, value)))


@pytest.mark.parametrize("key, value, message", LISTS)
def test_names_and_numbers_beside_the_data(tiny, key, value, message):
    cfg = tiny(**as_change(key, value))
    check_keys(cfg)
    with pytest.raises(InputError, match=message):
        preflight(cfg, CPU)


def test_a_configuration_that_is_right(tiny, tmp_path):
    cfg = tiny(TRAIN__EVAL_PERIOD=1)
    check_keys(cfg)
    preflight(cfg, CPU)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def folder(video_folder, tmp_path):
    """Lists to be spoilt, and one video."""
    for name in ("train.csv", "val.csv"):
        shutil.copy(video_folder / name, tmp_path / name)
    shutil.copy(video_folder / "0.mp4", tmp_path / "0.mp4")
    return tmp_path


@pytest.mark.parametrize("name", ["train.csv", "val.csv", "test.csv"])
@pytest.mark.parametrize(
    "text, message",
    [
        (None, "no such file"),
        ("", "holds no video"),
        ("0.mp4 2\n", ":1: the label 2 is outside"),
        ("0.mp4\n", ":1: no label"),
    ],
)
def test_lists(tiny, folder, name, text, message):
    cfg = tiny(DATA__PATH_TO_DATA_DIR=folder, TRAIN__EVAL_PERIOD=1)
    if text is None:
        if name == "test.csv":
            pytest.skip("val.csv takes its place")
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        preflight(cfg, CPU)


def test_a_table_alone_needs_clips_to_calibrate_on(tiny, folder):
    (folder / "train.csv").unlink()
    cfg = tiny(DATA__PATH_TO_DATA_DIR=folder, TRAIN__ENABLE=False)
    with pytest.raises(InputError, match="are calibrated on: .*train.csv: no such file"):
        preflight(cfg, CPU)


def test_a_choice_of_statistics_needs_the_val_list(tiny, folder):
    shutil.copy(folder / "val.csv", folder / "test.csv")
    (folder / "val.csv").unlink()
    preflight(tiny(DATA__PATH_TO_DATA_DIR=folder), CPU)
    with pytest.raises(InputError, match="val.csv: no such file"):
        preflight(tiny(DATA__PATH_TO_DATA_DIR=folder, TABLE__STATISTICS="best"), CPU)


def test_a_checkpoint_without_the_average_that_is_wanted(tiny):
    path = train(tiny(SOLVER__MAX_EPOCH=1), CPU)
    cfg = tiny(TRAIN__ENABLE=False, TEST__EMA=True)
    check_keys(cfg)
    with pytest.raises(InputError, match=f"{path}: holds no moving average"):
        preflight(cfg, CPU)


@pytest.mark.parametrize("name", ["val.csv", "test.csv"])
def test_lists_of_videos_that_are_elsewhere(tiny, folder, name):
    (folder / name).write_text("".join(f"elsewhere/{n}.mp4 0\n" for n in range(40)))
    with pytest.raises(InputError, match=f"{name}:1: there is no .*elsewhere/0.mp4, nor any of"):
        preflight(tiny(DATA__PATH_TO_DATA_DIR=folder, TRAIN__EVAL_PERIOD=1), CPU)
    with open(folder / name, "a") as file:  # one that is there, read as any other
        file.write("0.mp4 0\n" * 40)
    preflight(tiny(DATA__PATH_TO_DATA_DIR=folder, TRAIN__EVAL_PERIOD=1), CPU)


@pytest.mark.parametrize(
    "name, keys",
    [
        ("val.csv", {"TRAIN__EVAL_PERIOD": 1, "TRAIN__KEEP_BEST": True, "TEST__ENABLE": False}),
        ("test.csv", {}),
    ],
)
def test_videos_that_do_not_open_are_named(tiny, folder, caplog, name, keys):
    for number in range(3):
        (folder / f"bad{number}.mp4").write_bytes(b"no video")
    cfg = tiny(DATA__PATH_TO_DATA_DIR=folder, **keys)
    (folder / name).write_text("0.mp4 0\nbad0.mp4 1\ngone.mp4 0\nbad1.mp4 1\n")
    preflight(cfg, CPU)
    assert f"{name}:2: " in caplog.text and "bad0.mp4" in caplog.text
    assert "3 such videos, of 4 that were looked for and 3 that were opened of 4" in caplog.text
    assert "fails at its end, unless TEST.ALLOW_MISSING" in caplog.text
    (folder / name).write_text("".join(f"bad{number}.mp4 0\n" for number in range(3)))
    with pytest.raises(InputError, match=f"{name}:1: .*bad0.mp4.*nor does any other of the 3 "):
        preflight(cfg, CPU)
    # What is not going to be read may be as it is.
    preflight(tiny(DATA__PATH_TO_DATA_DIR=folder, TEST__ENABLE=False), CPU)


def test_looking_for_videos_ends_when_its_time_is_over(tiny, folder, caplog):
    (folder / "val.csv").write_text("0.mp4 0\n" * 999 + "gone.mp4 1\n")
    cfg = tiny(DATA__PATH_TO_DATA_DIR=folder, TRAIN__EVAL_PERIOD=1)
    read_lists(cfg, CPU, itertools.count().__next__)  # a second goes by at every look
    assert "gone.mp4" not in caplog.text
    read_lists(cfg, CPU, lambda: 0.0)
    assert "val.csv:1000: there is no " in caplog.text and "1000 that were looked" in caplog.text


def test_classes_that_are_not_those_of_training(tiny, folder, caplog, monkeypatch):
    (folder / "train.csv").write_text("0.mp4 0\n" * 4)
    cfg = tiny(DATA__PATH_TO_DATA_DIR=folder, TRAIN__EVAL_PERIOD=1)
    preflight(cfg, CPU)
    assert "val.csv:2: the class 1 has no video in " in caplog.text
    assert "(2 videos of 4 are of such classes)" in caplog.text
    read = sources.read_videos

    def renamed(name, cfg, split):
        names = ["jump", "wave" if split == "train" else "walk"]
        return replace(read(name, cfg, split), classes=names)

    monkeypatch.setattr(loader, "read_videos", renamed)
    with pytest.raises(InputError, match="val.csv: class 1 is 'walk', and 'wave' in .*train.csv;"):
        preflight(cfg, CPU)


def test_folders_whose_classes_differ(tiny, folder):
    for name in ("train/jump", "train/wave", "val/jump", "val/walk"):
        (folder / name).mkdir(parents=True)
        for number in range(2):
            shutil.copy(folder / "0.mp4", folder / name / f"{number}.mp4")
    keys = {"TRAIN__DATASET": "videofolder", "TEST__DATASET": "videofolder"}
    cfg = tiny(DATA__PATH_TO_DATA_DIR=folder, TRAIN__EVAL_PERIOD=1, **keys)
    with pytest.raises(InputError, match="val: its classes .*: walk is in one alone; rename, add"):
        preflight(cfg, CPU)
    (folder / "val" / "walk").rename(folder / "val" / "wave")
    preflight(cfg, CPU)


def test_nothing_to_do(tiny):
    with pytest.raises(InputError, match="TRAIN.ENABLE and TEST.ENABLE are False"):
        check_keys(tiny(TRAIN__ENABLE=False, TEST__ENABLE=False))


@pytest.mark.parametrize("base, start", [(0.05, 0.06), (0.005, 0.01)])
def test_a_warm_up_that_falls(tiny, base, start):
    keys = {"SOLVER__BASE_LR": base, "SOLVER__WARMUP_START_LR": start}
    check_keys(tiny(**keys))  # there is no warm-up
    with pytest.raises(InputError, match=f"SOLVER.WARMUP_START_LR {start} is above"):
        check_keys(tiny(**keys, SOLVER__WARMUP_EPOCHS=1.0))


def test_videos_with_two_labels_and_in_both_lists(tiny, folder, caplog):
    (folder / "train.csv").write_text("a.mp4 0\nb.mp4 1\nc.mp4 0\nd.mp4 0\na.mp4 1\n")
    (folder / "val.csv").write_text("b.mp4 1\ne.mp4 0\nc.mp4 0\n")
    shutil.copy(folder / "0.mp4", folder / "e.mp4")
    preflight(tiny(DATA__PATH_TO_DATA_DIR=folder), CPU)
    assert "train.csv: 1 videos have two labels, such as a.mp4 (lines 1 and 5: 0 and 1)" in (
        caplog.text
    )
    assert "2 videos are in " in caplog.text and "such as b.mp4, c.mp4" in caplog.text


def test_a_checkpoint_that_is_not_evaluated_is_named(tiny, caplog):
    preflight(tiny(TEST__CHECKPOINT_FILE_PATH="other.pyth"), CPU)
    assert "TEST.CHECKPOINT_FILE_PATH other.pyth is not evaluated" in caplog.text


@pytest.mark.parametrize("name, package", [("openvino", "openvino"), ("onnxruntime", "onnx")])
def test_backends_that_are_not_installed(tiny, monkeypatch, name, package):
    pytest.importorskip(package)
    core = __import__("sys").modules.get("mutualvideo.backends.openvino")
    if core is not None and hasattr(getattr(core, "core", None), "cache_clear"):
        core.core.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(InputError, match=f"TABLE.LATENCY_BACKEND {name}: .*{package}.*pip install"):
        preflight(tiny(TABLE__LATENCY_BACKEND=name), CPU)
    preflight(tiny(TABLE__LATENCY_BACKEND=name, TABLE__LATENCY=False), CPU)


def test_decoders_that_are_not_installed(tiny, monkeypatch):
    monkeypatch.setitem(BACKENDS, "decord", ("DecordReader", "pip install decord"))
    monkeypatch.setitem(__import__("sys").modules, "mutualvideo.media.with_decord", None)
    with pytest.raises(InputError, match="DATA.DECODING_BACKEND decord cannot be loaded"):
        preflight(tiny(DATA__DECODING_BACKEND="decord"), CPU)


def test_a_graph_of_cuda_without_cuda(tiny):
    with pytest.raises(
        InputError, match="TABLE.LATENCY_BACKEND torch-cudagraph: .*TABLE.LATENCY False"
    ):
        preflight(tiny(TABLE__LATENCY_BACKEND="torch-cudagraph"), CPU)


def test_a_folder_that_is_a_file_or_closed(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="OUTPUT_DIR .*file is a file; choose another folder"):
        preflight(tiny(OUTPUT_DIR=tmp_path / "file" / "run"), CPU)
    monkeypatch.setattr(module.os, "access", lambda *_: False)
    with pytest.raises(InputError, match="cannot be written to; choose another folder"):
        preflight(tiny(), CPU)


@pytest.mark.parametrize(
    "keys, count",
    [
        ({"SOLVER__MAX_EPOCH": 20}, 21),
        ({"SOLVER__MAX_EPOCH": 20, "TRAIN__CHECKPOINT_PERIOD": 7}, 4),
        ({"SOLVER__MAX_EPOCH": 20, "TRAIN__CHECKPOINT_PERIOD": 0}, 2),
        ({"SOLVER__MAX_EPOCH": 20, "TRAIN__KEEP_CHECKPOINTS": 3}, 4),
    ],
)
def test_room_for_the_checkpoints_that_are_coming(tiny, monkeypatch, keys, count):
    free = {"free": 1}
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(**free))
    with pytest.raises(InputError, match=f"OUTPUT_DIR .*: {count} checkpoints of [0-9.]+ MiB are"):
        preflight(tiny(**keys), CPU)
    free["free"] = 1 << 40
    preflight(tiny(**keys), CPU)


def test_the_room_is_what_checkpoints_take(tiny, monkeypatch, tmp_path):
    cfg = tiny(SOLVER__MAX_EPOCH=1, TRAIN__EMA_DECAY=0.5, TEST__ENABLE=False)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    with pytest.raises(InputError, match="2 checkpoints of") as caught:
        preflight(cfg, CPU)
    said = float(str(caught.value).partition("checkpoints of ")[2].split()[0])
    path = train(cfg, CPU)
    assert 0.5 * said < __import__("os").path.getsize(path) / 2**20 <= said + 0.5


def test_only_the_last_checkpoint(tiny):
    cfg = tiny(TRAIN__CHECKPOINT_PERIOD=0, TEST__ENABLE=False)
    assert train(cfg, CPU) == checkpoint_path(cfg.OUTPUT_DIR, 3)
    assert [place for place, _ in checkpoints(cfg.OUTPUT_DIR)] == [(3, 0)]


def test_a_run_that_was_made_shorter_than_it_is(tiny):
    cfg = tiny(TRAIN__TIME_LIMIT=1e-9)
    for _ in range(3):  # an epoch of two steps, and one step
        train(cfg, CPU)
    cfg.SOLVER.MAX_EPOCH = 1
    with pytest.raises(InputError, match="1 epochs and 1 steps are done, more than SOLVER.MAX_E"):
        train(cfg, CPU)


@pytest.mark.parametrize(
    "steps, message",
    [
        ({0, 1}, "2 of the 2 steps of epoch 1 were skipped; no checkpoint is the last good one"),
        ({2, 3}, "2 of the 2 steps of epoch 2 were skipped; .*00001.pyth is the last good one"),
    ],
)
def test_epochs_whose_steps_are_skipped(tiny, monkeypatch, steps, message):
    """Fewer than TRAIN.MAX_SKIPPED_STEPS of an epoch, and all that it has."""
    nan_in_steps(monkeypatch, steps, "full")
    with pytest.raises(DivergedError, match=message):
        train(tiny(), CPU)


def test_a_step_skipped_in_every_epoch(tiny, monkeypatch):
    nan_in_steps(monkeypatch, set(range(0, 40, 2)), "full")
    with pytest.raises(DivergedError, match="6 of 12 steps so far were skipped"):
        train(tiny(SOLVER__MAX_EPOCH=10), CPU)


@pytest.mark.parametrize("steps", [0, 1])
def test_weights_that_are_not_finite_are_not_written(tiny, monkeypatch, steps):
    """A finite gradient may make an infinite weight, by the last step before a checkpoint."""
    take = Updater.__call__

    def call(self, *args):
        done = take(self, *args)
        weight = next(self.model.parameters()).data
        weight[(0,) * weight.dim()] = float("inf")
        return done

    monkeypatch.setattr(Updater, "__call__", call)
    cfg = tiny(TRAIN__BATCH_SIZE=8, TRAIN__CHECKPOINT_STEPS=steps)
    with pytest.raises(DivergedError, match="weight is not finite; no checkpoint is the last good"):
        train(cfg, CPU)
    assert checkpoints(cfg.OUTPUT_DIR) == []


@pytest.fixture(autouse=True)
def warnings_are_seen(caplog):
    caplog.set_level(logging.WARNING)
