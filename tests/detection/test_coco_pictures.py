import argparse
import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as mask_tools
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from mutualvideo import InputError
from mutualvideo.commands.subcommands import toy_command
from mutualvideo.detection.coco_pictures import CocoPictures, as_lists
from mutualvideo.detection.toy_shapes import CLASSES, draw_scene, make_toy_detection, run_lengths


def annotation(number, **fields):
    made = {"id": number, "image_id": 1, "category_id": 3, "bbox": [2, 3, 10, 8], "iscrowd": 0}
    return {**made, "segmentation": [[2, 3, 12, 3, 12, 11, 2, 11]], **fields}


def content(*annotations):
    return {
        "images": [
            {"id": 7, "file_name": "b.png", "width": 20, "height": 12},
            {"id": 1, "file_name": "a.png", "width": 32, "height": 24},
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}],
        "annotations": list(annotations),
    }


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, shape in (("a", (24, 32, 3)), ("b", (12, 20, 3))):
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def load(folder, made, **options):
    (folder / "boxes.json").write_text(json.dumps(made))
    return CocoPictures(folder / "boxes.json", folder, **options)


def test_an_item(folder):
    runs = {"size": [24, 32], "counts": [24 * 30 + 5, 4, 24 * 2 - 9]}
    pixels = mask_tools.encode(np.asfortranarray(np.eye(24, 32, dtype=np.uint8)))
    pixels["counts"] = pixels["counts"].decode()
    data = load(
        folder,
        content(
            annotation(1),
            annotation(2, category_id=90, bbox=[30, 5, 1, 4], segmentation=runs),
            annotation(3, bbox=[0, 0, 24, 24], segmentation=pixels),
        ),
        masks=True,
    )
    assert len(data) == 2 and data.ids == [1, 7]
    assert data.classes == {3: "cat", 90: "dog"} and data.num_classes == 91
    assert data.category_of(90) == 90 and data.category_of(4) is None
    picture, target = data[0]
    assert picture.dtype == torch.float32 and picture.shape == (3, 24, 32)
    wanted = np.asarray(Image.open(folder / "a.png"), np.float32).transpose(2, 0, 1) / 255
    assert np.allclose(picture.numpy(), wanted)
    assert target["boxes"].tolist() == [[2, 3, 12, 11], [30, 5, 31, 9], [0, 0, 24, 24]]
    assert target["labels"].tolist() == [3, 90, 3] and target["image_id"] == 1
    masks = target["masks"]
    assert masks.dtype == torch.uint8 and masks.shape == (3, 24, 32)
    assert masks[0].sum() == 80 and masks[0, 3:11, 2:12].all()
    assert masks[1].sum() == 4 and masks[1, 5:9, 30].all()
    assert np.array_equal(masks[2].numpy(), np.eye(24, 32))
    # A picture without a box keeps its shapes.
    empty = data[1][1]
    assert empty["boxes"].shape == (0, 4) and empty["masks"].shape == (0, 12, 20)


def test_transforms_move_boxes_and_masks(folder):
    data = load(folder, content(annotation(1)), masks=True, transforms=v2.RandomHorizontalFlip(1.0))
    picture, target = data[0]
    assert isinstance(picture, tv_tensors.Image) and picture.dtype == torch.uint8
    assert target["boxes"].tolist() == [[20, 3, 30, 11]]
    assert target["masks"][0, 3:11, 20:30].all() and target["masks"].sum() == 80


def test_what_is_left_out_is_told(folder, caplog):
    made = content(
        annotation(1, bbox=[-4, -2, 10, 200]),
        annotation(2, iscrowd=1),
        annotation(3, bbox=[40, 2, 5, 5]),
        annotation(4, bbox=[4, 2, 0, 5]),
    )
    with caplog.at_level(logging.WARNING):
        data = load(folder, made, train=True)
    said = [record.getMessage().partition("boxes.json: ")[2] for record in caplog.records]
    assert said == [
        "1 crowds are left out",
        "2 boxes without area inside of their picture are left out",
        "1 pictures without a box are left out",
    ]
    assert data.ids == [1] and len(data[0][1]["boxes"]) == 1
    assert data[0][1]["boxes"].reshape(-1)[[1, 3]].tolist() == [0, 24]


def test_contiguous_labels(folder):
    made = content(annotation(1, category_id=90))
    data = load(folder, made, contiguous=True)
    assert data.classes == {1: "cat", 2: "dog"} and data.num_classes == 3
    assert data[0][1]["labels"].tolist() == [2] and data.category_of(2) == 90


def _without(made, part, number, name):
    del made[part][number][name]
    return made


