"""The whole path on pictures: train, calibrate, table, answer; the engine is that of video."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

from mutualvideo import AdaptiveRecognizer, QueryTable, Subnet
from mutualvideo.budget import Budget
from mutualvideo.engine.train import build_sampler, train
from mutualvideo.errors import InputError
from mutualvideo.evaluation.build import evaluate_grid
from mutualvideo.models import load_model
from mutualvideo.play.picture_player import describe, recognise_pictures
from mutualvideo.run.distributed import Context
from mutualvideo.slim import extract, load_statistics
from tests.networks import make_cfg

ROOT = Path(__file__).resolve().parents[2]
CPU = Context(torch.device("cpu"))
CLASSES = ["across", "upright"]


def stripes(rng, label, side=36):
    """Stripes of a random colour and phase, across or upright: uint8 (side, side, 3)."""
    wave = np.sin(np.arange(side) / 1.5 + rng.uniform(0, 6))
    picture = np.broadcast_to(wave[:, None] if label == 0 else wave[None], (side, side))
    colour = rng.uniform(60, 120, 3)
    noise = rng.normal(0, 5, (side, side, 3))
    return np.clip(127 + picture[..., None] * colour + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for split, count in (("train", 48), ("val", 20)):
        for number in range(count):
            path = folder / split / CLASSES[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(stripes(rng, number % 2)).save(path)
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """(configuration, checkpoint, table) of a network trained for a few seconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    cfg = make_cfg(
        "WideResNet",
        WIDERESNET__DEPTH=10,
        WIDERESNET__WIDEN_FACTOR=1,
        MODEL__NUM_CLASSES=2,
        OUTPUT_DIR=tmp_path_factory.mktemp("run"),
        DATA__PATH_TO_DATA_DIR=folder,
        TRAIN__DATASET="imagefolder",
        TEST__DATASET="imagefolder",
        TRAIN__BATCH_SIZE=12,
        DATA__TRAIN_CROP_SIZE=32,
        DATA__TEST_CROP_SIZE=32,
        DATA__TRAIN_JITTER_SCALES=[36, 36],
        DATA__TRAIN_CROP_PADDING=2,
        DATA__TEST_CROP_SHARE=0.889,
        DATA_LOADER__NUM_WORKERS=0,
        SOLVER__MAX_EPOCH=3,
        SOLVER__BASE_LR=0.1,
        TRAIN__EVAL_PERIOD=2,
        MUTUAL__WIDTH_RANGE=[0.5, 1.0],
        MUTUAL__SIZES=[32, 24],
        TEST__NUM_ENSEMBLE_VIEWS=1,
        TEST__NUM_SPATIAL_CROPS=1,
        TABLE__WIDTHS=[0.5, 1.0],
        TABLE__SIZES=[32, 24],
        TABLE__CALIBRATION_BATCHES=4,
        MIXUP__ENABLE=True,
        MIXUP__CUTMIX_ALPHA=0.0,
        AUG__ENABLE=True,
        AUG__AA_TYPE="",
        AUG__CUTOUT=8,
    )
    checkpoint = train(cfg, CPU)
    table = evaluate_grid(cfg, CPU, checkpoint)
    yield cfg, checkpoint, table
    torch.set_num_threads(before)


def test_the_sandwich_draws_widths_and_sizes(run):
    cfg = run[0]
    sampler = build_sampler(cfg)
    drawn = [subnet for step in range(40) for subnet in sampler.draw(step)]
    assert all(subnet.frames is None for subnet in drawn)
    assert {subnet.size for subnet in drawn} == {32, 24}


