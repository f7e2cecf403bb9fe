"""Files that are read, and those that are refused with the reason."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.models import read_checkpoint

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}
LEGACY = {"_use_new_zipfile_serialization": False}


@pytest.mark.parametrize("how", [{}, LEGACY], ids=["zip", "legacy"])
@pytest.mark.parametrize("key", [None, "model_state", "state_dict", "model"])
def test_weights_are_read(tmp_path, how, key):
    content = {key: STATE, "epoch": 1} if key else STATE
    torch.save(content, tmp_path / "file.pth", **how)
    read = read_checkpoint(tmp_path / "file.pth")
    assert read["model_state"].keys() == STATE.keys()
    assert all(torch.equal(read["model_state"][name], STATE[name]) for name in STATE)
    assert read.get("epoch") == (1 if key else None)


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def saved(content, **how):
    return lambda path: torch.save(content, path, **how)


def cut(part, **how):
    def write(path):
        torch.save(STATE, path, **how)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * part)])

    return write


def pickled(content):
    return lambda path: path.write_bytes(pickle.dumps(content, protocol=2))


def scripted(path):
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), path)


REFUSED = {
    "code": (saved({"model": Evil()}), "asks for the Python object print, "),
    "code, legacy": (saved({"model": Evil()}, **LEGACY), "asks for the Python object print, "),
    "module": (saved(nn.Linear(2, 2)), r"the Python object torch.nn.modules.linear.Linear, "),
    "numpy": (saved({"best": np.float64(1), **STATE}), "the Python object numpy.*scalar"),
    "cut": (cut(0.6), "cut off, or damaged"),
    "cut at its end": (cut(0.99), "cut off, or damaged"),
    "cut, legacy": (cut(0.5, **LEGACY), "cut off, or damaged"),
    "cut in the numbers, legacy": (cut(0.99, **LEGACY), "cut off, or damaged"),
    "empty": (lambda path: path.write_bytes(b""), "it is empty"),
    "junk": (lambda path: path.write_bytes(b"<html>"), "it is no file of torch.save"),
    "folder": (lambda path: path.mkdir(), "it is a folder"),
    "TorchScript": (scripted, "TorchScript archive"),
    "Caffe2": (pickled({"blobs": {"conv1_w": np.ones(3, np.float32)}}), "Caffe2"),
    "pickle": (pickled({"weights": [1.0]}), "a plain pickle"),
    "tensor": (saved(torch.ones(3)), "holds no model_state but a Tensor"),
    "nothing": (saved({}), "holds no model_state.* but nothing"),
    "no weights": (saved({"epoch": 1, "lr": 0.1}), "holds no model_state.* but epoch, lr"),
    "no tensor": (saved({"state_dict": {"epoch": 3}}), "epoch is a int where a tensor"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_other_files_are_refused(tmp_path, capfd, case):
    write, message = REFUSED[case]
    write(tmp_path / "file.pth")
    with pytest.raises(InputError, match=f"file.pth: .*{message}") as caught:
        read_checkpoint(tmp_path / "file.pth")
    assert "\n" not in str(caught.value) and "weights_only=False" not in str(caught.value)
    assert "executed" not in capfd.readouterr().out


def test_absent_file(tmp_path):
    with pytest.raises(InputError, match="absent.pth: no such checkpoint file"):
        read_checkpoint(tmp_path / "absent.pth")
