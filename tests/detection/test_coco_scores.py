import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as tools
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mutualvideo import InputError, QueryTable, Subnet, calibrate, set_subnet
from mutualvideo.detection import slimmable_detector
from mutualvideo.detection.coco_file import CocoFile, read_coco_file
from mutualvideo.detection.coco_pictures import CocoPictures
from mutualvideo.detection.coco_scores import as_results, evaluate_detector, score_detections
from mutualvideo.detection.detector_costs import calibrate_detector, detector_costs
from mutualvideo.detection.detector_table import detector_table
from mutualvideo.detection.toy_shapes import draw_scene, run_lengths
from mutualvideo.table.row import Row
from tests.detection.detectors import small_retinanet


def known_boxes(rng):
    """Annotations of 6 pictures, some of them crowds, and detections near them or anywhere."""
    images = [{"id": n, "file_name": f"{n}.png", "width": 128, "height": 128} for n in range(1, 7)]
    categories = [{"id": n, "name": str(n)} for n in (2, 5, 9)]
    annotations, found = [], []
    for image in images:
        for _, mask in draw_scene(image["id"])[1]:
            rows, columns = np.nonzero(mask)
            x, y = int(columns.min()), int(rows.min())
            box = [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y]
            one = {"image_id": image["id"], "category_id": int(rng.choice([2, 5, 9])), "bbox": box}
            runs = {"size": [128, 128], "counts": run_lengths(mask)}
            more = {
                "segmentation": runs,
                "area": int(mask.sum()),
                "iscrowd": int(rng.random() < 0.2),
            }
            annotations.append({"id": len(annotations) + 1, **one, **more})
            for shift in rng.normal(0, (2, 15), (2, 2)).T:
                moved = np.roll(mask, (int(shift[0]), int(shift[0])), (0, 1))
                near = [x + shift[0], y + shift[1], box[2], box[3]]
                score = {"score": float(rng.random()), "segmentation": _text(moved)}
                found.append({**one, "bbox": [float(v) for v in near], **score})
    content = {"images": images, "categories": categories, "annotations": annotations}
    return content, found


def _text(mask):
    runs = tools.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": runs["size"], "counts": runs["counts"].decode()}


@pytest.mark.parametrize(("kind", "theirs"), [("box", "bbox"), ("mask", "segm")])
def test_as_pycocotools_on_known_boxes(tmp_path, kind, theirs):
    content, found = known_boxes(np.random.default_rng(4))
    (tmp_path / "truth.json").write_text(json.dumps({"info": {}, **content}))
    drop = "segmentation" if kind == "box" else "bbox"
    results = [{key: value for key, value in one.items() if key != drop} for one in found]
    (tmp_path / "found.json").write_text(json.dumps(results))
    truth = COCO(str(tmp_path / "truth.json"))
    reference = COCOeval(truth, truth.loadRes(str(tmp_path / "found.json")), theirs)
    for run in (reference.evaluate, reference.accumulate, reference.summarize):
        run()
    before = json.dumps(found)
    scores = score_detections(read_coco_file(tmp_path / "truth.json"), found, kind)
    assert json.dumps(found) == before
    ours = [scores.ap, scores.ap50, scores.ap75, scores.small, scores.medium, scores.large]
    assert 5 < scores.ap < scores.ap50 < 95 and len(set(ours)) >= 5
    wanted = [None if value < 0 else 100 * value for value in reference.stats[:6]]
    assert ours == pytest.approx(wanted, abs=1e-6)


def one_picture(*boxes):
    """A file of one picture of 100 x 100 pixels and one class."""
    objects = [
        {"id": n, "image_id": 1, "category_id": 1, "bbox": list(box)}
        for n, box in enumerate(boxes, 1)
    ]
    picture = {"id": 1, "file_name": "1.png", "width": 100, "height": 100}
    return CocoFile("made.json", {1: picture}, {1: "one"}, {1: objects})


def hit(*box, score=0.5):
    return {"image_id": 1, "category_id": 1, "bbox": list(box), "score": score}


_BOX, _OTHER = (10, 10, 40, 40), (60, 60, 20, 20)


