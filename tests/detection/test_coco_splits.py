"""Training and evaluation data of detectors, by the configuration."""

import json
import shutil

import pytest
import torch

from mutualvideo.config import get_cfg
from mutualvideo.detection.coco_splits import (
    compare_splits,
    detection_loader,
    read_split,
    settle_detected_classes,
    split_files,
)
from mutualvideo.detection.toy_shapes import make_toy_detection
from mutualvideo.errors import InputError


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    make_toy_detection(folder, 10, 3, 0, progress=False)
    return folder


def make_cfg(folder, workers=0, name="RetinaNet_R18_FPN"):
    cfg = get_cfg()
    cfg.MODEL.MODEL_NAME, cfg.DATA.PATH_TO_DATA_DIR = name, str(folder)
    cfg.TRAIN.DATASET = cfg.TEST.DATASET = "cocodetection"
    cfg.TRAIN.BATCH_SIZE, cfg.TEST.BATCH_SIZE, cfg.DATA_LOADER.NUM_WORKERS = 4, 2, workers
    return cfg


@pytest.fixture
def coco(toy, tmp_path):
    """The same in COCO's own folders."""
    (tmp_path / "annotations").mkdir()
    for split in ("train", "val"):
        content = json.loads((toy / f"{split}.json").read_text())
        for image in content["images"]:
            image["file_name"] = image["file_name"].removeprefix(f"{split}/")
        path = tmp_path / "annotations" / f"instances_{split}2017.json"
        path.write_text(json.dumps(content))
        shutil.copytree(toy / split, tmp_path / f"{split}2017")
    return tmp_path


def same(found, wanted):
    for (pictures, targets), (others, theirs) in zip(found, wanted, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(pictures, others, strict=True))
        for a, b in zip(targets, theirs, strict=True):
            assert a["image_id"] == b["image_id"] and torch.equal(a["boxes"], b["boxes"])
    return True


def test_both_layouts_hold_the_same(toy, coco):
    for split in ("train", "val", "test"):
        mine, theirs = (detection_loader(make_cfg(folder), split) for folder in (toy, coco))
        assert len(mine) == len(theirs) == 2 and same(mine, theirs)
    assert split_files(make_cfg(coco), "test")[0].endswith("instances_val2017.json")
    assert settle_detected_classes(make_cfg(coco, name="SSDLite_MobileNetV2")).MODEL.NUM_CLASSES > 1


def test_what_is_drawn_depends_on_seed_and_epoch_alone(toy):
    first = detection_loader(make_cfg(toy), "train")
    batches = list(first)
    first.set_epoch(1)
    others = list(first)
    ids = [
        [target["image_id"] for _, targets in some for target in targets]
        for some in (batches, others)
    ]
    assert ids[0] != ids[1] and len(set(ids[0])) == 8
    again = detection_loader(make_cfg(toy, workers=2), "train")
    torch.manual_seed(5)  # of the loader's own no draw depends
    assert same(again, batches)
    again.set_epoch(1, 1)
    assert same(again, others[1:])


def test_half_of_the_pictures_are_mirrored_with_their_boxes(toy):
    cfg = make_cfg(toy)
    plain = read_split(cfg, "calibration")
    by_id = {
        target["image_id"]: (picture, target)
        for picture, target in (plain[n] for n in range(len(plain)))
    }
    loader, seen = detection_loader(cfg, "train"), []
    for epoch in range(3):
        loader.set_epoch(epoch)
        for pictures, targets in loader:
            for picture, target in zip(pictures, targets, strict=True):
                whole, wanted = by_id[target["image_id"]]
                boxes = wanted["boxes"]
                mirrored = not torch.equal(picture, whole)
                if mirrored:
                    assert torch.equal(picture, whole.flip(-1))
                    left, right = 128 - boxes[:, 2], 128 - boxes[:, 0]
                    boxes = torch.stack([left, boxes[:, 1], right, boxes[:, 3]], 1)
                assert torch.equal(target["boxes"], boxes)
                seen.append(mirrored)
    assert 0.25 < sum(seen) / len(seen) < 0.75
    cfg.DATA.RANDOM_FLIP = False
    for pictures, targets in detection_loader(cfg, "train"):
        for picture, target in zip(pictures, targets, strict=True):
            assert torch.equal(picture, by_id[target["image_id"]][0])


def test_masks_come_for_those_who_learn_them(toy):
    (pictures, targets), *_ = detection_loader(make_cfg(toy, name="MaskRCNN_R50_FPN"), "train")
    for picture, target in zip(pictures, targets, strict=True):
        assert target["masks"].shape == (len(target["boxes"]), *picture.shape[1:])
    assert "masks" not in next(iter(detection_loader(make_cfg(toy), "train")))[1][0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("DATA", "PATH_TO_DATA_DIR", "/nowhere"), "has no train.json or annotations/instances_tr"),
        (("TRAIN", "DATASET", "kinetics"), "TRAIN.DATASET kinetics: .* set it to cocodetection"),
        (("TRAIN", "BATCH_SIZE", 11), "10 pictures to learn, fewer than TRAIN.BATCH_SIZE 11"),
        (("DATA", "PATH_PREFIX", "/nowhere"), "10 of 10 pictures are missing"),
    ],
)
def test_bad_data_are_one_line(toy, change, words):
    cfg = make_cfg(toy)
    section, leaf, value = change
    cfg[section][leaf] = value
    with pytest.raises(InputError, match=words):
        detection_loader(cfg, "train")


def test_a_broken_picture_ends_the_run_by_name(toy, tmp_path):
    shutil.copytree(toy, tmp_path / "bad")
    (tmp_path / "bad" / "train" / "00003.png").write_bytes(b"no picture")
    for workers in (0, 1):
        with pytest.raises(InputError, match="00003.png: cannot be read as a picture"):
            list(
                detection_loader(
                    make_cfg(tmp_path / "bad", workers, "SSDLite_MobileNetV2"), "calibration"
                )
            )


def test_categories_have_to_mean_the_same(toy, tmp_path):
    shutil.copytree(toy, tmp_path / "other")
    path = tmp_path / "other" / "val.json"
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = "cat"
    path.write_text(json.dumps(content))
    cfg = make_cfg(tmp_path / "other")
    train = read_split(cfg, "train")
    compare_splits(train, read_split(make_cfg(toy), "val"))
    with pytest.raises(InputError, match="val.json: category 1 is 'cat', and 'arrow' in .*train"):
        compare_splits(train, read_split(cfg, "val"))
