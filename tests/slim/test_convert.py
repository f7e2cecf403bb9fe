"""slimmable() on networks of others: 2D, 3D, concatenations, refusals."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from mutualvideo.errors import InputError
from mutualvideo.slim import Fixed, Segment, extract, set_subnet, set_width, slim_state, slimmable
from mutualvideo.subnet import Subnet

WIDTHS = (0.25, 0.5, 0.8, 1.0)


class Joined(nn.Module):
    """Two branches joined along the channels, as in SlowFast's lateral connections."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.side = nn.Conv2d(3, 16, 1)
        self.norm = nn.BatchNorm2d(48)
        self.join = nn.Conv2d(48, 64, 1)
        self.fc = nn.Linear(64, 5)

    def forward(self, x):
        x = self.norm(torch.cat([self.stem(x), self.side(x)], 1))
        return self.fc(self.join(x).mean((2, 3)))


def joined():
    parts = [Segment(32), Segment(16, Fixed())]
    return slimmable(Joined(), rules={"side": Fixed()}, segments={"norm": parts, "join": parts})


BUILDERS = {
    "resnet18": lambda: slimmable(torchvision.models.resnet18(num_classes=7)),
    "mobilenet_v2": lambda: slimmable(torchvision.models.mobilenet_v2(num_classes=7)),
    "efficientnet_b0": lambda: slimmable(torchvision.models.efficientnet_b0(num_classes=7)),
    "r3d_18": lambda: slimmable(torchvision.models.video.r3d_18(num_classes=7)),
    "joined": joined,
}


@pytest.mark.parametrize("name", BUILDERS)
def test_any_network_runs_and_extracts_at_every_width(name):
    torch.manual_seed(0)
    model = BUILDERS[name]().eval()
    frames = 4 if name == "r3d_18" else None
    shape = (2, 3, 64, 64) if frames is None else (2, 3, frames, 64, 64)
    x = torch.randn(shape)
    params = []
    with torch.no_grad():
        for width in WIDTHS:
            subnet = Subnet(width, frames, 64)
            set_subnet(model, subnet)
            static = extract(model, subnet)
            torch.testing.assert_close(static(x), model(x), rtol=1e-5, atol=1e-5)
            assert not any("Slim" in type(module).__name__ for module in static.modules())
            params.append(sum(parameter.numel() for parameter in static.parameters()))
    assert params == sorted(params) and params[0] < params[-1] / 4


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "r3d_18"])
def test_full_width_is_the_upstream_network(name):
    torch.manual_seed(0)
    video = name == "r3d_18"
    builder = getattr(torchvision.models.video if video else torchvision.models, name)
    plain = builder(num_classes=7).eval()
    x = torch.randn((2, 3, 4, 32, 32) if video else (2, 3, 64, 64))
    with torch.no_grad():
        wanted = plain(x)
        names = list(plain.state_dict())
        model = slimmable(plain)
        assert model is plain and list(model.state_dict()) == names
        torch.testing.assert_close(model(x), wanted)
    # ... and goes back to upstream code.
    builder(num_classes=7).load_state_dict(model.state_dict(), strict=True)


def test_segments_take_the_prefix_of_each_part():
    torch.manual_seed(0)
    model = joined().eval()
    full = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    set_width(model, 0.5)
    x = torch.randn(1, 3, 4, 4)
    kept = [*range(16), *range(32, 48)]
    stem = nn.functional.conv2d(x, full["stem.weight"][:16], full["stem.bias"][:16], padding=1)
    side = nn.functional.conv2d(x, full["side.weight"], full["side.bias"])
    y = torch.cat([stem, side], 1)
    y = nn.functional.batch_norm(
        y,
        full["norm.running_mean"][kept],
        full["norm.running_var"][kept],
        full["norm.weight"][kept],
        full["norm.bias"][kept],
    )
    y = nn.functional.conv2d(y, full["join.weight"][:32][:, kept], full["join.bias"][:32])
    wanted = nn.functional.linear(y.mean((2, 3)), full["fc.weight"][:, :32], full["fc.bias"])
    torch.testing.assert_close(model(x), wanted)


def test_only_the_full_network_updates_running_statistics():
    model = slimmable(torchvision.models.resnet18(num_classes=7), full=Subnet(1, None, 64)).train()
    x = torch.randn(4, 3, 64, 64)
    before = model.bn1.running_mean.clone()
    for subnet in ("0.5x64", "1x32"):
        set_subnet(model, Subnet.parse(subnet))
        model(x)
    assert torch.equal(model.bn1.running_mean, before)
    set_subnet(model, Subnet.parse("1x64"))
    model(x)
    assert not torch.equal(model.bn1.running_mean, before)


def test_switching_is_one_write_whatever_the_size_of_the_network():
    model = slimmable(torchvision.models.resnet18())
    states = {id(m.slim) for m in model.modules() if hasattr(m, "slim")}
    assert states == {id(slim_state(model))}


