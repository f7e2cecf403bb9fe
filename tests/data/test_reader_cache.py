import numpy as np
import pytest
import torch
from PIL import Image

from mutualvideo.config import get_cfg
from mutualvideo.data.loader import build_loader
from mutualvideo.errors import InputError
from mutualvideo.media import DecodeError, VideoReader
from mutualvideo.media.picture_reader import ArrayReader, PictureReader

from .videos import encode

COUNT = 5


def _videos(folder):
    lines = []
    for number in range(COUNT):
        encode(folder / f"{number}.mp4", range(0, 3 * (20 + number), 3), size=(64, 48 + 2 * number))
        lines.append(f"{number}.mp4 {number % 3}\n")
    (folder / "train.csv").write_text("".join(lines))


def _pictures(folder):
    for number in range(COUNT):
        pixels = np.random.default_rng(number).integers(0, 256, (60 + 40 * number, 90, 3), np.uint8)
        path = folder / "train" / f"class{number % 3}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def _cfg(folder, kind):
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR = str(folder)
    cfg.MODEL.NUM_CLASSES = 3
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE = 4, 3
    cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE = [32, 40], 32
    cfg.TRAIN.BATCH_SIZE, cfg.DATA_LOADER.NUM_WORKERS = COUNT, 0
    if kind == "pictures":
        cfg.MODEL.MODEL_NAME, cfg.MODEL.ARCH = "WideResNet", "2d"
        cfg.TRAIN.DATASET, cfg.DATA.TRAIN_CROP_PADDING = "imagefolder", 4
    return cfg


def _epochs(cfg, count=3):
    loader, batches = build_loader(cfg, "train"), []
    for epoch in range(count):
        loader.set_epoch(epoch)
        batches += list(loader)
    return loader, batches


def _assert_equal(one, other):
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


MAKE = {"videos": _videos, "pictures": _pictures}


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_the_same_with_a_cache(tmp_path, kind, workers):
    MAKE[kind](tmp_path)
    cfg = _cfg(tmp_path, kind)
    cfg.DATA_LOADER.NUM_WORKERS = workers
    _, without = _epochs(cfg)
    cfg.DATA.CACHE = 0.5
    _assert_equal(_epochs(cfg)[1], without)


def test_crops_of_the_relative_kind_are_the_same_too(tmp_path):
    _pictures(tmp_path)
    cfg = _cfg(tmp_path, "pictures")
    cfg.DATA.TRAIN_CROP_PADDING = 0
    cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE = [0.2, 1.0]
    cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE = [0.75, 1.3333]
    _, without = _epochs(cfg)
    cfg.DATA.CACHE = 0.5
    _assert_equal(_epochs(cfg)[1], without)


@pytest.mark.parametrize("kind", MAKE)
def test_what_was_decoded_is_not_decoded_again(tmp_path, kind):
    MAKE[kind](tmp_path)
    cfg = _cfg(tmp_path, kind)
    # Of pictures a size is kept, of videos every frame: those are asked for at any size.
    if kind == "pictures":
        cfg.DATA.TRAIN_JITTER_SCALES = [32, 32]
    _, without = _epochs(cfg, 6)
    cfg.DATA.CACHE = 0.5
    loader, _ = _epochs(cfg, 3)
    used = loader.dataset._cache.used
    assert used > 0
    for path in [*tmp_path.rglob("*.mp4"), *tmp_path.rglob("*.jpg")]:
        path.unlink()
    batches = []
    for epoch in range(6):
        loader.set_epoch(epoch)
        batches += list(loader)
    _assert_equal(batches, without)
    assert loader.dataset._cache.used == used


def test_frames_that_nobody_asks_for_may_be_damaged(tmp_path):
    path = tmp_path / "clip.mp4"
    encode(path, range(0, 90, 3), size=(64, 48))
    with VideoReader(path) as reader:
        expected = reader.read([0, 2]), reader.read([1, 3], short_side=24)

        class Damaged(VideoReader):
            def _converted(self, numbers, convert):
                if max(numbers) > 10:
                    raise DecodeError("frame 11 does not decode")
                return super()._converted(numbers, convert)

    with Damaged(path) as reader:
        reader.keep(lambda size: None)
        np.testing.assert_array_equal(reader.read([0, 2]), expected[0])
        np.testing.assert_array_equal(reader.read([1, 3], short_side=24), expected[1])
        with pytest.raises(DecodeError, match="frame 11"):
            reader.read([12])


def test_a_size_that_a_function_chooses_is_kept_once(tmp_path):
    path = tmp_path / "picture.jpg"
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path)
    sizes = []
    with PictureReader(path) as reader:
        reader.keep(sizes.append)
        found = [reader.read([0], lambda height, width: height // 2) for _ in range(3)]
        assert reader.read([0], 20).shape == found[0].shape == (1, 20, 30, 3)
        assert reader.read([0], lambda height, width: 10).shape == (1, 10, 15, 3)
    assert sizes == [20 * 30 * 3, 10 * 15 * 3]


def test_an_array_takes_a_function_too():
    with ArrayReader("array", np.zeros((40, 60, 3), np.uint8)) as reader:
        assert reader.read([0], lambda height, width: width // 3).shape == (1, 20, 30, 3)
        assert reader.read([0], lambda height, width: width).shape == (1, 40, 60, 3)


@pytest.mark.parametrize("kind", MAKE)
def test_a_full_cache_ends_the_run_by_name(tmp_path, kind):
    MAKE[kind](tmp_path)
    cfg = _cfg(tmp_path, kind)
    cfg.DATA.CACHE = 1e-6  # a kilobyte
    with pytest.raises(InputError, match=r"DATA.CACHE 1e-06 GiB is full .* 1 videos or pictures"):
        _epochs(cfg)


@pytest.mark.parametrize(("gib", "workers"), [(-1.0, 0), (1.0, 2)])
def test_caches_that_are_impossible(tmp_path, gib, workers):
    _videos(tmp_path)
    cfg = _cfg(tmp_path, "videos")
    cfg.DATA.CACHE, cfg.DATA_LOADER.NUM_WORKERS = gib, workers
    with pytest.raises(InputError, match="DATA.CACHE .* DATA_LOADER.NUM_WORKERS"):
        build_loader(cfg, "train")