_BAD = {
    "no list": ({"images": []}, "needs the lists images, categories, annotations"),
    "no boxes at all": (content(), "has no annotation"),
    "only crowds": (content(annotation(1, iscrowd=1)), "no picture has a box to learn"),
    "an id twice": (content(annotation(1), annotation(1)), "annotations has the id 1 twice"),
    "no id": (_without(content(annotation(1)), "images", 1, "id"), "entry 2 of images has no id"),
    "no name": (_without(content(annotation(1)), "images", 1, "file_name"), "image 1 has no file"),
    "no size": (_without(content(annotation(1)), "images", 0, "width"), "image 7: its width"),
    "picture": (content(annotation(1, image_id=5)), "annotation 1: image_id 5 is not in the file"),
    "category": (content(annotation(1, category_id=4)), "category_id 4 is not in the file"),
    "three numbers": (content(annotation(1, bbox=[1, 2, 3])), r"annotation 1: bbox \[1, 2, 3\]"),
    "not a number": (content(annotation(1, bbox=[1, 2, float("nan"), 3])), "annotation 1: bbox"),
    "inside out": (content(annotation(1, bbox=[9, 2, -3, 3])), "width and height not negative"),
    "mask": (content(annotation(1, segmentation=[[1, 2]])), "annotation 1: its segmentation is no"),
    "no mask": (content(annotation(1, segmentation=None)), "annotation 1: its segmentation is no"),
    "other mask": (
        content(annotation(1, segmentation={"size": [2, 2], "counts": [1, 3]})),
        "annotation 1: its segmentation is no mask of 32x24 pixels",
    ),
}


@pytest.mark.parametrize(("made", "message"), _BAD.values(), ids=_BAD)
def test_a_bad_file_is_one_line(folder, made, message):
    with pytest.raises(InputError, match=f"boxes.json: .*{message}") as caught:
        load(folder, made, train=True, masks=True)[0]
    assert "\n" not in str(caught.value)


def test_a_category_of_the_background(folder):
    made = content(annotation(1))
    made["categories"].append({"id": 0, "name": "sky"})
    with pytest.raises(InputError, match="category id 0, but the label 0 is the background's"):
        load(folder, made)
    assert load(folder, made, contiguous=True).classes == {1: "sky", 2: "cat", 3: "dog"}


def test_bad_pictures(folder):
    made = content(annotation(1))
    Image.new("RGB", (31, 24)).save(folder / "a.png")
    with pytest.raises(InputError, match="a.png: has 31x24 pixels, .*boxes.json says 32x24"):
        load(folder, made)[0]
    (folder / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="a.png: cannot be read as a picture"):
        load(folder, made)[0]
    (folder / "a.png").unlink()
    with pytest.raises(InputError, match="boxes.json: 1 of 2 pictures are missing, the first is"):
        load(folder, made)


def test_no_file(folder):
    with pytest.raises(InputError, match="none.json: cannot be read"):
        CocoPictures(folder / "none.json", folder)
    (folder / "text.json").write_text("{")
    with pytest.raises(InputError, match="text.json: is not a JSON file"):
        CocoPictures(folder / "text.json", folder)


def test_the_toy_data_set(tmp_path, capsys):
    assert make_toy_detection(tmp_path / "one", 4, 2, seed=3, progress=False)
    assert not make_toy_detection(tmp_path / "one", 4, 2, seed=3)
    make_toy_detection(tmp_path / "two", 4, 2, seed=3)
    for path in sorted((tmp_path / "one").rglob("*.*")):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()
    with pytest.raises(InputError, match="made with other arguments"):
        make_toy_detection(tmp_path / "one", 5, 2, seed=3)
    data = CocoPictures(tmp_path / "one/train.json", tmp_path / "one", train=True, masks=True)
    assert len(data) == 4 and list(data.classes.values()) == list(CLASSES)
    (pictures, targets), *_ = DataLoader(data, batch_size=4, collate_fn=as_lists)
    assert len(pictures) == 4
    for target in targets:
        for box, mask in zip(target["boxes"].tolist(), target["masks"], strict=True):
            rows, columns = np.nonzero(mask.numpy())
            x1, y1, x2, y2 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            assert box == [x1, y1, x2, y2] and mask.sum() > 40


def test_toy_shapes_are_large_few_and_upright():
    scenes = [draw_scene((0, number))[1] for number in range(40)]
    assert {len(objects) for objects in scenes} == {1, 2, 3}
    for label, mask in (objects[0] for objects in scenes if len(objects) == 1):
        height, width = (np.ptp(along) + 1 for along in np.nonzero(mask))
        assert 38 / 2 < max(height, width) <= 0.7 * 128 + 1
        # Of all six the half disc alone is wider than high.
        assert (height > width) == (CLASSES[label] != "half disc")


def test_run_lengths_are_cocos():
    for _, mask in draw_scene(5)[1] + [(0, np.ones((3, 2), bool)), (0, np.zeros((3, 2), bool))]:
        runs = {"size": list(mask.shape), "counts": run_lengths(mask)}
        decoded = mask_tools.decode(mask_tools.frPyObjects(runs, *mask.shape))
        assert np.array_equal(decoded, mask)


def test_the_toy_command(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    toy_command.add_arguments(parser)
    args = ["--output", str(tmp_path), "--task", "detection", "--train", "2", "--val", "1"]
    toy_command.run(parser.parse_args(args))
    assert capsys.readouterr().out == f"wrote 2 + 1 pictures to {tmp_path}\n"
    assert (tmp_path / "val" / "00001.png").is_file()
    with pytest.raises(InputError, match="not with --film or --level"):
        toy_command.run(parser.parse_args([*args, "--level", "hard"]))
