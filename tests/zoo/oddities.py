"""Small networks that do what people's networks do, each an operation between two layers."""

from collections import namedtuple
from dataclasses import dataclass

import torch
import torchvision
from torch import nn
from torch.nn import functional as F


class Odd(nn.Module):
    """Two branches from a stem, joined by ``mix``, then a convolution and a classifier."""

    def __init__(self, mix, **layers):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.a, self.b = nn.Conv2d(32, 32, 1), nn.Conv2d(32, 32, 3, padding=1)
        self.more = nn.ModuleDict(layers)
        self.mix = mix
        self.last, self.fc = nn.LazyConv2d(32, 1), nn.LazyLinear(7)
        self(torch.zeros(2, 3, 16, 16))

    def forward(self, x):
        x = self.stem(x)
        return self.fc(self.last(self.mix(self.more, self.a(x), self.b(x))).mean((2, 3)))


@dataclass
class Maps:
    low: torch.Tensor
    high: torch.Tensor


Pair = namedtuple("Pair", "low high")


class Returns(nn.Module):
    """Returns what ``wrap`` makes of two maps."""

    def __init__(self, wrap):
        super().__init__()
        self.low, self.high = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.wrap = wrap

    def forward(self, x):
        low = self.low(x)
        return self.wrap(low, self.high(low))


class Tokens(nn.Module):
    """Patches as tokens, with LayerNorm and linear layers over the channels."""

    def __init__(self):
        super().__init__()
        self.patch, self.norm = nn.Conv2d(3, 32, 4, 4), nn.LayerNorm(32)
        self.up, self.down = nn.Linear(32, 64), nn.Linear(64, 32)
        self.fc = nn.Linear(32, 7)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        return self.fc((x + self.down(F.gelu(self.up(self.norm(x))))).mean(1))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 1)
        self.one, self.two = nn.Conv2d(32, 32, 1), nn.Conv2d(32, 32, 1)
        self.two.weight = self.one.weight
        self.fc = nn.Linear(32, 7)

    def forward(self, x):
        return self.fc(self.two(self.one(self.stem(x)).relu()).mean((2, 3)))


def _shift(a):
    out = torch.zeros_like(a)
    part = a.shape[1] // 8
    out[:1, :part], out[1:, part:] = a[1:, :part], a[:1, part:]
    return out


def _gram(a):
    flat = a.flatten(2)
    return (flat @ flat.transpose(1, 2)).softmax(-1).matmul(flat).view_as(a)


def _groups(a, groups):
    return a.unflatten(1, (groups, -1))