def test_the_table_is_of_widths_and_sizes(run, folder):
    cfg, checkpoint, table = run
    assert {str(row.subnet) for row in table} == {"1x32", "1x24", "0.5x32", "0.5x24"}
    read = QueryTable.load_json(f"{cfg.OUTPUT_DIR}/query_table.json")
    assert read.metadata["classes"] == CLASSES and read.metadata["videos"] == 20
    assert table[Subnet(1, None, 32)].top1 > 80
    assert all(row.latency_ms > 0 and row.macs_per_video == row.macs for row in read)
    with open(f"{cfg.OUTPUT_DIR}/flops_accuracy.png", "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"

    # Accuracy again, by torchvision's data set and transforms and the extracted network.
    model, _ = load_model(checkpoint)
    load_statistics(model, f"{cfg.OUTPUT_DIR}/query_table.bn.pyth")
    pictures = torchvision.datasets.ImageFolder(
        folder / "val",
        v2.Compose(
            [
                v2.CenterCrop(32),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(cfg.DATA.MEAN, cfg.DATA.STD),
            ]
        ),
    )
    for row in read:
        static, right = extract(model, row.subnet), 0
        for picture, label in pictures:
            x = torch.nn.functional.interpolate(
                picture[None], (row.subnet.size,) * 2, mode="bilinear", antialias=True
            )
            with torch.no_grad():
                right += int(static(x).argmax()) == label
        assert row.top1 == pytest.approx(100 * right / len(pictures))


def test_the_recogniser_answers_as_evaluated(run, folder):
    cfg, checkpoint, table = run
    recognizer = AdaptiveRecognizer(checkpoint, f"{cfg.OUTPUT_DIR}/query_table.json")
    full = Subnet(1, None, 32)
    recognizer.switch(full)
    pixels, labels = [], []
    for path in sorted(folder.glob("val/*/*.png")):
        pixels.append(np.array(Image.open(path)))
        labels.append(path.parent.name)
    batch = recognizer.predict(np.stack(pixels))
    assert batch.scores.shape == (20, 2) and batch.subnet == full
    right = np.mean([a == b for a, b in zip(batch.labels, labels, strict=True)])
    assert 100 * right == pytest.approx(table[full].top1)
    one = recognizer.predict(pixels[3])
    np.testing.assert_allclose(one.scores[0], batch.scores[3], atol=1e-5)
    upright = recognizer.predict(torch.from_numpy(pixels[3]).movedim(-1, 0))
    np.testing.assert_allclose(upright.scores, one.scores, atol=1e-6)
    with pytest.raises(InputError, match=r"expected uint8 \(H, W, 3\)"):
        recognizer.predict(np.zeros((2, 4, 32, 32, 3), np.uint8))


def test_pictures_under_budgets(run, folder, tmp_path):
    cfg, checkpoint, table = run
    recognizer = AdaptiveRecognizer(checkpoint, f"{cfg.OUTPUT_DIR}/query_table.json")
    cheap, dear = (choose(row.macs for row in table) for choose in (min, max))
    for name in ("b.png", "a.png"):
        (tmp_path / name).write_bytes(next(folder.glob("val/across/*.png")).read_bytes())
    (tmp_path / "c.jpg").write_text("no picture")
    budgets = [Budget("macs", cheap), Budget("macs", dear)]
    found = list(recognise_pictures(recognizer, tmp_path, budgets))
    assert [path.name for path, *_ in found] == ["a.png"] * 2 + ["b.png"] * 2 + ["c.jpg"]
    assert [f[2].macs <= f[1].value for f in found[:4]] == [True] * 4
    line = describe(*found[0])
    assert "across" in line and "upright" in line and str(found[0][2].subnet) in line
    assert "c.jpg: does not decode" in str(found[4][2])
    assert describe(*found[4]) == f"error: {found[4][2]}"
    with pytest.raises(InputError, match="c.jpg: does not decode"):
        list(recognise_pictures(recognizer, tmp_path / "c.jpg", budgets))
    with pytest.raises(InputError, match="below the cheapest"):
        list(recognise_pictures(recognizer, tmp_path, [Budget("macs", cheap - 1)]))
    with pytest.raises(InputError, match="no budget"):
        list(recognise_pictures(recognizer, tmp_path, []))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no picture"):
        list(recognise_pictures(recognizer, tmp_path / "empty", budgets))


def test_a_table_of_video_is_refused(run):
    _, checkpoint, table = run
    rows = [row for row in table][:1]
    other = type(rows[0])(Subnet(1, 4, 32), rows[0].macs, rows[0].params, 50.0)
    with pytest.raises(InputError, match="row 1x4x32: this network takes pictures"):
        AdaptiveRecognizer(checkpoint, QueryTable([other]))


@pytest.mark.slow
def test_the_demo_prints_the_best_classes(run, folder):
    cfg, _, table = run
    picture = next(folder.glob("val/across/*.png"))
    command = [
        sys.executable,
        "tools/demo.py",
        "--run",
        cfg.OUTPUT_DIR,
        "--budget",
        str(max(row.macs for row in table)),
        "--device",
        "cpu",
    ]
    done = subprocess.run([*command, "--image", picture], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{picture}: within") and "across" in done.stdout
    done = subprocess.run([*command, "--source", picture], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
