"""A file answers as the slimmable network, in its runtime alone; a wrong one is not kept."""

import json
import sys

import numpy as np
import pytest
import torch

from mutualvideo.backends.common.base import batch_shape
from mutualvideo.errors import InputError
from mutualvideo.export import (
    FORMATS,
    DifferenceError,
    export_folder,
    export_subnet,
)
from mutualvideo.export.formats import get_format
from mutualvideo.export.origin import Origin
from mutualvideo.runtime import AdaptiveRecognizer
from mutualvideo.slim import input_shape, set_subnet
from mutualvideo.subnet import Subnet
from mutualvideo.table.query import QueryTable
from tests.export import strangers
from tests.export.conftest import CLASSES

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.trace:FutureWarning")
SMALL = Subnet.parse("0.63x2x32")
NEEDS = {"openvino": ["openvino"], "onnx": ["onnxruntime", "onnx", "onnxscript"]}
ENDINGS = {"torch_export": ".pt2", "onnx": ".onnx", "openvino": ".xml", "pytorchvideo": ".pth"}


def needs(name):
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package)


@pytest.fixture(scope="module")
def check(made, opened):
    """Exports a sub-network of a network and lets a stranger run it; a process for each format."""
    processes = {name: strangers.stranger(name) for name in FORMATS}
    yield lambda *args: check_file(made, opened, processes, *args)
    for process in processes.values():
        process.shutdown()


def check_file(made, opened, processes, tmp_path, network, text, name):
    needs(name)
    (_, model), source, subnet = made(network), opened(network), Subnet.parse(text)
    path = tmp_path / f"net{ENDINGS[name]}"
    written = export_subnet(source, subnet, name, path)
    assert sorted(tmp_path.iterdir()) == sorted(written.files) and written.files[0] == path
    assert written.difference.scores < 1e-3
    assert written.nbytes == sum(file.stat().st_size for file in written.files)
    frames, size = input_shape(model, subnet)
    random = np.random.default_rng(1)
    clips = random.standard_normal(batch_shape((frames, size), 3)).astype(np.float32)
    set_subnet(model, subnet)
    with torch.no_grad():
        expected = model(torch.from_numpy(clips)).numpy()
    asked = processes[name].submit(strangers.answer, name, path, clips)
    together, alone, about = asked.result()
    np.testing.assert_allclose(together, expected, atol=1e-3)
    np.testing.assert_allclose(alone, expected[:1], atol=1e-3)
    assert np.ptp(expected, 1).min() > 1 and np.abs(expected[0] - expected[1]).max() > 1e-2
    about = json.loads(about)
    assert (about["subnet"], about["frames"], about["size"]) == (text, frames, size)
    assert about["classes"] == CLASSES and about["mean"] == [0.3, 0.4, 0.5]
    assert about["data"]["SAMPLING_RATE"] == 5 and about["versions"]["torch"] == torch.__version__
    assert about["macs"] == source.table[subnet].macs


