"""slimmable() on networks of others: 2D, 3D, concatenations, refusals."""

import pytest
import torch
import torchvision
from torch import nn

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


@pytest.mark.parametrize(
    "layer, reason",
    [
        (nn.ConvTranspose2d(8, 8, 2), "transposed"),
        (nn.LayerNorm(8), "LayerNorm"),
        (nn.GroupNorm(2, 8), "GroupNorm"),
        (nn.PReLU(8), "parameter weight of shape"),
        (torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1)), "parametrised"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_refuses_by_path_and_reason_unless_excluded(layer, reason):
    def network():
        return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Sequential(layer))

    with pytest.raises(InputError, match=rf"1\.0.*{reason}"):
        slimmable(network())
    slimmable(network(), exclude=["1.0"], example=torch.zeros(2, 3, 8, 8, device="meta"))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: slimmable(nn.Conv2d(3, 8, 1), (0.5, 1.5)), r"width range \[0.5, 1.5\]"),
        (lambda: slimmable(nn.Conv2d(3, 8, 1), divisor=0), "divisor 0"),
        (lambda: slimmable(nn.Conv2d(3, 8, 1), rules={"fc": Fixed()}), "no layer is called 'fc'"),
        (lambda: slimmable(slimmable(nn.Conv2d(3, 8, 1))), "slimmable already"),
        (lambda: set_width(nn.Conv2d(3, 8, 1), 0.5), "not slimmable"),
        (lambda: set_width(slimmable(nn.Conv2d(3, 8, 1), (0.5, 1)), 0.3), r"width 0.3 is outside"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
