"""Whatever a checkpoint holds, reading it ends soon: with what was read, or with an
``InputError``."""

import contextlib
import io

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from mutualvideo import Subnet, slimmable
from mutualvideo.config import get_cfg
from mutualvideo.config.load import cfg_from_dict, cfg_to_dict
from mutualvideo.models import load_model, read_checkpoint
from mutualvideo.models.weights.pretrained import load_pretrained
from mutualvideo.slim import calibrate, get_statistics, load_statistics
from tests.fuzz.given_files import TREES, damaged, fuzz, places, reads, replaced

FULL = Subnet(1, 4, 16)


def network():
    torch.manual_seed(0)
    layers = nn.Conv3d(3, 8, 1), nn.BatchNorm3d(8), nn.AdaptiveAvgPool3d(1), nn.Flatten()
    return slimmable(nn.Sequential(*layers, nn.Linear(8, 2)), (0.5, 1), divisor=4, full=FULL)


def saved(content, **how):
    buffer = io.BytesIO()
    torch.save(content, buffer, **how)
    return buffer.getvalue()


def statistics():
    model = network()
    calibrate(model, [Subnet(0.5, 4, 16)], [torch.ones(2, 3, 4, 16, 16)])
    return get_statistics(model)


FILES = {
    "zip": saved({"model_state": network().state_dict(), "cfg": cfg_to_dict(get_cfg())}),
    "legacy": saved({"model_state": network().state_dict()}, _use_new_zipfile_serialization=False),
    "statistics": saved(statistics()),
}
TENSORS = st.sampled_from(
    [
        torch.ones(8),
        torch.ones(8).to_sparse(),
        torch.ones(8, device="meta"),
        torch.tensor(1j),
        torch.ones(2, 8),
        torch.ones(0),
        torch.ones(8, dtype=torch.bfloat16),
        torch.ones(1).expand(8),
        torch.full((8,), float("nan")),
        nn.Parameter(torch.ones(8)),
        torch.ones(8, dtype=torch.bool),
    ]
)


def load_everything(path):
    for read in (
        read_checkpoint,
        lambda p: load_pretrained(network(), p, replace_classifier=True),
        lambda p: load_statistics(network(), str(p)),
    ):
        with contextlib.redirect_stderr(io.StringIO()):
            found = reads(read, path)
        if isinstance(found, dict) and isinstance(found.get("cfg"), dict):
            reads(cfg_from_dict, found["cfg"], str(path))


@pytest.mark.parametrize("kind", FILES)
@fuzz
@given(data=st.data())
def test_bytes_as_checkpoints(tmp_path, kind, data):
    path = tmp_path / "file.pyth"
    path.write_bytes(data.draw(damaged(FILES[kind]) | st.binary(max_size=60)))
    load_everything(path)


ARCHITECTURES = {
    key: value
    for key, value in cfg_to_dict(get_cfg()).items()
    if key in ("MODEL", "X3D", "RESNET", "SLOWFAST", "MOBILENET", "WIDERESNET", "MUTUAL", "BN")
}
NUMBERS = st.sampled_from(
    [
        0,
        -1,
        1,
        2,
        3,
        7,
        50,
        10**4,
        10**9,
        10**18,
        0.0,
        -0.5,
        1e-300,
        0.3,
        2.5,
        99.0,
        1e300,
        float("nan"),
        float("inf"),
        True,
        [0.5],
        [0.5, 1.0],
        [1.0, 0.5],
        [float("nan"), 1.0],
        "x3d",
    ]
)


@fuzz
@given(
    st.sampled_from(["X3D", "ResNet", "SlowFast", "MobileNetV2", "WideResNet", "ImageResNet"]),
    st.dictionaries(
        st.sampled_from([f"{s}.{k}" for s, keys in ARCHITECTURES.items() for k in keys]),
        NUMBERS,
        max_size=4,
    ),
)
@example("X3D", {"X3D.DEPTH_FACTOR": 1e9})
@example("X3D", {"X3D.WIDTH_FACTOR": 99.0, "X3D.BOTTLENECK_FACTOR": 99.0, "X3D.DEPTH_FACTOR": 19.0})
@example("ResNet", {"MODEL.NUM_CLASSES": 10**15})
@example("SlowFast", {"SLOWFAST.ALPHA": 0})
@example("X3D", {"MUTUAL.WIDTH_RANGE": []})
def test_networks_that_a_checkpoint_asks_for(tmp_path, name, changes):
    arch = {"X3D": "x3d", "ResNet": "slow", "SlowFast": "slowfast"}.get(name, "2d")
    tree = {"MODEL": {"MODEL_NAME": name, "ARCH": arch}}
    for key, value in changes.items():
        section, leaf = key.split(".")
        tree.setdefault(section, {})[leaf] = value
    path = tmp_path / "file.pyth"
    torch.save({"model_state": {"a": torch.ones(3)}, "cfg": tree}, path)
    assert reads(load_model, path) is None


# A text of 2 ** 40 and of 2 ** 63 characters; a name that is cut off; a cycle.
@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8d" + (2**40).to_bytes(8, "little"),
        b"\x80\x04\x8d" + (2**63).to_bytes(8, "little"),
        b"\x80\x02cos\n",
        b"\x80\x02}q\x00h\x00h\x00s.",
        b"\x80\x02" + b"(" * 100_000,
        b"\x80\x02cposix\nsystem\nX\x05\x00\x00\x00false\x85R.",
    ],
)
def test_pickles_that_ask_for_too_much(tmp_path, content):
    path = tmp_path / "file.pyth"
    path.write_bytes(content)
    load_everything(path)


STATE = network().state_dict()
STATISTICS = statistics()


@fuzz
@given(st.data())
def test_trees_as_checkpoints(tmp_path, data):
    path = tmp_path / "file.pyth"
    whole = {"model_state": STATE, "cfg": cfg_to_dict(get_cfg())}
    whole = data.draw(st.sampled_from([whole, STATISTICS, dict(STATE)]))
    place = data.draw(st.sampled_from(list(places(whole))))
    content = replaced(whole, place, data.draw(TREES | TENSORS))
    torch.save(content, path)
    load_everything(path)


def test_a_checkpoint_that_holds_itself(tmp_path):
    content = {"model_state": {}}
    content["model_state"]["a"] = content["cfg"] = content
    torch.save(content, tmp_path / "file.pyth")
    load_everything(tmp_path / "file.pyth")
    reads(cfg_from_dict, content, "itself")