@pytest.mark.parametrize("name", FORMATS)
def test_who_does_not_have_mutualvideo_gets_the_same(check, tmp_path, name):
    check(tmp_path, "X3D", "0.63x2x32", name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_network_without_depthwise_convolutions(check, tmp_path, name):
    check(tmp_path, "ResNet", "0.63x2x32", name)


# Full width is PyTorchVideo's own below.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch_export", "onnx", "openvino"])
def test_full_width(check, tmp_path, name):
    check(tmp_path, "X3D", "1x4x64", name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch_export", "onnx", "openvino"])
def test_a_network_of_pictures(check, tmp_path, name):
    check(tmp_path, "MobileNetV2", "0.63x48", name)


def test_a_folder_of_a_network_of_pictures(made, opened, tmp_path):
    (run, model), source = made("MobileNetV2"), opened("MobileNetV2")
    with pytest.raises(InputError, match="PyTorchVideo"):
        export_subnet(source, Subnet.parse("0.63x32"), "pytorchvideo", tmp_path / "net.pth")
    rows = [row for row in source.table if row.subnet.size < 64]
    few = Origin(model, source.cfg, QueryTable(rows, source.table.metadata))
    export_folder(few, "torch_export", tmp_path / "folder", "all", report=lambda _: None)
    picture = np.random.default_rng(0).integers(0, 256, (80, 70, 3), np.uint8)
    ours = AdaptiveRecognizer(tmp_path / "folder", device="cpu")
    theirs = AdaptiveRecognizer(run / "c.pyth", run / "query_table.json", device="cpu")
    for row in rows:
        found, expected = (one.predict(picture, row.subnet).scores for one in (ours, theirs))
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch_export", "onnx", "openvino"])
def test_a_slow_pathway_of_another_shape(check, tmp_path, name):
    check(tmp_path, "SlowFast", "0.63x2x48", name)


@pytest.mark.slow
def test_the_slow_pathways_that_pytorchvideo_can_feed(check, opened, tmp_path):
    check(tmp_path, "SlowFast", "0.63x4x64", "pytorchvideo")
    source, before = opened("SlowFast"), sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match="cannot feed a Slow pathway of 2x48 from a Fast one of"):
        export_subnet(source, Subnet.parse("0.63x2x48"), "pytorchvideo", tmp_path / "a.pth")
    assert sorted(tmp_path.iterdir()) == before


def test_weights_come_back_to_pytorchvideo_at_full_width(made, source, tmp_path):
    from pytorchvideo.models.x3d import create_x3d

    _, model = made("X3D")
    full = Subnet.parse("1x4x64")
    export_subnet(source, full, "pytorchvideo", tmp_path / "a.pth")
    twin = create_x3d(
        input_clip_length=4,
        input_crop_size=64,
        model_num_class=7,
        width_factor=2.0,
        depth_factor=0.4,
        head_dim_out=64,
        norm_eps=1e-3,
        head_activation=None,
    ).eval()
    twin.load_state_dict(torch.load(tmp_path / "a.pth", weights_only=True)["model_state"])
    for module in twin.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.eps = 1e-3
    clip = torch.randn(1, 3, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    set_subnet(model, full)
    with torch.no_grad():
        torch.testing.assert_close(twin(clip), model(clip), atol=1e-4, rtol=1e-5)


@pytest.fixture
def wrong(monkeypatch):
    """Lets every network be exported with its classifier's bias shifted by a value."""

    def shift(value):
        original = Origin.network

        def network(self, subnet, fold=True):
            made = original(self, subnet, fold)
            bias = [p for p in made.parameters() if p.shape == (len(CLASSES),)][-1]
            bias[0] += value
            return made

        monkeypatch.setattr(Origin, "network", network)

    return shift


@pytest.mark.parametrize("value", [0.005, float("nan")])
@pytest.mark.parametrize("name", ["openvino", "pytorchvideo"])
def test_a_difference_is_caught_and_nothing_changes(source, tmp_path, wrong, name, value):
    needs(name)
    path = tmp_path / f"net{ENDINGS[name]}"
    path.write_text("what was here before")
    wrong(value)
    with pytest.raises(DifferenceError, match="0.63x2x32: .* differs .* not kept"):
        export_subnet(source, SMALL, name, path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "what was here before"


def test_half_precision_is_caught(source, tmp_path, monkeypatch):
    original = Origin.network
    monkeypatch.setattr(Origin, "network", lambda *a, **k: original(*a, **k).bfloat16().float())
    with pytest.raises(DifferenceError):
        export_subnet(source, SMALL, "pytorchvideo", tmp_path / "a.pth")


def test_a_difference_below_the_tolerance_passes(source, tmp_path, wrong):
    wrong(0.0005)
    written = export_subnet(source, SMALL, "pytorchvideo", tmp_path / "a.pth")
    assert written.difference.logits == pytest.approx(0.0005, abs=1e-4)


@pytest.mark.parametrize(
    ("subnet", "name", "file", "named"),
    [
        ("0.5x2x32", "onnx", "a.onnx", "0.5x2x32 is not in the table; it has 0.63x2x32, 0.8x4x64"),
        ("0.63x4x64", "onnx", "a.onnx", "export: sub-network 0.63x4x64 was never calibrated"),
        ("0.63x2x32", "onnx", "a.xml", "a.xml: a file of format onnx ends in .onnx"),
        ("0.63x2x32", "tflite", "a.tflite", "'tflite': expected one of torch_export, onnx"),
        ("0.63x2x32", "pytorchvideo", "file/a.pth", "a.pth: cannot be written"),
        ("0.63x2x32", "pytorchvideo", "folder.pth", "folder.pth: cannot be written"),
    ],
)
def test_refused_in_one_line(source, tmp_path, subnet, name, file, named):
    needs(name)
    (tmp_path / "file").touch()
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(InputError, match=named) as refused:
        export_subnet(source, Subnet.parse(subnet), name, tmp_path / file)
    assert "\n" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.pth"]


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("openvino", "openvino", "openvino"), ("onnx", "onnx", "onnx")]
)
def test_a_missing_package_names_its_extra(monkeypatch, name, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"{package} cannot be .*pip install .*\[{extra}\]"):
        get_format(name)


@pytest.mark.parametrize("name", ["pytorchvideo", "torch_export"])
def test_a_full_disk(source, tmp_path, monkeypatch, name):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    monkeypatch.setattr(torch.export, "save", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
        export_subnet(source, SMALL, name, tmp_path / f"a{ENDINGS[name]}")
    assert not list(tmp_path.iterdir())
