"""Networks that cannot be made slimmable, or not without being told more."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.errors import InputError
from mutualvideo.slim import Fixed, Segment, set_width, slimmable
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
    "kind, message",
    [
        (Shuffle, r"fc \(Linear\): the channels of its input cannot be followed: view splits"),
        (HalfAndHalf, r"part \(Conv2d\): .*split takes 16 channels out of 32"),
        (HardView, r"at width 0.25 the shapes disagree in "),
        (HardViewInBlock, r"at width 0.25 the shapes disagree in block .HardView.: shape"),
        (PaddedShortcut, r"fc \(Linear\): .*constant_pad_nd makes 64 channels of 32"),
        (EverySecond, r"fc \(Linear\): .*slice takes every 2th channel"),
        (Bilinear, r"fc \(Linear\): .*bmm makes channels of channels in two dimensions"),
        (Uneven, r"fc \(Linear\): .*add combines channels 32 of stem.0 with channels 16 of left"),
        (OverTokens, r"mix \(Linear\): it runs along another dimension than the channels'"),
        (Twice, r"shared \(Conv2d\) is used more than once"),
    ],
)
def test_refusals_name_the_module_and_change_nothing(kind, message):
    network = kind()
    kinds = [type(module) for module in network.modules()]
    with pytest.raises(InputError, match=message):
        slimmable(network, example=torch.empty(2, 3, 16, 16, device="meta"))
    assert [type(module) for module in network.modules()] == kinds
    assert not hasattr(network, "slim_state")


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


def test_segments_may_be_told_where_tracing_ends():
    class Told(Uneven):
        def body(self, x):
            # A view through numpy: no operation that could be followed.
            joined = torch.cat([self.left(x), self.right(x)], 1)
            return torch.stack([joined, joined])[1].tolist and joined.unflatten(1, (2, -1)).flatten(
                1, 2
            )

    halves = [Segment(16), Segment(16)]
    with pytest.raises(InputError, match="view splits"):
        slimmable(Told())
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
