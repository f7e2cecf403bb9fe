"""Batches to network input, against torchvision applied sample by sample."""

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from mutualvideo.config import get_cfg
from mutualvideo.data.augment import Augmentation, RandomErasing, plain_input
from mutualvideo.data.randomness import seeded_draws
from mutualvideo.data.regions import stack_regions
from mutualvideo.errors import InputError

CPU = torch.device("cpu")
SIZE = 32
CLIP = (3,)  # frames in front of height and width; of an image: nothing


def _cfg(**changes):
    cfg = get_cfg()
    cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.MEAN, cfg.DATA.STD = SIZE, [0.4, 0.5, 0.45], [0.2, 0.3, 0.25]
    cfg.MODEL.NUM_CLASSES = 4
    for key, value in changes.items():
        section, name = key.split("__")
        cfg[section][name] = value
    return cfg


def _batch(frames=CLIP, sizes=((SIZE, SIZE),) * 4, constant=False):
    generator = torch.Generator().manual_seed(0)
    regions = [
        torch.randint(
            0, 256, (*(frames and (1,)), *size, 3), dtype=torch.uint8, generator=generator
        ).expand(*frames, -1, -1, -1)
        if constant
        else torch.randint(0, 256, (*frames, *size, 3), dtype=torch.uint8, generator=generator)
        for size in sizes
    ]
    clip, size = stack_regions(regions)
    number = torch.arange(len(sizes))
    return {
        "clip": clip,
        "size": size,
        "mirror": number % 2 == 1,
        "seed": 1000 + 37 * number,
        "label": number % 4,
    }


def _pick(batch, rows):
    return {key: values[rows] for key, values in batch.items()}


def _normalised(clip, cfg):
    """float64, of uint8 or float (B, C, ...)."""
    shape = (1, 3) + (1,) * (clip.dim() - 2)
    mean, std = (
        torch.tensor(x, dtype=torch.float64).view(shape) for x in (cfg.DATA.MEAN, cfg.DATA.STD)
    )
    return (clip.double() / 255 - mean) / std


def _has_channels_last(clips):
    layout = torch.channels_last_3d if clips.dim() == 5 else torch.channels_last
    return clips.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("frames", [CLIP, ()])
def test_by_default_clips_are_mirrored_and_normalised(frames):
    cfg, batch = _cfg(MODEL__LABEL_SMOOTHING=0.1), _batch(frames)
    before = batch["clip"].clone()
    augmentation = Augmentation(cfg)
    clips, labels = augmentation(batch, CPU)
    wanted = torch.stack(
        [
            clip.flip(-1) if mirror else clip
            for clip, mirror in zip(before, batch["mirror"], strict=True)
        ]
    )
    assert clips.dtype == torch.float32 and _has_channels_last(clips)
    torch.testing.assert_close(clips.double(), _normalised(wanted, cfg), rtol=0, atol=2e-6)
    assert torch.equal(labels, batch["label"]) and torch.equal(batch["clip"], before)
    assert augmentation.label_smoothing == 0.1
    assert torch.equal(plain_input(batch, cfg, CPU), clips)


def test_regions_of_any_size_become_squares():
    cfg, batch = _cfg(), _batch(sizes=((40, 50), (SIZE, SIZE), (20, 26)))
    clips, _ = Augmentation(cfg)(batch, CPU)
    assert clips.shape == (3, 3, 3, SIZE, SIZE) and _has_channels_last(clips)
    for row, (height, width) in enumerate(batch["size"].tolist()):
        region = batch["clip"][row, ..., :height, :width].float()
        wanted = F.resize(region, [SIZE, SIZE], antialias=True)
        wanted = wanted.flip(-1) if row % 2 else wanted
        # One grey level.
        torch.testing.assert_close(
            clips[row : row + 1].double(),
            _normalised(wanted[None], cfg),
            rtol=0,
            atol=1 / 255 / 0.2,
        )


