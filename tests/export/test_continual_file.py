"""Files in continual form, run by their own runtimes against the sliced torch network."""

import json
import shutil

import numpy as np
import pytest
import torch

from mutualvideo.commands.command_line import main
from mutualvideo.continual import ContinualNetwork, calibrate_streams
from mutualvideo.errors import InputError
from mutualvideo.export import open_origin
from mutualvideo.export.continual_file import (
    export_continual,
    open_onnx,
    open_openvino,
    start_of,
)
from mutualvideo.slim import get_statistics, load_statistics
from mutualvideo.subnet import Subnet
from mutualvideo.table.continual_table import ContinualRow, ContinualTable
from mutualvideo.table.query import QueryTable

NARROW = Subnet(0.63, 2, 32)
OPEN = {"onnx": open_onnx, "openvino": open_openvino}
ENDINGS = {"onnx": ".onnx", "openvino": ".xml"}


def about(path, name):
    if name == "onnx":
        onnx = pytest.importorskip("onnx")
        return json.loads({p.key: p.value for p in onnx.load(path).metadata_props}["mutualvideo"])
    model = pytest.importorskip("openvino").Core().read_model(path)
    return json.loads(model.get_rt_info("mutualvideo").value)


@pytest.fixture(scope="module")
def streams(made, tmp_path_factory):
    """The run with rows in continual form, and statistics of their own."""
    folder = tmp_path_factory.mktemp("streams")
    shutil.copytree(made("X3D")[0], folder, dirs_exist_ok=True)
    model = open_origin(folder).model
    subnets = [NARROW, Subnet(0.8, 4, 64)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clips = [torch.randn(2, 3, 8, 64, 64)]
    calibrate_streams(model, subnets, clips, 4)
    torch.save(get_statistics(model), folder / "streams.pyth")
    rows = []
    for number, subnet in enumerate(subnets):
        form = ContinualNetwork(model, subnet=subnet)
        about = form.delay, form.nbytes(), 60.5 + number
        rows.append(ContinualRow(subnet, form.macs(), 1.0 + number, *about))
    ContinualTable(rows, {"statistics": "streams.pyth"}).save_json(folder / "rows.json")
    table = QueryTable.load_json(folder / "query_table.json")
    table.metadata["continual"] = "rows.json"
    table.save_json(folder / "query_table.json")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_streams_of_a_file_are_the_torch_networks(streams, tmp_path, name):
    for package in {"onnx": ("onnxruntime", "onnxscript"), "openvino": ("openvino",)}[name]:
        pytest.importorskip(package)
    source = open_origin(streams)
    clips = get_statistics(source.model)
    path = tmp_path / f"x3d{ENDINGS[name]}"
    written = export_continual(source, NARROW, name, path)
    assert path in written.files and written.difference.scores < 1e-4
    found = about(path, name)
    assert str(get_statistics(source.model)) == str(clips)  # exporting changed nothing
    load_statistics(source.model, streams / "streams.pyth")
    model = ContinualNetwork(source.model, subnet=NARROW)
    told = [found[key] for key in ("window", "delay", "memory", "macs", "subnet", "top1")]
    assert told == [2, model.delay, model.memory, model.macs(), str(NARROW), 60.5]
    # Two streams of which one began earlier; then one of them alone.
    step = OPEN[name](path)
    frames = np.random.default_rng(0).standard_normal((model.memory, 2, 3, 32, 32), np.float32)
    first, mine = model.start(1), start_of(found["state"])
    with torch.no_grad():
        for frame in frames[:3, :1]:
            wanted, first = model.step(torch.from_numpy(frame), first)
            logits, mine = step(frame, mine)
            assert np.allclose(logits, wanted.numpy(), rtol=1e-5, atol=1e-2)
        both = {key: torch.cat([first[key], model.start(1)[key]]) for key in first}
        fresh = start_of(found["state"])
        mine = {key: np.concatenate([mine[key], fresh[key]]) for key in mine}
        for frame in frames:
            wanted, both = model.step(torch.from_numpy(frame), both)
            logits, mine = step(frame, mine)
    assert np.allclose(logits, wanted.numpy(), rtol=1e-5, atol=1e-2)
    assert mine["count"].tolist() == [model.memory + 3, model.memory]


def test_what_is_refused(made, streams, tmp_path):
    with pytest.raises(InputError, match="names no continual rows: make it with TABLE.CONTINUAL"):
        export_continual(open_origin(made("X3D")[0]), NARROW, "onnx", tmp_path / "x.onnx")
    source = open_origin(streams)
    with pytest.raises(InputError, match="are written as onnx, openvino"):
        export_continual(source, NARROW, "torch_export", tmp_path / "x.pt2")
    with pytest.raises(InputError, match="ends in .onnx"):
        export_continual(source, NARROW, "onnx", tmp_path / "x.xml")
    with pytest.raises(InputError, match="1x4x64@continual is not in the continual table"):
        export_continual(source, Subnet(1, 4, 64), "onnx", tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_budget_of_a_second_chooses_the_row(streams, tmp_path, monkeypatch):
    """As everywhere in continual form; one of clips is refused."""
    asked = []
    monkeypatch.setattr(
        "mutualvideo.export.continual_file.export_continual",
        lambda source, subnet, name, path: asked.append(subnet) or Told(),
    )
    given = ["export", "--run", str(streams), "--continual", "--format", "onnx"]
    given += ["--output", str(tmp_path / "x.onnx")]
    assert main([*given, "--budget", "1T/s"]) == 0 and asked == [Subnet(0.8, 4, 64)]
    rows = ContinualTable.load_json(streams / "rows.json")
    cheapest = rows[NARROW].cost("macs_per_s")
    assert main([*given, "--budget", f"{cheapest}/s"]) == 0 and asked[1] == NARROW
    with pytest.raises(InputError, match="a stream's budget is in multiply-adds a second"):
        main([*given, "--budget", "1T"])


class Told:
    files = ()
