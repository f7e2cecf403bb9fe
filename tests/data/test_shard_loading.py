"""Training and evaluation from shards against the same videos as files."""

import io
import tarfile

import pytest
import torch

from mutualvideo.config import get_cfg
from mutualvideo.data.loader import build_loader
from mutualvideo.engine.needed_lists import read_lists
from mutualvideo.errors import InputError
from mutualvideo.media.shards import write_index
from mutualvideo.run.distributed import Context
from tests.data.videos import encode

NUM, PER_SHARD = 13, 3
CPU = Context(torch.device("cpu"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(folder of files, folder of shards): the same lists of the same videos."""
    files, shards = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("shards")
    lines = {files: [], shards: []}
    for number in range(NUM):
        name = f"{number}.mp4"
        encode(files / name, range(0, 3 * (12 + number), 3), size=(64, 48))
        tar = f"train-{number // PER_SHARD:06d}.tar"
        with tarfile.open(shards / tar, "a") as archive:
            for member, data in (
                (name, (files / name).read_bytes()),
                (f"{number}.cls", str(number % 3).encode()),
            ):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        lines[files].append(f"{name} {number % 3}\n")
        lines[shards].append(f"{tar}/{name} {number % 3}\n")
    for tar in sorted(shards.glob("*.tar"))[1:]:
        write_index(tar)  # the first has none
    for folder, text in lines.items():
        for split in ("train", "val"):
            (folder / f"{split}.csv").write_text("".join(text))
    return files, shards


def make_cfg(folder, sampler="random", workers=0):
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR, cfg.MODEL.NUM_CLASSES = str(folder), 3
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE = 4, 2
    cfg.DATA.TRAIN_JITTER_SCALES = [32, 40]
    cfg.DATA.TRAIN_CROP_SIZE = cfg.DATA.TEST_CROP_SIZE = 32
    cfg.DATA.SAMPLER, cfg.DATA.SHARD_WINDOW = sampler, 2
    cfg.TRAIN.BATCH_SIZE, cfg.TEST.BATCH_SIZE = 4, 4
    cfg.TEST.NUM_ENSEMBLE_VIEWS, cfg.TEST.NUM_SPATIAL_CROPS = 2, 1
    cfg.DATA_LOADER.NUM_WORKERS = workers
    return cfg


def batches(cfg, split="train", rank=0, world_size=1, epoch=0, start_step=0):
    loader = build_loader(cfg, split, rank, world_size)
    loader.set_epoch(epoch, start_step)
    found = list(loader)
    assert not loader.bad
    return found


def assert_equal(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("split", ["train", "calibration", "val", "test"])
def test_batches_are_those_of_files_to_the_bit(folders, split):
    files, shards = (batches(make_cfg(folder), split) for folder in folders)
    assert_equal(shards, files)


def test_a_kept_video_is_the_same(folders):
    cfg = make_cfg(folders[1], "shards")
    wanted = batches(cfg, epoch=1)
    cfg.DATA.CACHE = 0.1
    loader = build_loader(cfg, "train")
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        found = list(loader)
    assert_equal(found, wanted)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_within_it_to_the_bit(folders, workers):
    cfg = make_cfg(folders[1], "shards")
    whole = batches(cfg, epoch=3)
    cfg.DATA_LOADER.NUM_WORKERS = workers
    for step in range(len(whole) + 1):
        assert_equal(batches(cfg, epoch=3, start_step=step), whole[step:])
    assert len({tuple(row for b in batches(cfg, epoch=e) for row in b["video"]) for e in (0, 1)})


def test_a_window_of_shards_is_read_before_the_next(folders):
    cfg = make_cfg(folders[1], "shards")
    cfg.TRAIN.BATCH_SIZE = 1
    orders = set()
    for epoch in range(4):
        rows = [int(batch["video"]) for batch in batches(cfg, epoch=epoch)]
        assert sorted(rows) == list(range(NUM))
        tars = [row // PER_SHARD for row in rows]
        first = set(dict.fromkeys(tars[: PER_SHARD + 1]))
        count = sum(tar in first for tar in tars)
        assert len(first) <= 2 and set(tars[:count]) == first
        orders.add(tuple(rows))
    assert len(orders) == 4


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_the_batches_and_evaluate_each_video_once(folders, world_size):
    cfg = make_cfg(folders[1], "shards")
    whole = batches(cfg, epoch=2)
    parts = [batches(cfg, "train", rank, world_size, 2) for rank in range(world_size)]
    for step, batch in enumerate(whole):
        for rank, part in enumerate(parts):
            assert torch.equal(part[step]["clip"], batch["clip"][rank::world_size])
            assert torch.equal(part[step]["video"], batch["video"][rank::world_size])
    seen = [
        row
        for rank in range(world_size)
        for batch in batches(cfg, "val", rank, world_size)
        for row in batch["video"].tolist()
    ]
    assert sorted(seen) == list(range(NUM))


def test_a_list_of_files_has_no_shards(folders):
    with pytest.raises(InputError, match="train.csv:1: 0.mp4 is in no shard, and DATA.SAMPLER"):
        build_loader(make_cfg(folders[0], "shards"), "train")


def test_lists_are_looked_through_before_a_training(folders, tmp_path, caplog):
    cfg = make_cfg(folders[1], "shards")
    cfg.DATA.PATH_PREFIX = str(folders[1])
    cfg.DATA.PATH_TO_DATA_DIR = str(tmp_path)
    lines = (folders[1] / "val.csv").read_text()
    (tmp_path / "train.csv").write_text(lines)
    (tmp_path / "val.csv").write_text(lines)
    assert len(read_lists(cfg, CPU)["val"][1]) == NUM and not caplog.text
    (tmp_path / "val.csv").write_text(f"train-000002.tar/none.mp4 1\n{lines}")
    read_lists(cfg, CPU)
    assert "val.csv:1: there is no" in caplog.text and "none.mp4" in caplog.text
    (tmp_path / "val.csv").write_text("train-000099.tar/1.mp4 1\n")
    with pytest.raises(InputError, match="val.csv:1: there is no .*train-000099.tar/1.mp4"):
        read_lists(cfg, CPU)
