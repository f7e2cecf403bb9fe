"""Sizes and places that agree with the full network's at some widths alone: right at every one.

The reference is the network itself, whole: with the parameters zeroed that a narrow pass has no
gradient for, it computes what a network without those channels does.
"""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.slim import set_width, slimmable

EXAMPLE = torch.empty(2, 3, 8, 8, device="meta")


class OneChannel(nn.Module):
    """One channel, taken by its number, weighs all."""

    def __init__(self, take, channels=64):
        super().__init__()
        self.take, self.stem, self.head = take, nn.Conv2d(3, channels, 1), nn.Conv2d(channels, 5, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.head(x * torch.sigmoid(self.take(x)))


class SizeOfAnother(nn.Module):
    """As many channels of one tensor as another has, whose layers are rounded apart."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 128, 1), nn.Conv2d(3, 128, 1)
        self.joined, self.head = nn.Conv2d(256, 320, 1), nn.Conv2d(256, 5, 1)

    def forward(self, x):
        x = torch.cat([self.one(x), self.other(x)], 1)
        return self.head(self.joined(x)[:, : x.shape[1]])


class ShapeOfAnother(nn.Module):
    """A tensor takes the shape of another one, whose layers are rounded apart."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 64, 1), nn.Conv2d(3, 64, 1)
        self.mixed, self.head = nn.Linear(128, 128), nn.Conv2d(128, 5, 1)

    def forward(self, x):
        x = torch.cat([self.one(x), self.other(x)], 1)
        mixed = self.mixed(x.flatten(2).transpose(1, 2))
        return self.head(mixed.transpose(1, 2).reshape(x.shape))


def without_the_rest(model, whole, x):
    """What ``whole`` answers without the parameters that ``model`` has no use for on ``x``."""
    model.zero_grad()
    model(x).square().sum().backward()
    reference = copy.deepcopy(whole)
    for ours, theirs in zip(reference.parameters(), model.parameters(), strict=True):
        ours.data *= theirs.grad != 0
    with torch.no_grad():
        return reference(x)


NETWORKS = {
    "channel 20": lambda: OneChannel(lambda x: x[:, 20:21]),
    "channel 20, without its dimension": lambda: OneChannel(lambda x: x[:, 20].unsqueeze(1)),
    "channel -20": lambda: OneChannel(lambda x: x[:, -20:][:, :1], 96),
    "the middle one": lambda: OneChannel(lambda x: x[:, x.shape[1] // 2].unsqueeze(1)),
    "joined to all": lambda: OneChannel(lambda x: torch.cat([x, x[:, 20:21]], 1).sum(1, True)),
    "every hundredth": lambda: OneChannel(lambda x: x[:, 20::100], 96),
    "slice": SizeOfAnother,
    "reshape": ShapeOfAnother,
}


@pytest.mark.filterwarnings("ignore:.*follow the width")
@pytest.mark.parametrize("name", NETWORKS)
def test_every_width_is_the_network_without_some_channels(name):
    torch.manual_seed(0)
    whole = NETWORKS[name]().double()
    model = slimmable(copy.deepcopy(whole), example=EXAMPLE.double())
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    for step in range(250, 1001, 25):
        set_width(model, step / 1000)
        torch.testing.assert_close(model(x), without_the_rest(model, whole, x))


def test_what_arrives_against_the_plan_is_no_answer():
    """A forward that goes another way than the one that was seen, with other channels."""

    class Way(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head, self.short = nn.Conv2d(3, 64, 1), nn.Conv2d(64, 5, 1), False

        def forward(self, x):
            x = self.stem(x)
            return self.head(F.pad(x, (0, 0, 0, 0, 0, -8)) if self.short else x)

    model = slimmable(Way(), example=EXAMPLE)
    set_width(model, 0.5)
    model.short = True
    with pytest.raises(RuntimeError, match="24 channels arrive, but 32 are planned at width 0.5"):
        model(torch.randn(2, 3, 8, 8))


class OtherAtSmallSizes(nn.Module):
    """Its channels are turned round, or exchanged by halves, where pictures are small."""

    def __init__(self, turn):
        super().__init__()
        self.turn, self.stem, self.head = turn, nn.Conv2d(3, 64, 1), nn.Conv2d(64, 5, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.turn(x) if x.shape[-1] < 8 else x)


@pytest.mark.filterwarnings("ignore:.*follow the width")
@pytest.mark.parametrize(
    "turn", [lambda x: x.flip(1), lambda x: torch.cat([*x.chunk(2, 1)][::-1], 1)]
)
def test_a_forward_that_goes_another_way_at_half_the_size(turn):
    torch.manual_seed(0)
    whole = OtherAtSmallSizes(turn).double()
    model = slimmable(copy.deepcopy(whole), example=EXAMPLE.double())
    for size in (4, 8):
        x = torch.randn(2, 3, size, size, dtype=torch.float64)
        for width in (0.25, 0.5, 0.8, 1.0):
            set_width(model, width)
            torch.testing.assert_close(model(x), without_the_rest(model, whole, x))


def test_parameters_that_lie_elsewhere_are_seen():
    """``parameter.data = ...`` and ``vector_to_parameters`` between passes of one sub-network."""
    model = slimmable(nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 5, 1)))
    set_width(model, 0.5)
    x = torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        before = model(x)
        for parameter in model.parameters():
            parameter.data = 2 * parameter.data
        after = model(x)
        set_width(model, 0.5)
        torch.testing.assert_close(after, model(x))
    assert (before - after).abs().max() > 0.1


@pytest.mark.filterwarnings("ignore:.*follow the width", "ignore:.*torch.jit")
def test_a_scripted_child_with_statistics():
    child = torch.jit.script(nn.Sequential(nn.Conv2d(48, 48, 3), nn.BatchNorm2d(48)))
    whole = nn.Sequential(nn.Conv2d(3, 48, 3), child, nn.Conv2d(48, 5, 1)).eval()
    x = torch.randn(2, 3, 16, 16)
    wanted = whole(x)
    model = slimmable(whole, example=torch.randn(2, 3, 16, 16))
    torch.testing.assert_close(model(x), wanted)
