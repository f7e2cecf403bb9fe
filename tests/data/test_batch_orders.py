"""Batches of different sizes and shapes in turn: which videos, in what order, on which process."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from mutualvideo.config import get_cfg
from mutualvideo.data.augment import Augmentation
from mutualvideo.data.batch_orders import (
    BalancedBatches,
    ShardedBatches,
    ShuffledBatches,
    Turn,
    count_batches,
)
from mutualvideo.data.clip_shape import ClipShape
from mutualvideo.data.loader import build_loader
from mutualvideo.data.regions import Geometries
from mutualvideo.errors import InputError
from tests.data.videos import encode

SMALL, LARGE = ClipShape(2, 16, 6), ClipShape(4, 32, 3)
TURNS = [Turn(6, SMALL), Turn(4, SMALL), Turn(2, LARGE)]


def turns_of(epoch):
    return TURNS if epoch < 2 else TURNS[2:]


@pytest.mark.parametrize("videos, wanted", [(12, 3), (13, 3), (17, 3), (18, 4), (23, 5), (5, 0)])
def test_how_many_batches_by_hand(videos, wanted):
    assert count_batches(videos, TURNS) == wanted


@pytest.mark.parametrize("kind", ["random", "balanced", "shards"])
def test_processes_share_every_batch_and_a_start_skips_nothing_else(kind):
    labels = [number % 3 for number in range(29)]

    def order(rank=0, world_size=1):
        args = (2, 7, rank, world_size, turns_of)
        if kind == "balanced":
            return BalancedBatches(labels, *args)
        if kind == "shards":
            return ShardedBatches([number // 5 for number in range(29)], 2, *args)
        return ShuffledBatches(len(labels), *args)

    for epoch, counts in ((0, [6, 4, 2, 6, 4, 2]), (5, [2] * 14)):
        orders = [order(), order(0, 2), order(1, 2)]
        for one in orders:
            one.epoch = epoch
        whole, *halves = (list(one) for one in orders)
        assert [len(batch) for batch in whole] == counts and len(orders[0]) == len(counts)
        assert orders[0].num_videos == sum(counts) == orders[1].num_videos
        for batch, parts in zip(whole, zip(*halves, strict=True), strict=True):
            assert sorted(batch) == sorted(itertools.chain(*parts))
            assert len(parts[0]) == len(parts[1])
        shapes = [{key[2] for key in batch} for batch in whole]
        turns = itertools.cycle(turns_of(epoch))
        assert shapes == [{turn.shape} for turn, _ in zip(turns, counts, strict=False)]
        orders[0].start_step = 4
        assert list(orders[0]) == whole[4:] and orders[0].num_batches == len(counts)
        if kind != "balanced":
            rows = [key[0] for batch in whole for key in batch]
            assert len(set(rows)) == len(rows)


@pytest.mark.parametrize("window", [1, 3, 10, 99])
def test_videos_of_a_few_shards_come_together(window):
    sizes = [7, 1, 30, 12, 12, 4, 20, 9, 9, 16]
    shards = [f"{shard}.tar" for shard, size in enumerate(sizes) for _ in range(size)]
    # Lists may name shards in any order.
    shards = [shards[row] for row in np.random.default_rng(1).permutation(len(shards))]
    order, seen = ShardedBatches(shards, window, 1, 7, 0, 1), set()
    for order.epoch in range(6):
        rows = [row for ((row, _),) in order]
        assert sorted(rows) == list(range(len(shards))) and rows == [row for ((row, _),) in order]
        # The videos of the next shards, as many as the window holds, and no other between them.
        left, windows = rows, 0
        while left:
            together = list(dict.fromkeys(shards[row] for row in left))[:window]
            whole = sum(shard in together for shard in shards)
            assert {shards[row] for row in left[:whole]} == set(together)
            left, windows = left[whole:], windows + 1
        assert windows == -(-len(sizes) // window)
        seen.add(tuple(rows))
    assert len(seen) == 6


def test_a_window_of_all_shards_is_any_order_and_one_of_none_is_refused():
    order = ShardedBatches(["a", "a", "b"], 2, 1, 0, 0, 1)
    found = Counter()
    for order.epoch in range(600):
        found[tuple(row for ((row, _),) in order)] += 1
    assert len(found) == 6 and min(found.values()) > 60
    with pytest.raises(InputError, match="DATA.SHARD_WINDOW must be at least 1, not 0"):
        ShardedBatches(["a"], 0, 1, 0, 0, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("videos")
    for number in range(12):
        encode(place / f"{number}.mp4", range(0, 60, 3), size=(64, 48))
    (place / "train.csv").write_text("".join(f"{n}.mp4 {n % 2}\n" for n in range(12)))
    return place


@pytest.fixture
def cfg(folder):
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR, cfg.MODEL.NUM_CLASSES = str(folder), 2
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE = 4, 3
    cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE = [36, 40], 32
    cfg.TRAIN.BATCH_SIZE, cfg.DATA_LOADER.NUM_WORKERS = 2, 0
    return cfg


def inputs(cfg, start=0):
    loader, augmentation = build_loader(cfg, "train", turns_of=turns_of), Augmentation(cfg)
    loader.set_epoch(0, start)
    sizes = [turn.shape.size for turn in TURNS][start:]
    pairs = zip(loader, sizes, strict=True)
    return [augmentation(batch, torch.device("cpu"), size)[0] for batch, size in pairs]


@pytest.mark.parametrize("keys", [{}, {"CACHE": 0.1}, {"TRAIN_JITTER_SCALES_RELATIVE": [0.5, 1.0]}])
def test_clips_have_the_shape_of_their_turn(cfg, keys):
    for key, value in keys.items():
        cfg.DATA[key] = value
    if "TRAIN_JITTER_SCALES_RELATIVE" in keys:
        cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE = [0.75, 1.3333]
    found = inputs(cfg)
    assert [tuple(clips.shape) for clips in found] == [
        (6, 3, 2, 16, 16),
        (4, 3, 2, 16, 16),
        (2, 3, 4, 32, 32),
    ]
    assert all(torch.equal(a, b) for a, b in zip(inputs(cfg, 1), found[1:], strict=True))


def test_with_a_cache_clips_are_the_same_and_frames_are_kept_once(cfg):
    plain = inputs(cfg)
    cfg.DATA.CACHE = 0.1
    loader = build_loader(cfg, "train", turns_of=turns_of)
    augmentation, device = Augmentation(cfg), torch.device("cpu")
    for epoch in range(3):
        loader.set_epoch(epoch)
        batches = list(loader)
        assert loader.dataset.cached_bytes <= 12 * 20 * 48 * 64 * 3  # no frame is kept twice
        if epoch == 0:
            sizes = [turn.shape.size for turn in TURNS]
            found = [augmentation(b, device, s)[0] for b, s in zip(batches, sizes, strict=True)]
    assert all(torch.equal(mine, wanted) for mine, wanted in zip(found, plain, strict=True))


def test_small_squares_are_cut_from_a_range_that_begins_lower(cfg):
    """PySlowFast: the lower end goes with the square, the upper one stays."""
    cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE = [256, 320], 224
    geometries, generator = Geometries(cfg.DATA), torch.Generator().manual_seed(0)
    for size, low in ((224, 256), (158, 181), (112, 128)):
        drawn = [geometries.of(size).draw(generator) for _ in range(2000)]
        lengths = {one.length for one in drawn}
        assert {one.crop_size for one in drawn} == {size}
        assert low <= min(lengths) < low + 5 and 315 < max(lengths) <= 320


def test_a_start_outside_of_the_epoch(cfg):
    loader = build_loader(cfg, "train", turns_of=turns_of)
    loader.set_epoch(2, 6)
    with pytest.raises(InputError, match="step 4 is outside an epoch of 3 steps"):
        loader.set_epoch(0, 4)


def test_a_video_that_comes_again_is_another_clip(tmp_path):
    """Of the smaller class's one video, eight times in an epoch; whoever starts late sees them."""
    for name in "ab":
        encode(tmp_path / f"{name}.mp4", range(0, 30, 3), size=(48, 36))
    (tmp_path / "train.csv").write_text("a.mp4 0\n" * 15 + "b.mp4 1\n")
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR, cfg.MODEL.NUM_CLASSES = str(tmp_path), 2
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE, cfg.DATA.SAMPLER = 2, 2, "balanced"
    cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE = [32, 34], 32
    cfg.TRAIN.BATCH_SIZE, cfg.DATA_LOADER.NUM_WORKERS = 4, 0

    def seeds(start=0):
        loader = build_loader(cfg, "train")
        loader.set_epoch(3, start)
        batches = [(batch["video"].tolist(), batch["seed"].tolist()) for batch in loader]
        return [pair for found in batches for pair in zip(*found, strict=True)]

    found = seeds()
    assert sum(row == 15 for row, _ in found) == 8
    assert len(set(found)) == 16 and len({seed for _, seed in found}) == 16
    assert seeds(2) == found[8:] and seeds() == found