@pytest.mark.parametrize("frames", [CLIP, ()])
@pytest.mark.parametrize(
    "aa_type, theirs",
    [
        ("rand-m9-n2", v2.RandAugment),
        ("autoaugment", v2.AutoAugment),
        ("autoaugment-cifar10", v2.AutoAugmentPolicy.CIFAR10),
        ("", v2.ColorJitter),
    ],
)
def test_operations_are_drawn_from_the_seed_of_the_sample(frames, aa_type, theirs):
    cfg = _cfg(AUG__ENABLE=True, AUG__AA_TYPE=aa_type, AUG__RE_PROB=0.0)
    moved = {"interpolation": v2.InterpolationMode.BILINEAR, "fill": [102, 128, 115]}
    theirs = {
        v2.RandAugment: lambda: v2.RandAugment(2, 27, **moved),
        v2.AutoAugment: lambda: v2.AutoAugment(**moved),
        v2.AutoAugmentPolicy.CIFAR10: lambda: v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10, **moved),
        v2.ColorJitter: lambda: v2.ColorJitter(0.4, 0.4, 0.4),
    }[theirs]()
    batch = _batch(frames)
    clips, _ = Augmentation(cfg)(batch, CPU)
    plain = plain_input(batch, cfg, CPU)
    assert _has_channels_last(clips) and clips.dtype == torch.float32
    for row in range(4):
        frame = batch["clip"][row].movedim(1, 0) if frames else batch["clip"][row]
        frame = frame.flip(-1) if batch["mirror"][row] else frame
        with torch.random.fork_rng():
            torch.manual_seed(int(batch["seed"][row]))
            wanted = theirs(frame)
        wanted = wanted.movedim(1, 0) if frames else wanted
        wanted = _normalised(wanted[None], cfg)
        torch.testing.assert_close(clips[row : row + 1].double(), wanted, rtol=0, atol=2e-6)
    assert not torch.equal(clips, plain)


@pytest.mark.parametrize("frames", [CLIP, ()])
@pytest.mark.parametrize("mode", ["pixel", "rand", "const"])
def test_erased_boxes(frames, mode):
    cfg = _cfg(
        AUG__ENABLE=True,
        AUG__AA_TYPE="",
        AUG__COLOR_JITTER=0.0,
        AUG__RE_PROB=0.5,
        AUG__RE_MODE=mode,
    )
    batch = _batch(frames, ((SIZE, SIZE),) * 200)
    plain, (clips, _) = plain_input(batch, cfg, CPU), Augmentation(cfg)(batch, CPU)
    assert _has_channels_last(clips)
    shares, fills, colours = [], [], []
    for before, after in zip(plain, clips, strict=True):
        changed = (before != after).flatten(0, -3).any(0)
        if not changed.any():
            continue
        rows, columns = (torch.nonzero(changed.any(axis))[:, 0] for axis in (1, 0))
        box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
        shares.append(float(changed.double().mean()))
        inside = after[..., box[0], box[1]]
        if frames:  # the same box and the same filling in all frames
            assert (inside == inside[:, :1]).all()
            inside = inside[:, 0]
        colours.append(len(inside.flatten(1).T.unique(dim=0)) / inside[0].numel())
        fills.append(inside.flatten(1))
        assert changed[box].double().mean() > 0.95
    assert 75 < len(shares) < 125
    # v2.RandomErasing's range of areas, and half a pixel at each edge.
    assert 0.01 < min(shares) < 0.05 and 0.28 < max(shares) < 0.36
    filling = torch.cat(fills, 1) if mode != "rand" else torch.stack([f[:, 0] for f in fills], 1)
    if mode == "const":
        assert not filling.any()
    else:
        assert (filling.mean(1).abs() < 0.35).all() and (0.75 < filling.std(1)).all()
        assert (filling.std(1) < 1.25).all()
    assert all(c == 1 if mode == "pixel" else c < 0.1 for c in colours)


def test_boxes_are_those_of_torchvision():
    picture = torch.zeros(3, 40, 60)
    erasing = RandomErasing(1.0, "pixel")
    for seed in range(20):
        with seeded_draws(seed):
            box = erasing.draw(picture)
        with seeded_draws(seed):
            torch.rand(())
            wanted = v2.RandomErasing(1.0, value="random").make_params([picture])
        assert {key: box[key] for key in "ijhw"} == {key: wanted[key] for key in "ijhw"}
        assert torch.equal(box["v"], wanted["v"])


@pytest.mark.parametrize("frames", [CLIP, ()])
def test_cutout_hides_squares_around_any_pixel(frames):
    cfg = _cfg(
        AUG__ENABLE=True, AUG__AA_TYPE="", AUG__COLOR_JITTER=0.0, AUG__RE_PROB=0.0, AUG__CUTOUT=16
    )
    batch = _batch(frames, ((SIZE, SIZE),) * 500)
    plain, (clips, _) = plain_input(batch, cfg, CPU), Augmentation(cfg)(batch, CPU)
    hidden = (clips == 0).flatten(1, -3).all(1)
    tops, heights = [], []
    for picture, before, after in zip(hidden, plain, clips, strict=True):
        rows, columns = (torch.nonzero(picture.any(axis))[:, 0] for axis in (1, 0))
        box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
        assert picture[box].all() and picture.sum() == picture[box].numel()
        assert torch.equal(after[..., ~picture], before[..., ~picture])
        tops.append(box[0].start)
        heights.append(len(rows))
    # The centre is any of 32 pixels: 8 cut the square at the top, 7 at the bottom, 17 do not.
    assert min(heights) == 8 and max(heights) == 16
    assert heights.count(16) / 500 == pytest.approx(17 / 32, abs=0.07)
    # The first of these squares is whole, and 8 are cut.
    assert tops.count(0) / 500 == pytest.approx(9 / 32, abs=0.07) and max(tops) == 23


