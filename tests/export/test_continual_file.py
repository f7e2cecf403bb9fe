"""Files in continual form, run by their own runtimes against the sliced torch network."""

import json

import numpy as np
import pytest
import torch

from mutualvideo.continual import ContinualNetwork
from mutualvideo.errors import InputError
from mutualvideo.export import open_origin
from mutualvideo.export.continual_file import (
    export_continual,
    open_onnx,
    open_openvino,
    start_of,
)
from mutualvideo.subnet import Subnet

NARROW = Subnet(0.63, 2, 32)
OPEN = {"onnx": open_onnx, "openvino": open_openvino}
ENDINGS = {"onnx": ".onnx", "openvino": ".xml"}


def about(path, name):
    if name == "onnx":
        onnx = pytest.importorskip("onnx")
        return json.loads({p.key: p.value for p in onnx.load(path).metadata_props}["mutualvideo"])
    model = pytest.importorskip("openvino").Core().read_model(path)
    return json.loads(model.get_rt_info("mutualvideo").value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_streams_of_a_file_are_the_torch_networks(made, tmp_path, name):
    for package in {"onnx": ("onnxruntime", "onnxscript"), "openvino": ("openvino",)}[name]:
        pytest.importorskip(package)
    source = open_origin(made("X3D")[0])
    path = tmp_path / f"x3d{ENDINGS[name]}"
    written = export_continual(source, NARROW, name, path)
    assert path in written.files and written.difference.scores < 1e-4
    found = about(path, name)
    model = ContinualNetwork(source.model, subnet=NARROW)
    told = [found[key] for key in ("window", "delay", "memory", "macs", "subnet")]
    assert told == [2, model.delay, model.memory, model.macs(), str(NARROW)]
    # Two streams of which one began earlier; then one of them alone.
    step = OPEN[name](path)
    frames = np.random.default_rng(0).standard_normal((model.memory, 2, 3, 32, 32), np.float32)
    first, mine = model.start(1), start_of(found["state"])
    with torch.no_grad():
        for frame in frames[:3, :1]:
            wanted, first = model.step(torch.from_numpy(frame), first)
            logits, mine = step(frame, mine)
            assert np.abs(logits - wanted.numpy()).max() < 1e-3
        both = {key: torch.cat([first[key], model.start(1)[key]]) for key in first}
        fresh = start_of(found["state"])
        mine = {key: np.concatenate([mine[key], fresh[key]]) for key in mine}
        for frame in frames:
            wanted, both = model.step(torch.from_numpy(frame), both)
            logits, mine = step(frame, mine)
    assert np.abs(logits - wanted.numpy()).max() < 1e-3
    assert mine["count"].tolist() == [model.memory + 3, model.memory]


def test_what_is_refused(made, tmp_path):
    source = open_origin(made("X3D")[0])
    with pytest.raises(InputError, match="are written as onnx, openvino"):
        export_continual(source, NARROW, "torch_export", tmp_path / "x.pt2")
    with pytest.raises(InputError, match="ends in .onnx"):
        export_continual(source, NARROW, "onnx", tmp_path / "x.xml")
    with pytest.raises(InputError, match="never calibrated"):
        export_continual(source, Subnet(0.63, 4, 64), "onnx", tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []
