"""Pictures as data sets, against torchvision's own readers and transforms."""

import hashlib
import io
import pickle

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

from mutualvideo.data.augment import plain_input
from mutualvideo.data.loader import build_loader
from mutualvideo.data.sources import read_videos
from mutualvideo.errors import InputError
from mutualvideo.media.picture_reader import ArrayReader, PictureReader

CLASSES = ["ant", "bee"]


def picture(height, width, seed=0):
    """Smooth, and of its own colours in every place: uint8 (height, width, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    channels = (127 + 120 * np.sin(x / 9 + seed), 127 + 120 * np.cos(y / 7 - seed), (x + y) % 256)
    return np.stack(channels, -1).astype(np.uint8)


def encoded(pixels, kind="png", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def cfg(cfg):
    cfg.MODEL.MODEL_NAME, cfg.MODEL.ARCH, cfg.MODEL.NUM_CLASSES = "MobileNetV1", "2d", 2
    return cfg


@pytest.fixture
def folder(write):
    """Two classes; five pictures of several sizes to train on, three to test."""
    for split, count in (("train", 5), ("val", 3)):
        write(
            {
                f"{split}/{CLASSES[number % 2]}/{number}.png": encoded(
                    picture(48 + 8 * number, 60, number)
                )
                for number in range(count)
            }
        )


def batches(cfg, name, split):
    cfg.TRAIN.DATASET = cfg.TEST.DATASET = name
    return list(build_loader(cfg, split))


def test_folders_are_listed_as_torchvision_lists_them(cfg, folder, tmp_path):
    for split, part in (("train", "train"), ("val", "val"), ("test", "val")):
        listing = read_videos("imagefolder", cfg, split)
        wanted = torchvision.datasets.ImageFolder(tmp_path / part)
        assert [(video.path, video.label) for video in listing.videos] == wanted.samples
        assert listing.classes == wanted.classes == CLASSES
        # Where the folder lies does not show in what the manifest is made of.
        assert listing.videos[0].name == f"{part}/ant/0.png"


def test_names_of_classes_may_be_given(cfg, folder, write):
    write({"classes.txt": "the ant\nthe bee\n"})
    assert read_videos("imagefolder", cfg, "val").classes == ["the ant", "the bee"]


def test_a_folder_without_val_is_tested_on_test(cfg, folder, tmp_path):
    (tmp_path / "val").rename(tmp_path / "test")
    assert read_videos("imagefolder", cfg, "val").origin == str(tmp_path / "test")


def test_samples_are_pictures_without_time(cfg, folder):
    for batch in batches(cfg, "imagefolder", "train"):
        assert batch["clip"].shape == (1, 3, 32, 32) and batch["clip"].dtype == torch.uint8
        assert plain_input(batch, cfg, torch.device("cpu")).shape == (1, 3, 32, 32)
    found = {int(b["video"]): int(b["label"]) for b in batches(cfg, "imagefolder", "val")}
    assert found == {0: 0, 1: 0, 2: 1}


@pytest.mark.parametrize("share, resize", [(1.0, 40), (0.875, 46), (0.8, 50)])
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_views_are_torchvisions_resize_and_centre_crop(cfg, write, share, resize, kind):
    cfg.DATA.TEST_CROP_SIZE, cfg.DATA.TEST_CROP_SHARE = 40, share
    # Of these no scaled side is rounded, which torchvision does downwards.
    sizes = [(60, 120), (144, 72), (64, 64)]
    files = {
        f"{split}/{CLASSES[number % 2]}/{number}": encoded(picture(*size, number), kind)
        for split in ("train", "val")
        for number, size in enumerate(sizes)
    }
    write({f"{name}.{kind}": content for name, content in files.items()})
    wanted = torchvision.datasets.ImageFolder(
        cfg.DATA.PATH_TO_DATA_DIR + "/val",
        v2.Compose(
            [
                v2.Resize(resize),
                v2.CenterCrop(40),
                v2.PILToTensor(),
            ]
        ),
    )
    for batch, (tensor, label) in zip(batches(cfg, "imagefolder", "val"), wanted, strict=True):
        assert batch["label"] == label and batch["clip"].shape == (1, 3, 40, 40)
        difference = (tensor - batch["clip"][0].float()).abs().mean()
        # JPEGs are decoded at a half where that is enough.
        assert difference == 0 if kind == "png" else difference < 2


def test_training_crops_of_a_padded_picture(cfg, write):
    """What CIFAR trains on: reflected by 4 pixels, any 32 x 32 of it, mirrored or not."""
    pixels = picture(32, 32)
    write({f"{s}/{c}/0.png": encoded(pixels) for s in ("train", "val") for c in CLASSES})
    cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_PADDING = [32, 32], 4
    cfg.TRAIN.DATASET = "imagefolder"
    padded = v2.functional.pad(torch.from_numpy(pixels).movedim(-1, 0), [4], padding_mode="reflect")
    places = {
        padded[:, y : y + 32, x : x + 32].numpy().tobytes(): (y, x)
        for y in range(9)
        for x in range(9)
    }
    dataset = build_loader(cfg, "train").dataset
    samples = [dataset[(0, epoch)] for epoch in range(600)]
    found = [places[s["clip"].movedim(-1, 0).contiguous().numpy().tobytes()] for s in samples]
    assert {y for y, _ in found} == {x for _, x in found} == set(range(9))
    assert len(set(found)) > 75
    assert sum(bool(sample["mirror"]) for sample in samples) == pytest.approx(300, abs=60)


def test_lists_of_pictures(cfg, folder, write):
    write({"train.csv": "train/ant/0.png 0\ntrain/bee/1.png 1\n", "val.csv": "val/bee/1.png 1\n"})
    (batch,) = batches(cfg, "imagelist", "test")
    assert batch["clip"].shape == (1, 3, 32, 32) and batch["label"] == 1


@pytest.mark.parametrize(
    "name, kind",
    [
        ("cifar10", torchvision.datasets.CIFAR10),
        ("cifar100", torchvision.datasets.CIFAR100),
    ],
)
def test_cifar_from_its_own_files(cfg, write, monkeypatch, name, kind):
    rng = np.random.default_rng(0)
    key = kind.meta["key"]
    classes = [f"class {number}" for number in range(10 if name == "cifar10" else 100)]
    cfg.MODEL.NUM_CLASSES = len(classes)
    label_key = "labels" if name == "cifar10" else "fine_labels"
    for lists, count in (("train_list", 4), ("test_list", 3)):
        made = []
        for file, _ in getattr(kind, lists):
            content = pickle.dumps(
                {
                    "data": rng.integers(0, 256, (count, 3072), np.uint8),
                    label_key: [number % len(classes) for number in range(count)],
                }
            )
            write({f"{kind.base_folder}/{file}": content})
            made.append([file, hashlib.md5(content).hexdigest()])
        monkeypatch.setattr(kind, lists, made)
    meta = pickle.dumps({key: classes})
    write({f"{kind.base_folder}/{kind.meta['filename']}": meta})
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": hashlib.md5(meta).hexdigest()})

    theirs = kind(cfg.DATA.PATH_TO_DATA_DIR, train=False)
    found = batches(cfg, name, "test")
    for batch, (image, label) in zip(found, theirs, strict=True):
        assert torch.equal(batch["clip"][0], v2.functional.pil_to_tensor(image))
        assert batch["label"] == label
    assert read_videos(name, cfg, "test").classes == classes
    listing = read_videos(name, cfg, "train")
    assert len(listing.videos) == (20 if name == "cifar10" else 4)
    # Worker processes may have to be sent it.
    opened = pickle.loads(pickle.dumps(listing.open_picture))(listing.videos[2])
    assert opened.read([0]).shape == (1, 32, 32, 3)
    write({f"{kind.base_folder}/{kind.test_list[0][0]}": b"another file"})
    with pytest.raises(InputError, match=f"{kind.base_folder}: does not hold the official files"):
        read_videos(name, cfg, "test")


def test_readers(write, tmp_path):
    pixels = picture(40, 60)
    write({"a.png": encoded(pixels), "text.png": "no picture"})
    with PictureReader(tmp_path / "a.png") as reader:
        assert len(reader) == 1 and reader.size == (40, 60)
        for _ in range(2):
            assert np.array_equal(reader.read([0])[0], pixels)
        assert reader.read([0], 20).shape == (1, 20, 30, 3)
    array = ArrayReader("a", pixels)
    assert array.size == (40, 60) and np.array_equal(array.read([0], 50)[0], pixels)
    assert np.array_equal(array.read([0], 20), reader.read([0], 20))
    with pytest.raises(InputError, match="text.png: does not decode .*replace it"):
        PictureReader(tmp_path / "text.png")
    with pytest.raises(InputError, match="none.png: no such picture"):
        PictureReader(tmp_path / "none.png")


def test_pictures_are_upright(write, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    write({"a.png": encoded(picture(40, 60), exif=exif)})
    upright = PictureReader(tmp_path / "a.png").read([0])[0]
    assert np.array_equal(upright, np.rot90(picture(40, 60), -1))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda cfg, write: None, "train: holds no folders of pictures"),
        (
            lambda cfg, write: write({"train/a/0.png": b"", "train/b/0.png": b""}),
            "test: holds no folders of pictures",
        ),
        (
            lambda cfg, write: write(
                {"train/a/0.png": b"", "train/b/no.txt": "", "val/a/0.png": b""}
            ),
            "holds no folders of pictures .*[Ff]ound no valid file for the classes b",
        ),
        (
            lambda cfg, write: write(
                {f"{name}/0.png": b"" for name in ("train/a", "train/b", "val/a", "val/c")}
            ),
            "val: its classes are not those of train: b is in one alone",
        ),
        (
            lambda cfg, write: write({"train/a/0.png": b"", "val/a/0.png": b""}),
            "train: 1 names, but MODEL.NUM_CLASSES is 2; set it to 1",
        ),
    ],
)
def test_bad_folders(cfg, write, change, message):
    change(cfg, write)
    with pytest.raises(InputError, match=message):
        for split in ("train", "val"):
            read_videos("imagefolder", cfg, split)


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"MODEL.ARCH": "x3d", "MODEL.MODEL_NAME": "X3D"}, "holds pictures, but X3D takes clips"),
        ({"TRAIN.DATASET": "kinetics"}, "holds videos, but MobileNetV1 takes pictures"),
        ({"TEST.NUM_ENSEMBLE_VIEWS": 2}, "TEST.NUM_ENSEMBLE_VIEWS 2: a picture has one"),
        ({"DATA.TEST_CROP_SHARE": 0.0}, "DATA.TEST_CROP_SHARE must be above 0"),
        ({"DATA.TRAIN_CROP_PADDING": 32}, "DATA.TRAIN_CROP_PADDING 32: expected 0 or more"),
        (
            {
                "DATA.TRAIN_CROP_PADDING": 4,
                "DATA.TRAIN_JITTER_SCALES_RELATIVE": [0.1, 1.0],
                "DATA.TRAIN_JITTER_ASPECT_RELATIVE": [0.75, 1.33],
            },
            "set it to 0",
        ),
    ],
)
def test_bad_keys(cfg, folder, write, keys, message):
    write({"train.csv": "a.mp4 0", "val.csv": "a.mp4 0"})
    cfg.TRAIN.DATASET = cfg.TEST.DATASET = "imagefolder"
    for key, value in keys.items():
        section, leaf = key.split(".")
        cfg[section][leaf] = value
    with pytest.raises(InputError, match=message):
        build_loader(cfg, "train"), build_loader(cfg, "test")


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", ".git", "._cat"])
def test_hidden_folders_are_no_classes(cfg, folder, write, hidden):
    """Nor is what lies in them, nor hidden files, a picture."""
    before = {split: read_videos("imagefolder", cfg, split) for split in ("train", "val")}
    copied = encoded(picture(48, 60))
    write(
        {
            f"train/{hidden}/0.png": copied,
            f"val/{hidden}/0.png": copied,
            f"train/ant/{hidden}/0-checkpoint.png": copied,
            "train/bee/._1.png": b"notes of a desktop",
        }
    )
    for split, wanted in before.items():
        found = read_videos("imagefolder", cfg, split)
        assert found.classes == CLASSES and found.videos == wanted.videos


def test_folders_of_hidden_folders_alone(cfg, write):
    write({"train/.git/0.png": encoded(picture(48, 60))})
    with pytest.raises(InputError, match="train: holds no folders of pictures"):
        read_videos("imagefolder", cfg, "train")
