"""Detectors as files: the objects are those of the torch detector, in pictures of any size."""

import json

import numpy as np
import pytest
import torch

from mutualvideo.commands.command_line import main
from mutualvideo.config import get_cfg
from mutualvideo.config.load import cfg_to_dict
from mutualvideo.detection import calibrate_detector, extract_detector, slimmable_detector
from mutualvideo.errors import InputError
from mutualvideo.export import DifferenceError, detector_file
from mutualvideo.export.detector_file import (
    export_detector,
    open_onnx_detector,
    open_openvino_detector,
)
from mutualvideo.models import build_model
from mutualvideo.slim import get_statistics
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable, Row
from tests.detection.detectors import small_mask_rcnn, small_retinanet

PACKAGES = {"onnx": ("onnx", "onnxruntime"), "openvino": ("openvino", "onnx")}
OPEN = {"onnx": open_onnx_detector, "openvino": open_openvino_detector}
ROW = Subnet(0.5, None, 48)


def calibrated(model, row=ROW):
    slimmable_detector(model)
    torch.manual_seed(1)
    calibrate_detector(model, [row], [[torch.rand(3, 64, 80), torch.rand(3, 72, 64)]])
    return model


def needed(name):
    for package in PACKAGES[name]:
        pytest.importorskip(package)


@pytest.mark.parametrize("name", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "make",
    [
        small_retinanet,
        pytest.param(small_mask_rcnn, marks=pytest.mark.slow),
    ],
)
def test_the_file_finds_what_the_extracted_detector_finds(make, name, tmp_path):
    """Also in a picture of another size than those that it was compared on."""
    needed(name)
    model = calibrated(make())
    ending = {"onnx": ".onnx", "openvino": ".xml"}[name]
    path = tmp_path / f"row{ending}"
    written = export_detector(model, ROW, name, path, (60, 80), {"classes": ["", "bird"]})
    assert written.files[0] == path and all(file.is_file() for file in written.files)
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in written.files}
    assert written.difference.objects > 0
    picture = torch.rand(3, 71, 53, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        (wanted,) = extract_detector(model, ROW)([picture])
    found = OPEN[name](path)(picture.numpy())
    assert set(found) == set(wanted) and len(wanted["boxes"])
    for key, tensor in wanted.items():
        assert found[key].dtype == tensor.numpy().dtype
        # Untrained detectors are equally sure of several objects, which may come in any order.
        order = np.lexsort(np.round(wanted["boxes"].numpy(), 1).T)
        other = np.lexsort(np.round(found["boxes"], 1).T)
        assert np.abs(found[key][other] - tensor.numpy()[order]).max() < 1e-2


def test_what_stands_in_the_file(tmp_path):
    needed("onnx")
    import onnx

    path = tmp_path / "row.onnx"
    export_detector(calibrated(small_retinanet()), "0.5x48", "onnx", path, (60, 80), {"macs": 12})
    model = onnx.load(str(path))
    about = json.loads({one.key: one.value for one in model.metadata_props}["mutualvideo"])
    assert (about["subnet"], about["macs"], about["model"]) == ("0.5x48", 12, "RetinaNet")
    assert about["outputs"] == ["boxes", "labels", "scores"]
    height, width = model.graph.input[0].type.tensor_type.shape.dim[1:]
    assert (height.dim_param, width.dim_param) == ("height", "width")


def test_what_is_refused(tmp_path):
    needed("onnx")
    model = calibrated(small_retinanet())
    for given, said in (
        ((ROW, "torch_export", "a.pt2"), "detectors are written as onnx, openvino"),
        ((ROW, "onnx", "a.xml"), "ends in .onnx"),
        ((Subnet(0.75, None, 48), "onnx", "a.onnx"), "0.75x48"),
    ):
        subnet, name, file = given
        with pytest.raises(InputError, match=said):
            export_detector(model, subnet, name, tmp_path / file, (60, 80))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changed", "by"),
    [("scores", 0.01), ("boxes", 0.1), ("labels", 1), ("fewer", 1)],
)
def test_a_file_that_finds_others_is_not_kept(changed, by, tmp_path, monkeypatch):
    needed("onnx")

    def wrong(path):
        find = open_onnx_detector(path)

        def found(picture):
            answer = find(picture)
            if changed == "fewer":
                return {key: value[:-by] for key, value in answer.items()}
            return {**answer, changed: answer[changed] + by}

        return found

    monkeypatch.setattr(detector_file, "open_onnx_detector", wrong)
    model = calibrated(small_retinanet())
    with pytest.raises(DifferenceError, match="finds other objects"):
        export_detector(model, ROW, "onnx", tmp_path / "row.onnx", (60, 80))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What training and evaluation of an untrained detector would leave."""
    folder = tmp_path_factory.mktemp("detector")
    cfg = get_cfg()
    cfg.MODEL.MODEL_NAME, cfg.MODEL.NUM_CLASSES = "RetinaNet_R18_FPN", 3
    cfg.MODEL.DROPOUT_RATE = 0.0
    cfg.DATA.TRAIN_CROP_SIZE, cfg.MUTUAL.WIDTH_RANGE = 48, [0.5, 1.0]
    cfg.DETECTOR.STEM_CHANNELS, cfg.DETECTOR.PYRAMID_CHANNELS = 8, 16
    cfg.DETECTOR.ANCHOR_SIZES = [8, 16, 32]
    model = build_model(cfg).eval()
    calibrate_detector(model, [ROW], [[torch.rand(3, 64, 80)]])
    torch.save({"model_state": model.state_dict(), "cfg": cfg_to_dict(cfg)}, folder / "c.pyth")
    torch.save(get_statistics(model), folder / "s.pyth")
    about = {"checkpoint": "c.pyth", "statistics": "s.pyth", "classes": ["", "ball", "box"]}
    QueryTable([Row(ROW, 1000, 100, box_ap=30.0)], about).save_json(folder / "query_table.json")
    return folder


def test_from_the_command_line(run, tmp_path, capsys):
    needed("onnx")
    path = str(tmp_path / "row.onnx")
    asked = ["export", "--run", str(run), "--format", "onnx", "--output", path]
    assert main([*asked, "--budget", "2K"]) == 0
    assert "0.5x48" in capsys.readouterr().out
    found = open_onnx_detector(path)(np.zeros((3, 40, 50), np.float32))
    assert set(found) == {"boxes", "labels", "scores"}
    with pytest.raises(InputError, match="--folder: of a detector one row of its --run"):
        main([*asked, "--folder"])
    with pytest.raises(InputError, match="0.75x48"):
        main([*asked, "--subnet", "0.75x48"])
