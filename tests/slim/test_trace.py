"""What one instrumented forward pass finds in networks that are harder than the usual ones."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.errors import InputError
from mutualvideo.slim import Fixed, Ratio, Scaled, count_macs, extract, set_width, slimmable
from mutualvideo.subnet import Subnet
from tests.networks import randomize_norms
from tests.silenced import silenced


class Body(nn.Module):
    """A stem, what the subclass does with its 32 channels, pooling and a classifier."""

    out = 32

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.build()
        self.fc = nn.Linear(self.out, 5)

    def build(self):
        pass

    def forward(self, x):
        return self.fc(self.body(self.stem(x)).mean((2, 3)))


class FlattenedConcatenation(Body):
    """Pixels are flattened into the channels of a concatenation."""

    def build(self):
        self.left, self.right = nn.Conv2d(32, 24, 1), nn.Conv2d(32, 40, 3, padding=1)
        self.out = 64 * 9

    def forward(self, x):
        x = self.stem(x)
        x = torch.cat([self.left(x), self.right(x)], 1)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 3), 1))


class GroupsOverConcatenation(Body):
    """Groups of two input and three output channels read a concatenation."""

    def build(self):
        self.left, self.right = nn.Conv2d(32, 24, 1), nn.Conv2d(32, 40, 1)
        self.grouped = nn.Conv2d(64, 96, 3, padding=1, groups=32)
        self.norm = nn.BatchNorm2d(96)
        self.out = 96

    def body(self, x):
        return self.norm(self.grouped(torch.cat([self.left(x), self.right(x)], 1)))


class WideGroups(Body):
    """Groups of 24: the layer that feeds them needs a multiple of that, and of 8."""

    def build(self):
        self.expand = nn.Conv2d(32, 96, 1)
        self.grouped = nn.Conv2d(96, 96, 3, padding=1, groups=4)
        self.out = 96

    def body(self, x):
        return self.grouped(self.expand(x))


class TakenApart(Body):
    """A concatenation is split into its parts again, which are swapped and joined."""

    def build(self):
        self.left, self.right = nn.Conv2d(32, 16, 1), nn.Conv2d(32, 48, 1)
        self.last = nn.Conv2d(64, 64, 1)
        self.out = 64

    def body(self, x):
        left, right = self.left(x), self.right(x)
        joined = F.silu(torch.cat([left, right], 1))
        one, other = torch.split(joined, [left.shape[1], right.shape[1]], 1)
        return self.last(torch.cat([other, one], 1))


class NonLocal(Body):
    """Attention between positions: matrix products over the channels and over the pixels."""

    def build(self):
        self.query, self.key, self.value = (nn.Conv2d(32, 16, 1) for _ in range(3))
        self.back = nn.Conv2d(16, 32, 1)

    def body(self, x):
        query, key, value = (f(x).flatten(2) for f in (self.query, self.key, self.value))
        scale = 0.1  # sums over silent channels are the same sums
        attention = torch.softmax(torch.einsum("bcp,bcq->bpq", query, key) * scale, -1)
        y = torch.einsum("bpq,bcq->bcp", attention, value)
        return x + self.back(y.reshape(len(x), -1, *x.shape[2:]))


class Gated(Body):
    """Squeeze and excitation over an expanded layer that follows a rule of its own."""

    def build(self):
        self.expand = nn.Conv2d(32, 96, 1)
        self.squeeze, self.excite = nn.Conv2d(96, 24, 1), nn.Conv2d(24, 96, 1)
        self.out = 96

    def body(self, x):
        x = self.expand(x)
        gate = self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class ChannelsLast(Body):
    """Linear layers on (B, H, W, C)."""

    def build(self):
        self.one, self.two = nn.Linear(32, 64), nn.Linear(64, 32)

    def body(self, x):
        x = x.permute(0, 2, 3, 1)
        return (x + self.two(F.gelu(self.one(x)))).permute(0, 3, 1, 2)


class FunctionalProducts(Body):
    """Weights of its own, multiplied by hand: what they read stays whole."""

    def build(self):
        self.one, self.two = nn.Conv2d(32, 24, 1), nn.Conv2d(24, 32, 1)
        self.register_buffer("weight", torch.randn(24, 24) / 5)

    def body(self, x):
        y = self.one(x)
        y = (self.weight @ y.flatten(2)).view(len(y), -1, *y.shape[2:])
        return x + self.two(y)


class ConvolutionalClassifier(Body):
    """The last convolution answers; the linear layer before it is no classifier."""

    def build(self):
        self.answer = nn.Conv2d(5, 7, 1)

    def forward(self, x):
        x = self.stem(x).permute(0, 2, 3, 1)
        return self.answer(self.fc(x).permute(0, 3, 1, 2)).mean((2, 3))


class ActivatedNorm(nn.BatchNorm2d):
    """A BatchNorm with a forward of its own, as timm has them."""

    def forward(self, x):
        by_batch = self.training or self.running_mean is None
        x = F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            by_batch,
            self.momentum,
            self.eps,
        )
        return F.relu(x)


class PaddedConv(nn.Conv2d):
    """A convolution with a forward of its own."""

    def forward(self, x):
        assert x.shape[1] == self.in_channels
        return F.conv2d(F.pad(x, (0, 1, 0, 1)), self.weight, self.bias, groups=self.groups)


class OwnForwards(Body):
    def build(self):
        self.conv, self.norm = PaddedConv(32, 64, 2), ActivatedNorm(64)
        self.depthwise = PaddedConv(64, 64, 2, groups=64)
        self.out = 64

    def body(self, x):
        return self.depthwise(self.norm(self.conv(x)))


HARD = [
    FlattenedConcatenation,
    GroupsOverConcatenation,
    WideGroups,
    TakenApart,
    NonLocal,
    Gated,
    ChannelsLast,
    FunctionalProducts,
    ConvolutionalClassifier,
    OwnForwards,
]


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize("width", [0.25, 0.6, 1.0])
def test_sliced_equals_silenced_and_extracted(kind, width):
    torch.manual_seed(0)
    plain = kind().eval()
    randomize_norms(plain)
    model = kind().eval()
    model.load_state_dict(plain.state_dict())
    rules = {"expand": Ratio(32, 3)} if kind is Gated else None
    slimmable(model, rules=rules)
    set_width(model, width)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        sliced = model(x)
        torch.testing.assert_close(sliced, silenced(plain, model, lambda: plain(x)))
        static = extract(model, Subnet(width, None, 16))
        torch.testing.assert_close(static(x), sliced)
    assert {type(m) for m in static.modules()} == {type(m) for m in plain.modules()}
    if width < 1:
        assert static.stem[0].out_channels == {0.25: 8, 0.6: 24}[width]


def test_groups_decide_the_multiple_of_what_feeds_them():
    model = slimmable(WideGroups())
    assert [extract(model, Subnet(w, None, 16)).grouped.groups for w in (0.25, 0.6, 1)] == [1, 3, 4]


def test_a_rule_holds_for_all_layers_that_are_added():
    model = slimmable(Gated(), rules={"expand": Ratio(32, 3)})
    assert model.excite.out_rule == Ratio(32, 3)
    with pytest.raises(InputError, match="outputs of excite .* and expand .* are combined"):
        slimmable(Gated(), rules={"expand": Ratio(32, 3), "excite": Ratio(48, 2)})
    with pytest.raises(InputError, match="rule Ratio.* of expand cannot hold: its output is comb"):
        slimmable(Gated(), rules={"expand": Ratio(32, 3), "excite": Fixed()})


def test_own_forward_trains_without_touching_the_full_statistics():
    torch.manual_seed(0)
    model = slimmable(OwnForwards(), full=Subnet(1, None, 16)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.randn(2, 3, 16, 16)
    set_width(model, 0.5)
    narrow = extract(model, Subnet(0.5, None, 16)).train()
    torch.testing.assert_close(model(x), narrow(x))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    set_width(model, 1.0)
    model(x)
    assert not torch.equal(model.norm.running_mean, before["norm.running_mean"])


class Normed(Body):
    def build(self):
        self.one, self.norm = nn.Conv2d(32, 64, 1), nn.GroupNorm(4, 64)
        self.two, self.three = nn.Conv2d(64, 64, 1), nn.Conv2d(64, 64, 1)
        self.out = 64

    def body(self, x):
        x = self.norm(self.one(x))
        return self.three(x + self.two(x))


def test_an_excluded_layer_keeps_its_channels_and_so_does_what_feeds_it():
    model = slimmable(Normed(), exclude=["norm"])
    static = extract(model, Subnet(0.25, None, 16))
    made = {name: m.out_channels for name, m in static.named_modules() if hasattr(m, "kernel_size")}
    # "two" is added to what the norm makes.
    assert made == {"stem.0": 8, "one": 64, "two": 64, "three": 16}
    with pytest.raises(InputError, match="rule Scaled.* of one cannot hold: norm has parameters"):
        slimmable(
            Normed(),
            exclude=["norm"],
            rules={"one": Ratio(64, 1)} | {"one": type(model.stem[0].out_rule)()},
        )


def test_excluding_a_block_excludes_what_is_in_it():
    model = slimmable(OwnForwards(), exclude=["stem"])
    static = extract(model, Subnet(0.25, None, 16))
    assert (static.stem[0].out_channels, static.conv.out_channels) == (32, 16)
    assert type(model.stem[0]) is nn.Conv2d


class Scales(Body):
    def build(self):
        self.register_buffer("scale", torch.ones(32, 1, 1))

    def body(self, x):
        return x * self.scale


def test_a_buffer_for_every_channel_is_cut_with_them():
    torch.manual_seed(0)
    model = slimmable(Scales().eval())
    model.scale.copy_(torch.rand(32, 1, 1))
    assert model.stem[0].out_rule == Scaled()
    set_width(model, 0.5)
    assert model.scale.shape == (16, 1, 1) and model.state_dict()["scale"].shape == (32, 1, 1)
    static = extract(model, Subnet(0.5, None, 16))
    assert static.scale.shape == (16, 1, 1) and type(static) is Scales
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(static(x), model(x))


class ScalesByTable(Body):
    def build(self):
        self.register_buffer("table", torch.rand(3, 32))

    def body(self, x):
        return x * self.table.mean(0).view(-1, 1, 1)


def test_a_table_for_every_channel_keeps_them_all():
    model = slimmable(ScalesByTable())
    assert model.stem[0].out_rule == Fixed()
    assert (
        "mul combines its channels with others that are whole"
        in model.slim_state.plan.kept["stem.0"]
    )


def test_macs_follow_what_was_found():
    model = slimmable(WideGroups())
    pixels = 8 * 8
    wanted = pixels * (3 * 9 * 16 + 16 * 48 + 48 * 24 * 9) + 48 * 5
    assert count_macs(model, Subnet(0.5, None, 16)) == wanted


def test_a_range_that_ends_below_the_full_width():
    torch.manual_seed(0)
    model = slimmable(TakenApart().eval(), width_range=(0.25, 0.75))
    assert extract(model, Subnet(0.75, None, 16)).last.out_channels == 48
    with pytest.raises(InputError, match="width 1 is outside"):
        set_width(model, 1.0)
