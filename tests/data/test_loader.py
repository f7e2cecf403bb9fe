import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch

from mutualvideo.config import get_cfg
from mutualvideo.data import dataset as dataset_module
from mutualvideo.data.loader import build_loader
from mutualvideo.errors import InputError
from mutualvideo.media import DecodeError, open_video
from mutualvideo.media.reading import open_reader

from .videos import encode

NUM_TRAIN, NUM_VAL = 11, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for split, count in (("train", NUM_TRAIN), ("val", NUM_VAL)):
        lines = []
        for number in range(count):
            # One video is shorter than a clip.
            times = range(0, 3 * (10 if number == 2 else 40), 3)
            encode(folder / f"{split}{number}.mp4", times, size=(64, 48 + 2 * number))
            lines.append(f"{split}{number}.mp4 {number % 3}\n")
        (folder / f"{split}.csv").write_text("".join(lines))
    return folder


@pytest.fixture
def cfg(folder):
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR = str(folder)
    cfg.MODEL.NUM_CLASSES = 3
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE = 4, 5
    cfg.DATA.TRAIN_JITTER_SCALES = [32, 40]
    cfg.DATA.TRAIN_CROP_SIZE = cfg.DATA.TEST_CROP_SIZE = 32
    cfg.TRAIN.BATCH_SIZE = 4
    cfg.TEST.BATCH_SIZE = 4
    cfg.TEST.NUM_ENSEMBLE_VIEWS, cfg.TEST.NUM_SPATIAL_CROPS = 2, 3
    cfg.DATA_LOADER.NUM_WORKERS = 0
    return cfg


def _batches(loader, epoch=0, start_step=0):
    loader.set_epoch(epoch, start_step)
    return list(loader)


def _equal(one, other):
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
        for a, b in zip(one, other, strict=True)
    )


def _rows(batches):
    return [row for batch in batches for row in batch["video"].tolist()]


def test_a_training_batch(cfg):
    loader = build_loader(cfg, "train")
    batches = _batches(loader)
    assert len(loader) == len(batches) == 2 and len(loader.dataset) == NUM_TRAIN
    for batch in batches:
        assert batch["clip"].shape == (4, 3, 4, 32, 32) and batch["clip"].dtype == torch.uint8
        assert batch["clip"].is_contiguous(memory_format=torch.channels_last_3d)
        assert batch["size"].tolist() == [[32, 32]] * 4 and batch["mirror"].dtype == torch.bool
        for key in ("label", "video", "view"):
            assert batch[key].shape == (4,) and batch[key].dtype == torch.int64
        assert torch.equal(batch["label"], batch["video"] % 3)
        assert not batch["view"].any()
    assert len(set(_rows(batches))) == 8


def test_the_seed_and_the_epoch_decide_whatever_the_workers(cfg):
    alone = build_loader(cfg, "train")
    cfg.DATA_LOADER.NUM_WORKERS = 2
    together = build_loader(cfg, "train")
    for epoch in (0, 1, 0):
        assert _equal(_batches(alone, epoch), _batches(together, epoch))
    assert _rows(_batches(alone, 0)) != _rows(_batches(alone, 1))
    cfg.DATA_LOADER.NUM_WORKERS, cfg.RNG_SEED = 0, 1
    assert not _equal(_batches(build_loader(cfg, "train")), _batches(alone))


def test_a_video_looks_different_in_every_epoch(cfg):
    dataset = build_loader(cfg, "train").dataset
    clips = [dataset[(0, epoch)]["clip"] for epoch in range(4)]
    assert not any(torch.equal(clips[0], clip) for clip in clips[1:])
    assert torch.equal(dataset[(0, 2)]["clip"], clips[2])


def test_resuming_within_an_epoch_skips_without_decoding(cfg, monkeypatch):
    loader = build_loader(cfg, "train")
    whole = _batches(loader, epoch=3)
    opened = []

    def spy(video, backend):
        opened.append(video.path)
        return open_reader(video, backend)

    monkeypatch.setattr(dataset_module, "open_reader", spy)
    assert _equal(_batches(loader, epoch=3, start_step=1), whole[1:])
    assert len(opened) == 4 and len(loader) == 2
    assert _batches(loader, epoch=3, start_step=2) == []
    with pytest.raises(InputError, match="step 3"):
        loader.set_epoch(0, start_step=3)


def test_leaving_an_epoch_early_does_not_disturb_the_next(cfg):
    expected = _batches(build_loader(cfg, "train"), epoch=1)
    cfg.DATA_LOADER.NUM_WORKERS = 2
    loader = build_loader(cfg, "train")
    for _ in loader:
        break
    assert _equal(_batches(loader, epoch=1), expected)


def _killing(loader, times):
    """The loader's batches, while its workers are killed after each of the first ones."""
    for number, batch in enumerate(loader):
        yield batch
        if number < times:
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGKILL)
            # Not a word before the next batch is asked for.
            time.sleep(0.2)