@pytest.mark.parametrize(
    ("found", "ap50", "ap"),
    [
        ([hit(*_BOX), hit(*_OTHER)], 100, 100),
        ([], 0, 0),
        # Half of the objects: precision 1 at recalls 0, 0.01, ... 0.5, of 101.
        ([hit(*_BOX)], 100 * 51 / 101, 100 * 51 / 101),
        # A wrong one of a higher score halves the precision at every recall below.
        ([hit(0, 0, 5, 5, score=0.9), hit(*_BOX)], 50 * 51 / 101, 50 * 51 / 101),
        # IoU 0.8: right at 0.5, 0.55, ... 0.8, so at 7 of 10 thresholds.
        ([hit(10, 10, 40, 50), hit(60, 60, 20, 25)], 100, 70),
    ],
)
def test_by_hand(found, ap50, ap):
    scores = score_detections(one_picture(_BOX, _OTHER), found)
    assert (scores.ap50, scores.ap) == pytest.approx((ap50, ap), abs=1e-6)
    assert scores.large is None and scores.small is not None


def test_sizes_by_hand():
    scores = score_detections(one_picture(_BOX, _OTHER), [hit(*_OTHER)])
    assert (scores.small, scores.medium, scores.large) == (pytest.approx(100), 0, None)


def test_pictures_that_count():
    file = one_picture(_BOX)
    file.pictures[2] = {**file.pictures[1], "id": 2}
    file.objects[2] = [{**file.objects[1][0], "id": 2, "image_id": 2}]
    assert score_detections(file, [hit(*_BOX)]).ap < 60
    assert score_detections(file, [hit(*_BOX)], pictures=[1]).ap == pytest.approx(100)


def test_what_is_refused():
    with pytest.raises(InputError, match="made.json: has no image 2"):
        score_detections(one_picture(_BOX), [{**hit(*_BOX), "image_id": 2}])
    with pytest.raises(InputError, match="made.json: annotation 1 has no segmentation to score"):
        score_detections(one_picture(_BOX), [], "mask")
    with pytest.raises(InputError, match="kind 'boxes': expected box or mask"):
        score_detections(one_picture(_BOX), [], "boxes")


class _Data:
    def category_of(self, label):
        return {1: 4}.get(label)


def test_results():
    answer = {
        "boxes": torch.tensor([[1.0, 2, 4, 8], [0, 0, 1, 1]]),
        "scores": torch.tensor([0.5, 0.25]),
        "labels": torch.tensor([1, 2]),
    }
    masks = torch.zeros(2, 1, 10, 10)
    masks[0, 0, 2:8, 1:4] = 0.5
    (result,) = as_results(_Data(), [7], [{**answer, "masks": masks}])
    assert result["bbox"] == [1, 2, 3, 6] and result["score"] == 0.5
    assert (result["image_id"], result["category_id"]) == (7, 4)
    wanted = {"size": [10, 10], "counts": run_lengths(masks[0, 0].numpy() > 0)}
    assert tools.frPyObjects(wanted, 10, 10) == result["segmentation"]


@pytest.fixture(scope="module")
def own_answers(tmp_path_factory):
    """(calibrated detector, data whose annotations are its answers as 0.5x64)."""
    folder, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    model, images = slimmable_detector(small_retinanet()), []
    for number, shape in enumerate(((50, 70, 3), (64, 48, 3), (64, 64, 3)), 1):
        name = f"{number}.png"
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / name)
        size = {"height": shape[0], "width": shape[1]}
        images.append({"id": number, "file_name": name, **size})
    pictures = [
        torch.from_numpy(np.array(Image.open(folder / one["file_name"]))).permute(2, 0, 1) / 255
        for one in images
    ]
    calibrate_detector(model, [Subnet(0.5, None, 64), Subnet(0.25, None, 32)], [pictures])
    set_subnet(model, "0.5x64")
    with torch.inference_mode():
        answers = [model([picture])[0] for picture in pictures]
    annotations = []
    for image, answer in zip(images, answers, strict=True):
        for box, label in zip(answer["boxes"].tolist(), answer["labels"].tolist(), strict=True):
            x1, y1, x2, y2 = box
            one = {"image_id": image["id"], "category_id": label + 1}
            one["bbox"] = [x1, y1, x2 - x1, y2 - y1]
            annotations.append({"id": len(annotations) + 1, **one})
    categories = [{"id": number, "name": str(number)} for number in (1, 2, 3, 4)]
    content = {"images": images, "categories": categories, "annotations": annotations}
    (folder / "own.json").write_text(json.dumps(content))
    return model, CocoPictures(folder / "own.json", folder), pictures


