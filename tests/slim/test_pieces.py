"""Channels that the forward takes apart by shares of their number: right at every width."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.slim import set_width, slimmable, slimmable_report


class TakesAShare(nn.Module):
    """One convolution reads the first ``cut(channels)``, another the others."""

    def __init__(self, channels, cut):
        super().__init__()
        self.cut, first = cut, cut(channels)
        self.stem = nn.Conv2d(3, channels, 3)
        self.one, self.other = nn.Conv2d(first, 40, 1), nn.Conv2d(channels - first, 56, 1)
        self.head = nn.Linear(96, 5)

    def forward(self, x):
        x = self.stem(x)
        first = self.cut(x.shape[1])
        parts = self.one(x[:, :first]), self.other(x[:, first:])
        return self.head(torch.cat([part.mean((2, 3)) for part in parts], 1))


def by_hand(model, x, first, others, one, other):
    """The network with so many channels of each piece, and made by each convolution."""
    cut = model.one.in_channels
    kept = [*range(first), *range(cut, cut + others)]
    x = F.conv2d(x, model.stem.weight[kept], model.stem.bias[kept])
    a = F.conv2d(x[:, :first], model.one.weight[:one, :first], model.one.bias[:one])
    b = F.conv2d(x[:, first:], model.other.weight[:other, :others], model.other.bias[:other])
    read = [*range(one), *range(40, 40 + other)]
    pooled = torch.cat([part.mean((2, 3)) for part in (a, b)], 1)
    return F.linear(pooled, model.head.weight[:, read], model.head.bias)


SHARES = {
    "a third": (192, lambda n: n // 3),
    "a quarter, 96": (96, lambda n: n // 4),
    "with a remainder": (90, lambda n: n // 4),
    "by a float": (160, lambda n: int(n * 0.3)),
    "rounded": (96, lambda n: round(n / 5.3)),
    "no common divisor": (130, lambda n: n // 3),
}


@pytest.mark.filterwarnings("ignore:.*follow the width")
@pytest.mark.parametrize("divisor", [1, 8])
@pytest.mark.parametrize("name", SHARES)
@torch.no_grad()
def test_pieces_are_the_same_at_every_width(name, divisor):
    channels, cut = SHARES[name]
    model = TakesAShare(channels, cut)
    slimmable(model, divisor=divisor, example=torch.empty(1, 3, 8, 8, device="meta"))
    x, made, whole = torch.randn(2, 3, 8, 8), set(), cut(channels)
    for step in range(2500, 10001, 37):
        set_width(model, step / 10_000)
        found, arrive = model(x), model.stem(x)
        first = cut(arrive.shape[1])
        others = arrive.shape[1] - first
        if name != "no common divisor":
            assert first * (channels - whole) == others * whole  # in proportion
        counts = first, others, model.one(arrive[:, :first]).shape[1]
        counts = *counts, model.other(arrive[:, first:]).shape[1]
        torch.testing.assert_close(found, by_hand(model, x, *counts))
        made.add(first + others)
    assert len(made) > 1 or divisor == 8
    assert all(n % divisor == 0 for n in made - {channels})


class Shift(nn.Module):
    """Temporal shift (arXiv 1811.08383): an eighth of the channels moves on, an eighth back."""

    def __init__(self, layer):
        super().__init__()
        self.net = layer

    def forward(self, x):
        clip = x.view(-1, 4, *x.shape[1:])
        fold, out = clip.shape[2] // 8, torch.zeros_like(clip)
        out[:, :-1, :fold] = clip[:, 1:, :fold]
        out[:, 1:, fold : 2 * fold] = clip[:, :-1, fold : 2 * fold]
        out[:, :, 2 * fold :] = clip[:, :, 2 * fold :]
        return self.net(out.view_as(x))


@torch.no_grad()
def test_a_temporal_shift_by_an_eighth_follows_the_width():
    layers = [nn.Conv2d(3, 64, 3), Shift(nn.Conv2d(64, 24, 1))]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5))
    slimmable(model, example=torch.empty(4, 3, 8, 8, device="meta"))
    assert slimmable_report(model).share == 1
    stem, net, head = model[0], model[1].net, model[4]
    x, seen = torch.randn(8, 3, 8, 8), set()
    for step in range(2500, 10001, 125):
        set_width(model, step / 10_000)
        # Of an eighth, an eighth and the rest: the first ones, in proportion.
        fold, rest = divmod(model[0](x).shape[1], 8)
        assert rest == 0
        pieces = (0, fold), (8, 8 + fold), (16, 16 + 6 * fold)
        kept = torch.cat([torch.arange(*piece) for piece in pieces])
        y = Shift(nn.Identity())(F.conv2d(x, stem.weight[kept], stem.bias[kept]))
        made = model[1](model[0](x)).shape[1]
        y = F.conv2d(y, net.weight[:made, kept], net.bias[:made]).mean((2, 3))
        torch.testing.assert_close(model(x), F.linear(y, head.weight[:, :made], head.bias))
        seen.add(len(kept))
    assert len(seen) > 3