conv, norm = nn.Conv2d, nn.BatchNorm2d
MIXES = {
    "add": lambda m, a, b: a + b,
    "mul": lambda m, a, b: a * b,
    "cat": lambda m, a, b: torch.cat([a, b], 1),
    "cat of one twice": lambda m, a, b: torch.cat([a, a], 1),
    "cat then add": lambda m, a, b: torch.cat([a, b], 1) + torch.cat([b, a], 1),
    "stack and sum": lambda m, a, b: torch.stack([a, b]).sum(0),
    "stack and max": lambda m, a, b: torch.stack([a, b], 1).amax(1),
    "stack and flatten": lambda m, a, b: torch.stack([a, b], 1).flatten(1, 2),
    "chunk and swap": lambda m, a, b: torch.cat(a.chunk(2, 1)[::-1], 1) + b,
    "split by constants": lambda m, a, b: torch.cat(torch.split(a, [8, 24], 1)[::-1], 1),
    "unbind groups": lambda m, a, b: sum(_groups(a, 4).unbind(1)),
    "channel shuffle": lambda m, a, b: F.channel_shuffle(torch.cat([a, b], 1), 2),
    "shuffle by view": lambda m, a, b: _groups(a, 4).transpose(1, 2).flatten(1, 2),
    "every second": lambda m, a, b: a[:, ::2] + b[:, 1::2],
    "first half": lambda m, a, b: a[:, : a.shape[1] // 2],
    "one channel gates": lambda m, a, b: b * a[:, :1].sigmoid(),
    "flip": lambda m, a, b: a.flip(1) + b,
    "roll": lambda m, a, b: a.roll(3, 1) + b,
    "index list": lambda m, a, b: a[:, [3, 1, 1, 0, 7, 9, 20, 31]],
    "sort": lambda m, a, b: a.sort(1)[0] + b,
    "cumsum": lambda m, a, b: a.cumsum(1) * 0.1,
    "argmax": lambda m, a, b: b * a.argmax(1, keepdim=True),
    "maxout": lambda m, a, b: _groups(a, 16).amax(2),
    "softmax over channels": lambda m, a, b: a.softmax(1) * b,
    "mean gate": lambda m, a, b: a * b.mean(1, keepdim=True).sigmoid(),
    "glu": lambda m, a, b: F.glu(torch.cat([a, b], 1), 1),
    "normalize": lambda m, a, b: (
        F.normalize(a, dim=1) + F.normalize(b.flatten(2), dim=2).view_as(b)
    ),
    "pad channels": lambda m, a, b: F.pad(a, (0, 0, 0, 0, 16, 16)) + torch.cat([a, b], 1),
    "pixel shuffle": lambda m, a, b: F.pixel_shuffle(a, 2),
    "pixel unshuffle": lambda m, a, b: F.pixel_unshuffle(a, 2),
    "unfold": lambda m, a, b: F.unfold(a, 3, padding=1).unflatten(2, (16, 16)),
    "interpolate": lambda m, a, b: F.interpolate(a, scale_factor=0.5) + F.avg_pool2d(b, 2),
    "view by a constant": lambda m, a, b: a.view(-1, 32, 16, 16) + b,
    "gram attention": lambda m, a, b: _gram(a) + b,
    "time shift in place": lambda m, a, b: _shift(a) + b,
    "written into a slice": lambda m, a, b: a.clone().index_fill_(2, torch.tensor([0]), 0.0) + b,
    "noise": lambda m, a, b: a + torch.zeros_like(b),
    "residual of the input": lambda m, a, b: a + a.new_ones(1, 32, 1, 1),
    "depthwise": lambda m, a, b: m["l"](a),
    "norms": lambda m, a, b: m["i"](m["g"](a)) + m["p"](b),
    "frozen": lambda m, a, b: m["f"](a) + b,
    "transposed": lambda m, a, b: m["t"](a),
    "weight read elsewhere": lambda m, a, b: F.conv2d(a, m["c"].weight) + m["c"](b),
    "embedding": lambda m, a, b: (
        a * m["e"](torch.zeros(1, dtype=torch.int64, device=a.device))[..., None, None]
    ),
    "shared layer": lambda m, a, b: m["c"](m["c"](a)) + m["c"](b),
    "linear over space": lambda m, a, b: m["s"](a.flatten(2)).view_as(a) + b,
    "squeeze and excite": lambda m, a, b: a * m["x"](a),
    "conv over channels": lambda m, a, b: (
        a * m["o"](a.mean((2, 3))[:, None])[:, 0, :, None, None].sigmoid()
    ),
    "group convolution": lambda m, a, b: m["q"](torch.cat([a, b], 1)),
}
LAYERS = {
    "depthwise": lambda: {"l": conv(32, 64, 3, padding=1, groups=32)},
    "norms": lambda: {
        "i": nn.InstanceNorm2d(32, affine=True),
        "g": nn.GroupNorm(4, 32),
        "p": nn.PReLU(32),
    },
    "frozen": lambda: {"f": torchvision.ops.FrozenBatchNorm2d(32)},
    "transposed": lambda: {"t": nn.ConvTranspose2d(32, 32, 2, 2)},
    "weight read elsewhere": lambda: {"c": conv(32, 32, 1, bias=False)},
    "embedding": lambda: {"e": nn.Embedding(3, 32)},
    "shared layer": lambda: {"c": conv(32, 32, 1)},
    "linear over space": lambda: {"s": nn.Linear(256, 256)},
    "squeeze and excite": lambda: {"x": torchvision.ops.SqueezeExcitation(32, 8)},
    "conv over channels": lambda: {"o": nn.Conv1d(1, 1, 3, padding=1)},
    "group convolution": lambda: {"q": conv(64, 64, 3, padding=1, groups=4)},
}
RETURNS = {
    "a tuple": lambda low, high: (low, high),
    "a dataclass": Maps,
    "a named tuple": Pair,
    "a dict of lists": lambda low, high: {"maps": [low, high]},
    "pixels": lambda low, high: F.pixel_shuffle(high, 4),
    "boxes": lambda low, high: high.permute(0, 2, 3, 1).reshape(-1, 4),
    "rows": lambda low, high: high.permute(0, 2, 3, 1).reshape(-1, 32),
    "a slice": lambda low, high: high[:, :5],
}


def oddities():
    """``{name: function that makes the network}``."""
    made = {
        f"mix: {name}": lambda mix=mix, name=name: Odd(mix, **LAYERS.get(name, dict)())
        for name, mix in MIXES.items()
    }
    made |= {f"returns {name}": lambda wrap=wrap: Returns(wrap) for name, wrap in RETURNS.items()}
    return made | {"tokens": Tokens, "tied weights": Tied}