class _Shifted:
    """Labels from 0, as an untrained RetinaNet gives them, for a file whose ids start at 1."""

    def __init__(self, data):
        self._data, self.file = data, data.file

    def __len__(self):
        return len(self._data)

    def __getitem__(self, index):
        return self._data[index]

    def category_of(self, label):
        return label + 1

    def __getattr__(self, name):
        return getattr(self._data, name)


def test_a_detector_finds_what_it_answers(own_answers):
    model, data, _ = own_answers
    good, other = Subnet(0.5, None, 64), Subnet(0.25, None, 32)
    set_subnet(model, "0.3x40")
    found = evaluate_detector(model, _Shifted(data), [good, other])
    assert list(found) == [good, other] and list(found[good]) == ["box"]
    assert found[good]["box"].ap == pytest.approx(100)
    assert found[other]["box"].ap50 < 50
    assert str(model.slim_state.subnet) == "0.3x40" and not model.training
    with pytest.raises(InputError, match="sub-network 0.3x64 was never calibrated"):
        evaluate_detector(model, data, [Subnet(0.3, None, 64)])


def test_the_table_of_a_detector(own_answers):
    model, data, _ = own_answers
    table = detector_table(model, ["0.5x64", "0.25x32"], _Shifted(data), (50, 70))
    costs = detector_costs(model, ["0.5x64", "0.25x32"], (50, 70))
    assert [(row.macs, row.params) for row in table] == [
        (cost.macs, cost.params) for cost in costs.values()
    ]
    assert table["0.5x64"].box_ap == pytest.approx(100) and table["0.5x64"].mask_ap is None
    assert "one picture of 50 x 70 pixels" in table.metadata["macs"]
    assert table.metadata["classes"] == ["", "1", "2", "3", "4"]


def test_calibrated_as_the_backbone_alone(own_answers):
    """Pictures of one size need no padding: then it is what calibrate() makes of the backbone."""
    model, _, _ = own_answers
    subnet, pictures = Subnet(0.5, None, 64), torch.rand(4, 3, 64, 64)
    calibrate_detector(model, [subnet], [list(pictures[:3]), list(pictures[3:])])
    norm = model.backbone.body.layer2[0].bn1
    ours = [tensor.clone() for tensor in norm.statistics[subnet]]
    calibrate(model.backbone, [subnet], [(pictures[:3] - 0.5) / 0.25, (pictures[3:] - 0.5) / 0.25])
    for mine, theirs in zip(ours, norm.statistics[subnet], strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_a_table_of_detectors(tmp_path):
    rows = [
        Row(Subnet(1, None, 64), 900, 10, box_ap=40.0, box_ap50=61.5, mask_ap=30.0),
        Row(Subnet(0.5, None, 64), 300, 5, box_ap=35.0, box_ap50=58.0, mask_ap=25.0),
        Row(Subnet(0.5, None, 96), 700, 5, box_ap=34.0, box_ap50=57.0, mask_ap=24.0),
    ]
    table = QueryTable(rows)
    assert table.merit_name == "box AP" and table.best(macs=800).subnet == Subnet(0.5, None, 64)
    assert [row.macs for row in table.pareto()] == [300, 900]
    head, *_ = table.to_text().splitlines()
    assert head.split() == "sub-network MACs params AP % AP50 % mask AP % ms/clip".split()
    assert "35.00   58.00      25.00" in table.to_text()
    table.save_json(tmp_path / "table.json")
    assert QueryTable.load_json(tmp_path / "table.json").rows == tuple(rows)
    table.save_csv(tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().splitlines()[1].endswith("40.0,61.5,30.0")
    table.plot(tmp_path / "table.png")
    with pytest.raises(InputError, match="box_ap must be a number or null from 0 to 100"):
        Row(Subnet(1, None, 64), 900, 10, box_ap=101)


@pytest.mark.parametrize("first", [0, -7, 10**9])
def test_ids_of_annotations_may_be_any_whole_numbers(tmp_path, first):
    """pycocotools reads the id 0 of a match as none."""
    content, found = known_boxes(np.random.default_rng(4))
    for number, one in enumerate(content["annotations"], first):
        one["id"] = number
    for name, shift in (("given", 0), ("usual", 1 - first)):
        moved = [{**one, "id": one["id"] + shift} for one in content["annotations"]]
        (tmp_path / name).write_text(json.dumps({"info": {}, **content, "annotations": moved}))
    given, usual = (read_coco_file(tmp_path / name) for name in ("given", "usual"))
    assert score_detections(given, found) == score_detections(usual, found)
