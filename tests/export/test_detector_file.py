"""Detectors as files: the objects are those of the torch detector, in pictures of any size."""

import json

import numpy as np
import pytest
import torch

from mutualvideo.detection import calibrate_detector, extract_detector, slimmable_detector
from mutualvideo.errors import InputError
from mutualvideo.export import DifferenceError, detector_file
from mutualvideo.export.detector_file import (
    export_detector,
    open_onnx_detector,
    open_openvino_detector,
)
from mutualvideo.subnet import Subnet
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