_ALL = {"AUG__ENABLE": True, "AUG__RE_PROB": 0.7, "AUG__AA_TYPE": "rand-m9-n3-mstd0.5-inc1"}


@pytest.mark.parametrize("frames", [CLIP, ()])
def test_a_sample_does_not_depend_on_those_beside_it(frames):
    augmentation = Augmentation(_cfg(**_ALL))
    batch = _batch(frames, ((40, 50), (SIZE, SIZE), (20, 26), (SIZE, 60)))
    together, _ = augmentation(batch, CPU)
    backwards, _ = augmentation(_pick(batch, [3, 2, 1, 0]), CPU)
    assert torch.equal(backwards.flip(0), together)
    for row in range(4):
        alone, _ = augmentation(_pick(batch, [row]), CPU)
        assert torch.equal(alone[0], together[row])


@pytest.mark.parametrize("mixing", [False, True])
def test_the_seeds_decide_and_the_global_generator_does_not(mixing):
    cfg, batch = _cfg(**_ALL, MIXUP__ENABLE=mixing), _batch()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = Augmentation(cfg)(batch, CPU)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = Augmentation(cfg)(batch, CPU)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other, _ = Augmentation(cfg)({**batch, "seed": batch["seed"] + 1}, CPU)
    assert not torch.equal(other, first[0])


@pytest.mark.parametrize("aa_type", ["rand-m9-n3-mstd0.5-inc1", "autoaugment", ""])
def test_all_frames_of_a_clip_are_treated_alike(aa_type):
    cfg = _cfg(**{**_ALL, "AUG__AA_TYPE": aa_type, "MIXUP__ENABLE": True})
    batch = _batch((4,), ((SIZE, SIZE),) * 12, constant=True)
    clips, _ = Augmentation(cfg)(batch, CPU)
    assert (clips == clips[:, :, :1]).all()


@pytest.mark.parametrize("frames", [CLIP, ()])
def test_mixing_comes_last(frames):
    batch = _batch(frames)
    mixed, targets = Augmentation(_cfg(**_ALL, MIXUP__ENABLE=True, MIXUP__CUTMIX_ALPHA=0.0))(
        batch, CPU
    )
    clips, _ = Augmentation(_cfg(**_ALL))(batch, CPU)
    assert targets.shape == (4, 4) and targets.dtype == torch.float32
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    # Labels are 0, 1, 2, 3 and the smoothing 0.1 over four classes.
    share = (targets[1, 1].double() - 0.025) / 0.9
    wanted = share * clips.double() + (1 - share) * clips.double().roll(1, 0)
    torch.testing.assert_close(mixed.double(), wanted, rtol=0, atol=1e-5)
    assert _has_channels_last(mixed)


def test_mixed_targets_leave_no_smoothing_to_the_loss():
    assert Augmentation(_cfg(MIXUP__ENABLE=True, MODEL__LABEL_SMOOTHING=0.2)).label_smoothing == 0


def test_batches_of_testing_are_normalised():
    cfg, batch = _cfg(), _batch()
    clip = batch["clip"].contiguous()
    for test in ({"clip": clip}, {"clip": clip[:, :, 0]}):
        out = plain_input(test, cfg, CPU)
        torch.testing.assert_close(out.double(), _normalised(test["clip"], cfg), rtol=0, atol=2e-6)
        assert _has_channels_last(out)


@pytest.mark.parametrize(
    "key, value, named",
    [
        ("AUG__AA_TYPE", "augmix", "AUG.AA_TYPE"),
        ("AUG__RE_PROB", 1.5, "AUG.RE_PROB"),
        ("AUG__RE_MODE", "noise", "AUG.RE_MODE"),
        ("AUG__CUTOUT", -1, "AUG.CUTOUT"),
        ("MIXUP__PROB", -1.0, "MIXUP.PROB"),
    ],
)
def test_bad_keys_are_named_where_they_are_used(key, value, named):
    with pytest.raises(InputError, match=named):
        Augmentation(_cfg(AUG__ENABLE=True, MIXUP__ENABLE=True, **{key: value}))
    Augmentation(_cfg(**{key: value}))
