"""Which backends there are, and one from outside of the package."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mutualvideo.backends import (
    BackendKind,
    backend_kind,
    backend_names,
    exported_formats,
    make_backend,
)
from mutualvideo.errors import InputError
from mutualvideo.runtime import AdaptiveRecognizer
from tests.runtime.conftest import CLASSES, FULL, run_dir, tiny_cfg  # noqa: F401  (fixtures)

ROOT = Path(__file__).resolve().parents[3]
BACKEND = """
import torch
from mutualvideo.backends import BackendKind, Runner


class Doubled(BackendKind):
    name = "doubled"

    def run_network(self, network, subnet, shape):
        return DoubledRunner(network.double(), subnet, shape)


class DoubledRunner(Runner):
    def __init__(self, network, subnet, shape):
        super().__init__(subnet, shape)
        self._network = network

    @torch.inference_mode()
    def __call__(self, clips):
        return self._network(torch.from_numpy(clips).double()).softmax(1).float().numpy()
"""


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch):
    backend_names()
    own = {n: k for n, k in BackendKind.declared.items() if k.__module__.startswith("mutualvideo.")}
    monkeypatch.setattr(BackendKind, "declared", own)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "doubled.py"
    path.write_text(BACKEND)
    yield path
    sys.modules.pop("doubled", None)


def test_every_file_of_the_room_declares_its_backend():
    room = ROOT / "mutualvideo" / "backends"
    files = {path.stem for path in room.glob("*.py")} - {"__init__"}
    declared = {kind.__module__.rpartition(".")[2] for kind in BackendKind.declared.values()}
    assert declared == files
    assert set(backend_names()) == {
        "torch",
        "torch-extracted",
        "torch-compiled",
        "torch-cudagraph",
        "openvino",
        "onnxruntime",
    }
    assert set(exported_formats()) == {"openvino", "onnx", "torch_export"}


def test_asking_what_there_is_imports_neither_torch_nor_extras():
    code = """
import sys
for name in ("torch", "openvino", "onnxruntime", "onnx"):
    sys.modules[name] = None
from mutualvideo.backends import backend_kind, backend_names
assert "openvino" in backend_names() and backend_kind("onnxruntime").formats == ("onnx",)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("named", ["doubled.py:Doubled", "doubled:Doubled"])
def test_a_backend_in_a_file_of_its_own(file, named, run_dir, monkeypatch):  # noqa: F811
    monkeypatch.chdir(file.parent)
    monkeypatch.syspath_prepend(str(file.parent))
    recognizer = AdaptiveRecognizer(run_dir, device="cpu", backend=named)
    assert recognizer.backend.describe()["backend"] == "doubled"
    clip = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), np.uint8)
    expected = AdaptiveRecognizer(run_dir, device="cpu").predict(clip, FULL)
    found = recognizer.predict(clip, FULL)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert found.scores.dtype == np.float32 and found.labels[0] in CLASSES
    # Once it is there, its name is enough, and errors list it.
    assert "doubled" in backend_names() and backend_kind("doubled").name == "doubled"
    sys.modules.pop("doubled", None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:Thing", "'no_such_module:Thing': cannot be imported"),
        ("absent.py:Thing", "cannot be imported .*absent.py"),
        ("doubled.py:Nothing", "cannot be imported .*Nothing"),
        ("doubled.py:DoubledRunner", "is no subclass of mutualvideo.backends.BackendKind"),
        ("torch-exported", "runs only exported files; for a checkpoint, expected one of torch,"),
    ],
)
def test_what_is_no_backend(file, name, message, monkeypatch):
    monkeypatch.chdir(file.parent)
    with pytest.raises(InputError, match=message):
        make_backend(name, torch.nn.Identity())


def test_no_name_is_taken_twice():
    with pytest.raises(InputError, match="'torch': .*InPlace has this name already: give .*Mine"):

        class Mine(BackendKind):
            name = "torch"