def test_workers_that_die_are_started_anew(cfg, caplog):
    cfg.TRAIN.BATCH_SIZE = 1
    wanted = _batches(build_loader(cfg, "train"), epoch=3, start_step=2)
    cfg.DATA_LOADER.NUM_WORKERS = 1
    loader = build_loader(cfg, "train")
    loader.set_epoch(3, 2)
    assert _equal(list(_killing(loader, 3)), wanted)
    assert caplog.text.count("workers of the loader are started anew") == 3
    assert _equal(list(loader), wanted)


def test_workers_that_die_again_and_again(cfg):
    cfg.TRAIN.BATCH_SIZE, cfg.DATA_LOADER.NUM_WORKERS = 1, 1
    with pytest.raises(InputError, match="died 4 times .*DataLoader worker.*NUM_WORKERS"):
        list(_killing(build_loader(cfg, "train"), 9))


def test_processes_share_the_batches_of_one(cfg):
    whole = _batches(build_loader(cfg, "train"), epoch=2)
    parts = [_batches(build_loader(cfg, "train", r, 2), epoch=2) for r in range(2)]
    for step, batch in enumerate(whole):
        assert [len(part[step]["video"]) for part in parts] == [2, 2]
        for rank, part in enumerate(parts):
            assert torch.equal(part[step]["clip"], batch["clip"][rank::2])


def test_calibration_is_the_first_epoch_of_training(cfg):
    loader = build_loader(cfg, "calibration")
    assert _equal(_batches(loader, epoch=7), _batches(build_loader(cfg, "train"), epoch=0))


