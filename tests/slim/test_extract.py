"""Extracted networks stand on their own: small, of plain layers, exported without this package."""

import functools
import io
import os
import subprocess
import sys

import pytest
import torch
import torchvision
from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.models import build_model
from mutualvideo.slim import count_costs, extract, set_subnet, slimmable, subnet_input
from mutualvideo.subnet import Subnet
from tests.networks import NETWORKS, few_blocks, make_cfg, make_clip, randomize_norms, subnets


def make(name, **overrides):
    """(slimmable network in eval mode, full clip or image, sub-networks)."""
    torch.manual_seed(0)
    if name in NETWORKS:
        cfg = make_cfg(name, **overrides)
        with few_blocks():
            model = build_model(cfg)
        x, some = make_clip(cfg, 1), subnets(cfg)
    else:
        model = slimmable(getattr(torchvision.models, name)(num_classes=7))
        x = torch.randn(1, 3, 64, 64)
        some = [Subnet(width, None, size) for width, size in ((1, 64), (0.25, 32), (0.8, 48))]
    randomize_norms(model)
    return model.eval(), x, some


def bytes_of(network):
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    return file.getbuffer().nbytes


@pytest.fixture(scope="module")
def made():
    """:func:`make`, once a network, for what changes none."""
    return functools.cache(make)


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("name", [*NETWORKS, "resnet18"])
def test_the_state_is_as_small_as_the_sub_network(made, name, fold):
    model, _, some = made(name)
    subnet = some[1]
    params = count_costs(model, [subnet])[subnet].params
    static = extract(model, subnet, fold=fold)
    state = static.state_dict()
    assert all(
        tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        for tensor in state.values()
    )
    storages = [tensor.untyped_storage().data_ptr() for tensor in state.values()]
    assert len(set(storages)) == len(storages)
    theirs = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    assert not theirs & set(storages)
    own = sum(tensor.nbytes for tensor in state.values())
    # Names and padding take about 500 bytes a tensor.
    assert own < bytes_of(static) < own + 1000 * len(state)
    assert bytes_of(static) < 0.85 * bytes_of(model)
    held = sum(parameter.numel() for parameter in static.parameters())
    assert held < params if fold else held == params


@pytest.mark.parametrize("fold", [False, True])
def test_only_torchs_own_layers_and_the_networks_are_left(made, fold):
    model, _, some = made("X3D")
    static = extract(model, some[1], fold=fold)
    assert not hasattr(static, "slim_state")
    for module in static.modules():
        assert not type(module).__module__.startswith("mutualvideo.slim")
        assert not vars(module).keys() & {"slim", "out_rule", "in_segments", "statistics"}
        assert not module.training


# Loads what was exported where neither this package nor PyTorchVideo can be imported.
_ALONE = """
import sys
sys.modules["mutualvideo"] = sys.modules["pytorchvideo"] = None
import torch
torch.set_num_threads(1)
for name in ("mutualvideo", "pytorchvideo"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(name + " could be imported")
answers = {}
for path, x in torch.load("inputs.pt").items():
    with torch.no_grad():
        answers[path] = torch.export.load(path).module()(x)
torch.save(answers, "answers.pt")
"""


@pytest.mark.slow
def test_exported_networks_answer_without_this_package(tmp_path):
    inputs, wanted = {}, {}
    # Folded and not, in turns; videos and pictures of both.
    for number, name in enumerate((*sorted(NETWORKS), "resnet18")):
        # Exporting takes a time by the layer, and blocks of a kind are exported alike.
        model, x, some = make(name, **({"X3D__DEPTH_FACTOR": 0.4} if name == "X3D" else {}))
        fold = number % 2 == 1
        subnet = some[2 if fold else 1]
        clip = subnet_input(model, x, subnet)
        exported = torch.export.export(extract(model, subnet, fold=fold), (clip,))
        path = f"{name}_{subnet}.pt2"
        torch.export.save(exported, tmp_path / path)
        set_subnet(model, subnet)
        with torch.no_grad():
            inputs[path], wanted[path] = clip, model(clip)
    torch.save(inputs, tmp_path / "inputs.pt")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", _ALONE],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers = torch.load(tmp_path / "answers.pt")
    assert answers.keys() == wanted.keys()
    for path, answer in answers.items():
        assert (answer - wanted[path]).abs().max() < 1e-5, path


class Pathways(nn.Module):
    """Takes a list of two pathways and writes into it, as PyTorchVideo's SlowFast does."""

    def __init__(self):
        super().__init__()
        self.slow = nn.Sequential(nn.Conv3d(3, 32, 1), nn.BatchNorm3d(32), nn.ReLU())
        self.fast = nn.Sequential(nn.Conv3d(3, 16, 1), nn.BatchNorm3d(16), nn.ReLU())
        self.fc = nn.Linear(48, 5)

    def forward(self, x):
        for number, layer in enumerate((self.slow, self.fast)):
            x[number] = layer(x[number]).mean((2, 3, 4))
        return self.fc(torch.cat(x, 1))


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(4, 32, 1), nn.BatchNorm2d(32), nn.Linear(32, 5)

    def forward(self, x, scale, power):
        return self.fc(self.norm(self.conv(x) * scale).pow(power).mean((2, 3)))


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("kind", [Pathways, Scaled])
def test_an_example_tells_what_the_network_takes(kind, fold):
    torch.manual_seed(0)
    if kind is Pathways:
        example = [torch.randn(2, 3, frames, 4, 4) for frames in (2, 8)]
    else:
        example = torch.randn(2, 4, 6, 6), torch.randn(2, 1, 6, 6), 2
    model = slimmable(kind(), example=example).eval()
    randomize_norms(model)
    subnet = Subnet(0.5, None, 6)
    static = extract(model, subnet, fold=fold, example=example)
    folded = [m for m in static.modules() if isinstance(m, nn.Identity)]
    assert len(folded) == (2 if fold and kind is Pathways else 0)
    set_subnet(model, subnet)

    def run(network):
        return network(*example) if isinstance(example, tuple) else network(list(example))

    with torch.no_grad():
        torch.testing.assert_close(run(static), run(model), rtol=1e-5, atol=1e-5)


def test_channels_of_the_input():
    model = slimmable(nn.Sequential(nn.Conv2d(1, 16, 1), nn.BatchNorm2d(16), nn.Conv2d(16, 4, 1)))
    subnet = Subnet(0.5, None, 8)
    static = extract(model, subnet, in_channels=1, fold=True)
    assert (static[0].out_channels, type(static[1])) == (8, nn.Identity)


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.spare = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1)

    def forward(self, x):
        return self.used(x)


def test_refuses_a_layer_that_is_not_used():
    with pytest.raises(InputError, match="does not use spare"):
        extract(slimmable(Unused()), Subnet(0.5, None, 8))
