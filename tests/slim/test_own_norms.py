"""Norms of a user's own that keep running statistics in buffers."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.mutual import mutual_step
from mutualvideo.slim import extract, set_subnet, set_width, slimmable, slimmable_report
from mutualvideo.slim.recompute import recompute
from mutualvideo.subnet import Subnet
from tests.slim.test_unusual_layers import Joined


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


class Cumulative(OwnNorm):
    """Counts its batches, as momentum=None does."""

    def __init__(self, channels):
        super().__init__(channels)
        self.register_buffer("count", torch.tensor(0))

    def move(self, mean):
        self.count += 1
        self.running_mean += (mean - self.running_mean) / self.count


@pytest.mark.parametrize("norm", [InPlace, ByCopy, Data, Assigned, Functional, Cumulative])
@pytest.mark.parametrize("joined", [False, True])
def test_the_widest_network_of_a_range_below_1_moves_its_part(norm, joined):
    torch.manual_seed(0)
    model = Joined(norm(32)) if joined else network(norm)
    slimmable(model, (0.25, 0.5)).train()
    own = model.norm if joined else model[1]
    x, subnet = torch.randn(4, 3, 12, 12), Subnet(0.5, None, 12)
    set_width(model, 0.5)
    plain = extract(model, subnet, example=x).train()
    active = [*range(8), *range(16, 24)] if joined else list(range(16))
    for _ in range(2):
        torch.testing.assert_close(model(x), plain(x))
    set_width(model, 0.25)
    model(x + 3)
    theirs = plain.norm if joined else plain[1]
    for name, wanted in theirs.named_buffers():
        found = dict(own.named_buffers())[name]
        torch.testing.assert_close(found[active] if wanted.dim() else found, wanted)
        if wanted.dim():
            rest = found[[i for i in range(32) if i not in active]]
            assert torch.equal(rest, torch.full_like(rest, float(name == "running_var")))


@pytest.mark.parametrize("norm", [InPlace, Assigned, Cumulative])
def test_counts_and_recomputed_passes(norm):
    model = network(norm)
    plain = copy.deepcopy(model).train()
    slimmable(model, full=Subnet(1, None, 12)).train()
    recompute(model, [model[1]])
    x = torch.randn(4, 3, 12, 12)
    for _ in range(2):
        subnets = [Subnet(width, None, 12) for width in (1, 0.25, 0.6)]
        mutual_step(model, x, torch.arange(4), subnets)
        plain(x)
    for name, wanted in plain[1].named_buffers():
        torch.testing.assert_close(dict(model[1].named_buffers())[name], wanted)


class Window(nn.Module):
    """A buffer as long as the picture is wide, made anew when that changes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("win", torch.hann_window(8))
        self.register_buffer("seen", torch.zeros(2))
        self.one, self.other = nn.Conv2d(3, 32, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x):
        if self.win.shape[0] != x.shape[-1]:
            self.win = torch.hann_window(x.shape[-1])
        if self.training:
            self.seen = torch.cat([self.seen, x.mean().detach()[None]])[-5:]
        return self.other(self.one(x * self.win)).mean((2, 3))


def test_buffers_that_are_no_numbers_for_channels():
    model = Window()
    plain = copy.deepcopy(model)
    slimmable(model, example=torch.randn(4, 3, 8, 8))
    for training in (False, True):
        plain.train(training), model.train(training)
        for size in (16, 4, 8, 12):
            x = torch.randn(2, 3, size, size)
            torch.testing.assert_close(model(x), plain(x))
    assert torch.equal(model.seen, plain.seen) and len(model.seen) == 5
    set_width(model, 0.25)
    model(torch.randn(2, 3, 20, 20))
    assert torch.equal(model.seen, plain.seen) and torch.equal(model.win, plain.win)


def test_what_is_assigned_outside_of_a_pass_stays():
    model = slimmable(network(InPlace)).train()
    set_width(model, 0.5)
    state = {name: torch.full_like(t, 7) for name, t in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    set_width(model, 1)
    assert (model[1].running_mean == 7).all()
    model[1].running_mean = torch.zeros(32)
    assert (model.state_dict()["1.running_mean"] == 0).all()


class Updated(nn.Module):
    """A norm that its parent, or a hook, tells to move."""

    def __init__(self, by_hook):
        super().__init__()
        self.one, self.norm, self.other = nn.Conv2d(3, 32, 3), Assigned(32), nn.Conv2d(32, 4, 3)
        self.by_hook = by_hook
        if by_hook:
            self.norm.register_forward_hook(lambda norm, inputs, _: update(norm, inputs[0]))

    def forward(self, x):
        x = self.one(x)
        if not self.by_hook:
            update(self.norm, x)
        return self.other(self.norm(x)).mean((2, 3))


def update(norm, x):
    if norm.training:
        norm.move(x.mean((0, 2, 3)).detach())


@pytest.mark.parametrize("widest", [1.0, 0.5])
@pytest.mark.parametrize("by_hook", [False, True])
def test_what_moves_them_from_outside(monkeypatch, by_hook, widest):
    monkeypatch.setattr(Assigned, "forward", lambda s, x: x - s.running_mean.view(1, -1, 1, 1))
    model = Updated(by_hook)
    slimmable(model, (0.25, widest), example=torch.empty(2, 3, 12, 12, device="meta")).train()
    set_width(model, widest)
    x = torch.randn(4, 3, 12, 12)
    moved = 0.1 * model.one(x).mean((0, 2, 3)).detach()
    model(x)
    wanted = torch.cat([moved, torch.zeros(32 - len(moved))])
    torch.testing.assert_close(model.norm.running_mean, wanted[: len(moved)])
    set_width(model, 0.25)
    model(x + 1)
    assert torch.equal(model.state_dict()["norm.running_mean"], wanted)
