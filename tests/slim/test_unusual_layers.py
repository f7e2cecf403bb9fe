"""Layers and networks that few have: pickled, without a batch, ranges below 1, recurrent heads."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.slim import extract, set_subnet, set_width, slimmable
from mutualvideo.subnet import Subnet


class Activates(nn.BatchNorm2d):
    """A BatchNorm with a forward of its own, as timm's."""

    def forward(self, x):
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        held = self.running_mean, self.running_var
        y = F.batch_norm(x, *held, self.weight, self.bias, self.training, self.momentum, self.eps)
        return F.relu(y)


class PadsItself(nn.Conv2d):
    def forward(self, x):
        x = F.pad(x, (1, 1, 1, 1))
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(16))

    def forward(self, x):
        return x * self.weight.view(1, -1, 1, 1)


class Normed(nn.Module):
    """LayerNorm over channels that lie last."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(16)

    def forward(self, x):
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


MIDDLES = {
    "BatchNorm": lambda: nn.BatchNorm2d(16),
    "its own BatchNorm": lambda: Activates(16),
    "GroupNorm": lambda: nn.GroupNorm(4, 16),
    "InstanceNorm": lambda: nn.InstanceNorm2d(16, affine=True, track_running_stats=True),
    "LayerNorm": Normed,
    "its own convolution": lambda: PadsItself(16, 16, 3),
    "transposed": lambda: nn.ConvTranspose2d(16, 16, 3),
    "PReLU": lambda: nn.PReLU(16),
    "LayerScale": Scale,
}


def network(name):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3), MIDDLES[name](), nn.Conv2d(16, 16, 3)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))


@pytest.mark.parametrize("name", MIDDLES)
@torch.no_grad()
def test_a_pickled_network_is_the_same_network(name):
    model = slimmable(network(name)).eval()
    found = pickle.loads(pickle.dumps(model))
    x, half = torch.randn(2, 3, 12, 12), Subnet(0.5, None, 12)
    for width in (0.25, 0.5, 1):
        set_width(model, width), set_width(found, width)
        assert torch.equal(found(x), model(x))
    set_subnet(found, half), set_subnet(model, half)
    torch.testing.assert_close(extract(found, half, example=x)(x), model(x))
    set_width(model, 1)
    assert found.slim_state is not model.slim_state and found.slim_state.width == 0.5


class Joined(nn.Module):
    """A norm that reads a concatenation."""

    def __init__(self, norm):
        super().__init__()
        self.one, self.other, self.norm = nn.Conv2d(3, 16, 3), nn.Conv2d(3, 16, 3), norm
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        return self.fc(self.norm(torch.cat([self.one(x), self.other(x)], 1)).mean((2, 3)))


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(32), Activates(32), nn.InstanceNorm2d(32, track_running_stats=True)]
)
def test_the_widest_network_of_a_range_below_1_moves_running_statistics(norm):
    torch.manual_seed(0)
    model = Joined(copy.deepcopy(norm))
    slimmable(model, (0.25, 0.5)).train()
    x, subnet = torch.randn(4, 3, 12, 12), Subnet(0.5, None, 12)
    set_width(model, 0.5)
    plain = extract(model, subnet).train()
    for _ in range(2):
        model(x), plain(x)
    active = [*range(8), *range(16, 24)]  # of each part
    for name in ("running_mean", "running_var"):
        whole, wanted = getattr(model.norm, name), getattr(plain.norm, name)
        torch.testing.assert_close(whole[active], wanted)
        rest = whole[[i for i in range(32) if i not in active]]
        assert torch.equal(rest, torch.full_like(rest, float(name == "running_var")))
    set_width(model, 0.25)
    model(x)  # a narrower one moves none
    torch.testing.assert_close(model.norm.running_mean[active], plain.norm.running_mean)


@pytest.mark.parametrize("name", ["PReLU", "transposed", "InstanceNorm", "its own convolution"])
@torch.no_grad()
def test_a_single_picture_without_a_batch(name):
    layers = list(network(name))[:3]
    model = nn.Sequential(*layers)
    x = torch.randn(3, 12, 12)
    if name == "PReLU":  # takes dimension 1 for its channels
        model[1] = nn.ReLU()
    wanted = copy.deepcopy(model).eval()(x)
    slimmable(model).eval()
    torch.testing.assert_close(model(x), wanted)
    set_width(model, 0.5)
    batched = model(x[None])[0]
    torch.testing.assert_close(model(x), batched)


class Recurrent(nn.Module):
    def __init__(self, kind, batch_first):
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3)
        self.over, self.fc = kind(32, 24, batch_first=batch_first), nn.Linear(24, 5)
        self.batch_first = batch_first

    def forward(self, x):
        places = self.other(self.one(x)).flatten(2)
        last = self.over(places.movedim(2, 1 if self.batch_first else 0))[0]
        return self.fc(last[:, -1] if self.batch_first else last[-1])


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", [nn.GRU, nn.RNN, nn.LSTM])
@torch.no_grad()
def test_a_recurrent_layer_on_top_stays_whole(kind, batch_first):
    model = Recurrent(kind, batch_first)
    x, wanted = torch.randn(2, 3, 12, 12), copy.deepcopy(model)
    slimmable(model, example=torch.empty(2, 3, 12, 12, device="meta")).eval()
    torch.testing.assert_close(model(x), wanted(x))
    set_width(model, 0.5)
    wanted.one.weight = nn.Parameter(model.one.weight[:16])
    wanted.one.bias = nn.Parameter(model.one.bias[:16])
    wanted.other.weight = nn.Parameter(model.other.weight[:, :16])
    torch.testing.assert_close(model(x), wanted(x))
