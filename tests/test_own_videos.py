"""From a folder of videos to a table: what is chosen, and that it trains."""

import json
from pathlib import Path

import pytest
import torch

from mutualvideo import AdaptiveRecognizer, QueryTable
from mutualvideo.commands.command_line import main
from mutualvideo.commands.own_videos import clip_bytes, free_memory, own_run
from mutualvideo.config import load_cfg
from mutualvideo.errors import InputError
from mutualvideo.models import build_model
from tests.data.videos import encode

CONFIG = Path(__file__).parents[1] / "configs" / "Own" / "X3D_S_finetune.yaml"
# The same network with fewer blocks and clips of few pixels.
SMALL = {
    "X3D.DEPTH_FACTOR": 0.4, "X3D.DIM_C5": 64, "DATA.NUM_FRAMES": 4, "DATA.SAMPLING_RATE": 2,
    "DATA.TRAIN_CROP_SIZE": 32, "DATA.TEST_CROP_SIZE": 32, "DATA.TRAIN_JITTER_SCALES": "[32,40]",
    "MUTUAL.SIZES": "[32]", "MUTUAL.FRAMES": "[4,2]", "TABLE.WIDTHS": "[1.0,0.63]",
    "TABLE.FRAMES": "[4]", "TABLE.SIZES": "[32]", "TABLE.LATENCY": False,
}  # fmt: skip
GIB = 2**30


def overrides(**more):
    keys = {**SMALL, **{key.replace("__", "."): value for key, value in more.items()}}
    return [str(text) for pair in keys.items() for text in pair]


def folder_of(place, count):
    for name in ("jump", "wave"):
        (place / name).mkdir(parents=True)
        for number in range(count):
            (place / name / f"{number}.mp4").touch()
    return place


def test_a_folder_of_videos_becomes_a_recogniser(tmp_path, capfd):
    videos = tmp_path / "videos"
    for number, name in enumerate(("jump", "wave")):
        (videos / name).mkdir(parents=True)
        for each in range(5):
            encode(videos / name / f"{each}.mp4", range(0, 60, 3), size=(48, 40 + 8 * number))
    small = overrides(TRAIN__CHECKPOINT_FILE_PATH=tmp_path / "weights.pyth", OUTPUT_DIR=tmp_path)
    kinetics = build_model(load_cfg(CONFIG, small))
    torch.save({"model_state": kinetics.state_dict()}, tmp_path / "weights.pyth")
    small += ["SOLVER.MAX_EPOCH", "1", "SOLVER.WARMUP_EPOCHS", "0", "TRAIN.EVAL_PERIOD", "1"]
    small += ["DATA_LOADER.NUM_WORKERS", "0"]
    cfg, chosen = own_run(videos, CONFIG, small)
    assert [one.key for one in chosen][:2] == ["MODEL.NUM_CLASSES", "TRAIN.BATCH_SIZE"]
    assert "8 videos to train on, 2 to validate on" in str(chosen[0])
    assert cfg.TRAIN.BATCH_SIZE == 2 and cfg.MODEL.NUM_CLASSES == 2
    assert cfg.SOLVER.MAX_EPOCH == 1
    main(["train", str(videos), *small])
    assert str(chosen[0]) in capfd.readouterr().out
    table = QueryTable.load_json(tmp_path / "query_table.json")
    assert table.metadata["checkpoint"] == "checkpoints/best.pyth"
    recognizer = AdaptiveRecognizer(tmp_path)
    clip = torch.zeros(4, 32, 32, 3, dtype=torch.uint8).numpy()
    answer = recognizer.predict(clip, subnet=next(iter(table)).subnet)
    assert answer.labels[0] in ("jump", "wave")
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["num_classes"] == 2 and results["videos"] == 2


