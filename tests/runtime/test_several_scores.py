"""Scores of videos with several labels, on backends and in exported folders."""

import numpy as np
import pytest
import torch

from mutualvideo import Subnet
from mutualvideo.backends import Runner
from mutualvideo.backends.common.base import softmax
from mutualvideo.errors import InputError
from mutualvideo.runtime.manifest import Manifest


def test_the_sigmoid_of_numpy_is_torchs():
    logits = np.array([[-200.0, -1.5, 0.0, 3.25, 200.0]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        found = softmax(logits, several_labels=True)
    wanted = torch.from_numpy(logits).double().sigmoid().float().numpy()
    assert found.dtype == np.float32 and found == pytest.approx(wanted, abs=1e-7)


def test_a_backend_that_knows_nothing_of_it_is_refused():
    class Old(Runner):
        def __call__(self, clips):
            return np.full((len(clips), 2), 0.5)

    class New(Old):
        takes_several = True

    with pytest.raises(InputError, match="backend 'old': .* several labels: choose another"):
        Old(Subnet(1, 4, 32), (4, 32)).score_several("old")
    assert New(Subnet(1, 4, 32), (4, 32)).score_several("new").several_labels


def test_an_exported_folder_says_so(tmp_path):
    data = {
        "NUM_FRAMES": 4, "SAMPLING_RATE": 2, "TARGET_FPS": 30, "TEST_CROP_SIZE": 32,
        "TEST_CROP_SHARE": 1.0, "MEAN": [0.5] * 3, "STD": [0.2] * 3,
    }  # fmt: skip
    sums = {"query_table.json": "sha256:0"}
    one = Manifest("onnx", "X3D", 3, None, data, [], sums, {})
    one.save(tmp_path)
    assert "multi_label" not in (tmp_path / "manifest.json").read_text()
    assert Manifest.load(tmp_path) == one
    several = Manifest("onnx", "X3D", 3, None, data, [], sums, {}, multi_label=True)
    several.save(tmp_path)
    assert Manifest.load(tmp_path).multi_label is True
    text = (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text(text.replace('"multi_label": true', '"multi_label": 1'))
    with pytest.raises(InputError, match="multi_label is 1"):
        Manifest.load(tmp_path)
