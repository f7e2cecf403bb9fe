"""Norms of a user's own that keep running statistics in buffers."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.slim import extract, set_subnet, set_width, slimmable, slimmable_report
from mutualvideo.subnet import Subnet


class OwnNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels) + 0.5)
        self.register_buffer("running_mean", torch.zeros(channels))

    def forward(self, x):
        if self.training:
            self.move(x.mean((0, 2, 3)).detach())
        return (x - self.running_mean.view(1, -1, 1, 1)) * self.weight.view(1, -1, 1, 1)


class InPlace(OwnNorm):
    def move(self, mean):
        self.running_mean.mul_(0.9).add_(0.1 * mean)


class ByCopy(OwnNorm):
    def move(self, mean):
        self.running_mean.copy_(0.9 * self.running_mean + 0.1 * mean)


class Data(OwnNorm):
    def move(self, mean):
        self.running_mean.data.lerp_(mean, 0.1)


class Assigned(OwnNorm):
    def move(self, mean):
        self.running_mean = 0.9 * self.running_mean + 0.1 * mean


class Functional(OwnNorm):
    """torch's function on buffers of its own."""

    def __init__(self, channels):
        super().__init__(channels)
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        held = self.running_mean, self.running_var
        return F.batch_norm(x, *held, self.weight, None, self.training, 0.1)


class Reshapes(nn.Module):
    """Channels that a size written into the forward keeps whole."""

    def forward(self, x):
        return x.view(-1, 32, *x.shape[2:])


def network(norm, *whole):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3), norm(32), nn.ReLU(), *whole, nn.Conv2d(32, 32, 3)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5))


@pytest.mark.parametrize("whole", [(), (Reshapes(),)], ids=["cut", "kept whole"])
@pytest.mark.parametrize("norm", [InPlace, ByCopy, Data, Assigned, Functional])
def test_the_full_network_alone_moves_them(norm, whole):
    model = network(norm, *whole)
    plain = copy.deepcopy(model).train()
    slimmable(model).train()
    report = slimmable_report(model)
    assert ("0" in report.kept) == bool(whole), report
    x = torch.randn(4, 3, 12, 12)
    plain(x), model(x)
    torch.testing.assert_close(model[1].running_mean, plain[1].running_mean)
    before = copy.deepcopy(dict(model[1].named_buffers()))
    for width in (0.25, 0.5, 0.75):
        set_width(model, width)
        model(x + 5).sum().backward()
    set_subnet(model, Subnet(1, None, 8))
    model(x[..., :8, :8] + 5)
    set_width(model, 1)
    for name, tensor in dict(model[1].named_buffers()).items():
        assert torch.equal(tensor, before[name]), name
    model.eval(), plain.eval()
    torch.testing.assert_close(model(x), plain(x))
    subnet = Subnet(0.5, None, 12)
    set_subnet(model, subnet)
    torch.testing.assert_close(model(x), extract(model, subnet)(x))
    assert model[0](x).shape[1] == (32 if whole else 16)


@pytest.mark.parametrize("layer", [nn.PReLU(32), InPlace(32), nn.BatchNorm2d(32)])
def test_what_is_kept_whole_after_a_first_plan_is_not_refused(layer):
    model = network(lambda channels: copy.deepcopy(layer), Reshapes())
    wanted = copy.deepcopy(model).eval()
    slimmable(model).eval()
    x = torch.randn(2, 3, 12, 12)
    torch.testing.assert_close(model(x), wanted(x))
    assert slimmable_report(model).kept["0"].startswith("view does something else")