@pytest.mark.parametrize(
    "videos, memory, size, epochs",
    [(100, GIB, 16, 60), (1500, GIB, 64, 40), (5000, GIB, 64, 15)],
)
def test_batch_and_epochs_follow_from_the_videos(tmp_path, videos, memory, size, epochs):
    folder = folder_of(tmp_path, videos * 5 // 4 // 2 + 1)
    cfg, chosen = own_run(folder, CONFIG, overrides(), free_bytes=10 * memory)
    assert cfg.TRAIN.BATCH_SIZE == size == cfg.TEST.BATCH_SIZE
    assert cfg.SOLVER.MAX_EPOCH == pytest.approx(epochs, abs=1)
    assert cfg.SOLVER.BASE_LR == pytest.approx(0.005 * cfg.TRAIN.BATCH_SIZE / 16, rel=1e-2)
    assert cfg.SOLVER.WARMUP_EPOCHS < cfg.SOLVER.MAX_EPOCH
    assert {one.key: one.value for one in chosen}["SOLVER.MAX_EPOCH"] == cfg.SOLVER.MAX_EPOCH


def test_the_batch_follows_from_the_memory(tmp_path):
    folder = folder_of(tmp_path, 200)
    each = clip_bytes(load_cfg(CONFIG, overrides()))
    for size in (8, 16):
        free = int(1.01 * size * each / 0.4)
        assert own_run(folder, CONFIG, overrides(), free_bytes=free)[0].TRAIN.BATCH_SIZE == size
    cfg, chosen = own_run(folder, CONFIG, overrides(), free_bytes=each)
    assert cfg.TRAIN.BATCH_SIZE == 4 and "this may not fit" in str(chosen[1])
    assert free_memory("cpu") > 2**20


def test_what_is_given_stays(tmp_path):
    folder = folder_of(tmp_path, 20)
    keys = overrides(TRAIN__BATCH_SIZE=6, SOLVER__MAX_EPOCH=7, DATA_LOADER__NUM_WORKERS=0)
    cfg, chosen = own_run(folder, CONFIG, keys)
    assert (cfg.TRAIN.BATCH_SIZE, cfg.SOLVER.MAX_EPOCH, cfg.DATA_LOADER.NUM_WORKERS) == (6, 7, 0)
    assert cfg.SOLVER.BASE_LR == 0.005
    # What goes with the epochs follows them: the file warms up for 2 of its 30.
    assert {one.key: one.value for one in chosen[1:]} == {
        "TRAIN.EVAL_PERIOD": 1,
        "SOLVER.WARMUP_EPOCHS": 0.5,
        # Beside others that were trained on other videos.
        "OUTPUT_DIR": f"output/{tmp_path.name}",
    }
    keys = overrides(SOLVER__MAX_EPOCH=1, SOLVER__WARMUP_EPOCHS=0.3)
    assert own_run(folder, CONFIG, keys)[0].SOLVER.WARMUP_EPOCHS == 0.3


def test_lists_in_the_folder_are_what_is_read(tmp_path):
    """Or else the folders of train and val would be two classes."""
    for split, labels in (("train", [0, 1, 2, 0, 1, 2]), ("val", [0, 1, 2])):
        (tmp_path / split).mkdir()
        names = [f"{split}/{number}.mp4" for number in range(len(labels))]
        for name in names:
            (tmp_path / name).touch()
        lines = [f"{name} {label}\n" for name, label in zip(names, labels, strict=True)]
        (tmp_path / f"{split}.csv").write_text("".join(lines))
    cfg, chosen = own_run(tmp_path, CONFIG, overrides(), free_bytes=GIB)
    assert cfg.TRAIN.DATASET == cfg.TEST.DATASET == "kinetics" and cfg.MODEL.NUM_CLASSES == 3
    assert "labels in the list; 6 videos to train on, 3 to validate on" in str(chosen[0])
    assert "TRAIN.DATASET kinetics: the folder holds the list train.csv" in map(str, chosen)
    for name in ("train.csv", "val.csv"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match="train and val hold videos themselves, which are of no"):
        own_run(tmp_path, CONFIG, overrides(), free_bytes=GIB)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(InputError, match="none: no such folder; name one that holds a folder"):
        own_run(tmp_path / "none", CONFIG)
    with pytest.raises(InputError, match="holds no folder of a class"):
        own_run(tmp_path, CONFIG)
    with pytest.raises(InputError, match="give --cfg, or a folder"):
        main(["train"])


def test_another_configuration_keeps_its_recipe_and_reads_the_folder(tmp_path):
    folder, mine = folder_of(tmp_path / "videos", 20), tmp_path / "mine.yaml"
    mine.write_text(
        "_BASE_: Clips/X3D_S_mutual\nMODEL: {NUM_CLASSES: 6}\nSOLVER: {MAX_EPOCH: 3}\n"
        "TRAIN: {BATCH_SIZE: 7}\n"
    )
    cfg, chosen = own_run(folder, mine, ["TABLE.LATENCY", "False"], free_bytes=10 * GIB)
    assert (cfg.TRAIN.BATCH_SIZE, cfg.SOLVER.MAX_EPOCH) == (7, 3)
    file = load_cfg(mine)
    for key in ("BASE_LR", "WARMUP_EPOCHS", "COSINE_END_LR"):
        assert cfg.SOLVER[key] == file.SOLVER[key]
    assert (cfg.TRAIN.DATASET, cfg.TEST.DATASET) == ("videofolder", "videofolder")
    assert cfg.MODEL.NUM_CLASSES == 2
    assert "TRAIN.DATASET" in [one.key for one in chosen]
    # Lists are read as before.
    (folder / "train.csv").write_text("jump/0.mp4 0\n")
    (folder / "val.csv").write_text("jump/1.mp4 0\n")
    assert own_run(folder, mine)[0].TRAIN.DATASET == "kinetics"


def test_a_run_that_has_begun_keeps_what_was_chosen(tmp_path, monkeypatch):
    folder, run = folder_of(tmp_path / "videos", 200), tmp_path / "run"
    keys = overrides(OUTPUT_DIR=run)
    begun, _ = own_run(folder, CONFIG, keys, free_bytes=4 * GIB)
    run.mkdir()
    (run / "config.yaml").write_text(begun.dump())
    small, _ = own_run(folder, CONFIG, keys, free_bytes=1)
    assert small.TRAIN.BATCH_SIZE == 4 != begun.TRAIN.BATCH_SIZE  # nothing is there to go on with
    (run / "checkpoints").mkdir()
    (run / "checkpoints/checkpoint_epoch_00001.pyth").touch()
    found, chosen = own_run(folder, CONFIG, keys, free_bytes=1)
    assert f"TRAIN.BATCH_SIZE {begun.TRAIN.BATCH_SIZE}: the run in {run} has it" in map(str, chosen)
    assert found == begun
    given, _ = own_run(folder, CONFIG, [*keys, "TRAIN.BATCH_SIZE", "8"], free_bytes=1)
    assert given.TRAIN.BATCH_SIZE == 8 and given.SOLVER.BASE_LR == begun.SOLVER.BASE_LR


def test_print_config_of_a_folder_trains_nothing(tmp_path, capsys, monkeypatch):
    folder = folder_of(tmp_path / "videos", 20)
    monkeypatch.chdir(tmp_path)
    main(["train", str(folder), *overrides(), "--print-config"])
    out = capsys.readouterr().out
    assert "as in training" in out and not out.startswith("MODEL.NUM_CLASSES 2")
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["FOLDER", "SOLVER.MAX_EPOCH"], "SOLVER.MAX_EPOCH: this override has no value"),
        (["FOLDER", "--cfg", "Own/X3D_S_finetune", "TRAIN.X"], "TRAIN.X: this override has no"),
        (["FOLDER", "TRAIN.DATASET=x"], "TRAIN.DATASET=x: this override has no value"),
        (["SOLVER.MAX_EPOCH"], "SOLVER.MAX_EPOCH: this override has no value"),
        (["nowhere", "SOLVER.MAX_EPOCH", "1"], "nowhere: no such folder"),
        (["nowhere", "--cfg", "Own/X3D_S_finetune"], "nowhere: no such folder"),
        (["SOLVER.MAX_EPOCH", "1"], "give --cfg, or a folder"),
    ],
)
def test_arguments_that_are_no_pairs(tmp_path, arguments, words):
    with pytest.raises(InputError, match=words):
        main(["train", *(str(tmp_path) if text == "FOLDER" else text for text in arguments)])


def test_a_run_on_other_videos_is_not_taken_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [folder_of(tmp_path / name / "clips", 20) for name in ("a", "b")]
    begun, _ = own_run(folders[0], CONFIG, overrides(), free_bytes=GIB)
    run = tmp_path / begun.OUTPUT_DIR
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints/checkpoint_epoch_00001.pyth").touch()
    (run / "config.yaml").write_text(begun.dump())
    assert own_run(folders[0], CONFIG, overrides(), free_bytes=1)[0] == begun
    with pytest.raises(InputError, match="output/clips: holds a run on .*a/clips: give OUTPUT_DIR"):
        own_run(folders[1], CONFIG, overrides(), free_bytes=GIB)