class Between(nn.Module):
    """A layer between two convolutions, and a classifier."""

    def __init__(self, layer):
        super().__init__()
        self.one, self.layer, self.two = nn.Conv2d(3, 32, 1), layer, nn.Conv2d(32, 32, 1)
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        return self.fc(self.two(self.layer(self.one(x))).mean((2, 3)))


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class RMSNorm2d(nn.RMSNorm):
    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        x = F.rms_norm(x, self.normalized_shape, self.weight, self.eps)
        return x.permute(0, 3, 1, 2)


class OverChannels(nn.Module):
    """A norm of torch's over the last dimension, brought to the channels."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class LayerScale(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(32, 1, 1))

    def forward(self, x):
        return x * self.gamma


class Borrowed(nn.Module):
    """Reads the weight of its layer by itself."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(32, 32, 1)

    def forward(self, x):
        return self.conv(x) + F.conv2d(x, self.conv.weight)


@pytest.mark.parametrize(
    "layer, narrower",
    [
        (nn.ConvTranspose2d(32, 32, 2, 2), True),
        (nn.ConvTranspose2d(32, 32, 2, groups=2), False),
        (LayerNorm2d(32), True),
        (RMSNorm2d(32), True),
        (OverChannels(nn.LayerNorm(32)), True),
        (OverChannels(nn.RMSNorm(32, eps=1e-3)), True),
        (nn.GroupNorm(4, 32), True),
        (nn.GroupNorm(1, 32), True),
        (nn.InstanceNorm2d(32), True),
        (nn.InstanceNorm2d(32, affine=True, track_running_stats=True), True),
        (nn.PReLU(32), True),
        (LayerScale(), True),
        (torchvision.ops.FrozenBatchNorm2d(32), True),
        (torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(32, 32, 1)), False),
        (Borrowed(), False),
        (nn.LSTM(8, 8, batch_first=True), False),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.filterwarnings("ignore:slimmable")
def test_layers_are_cut_or_left_whole(layer, narrower):
    torch.manual_seed(0)
    if isinstance(layer, nn.LSTM):
        layer = Rows(layer)
    x = torch.randn(2, 3, 8, 8)
    plain = Between(layer).eval()
    for tensor in (*layer.parameters(), *layer.buffers()):
        if tensor.is_floating_point():
            tensor.data = torch.rand_like(tensor) + 0.5
    model = slimmable(copy.deepcopy(plain), example=x)
    with torch.no_grad():
        torch.testing.assert_close(model(x), plain(x))
        set_width(model, 0.5)
        static = extract(model, Subnet(0.5, None, 8), example=x)
        torch.testing.assert_close(model(x), static(x))
        assert static.one.out_channels == (16 if narrower else 32)
        # Cut out by hand: the layer's own parameters too.
        if narrower and not isinstance(layer, nn.ConvTranspose2d):
            y = F.conv2d(x, plain.one.weight[:16], plain.one.bias[:16])
            small = _prefix(layer)
            y = F.conv2d(small(y), plain.two.weight[:16, :16], plain.two.bias[:16])
            wanted = F.linear(y.mean((2, 3)), plain.fc.weight[:, :16], plain.fc.bias)
            torch.testing.assert_close(model(x), wanted)
    copied = copy.deepcopy(model)
    torch.testing.assert_close(copied(x), model(x))


class Rows(nn.Module):
    """Runs a recurrent layer along the rows of every channel."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.flatten(0, 1))[0].view_as(x)


def _prefix(layer):
    """``layer`` with its first 16 of 32 channels."""
    small = copy.deepcopy(layer)
    if isinstance(layer, OverChannels):
        small.norm = _prefix(layer.norm)
        return small
    for name, tensor in [*small._parameters.items(), *small._buffers.items()]:
        if tensor is not None and tensor.dim():
            cut = tensor[:16]
            setattr(small, name, nn.Parameter(cut) if name in small._parameters else cut)
    if isinstance(layer, nn.GroupNorm):
        small.num_channels, small.num_groups = 16, -(-layer.num_groups // 2)
    for name, value in (("normalized_shape", (16,)), ("num_features", 16)):
        if hasattr(small, name):
            setattr(small, name, value)
    return small


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: slimmable(nn.Conv2d(3, 8, 1), (0.5, 1.5)), r"width range \[0.5, 1.5\]"),
        (lambda: slimmable(nn.Conv2d(3, 8, 1), divisor=0), "divisor 0"),
        (lambda: slimmable(nn.Conv2d(3, 8, 1), rules={"fc": Fixed()}), "no layer is called 'fc'"),
        (lambda: slimmable(nn.Conv2d(3, 8, 1), exclude=["hea*"]), r"no layer is called 'hea\*'"),
        (lambda: slimmable(slimmable(nn.Conv2d(3, 8, 1))), "slimmable already"),
        (lambda: set_width(nn.Conv2d(3, 8, 1), 0.5), "not slimmable"),
        (lambda: set_width(slimmable(nn.Conv2d(3, 8, 1), (0.5, 1)), 0.3), r"width 0.3 is outside"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