def test_validation_is_one_centred_view_of_each(cfg):
    batches = _batches(build_loader(cfg, "val"))
    assert _rows(batches) == list(range(NUM_VAL))
    assert [len(batch["video"]) for batch in batches] == [4, 1]
    # 40 frames, a span of 20: it begins at 10.
    with open_video(f"{cfg.DATA.PATH_TO_DATA_DIR}/val0.mp4") as reader:
        frames = reader.read([10, 16, 22, 29], short_side=32)
    left = -(-(frames.shape[2] - 32) // 2)
    expected = frames[:, :, left : left + 32].transpose(3, 0, 1, 2)
    np.testing.assert_array_equal(batches[0]["clip"][0].numpy(), expected)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_view_of_every_video_counts_once(cfg, world_size):
    seen = []
    for rank in range(world_size):
        loader = build_loader(cfg, "test", rank, world_size)
        batches = list(loader)
        assert len(batches) == len(loader) and loader.dataset.num_views == 6
        seen += [
            pair
            for b in batches
            for pair in zip(b["video"].tolist(), b["view"].tolist(), strict=True)
        ]
    assert sorted(seen) == [(row, view) for row in range(NUM_VAL) for view in range(6)]


def test_views_are_the_same_alone_and_together(cfg, monkeypatch):
    opened = []

    def spy(video, backend):
        opened.append(video.path)
        return open_reader(video, backend)

    dataset = build_loader(cfg, "test").dataset
    alone = [dataset[(1, view)]["clip"] for view in range(6)]
    monkeypatch.setattr(dataset_module, "open_reader", spy)
    together, failures = dataset.__getitems__([(1, view) for view in range(6)])
    assert len(opened) == 1 and failures == {}
    assert all(torch.equal(a, b["clip"]) for a, b in zip(alone, together, strict=True))
    # Three crops of two clips: all of them differ.
    assert len({clip.numpy().tobytes() for clip in alone}) == 6


def test_the_test_list_is_preferred(cfg, folder, tmp_path):
    cfg.DATA.PATH_TO_DATA_DIR, cfg.DATA.PATH_PREFIX = str(tmp_path), str(folder)
    (tmp_path / "val.csv").write_text("val0.mp4 0\n")
    assert len(build_loader(cfg, "test").dataset) == 1
    (tmp_path / "test.csv").write_text("val0.mp4 0\nval1.mp4 1\n")
    assert len(build_loader(cfg, "test").dataset) == 2
    assert len(build_loader(cfg, "val").dataset) == 1


@pytest.fixture
def partly_broken(cfg, folder, tmp_path):
    """Ten videos in both lists, of which rows 3 and 7 do not decode."""
    lines = [f"{folder}/train{n}.mp4 {n % 3}\n" for n in range(10)]
    for row in (3, 7):
        (tmp_path / f"broken{row}.mp4").write_text("no video")
        lines[row] = f"broken{row}.mp4 1\n"
    for split in ("train", "val"):
        (tmp_path / f"{split}.csv").write_text("".join(lines))
    cfg.DATA.PATH_TO_DATA_DIR, cfg.DATA.MAX_BAD_FRACTION = str(tmp_path), 0.2
    cfg.TRAIN.BATCH_SIZE = 5
    return cfg


@pytest.mark.parametrize("workers", [0, 2])
def test_training_replaces_unreadable_videos_and_counts_them(partly_broken, workers):
    cfg = partly_broken
    reference = build_loader(cfg, "train")
    cfg.DATA_LOADER.NUM_WORKERS = workers
    loader = build_loader(cfg, "train")
    for epoch in (0, 1):
        batches = _batches(loader, epoch)
        assert [len(batch["video"]) for batch in batches] == [5, 5]
        rows = _rows(batches)
        # Eight videos once, and two of them again in place of the broken ones.
        assert set(rows) == set(range(10)) - {3, 7} and len(rows) == 10
        for batch in batches:
            assert torch.equal(batch["label"], batch["video"] % 3)
        assert set(loader.bad) == {3, 7}
        assert "broken3.mp4: cannot be opened" in loader.bad[3]
        assert _equal(_batches(reference, epoch), batches)


def test_a_replacement_is_drawn_anew_in_every_epoch(partly_broken):
    loader = build_loader(partly_broken, "train")
    doubled = []
    for epoch in range(6):
        rows = _rows(_batches(loader, epoch))
        doubled.append(tuple(sorted(row for row in set(rows) if rows.count(row) > 1)))
    assert len(set(doubled)) > 2


@pytest.mark.parametrize("workers", [0, 2])
def test_training_stops_above_the_fraction(partly_broken, workers):
    partly_broken.DATA.MAX_BAD_FRACTION, partly_broken.DATA_LOADER.NUM_WORKERS = 0.1, workers
    with pytest.raises(DecodeError, match="2 of 10 videos .*MAX_BAD_FRACTION allows 0.1") as caught:
        list(build_loader(partly_broken, "train"))
    assert "broken" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_is_allowed_what_one_alone_is(partly_broken, rank):
    """Both unreadable videos may be of one process, two fifths of what that reads."""
    partly_broken.TRAIN.BATCH_SIZE = 10
    loader = build_loader(partly_broken, "train", rank, 2)
    found = {}
    for epoch in range(6):
        _batches(loader, epoch)
        found[epoch] = len(loader.bad)
    assert set(found.values()) == {0, 1, 2}
    loader.check_bad(2, {})
    with pytest.raises(DecodeError, match="3 of 10 videos .*allows 0.2 of them; why; list them"):
        loader.check_bad(3, {3: "why"})


def test_training_gives_up_where_nothing_decodes(cfg, tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "train.csv").write_text("a.mp4 0\n" * 4)
    cfg.DATA.PATH_TO_DATA_DIR, cfg.DATA.MAX_BAD_FRACTION = str(tmp_path), 1.0
    with pytest.raises(DecodeError, match="a.mp4: .*none of 9 videos drawn in its place"):
        list(build_loader(cfg, "train"))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("split, views", [("val", 1), ("test", 6)])
def test_evaluation_never_replaces(partly_broken, workers, split, views):
    cfg = partly_broken
    cfg.DATA_LOADER.NUM_WORKERS, cfg.TEST.BATCH_SIZE = workers, 2
    loader = build_loader(cfg, split)
    rows = _rows(_batches(loader))
    assert rows == [row for row in range(10) if row not in (3, 7) for _ in range(views)]
    assert set(loader.bad) == {3, 7} and "broken7.mp4" in loader.bad[7]


def test_an_error_that_is_not_the_videos_fault_is_raised(partly_broken):
    partly_broken.DATA.DECODING_BACKEND = "magic"
    for split in ("train", "val"):
        with pytest.raises(InputError, match="DECODING_BACKEND 'magic'"):
            list(build_loader(partly_broken, split))


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["TRAIN.BATCH_SIZE", 12], "11 videos, fewer than TRAIN.BATCH_SIZE 12"),
        (["TRAIN.BATCH_SIZE", 3], "TRAIN.BATCH_SIZE 3 does not divide"),
        (["TRAIN.DATASET", "kinetcs"], "'kinetcs' is unknown; choose from: .*, kinetics, "),
        (["DATA.TRAIN_CROP_SIZE", 36], "TRAIN_CROP_SIZE 36 is larger"),
        (["DATA.PATH_TO_DATA_DIR", ""], "PATH_TO_DATA_DIR is empty"),
        (["DATA.PATH_TO_DATA_DIR", "/absent"], "/absent/train.csv: no such file"),
        (["DATA.MAX_BAD_FRACTION", 1.5], "MAX_BAD_FRACTION must be from 0 to 1"),
        (["DATA_LOADER.NUM_WORKERS", -1], "NUM_WORKERS"),
        (["MODEL.NUM_CLASSES", 2], "train.csv:3: .* MODEL.NUM_CLASSES"),
    ],
)
def test_bad_training_settings(cfg, overrides, words):
    cfg.merge_from_list(overrides)
    with pytest.raises(InputError, match=words):
        build_loader(cfg, "train", 0, 2)


def test_bad_test_settings(cfg):
    with pytest.raises(InputError, match="split 'tset'"):
        build_loader(cfg, "tset")
    cfg.TEST.NUM_SPATIAL_CROPS = 2
    with pytest.raises(InputError, match="NUM_SPATIAL_CROPS"):
        build_loader(cfg, "test")
    cfg.TEST.NUM_SPATIAL_CROPS, cfg.TEST.NUM_ENSEMBLE_VIEWS = 1, 0
    with pytest.raises(InputError, match="NUM_ENSEMBLE_VIEWS"):
        build_loader(cfg, "test")
