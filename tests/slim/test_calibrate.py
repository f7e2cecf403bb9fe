"""BatchNorm statistics of sub-networks, against torch's own cumulative average."""

import pytest
import torch
from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.models import build_model
from mutualvideo.slim import (
    calibrate,
    extract,
    get_statistics,
    is_calibrated,
    load_statistics,
    require_calibrated,
    set_subnet,
    slimmable,
    subnet_input,
)
from mutualvideo.subnet import Subnet
from tests.networks import make_cfg, randomize_norms

FULL, HALF, SMALL = (Subnet.parse(text) for text in ("1x4x64", "0.63x4x64", "0.75x2x32"))


@pytest.fixture
def model():
    torch.manual_seed(0)
    network = build_model(make_cfg("X3D", X3D__DEPTH_FACTOR=1.0, MODEL__DROPOUT_RATE=0.5))
    randomize_norms(network)
    return network


@pytest.fixture
def clips():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, 4, 64, 64, generator=generator) for _ in range(3)]


def reference(model, subnet, clips):
    """The extracted network in training mode with momentum=None: torch's cumulative average."""
    static = extract(model, subnet)
    norms = [m for m in static.modules() if isinstance(m, nn.BatchNorm3d)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        for batch in clips:
            static(subnet_input(model, batch, subnet))
    return static.eval()


@pytest.mark.parametrize("subnet", [FULL, HALF, SMALL], ids=str)
def test_equals_torchs_cumulative_average(model, clips, subnet):
    wanted = reference(model, subnet, clips)
    calibrate(model, [SMALL, HALF, FULL], clips)
    found = extract(model, subnet)
    for name, tensor in wanted.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(found.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
    model.eval()
    set_subnet(model, subnet)
    x = subnet_input(model, clips[0], subnet)
    with torch.no_grad():
        torch.testing.assert_close(model(x), wanted(x), rtol=1e-4, atol=1e-4)


def test_touches_nothing_else_and_is_idempotent(model, clips):
    model.train()
    set_subnet(model, HALF)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    calibrate(model, [HALF, SMALL], clips)
    once = get_statistics(model)
    calibrate(model, [HALF, SMALL], clips)
    twice = get_statistics(model)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert model.training and model.slim_state.subnet == HALF
    assert all(parameter.grad is None for parameter in model.parameters())
    for subnet, layers in once["subnets"].items():
        for name, pair in layers.items():
            for a, b in zip(pair, twice["subnets"][subnet][name], strict=True):
                assert torch.equal(a, b)


def test_batches_weigh_as_many_clips_as_they_have(model, clips):
    uneven = [clips[0], clips[1][:1]]
    calibrate(model, [HALF], uneven)
    mean = model.blocks[0].norm.statistics[HALF][0]
    with torch.no_grad():
        convs = [extract(model, HALF).blocks[0].conv(c).transpose(0, 1).flatten(1) for c in uneven]
    wanted = (4 * convs[0].mean(1) + 1 * convs[1].mean(1)) / 5
    torch.testing.assert_close(mean, wanted, rtol=1e-4, atol=1e-5)


class OneHeadForAllLevels(nn.Module):
    """A convolution and its norm run on two levels of a pyramid, as detectors' heads do."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3, padding=1)
        self.norm, self.fc = nn.BatchNorm2d(16), nn.Linear(16, 5)

    def levels(self, x):
        return self.stem(x), nn.functional.max_pool2d(self.stem(x), 4) * 3

    def forward(self, x):
        return sum(self.fc(self.norm(self.conv(one)).mean((2, 3))) for one in self.levels(x))


def test_a_norm_that_a_pass_uses_twice_collects_both():
    model, subnet = OneHeadForAllLevels(), Subnet(0.5, None, 16)
    slimmable(model)
    batches = [torch.randn(4, 3, 16, 16), torch.randn(2, 3, 16, 16) + 1]
    calibrate(model, subnet, batches)
    mean, var = model.norm.statistics[subnet]
    plain = extract(model, subnet)
    # torch's own: the mean over all calls. Batches of four and of two: the first one twice.
    plain.norm = nn.BatchNorm2d(8, momentum=None)
    with torch.no_grad():
        for x in (batches[0], *batches):
            plain.train()(x)
    torch.testing.assert_close(mean, plain.norm.running_mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(var, plain.norm.running_var, rtol=1e-4, atol=1e-5)


def test_round_trip_through_a_file(model, clips, tmp_path):
    calibrate(model, [HALF, SMALL], clips)
    torch.save(get_statistics(model), tmp_path / "bn.pyth")
    other = build_model(make_cfg("X3D", X3D__DEPTH_FACTOR=1.0))
    other.load_state_dict(model.state_dict())
    load_statistics(other, tmp_path / "bn.pyth")
    assert is_calibrated(other, HALF) and is_calibrated(other, SMALL)
    assert get_statistics(other)["subnets"].keys() == {str(HALF), str(SMALL)}
    model.eval(), other.eval()
    for subnet in (HALF, SMALL):
        set_subnet(model, subnet), set_subnet(other, subnet)
        x = subnet_input(model, clips[0], subnet)
        with torch.no_grad():
            assert torch.equal(model(x), other(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_statistics_are_float32_and_follow_the_precision_of_the_network(model, clips, dtype):
    calibrate(model, HALF, clips)
    kept = get_statistics(model)
    other = build_model(make_cfg("X3D", X3D__DEPTH_FACTOR=1.0)).to(dtype)
    load_statistics(other, kept)
    norm = other.blocks[0].norm
    assert {t.dtype for t in norm.statistics[HALF]} == {dtype}
    again = get_statistics(other)
    assert {t.dtype for pair in again["subnets"][str(HALF)].values() for t in pair} == {
        torch.float32
    }
    load_statistics(model, again)


def test_uncalibrated_is_refused_by_name(model):
    require_calibrated(model, FULL, "evaluation")
    with pytest.raises(InputError, match="evaluation: sub-network 0.63x4x64 was never calibrated"):
        require_calibrated(model, HALF, "evaluation")


def test_bad_input(model, clips, tmp_path):
    with pytest.raises(InputError, match="no clips"):
        calibrate(model, [HALF], [])
    (tmp_path / "broken").write_bytes(b"not a file of torch")
    with pytest.raises(InputError, match="broken: cannot be read"):
        load_statistics(model, tmp_path / "broken")
    calibrate(model, [HALF], clips[:1])
    other = build_model(make_cfg("X3D", X3D__DEPTH_FACTOR=2.2))
    with pytest.raises(InputError, match="belongs to another network"):
        load_statistics(other, get_statistics(model))
