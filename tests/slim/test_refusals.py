"""Networks that cannot be made slimmable, or not without being told more."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.errors import InputError
from mutualvideo.slim import (
    Fixed,
    Segment,
    extract,
    set_width,
    slimmable,
    slimmable_report,
)
from mutualvideo.subnet import Subnet
from tests.silenced import silenced
from tests.slim.test_trace import Body


class Shuffle(Body):
    def body(self, x):
        b, c, h, w = x.shape
        return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


class HalfAndHalf(Body):
    def build(self):
        self.part = nn.Conv2d(16, 16, 1)

    def body(self, x):
        a, b = x.chunk(2, 1)
        return torch.cat([self.part(a), b], 1)


class HardView(Body):
    def forward(self, x):
        return self.fc(F.adaptive_avg_pool2d(self.stem(x), 1).view(-1, 32))


class HardViewInBlock(Body):
    def build(self):
        self.block = HardView()
        self.tail = nn.Linear(5, 5)

    def forward(self, x):
        return self.tail(self.block(x))


class PaddedShortcut(Body):
    def build(self):
        self.conv = nn.Conv2d(32, 64, 1)
        self.out = 64

    def body(self, x):
        return self.conv(x) + F.pad(x, (0, 0, 0, 0, 16, 16))


class EverySecond(Body):
    def build(self):
        self.left, self.right = nn.Conv2d(32, 16, 1), nn.Conv2d(32, 16, 1)
        self.out = 16

    def body(self, x):
        return torch.cat([self.left(x), self.right(x)], 1)[:, ::2]


class Bilinear(Body):
    """Products of channels with channels."""

    def build(self):
        self.out = 32 * 32

    def body(self, x):
        x = x.flatten(2)
        return (x @ x.transpose(1, 2)).reshape(len(x), -1, 1, 1)


class Uneven(Body):
    """A sum of one layer and a concatenation."""

    def build(self):
        self.left, self.right = nn.Conv2d(32, 16, 1), nn.Conv2d(32, 16, 1)

    def body(self, x):
        return x + torch.cat([self.left(x), self.right(x)], 1)


class OverTokens(Body):
    def build(self):
        self.mix = nn.Linear(64, 64)

    def body(self, x):
        return self.mix(x.flatten(2)).view_as(x)


class Twice(Body):
    def build(self):
        self.left, self.right = nn.Conv2d(32, 16, 1), nn.Conv2d(32, 16, 1)
        self.shared = nn.Conv2d(32, 32, 1)

    def body(self, x):
        return self.shared(self.shared(x) * 2) + self.shared(
            torch.cat([self.left(x), self.right(x)], 1)
        )


@pytest.mark.parametrize(
    "kind, pinned",
    [
        (Shuffle, False),
        (HalfAndHalf, False),
        (HardView, True),
        (HardViewInBlock, True),
        (PaddedShortcut, True),
        (EverySecond, False),
        (Bilinear, True),
        (Uneven, False),
        (OverTokens, False),
        (Twice, False),
    ],
)
@pytest.mark.filterwarnings("ignore:slimmable")
def test_what_cannot_be_cut_is_pinned_and_every_width_is_a_cut(kind, pinned):
    """What was refused once: either followed, or whole with the reason in the report."""
    torch.manual_seed(0)
    plain = kind().eval()
    x = torch.randn(2, 3, 16, 16)
    model = slimmable(copy.deepcopy(plain), example=x)
    assert (model.get_submodule(STEM[kind])[0].out_rule == Fixed()) == pinned
    assert ("stem.0" in slimmable_report(model).kept) == (pinned and kind is not HardViewInBlock)
    with torch.no_grad():
        for width in (1.0, 0.6, 0.25):
            set_width(model, width)
            torch.testing.assert_close(model(x), silenced(plain, model, lambda: plain(x)))
            if kind is not HardViewInBlock:  # which has a stem that it does not use
                static = extract(model, Subnet(width, None, 16))
                torch.testing.assert_close(static(x), model(x))


STEM = dict.fromkeys(
    [Shuffle, HalfAndHalf, HardView, PaddedShortcut, EverySecond, Bilinear, Uneven, OverTokens],
    "stem",
) | {HardViewInBlock: "block.stem", Twice: "stem"}


class Attention(Body):
    def build(self):
        self.heads = nn.Sequential(nn.Conv2d(32, 96, 1), Attend())

    def body(self, x):
        return self.heads(x)


class Attend(nn.Module):
    def forward(self, x):
        q, k, v = x.flatten(2).transpose(1, 2).chunk(3, 2)
        y = F.scaled_dot_product_attention(q, k, v)
        return y.transpose(1, 2).unflatten(2, x.shape[2:])


class Heads(Body):
    def build(self):
        self.heads = nn.MultiheadAttention(32, 4, batch_first=True)

    def body(self, x):
        y = x.flatten(2).transpose(1, 2)
        return self.heads(y, y, y)[0].transpose(1, 2).unflatten(2, x.shape[2:])


class Synchronised(Body):
    def build(self):
        self.norm = nn.SyncBatchNorm(32)

    def body(self, x):
        return self.norm(x)


@pytest.mark.parametrize(
    "kind, message",
    [
        (Attention, r"heads.1 \(Attend\): .*transformers are out of reach"),
        (Heads, r"heads \(MultiheadAttention\): transformers are out of reach"),
        (Synchronised, r"norm \(SyncBatchNorm\): give slimmable\(\) the plain BatchNorm"),
    ],
)
def test_a_refusal_changes_nothing_and_what_it_says_helps(kind, message):
    network = kind()
    kinds = [type(module) for module in network.modules()]
    example = torch.empty(2, 3, 16, 16, device="meta")
    with pytest.raises(InputError, match=message) as refused:
        slimmable(network, example=example)
    assert [type(module) for module in network.modules()] == kinds
    assert not hasattr(network, "slim_state")
    told = re.search(r"rules=(\{.*\})", str(refused.value))[1]
    rules = eval(told, {"Fixed": Fixed})
    model = slimmable(network, example=example, rules=rules)
    set_width(model, 0.25)
    if kind is not Synchronised:
        assert model(torch.randn(2, 3, 16, 16)).shape == (2, 5)


def test_fixed_layers_may_be_combined_in_any_way():
    slimmable(Uneven(), rules={"stem.0": Fixed(), "left": Fixed(), "right": Fixed()})


def test_tokens_work_when_the_layer_is_excluded():
    model = slimmable(OverTokens(), exclude=["mix"], example=torch.zeros(2, 3, 16, 16))
    set_width(model, 0.25)
    assert model(torch.zeros(1, 3, 16, 16)).shape == (1, 5)
    assert model.stem[0].out_rule != Fixed()


class LooksAtValues(Body):
    def body(self, x):
        return x / 2 if x.mean().item() > 0 else x


def test_a_forward_that_looks_at_values_needs_an_example_with_values():
    with pytest.raises(InputError, match="LooksAtValues does not run on input of shape .*example="):
        slimmable(LooksAtValues())
    network = LooksAtValues()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    model = slimmable(network, example=torch.rand(2, 3, 16, 16))
    set_width(model, 0.25)
    assert model(torch.rand(2, 3, 16, 16)).shape == (2, 5)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_segments_that_are_told_are_checked():
    class Told(Uneven):
        def body(self, x):
            # A view through numpy: no operation that could be followed.
            joined = torch.cat([self.left(x), self.right(x)], 1)
            return torch.stack([joined, joined])[1].tolist and joined.unflatten(1, (2, -1)).flatten(
                1, 2
            )

    halves = [Segment(16), Segment(16)]
    with pytest.raises(InputError, match="fc: the segments told are .* leave them out"):
        slimmable(Told(), segments={"fc": [Segment(8), Segment(24)]})
    model = slimmable(Told(), segments={"fc": halves})
    set_width(model, 0.5)
    x = torch.randn(2, 3, 16, 16)
    plain = Uneven()
    plain.load_state_dict(model.state_dict())
    y = plain.eval().stem[1](plain.stem[0](x))
    kept = [*range(8), *range(16, 24)]
    y = y[:, :16].relu()
    parts = [F.conv2d(y, c.weight[:8, :16], c.bias[:8]) for c in (plain.left, plain.right)]
    wanted = F.linear(torch.cat(parts, 1).mean((2, 3)), plain.fc.weight[:, kept], plain.fc.bias)
    torch.testing.assert_close(model.eval()(x), wanted)
