"""Networks that are composed at random of the operations that channels are followed through."""

import random

import torch
from torch import nn
from torch.nn import functional as F

# The highest of each number of a step: which operation, which of the tensors so far it takes (one
# operation in seven takes both), and a number that it may use.
_HIGHEST = (19, 5, 5, 3)
_TWO = (7, 8, 9)
_COUNTS = (16, 24, 32, 48)


def programs(count, seed=0):
    """(``count`` lists of steps, what they hold together, as :func:`_meetings` tells it).

    Each is the one of twenty at random in which the most operations meet that never met before:
    three hundred hold what two thousand of the first that come do not.
    """
    draw, chosen, seen = random.Random(seed), [], set()
    for _ in range(count):
        candidates = [_program(draw) for _ in range(20)]
        chosen.append(max(candidates, key=lambda steps: len(_meetings(steps) - seen)))
        seen |= _meetings(chosen[-1])
    return chosen, seen


def _program(draw):
    return [tuple(draw.randint(0, n) for n in _HIGHEST) for _ in range(draw.randint(2, 7))]


def _meetings(steps):
    """Which operations follow each other on the way to the answer: pairs and threes of them.

    And pairs in which the second one goes with its number.
    """
    kinds, sources = ["stem"], [()]
    for kind, one, other, _ in steps:
        count = len(kinds)
        taken = (one, other) if kind in _TWO else (one,)
        kinds.append(kind)
        sources.append({count - 1 - place % count for place in taken})
    read = {len(steps), len(steps) - 1}
    for place in range(len(steps), 0, -1):
        if place in read:
            read |= sources[place]
    met = set()
    for place in read - {0}:
        for source in sources[place]:
            met.add((kinds[source], kinds[place]))
            met.add((kinds[source], kinds[place], f"number {steps[place - 1][3]}"))
            met |= {(kinds[before], kinds[source], kinds[place]) for before in sources[source]}
    return met


class Composed(nn.Module):
    """A stem and a program: every step takes one or two of the tensors so far and makes another.

    The last tensors are read by one linear layer each, whose answers are added. All operations
    leave a silent channel silent, so that silencing is a reference.
    """

    def __init__(self, steps):
        super().__init__()
        self.steps, self.layers, self.decided = steps, nn.ModuleDict(), {}
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.first = True
        with torch.no_grad():
            self(torch.zeros(2, 3, 4, 4))
        self.first = False

    def layer(self, name, make):
        if self.first:
            self.layers[name] = make()
        return self.layers[name]

    def decide(self, name, true):
        """What was true at full width: which layers run must not depend on the width."""
        return self.decided.setdefault(name, true)

    def forward(self, x):
        tensors = [self.stem(x).relu()]
        for number, (kind, one, other, value) in enumerate(self.steps):
            a, b = tensors[-1 - one % len(tensors)], tensors[-1 - other % len(tensors)]
            tensors.append(self.step(f"s{number}", kind, a, b, value))
        pooled = [t.mean((2, 3)) for t in tensors[-2:]]
        return sum(
            self.layer(f"fc{i}", lambda p=p: nn.Linear(p.shape[1], 5))(p)
            for i, p in enumerate(pooled)
        )

    def step(self, name, kind, a, b, value):
        channels, made = a.shape[1], _COUNTS[value]

        def conv(count, kernel=1, groups=1, of=channels):
            return lambda: nn.Conv2d(of, count, kernel, padding=kernel // 2, groups=groups)

        even = self.decide(f"{name} even", channels % 4 == 0)
        if kind in (0, 1):
            return self.layer(name, conv(made, 3))(a).relu()
        if kind == 2:
            return self.layer(name, conv(channels, 3, groups=channels))(a)
        if kind == 3 and even:
            return self.layer(name, conv(channels, 1, groups=(2, 4)[value % 2]))(a)
        if kind == 4:
            return self.layer(name, lambda: nn.BatchNorm2d(channels))(a).relu()
        if kind == 5 and even:
            return self.layer(name, lambda: nn.GroupNorm((2, 4)[value % 2], channels))(a)
        if kind == 6:
            return self.layer(name, lambda: nn.InstanceNorm2d(channels, affine=value > 1))(a)
        if kind == 7:
            small = self.decide(name, channels + b.shape[1] <= 256)
            return torch.cat([a, b], 1) if small else a
        if kind in (8, 9):
            if self.decide(name, b.shape[1] != channels):
                b = self.layer(name, conv(channels, of=b.shape[1]))(b)
            return a + b if kind == 8 else torch.stack([a, b], value % 2).sum(value % 2)
        if kind == 10 and even:
            one, other = a.chunk(2, 1)
            return torch.cat([other, one.relu()], 1) if value % 2 else one + other
        if kind == 11 and even:
            one, other = torch.split(a, [channels // 4, channels - channels // 4], 1)
            return torch.cat([other, one], 1)
        if kind == 12 and even:
            groups = (2, 4)[value % 2]
            if value > 1:
                return F.channel_shuffle(a, groups)
            rows = a.unflatten(1, (groups, -1))
            return rows.transpose(1, 2).flatten(1, 2)
        if kind == 13:
            return a.flip(1) if value % 2 else a.roll(1, (1, 3)[value // 2])
        if kind == 14:
            return a[:, ::2] if value % 2 else a[:, : channels // 2]
        if kind == 15:
            gate = self.layer(name, conv(channels))(a.mean((2, 3), keepdim=True))
            return a * gate.sigmoid()
        if kind == 16:
            return a * a.nansum(1, keepdim=True).tanh() if value % 2 else F.max_pool2d(a, 3, 1, 1)
        if kind == 17:
            return F.pad(a, (0, 0, 0, 0, 8 * (value % 2), 8))
        if kind == 18:
            flat = a.flatten(2)
            places = torch.eye(flat.shape[2], dtype=a.dtype, device=a.device).roll(1, 0)
            return (flat @ places if value % 2 else flat).view_as(a).tanh()
        if kind == 19:
            view = a.permute(0, 2, 3, 1)
            return self.layer(name, lambda: nn.Linear(channels, made))(view).permute(0, 3, 1, 2)
        return a.relu()
