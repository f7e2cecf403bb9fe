"""Folded networks answer as before, and only what may be folded is."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from mutualvideo.models import build_model
from mutualvideo.slim import calibrate, extract, set_subnet, slimmable, subnet_input
from mutualvideo.slim.kernels.fold import fold_norms
from mutualvideo.subnet import Subnet
from tests.networks import NETWORKS, few_blocks, make_cfg, make_clip, randomize_norms, subnets

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def norms_of(network):
    return [name for name, module in network.named_modules() if isinstance(module, NORMS)]


def fold_and_compare(network, x, tolerance=1e-5):
    """Names that are folded; the folded network answers as before, and in float64 exactly."""
    torch.manual_seed(0)
    randomize_norms(network.eval())
    args = x if isinstance(x, tuple) else (x,)
    on_meta = tuple(value.to("meta") for value in args)
    exact, plain = copy.deepcopy(network).double(), copy.deepcopy(network)
    names = fold_norms(network, on_meta)
    assert fold_norms(exact, tuple(value.double() for value in on_meta)) == names
    with torch.no_grad():
        wanted = plain(*args)
        scale = wanted.abs().max()
        assert scale > 1e-3
        assert (network(*args) - wanted).abs().max() < tolerance * scale
        wanted = copy.deepcopy(plain).double()(*(value.double() for value in args))
        ours = exact(*(value.double() for value in args))
        assert (ours - wanted).abs().max() < 1e-12 * scale
    assert sorted(names) == sorted(set(norms_of(plain)) - set(norms_of(network)))
    assert all(type(network.get_submodule(name)) is nn.Identity for name in names)
    return names


def compare_with_sliced(model, subnets, x, everything_folds, tolerance=1e-5):
    for subnet in subnets:
        static = extract(model, subnet, fold=True)
        assert bool(norms_of(static)) != everything_folds
        set_subnet(model, subnet)
        clip = subnet_input(model, x, subnet)
        with torch.no_grad():
            wanted = model(clip)
            assert (static(clip) - wanted).abs().max() < tolerance * wanted.abs().max()


@pytest.mark.parametrize("name", NETWORKS)
def test_registered_networks_answer_as_sliced(name):
    torch.manual_seed(0)
    cfg = make_cfg(name)
    with few_blocks():
        model = build_model(cfg)
    randomize_norms(model)
    # Measured: 4e-7 to 7e-7.
    # WideResNet normalises sums before its activations, where there is nothing to fold into.
    compare_with_sliced(model.eval(), subnets(cfg), make_clip(cfg), name != "WideResNet")


def test_calibrated_statistics_are_folded():
    torch.manual_seed(0)
    cfg = make_cfg("X3D")
    model = build_model(cfg)
    subnet = Subnet.parse("0.63x2x32")
    x = torch.randn(2, 3, cfg.DATA.NUM_FRAMES, 64, 64)
    calibrate(model, [subnet], [x])
    # Variances of a handful of values are tiny and blow up any rounding: float64 decides.
    compare_with_sliced(model.double().eval(), [subnet], x.double(), True, 1e-10)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet"])
def test_networks_of_torchvision_answer_as_sliced(name):
    torch.manual_seed(0)
    if name == "densenet":  # layers of a block are alike
        network = torchvision.models.DenseNet(block_config=(3, 3, 3, 3), num_classes=7)
    else:
        network = getattr(torchvision.models, name)(num_classes=7)
    model = slimmable(network).eval()
    randomize_norms(model)
    subnets = [Subnet(width, None, 64) for width in (0.25, 0.8, 1.0)]
    # Half of a DenseNet's norms read concatenations.
    compare_with_sliced(model, subnets, torch.randn(2, 3, 64, 64), name != "densenet")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [("weight", "bias"), ("weight",), ()], ids=len)
@pytest.mark.parametrize(
    "make, norm, shape",
    [
        (lambda bias: nn.Conv1d(4, 6, 3, bias=bias), nn.BatchNorm1d, (4, 9)),
        (lambda bias: nn.Conv2d(4, 6, 3, 2, 1, groups=2, bias=bias), nn.BatchNorm2d, (4, 9, 9)),
        (
            lambda bias: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect", bias=bias),
            nn.BatchNorm2d,
            (4, 9, 9),
        ),
        (lambda bias: nn.Conv3d(4, 4, 3, groups=4, bias=bias), nn.BatchNorm3d, (4, 3, 5, 5)),
        (lambda bias: nn.Linear(4, 6, bias=bias), nn.BatchNorm1d, (4,)),
    ],
    ids=["conv1d", "grouped", "reflect", "depthwise", "linear"],
)
def test_every_kind_of_layer_folds(make, norm, shape, affine, bias):
    torch.manual_seed(0)
    layer = make(bias)
    channels = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    own = norm(channels, eps=0.1)
    own.running_mean.uniform_(-1, 1)
    own.running_var.uniform_(0.5, 1)
    for name in ("weight", "bias"):
        if name in affine:
            nn.init.uniform_(getattr(own, name), -1, 1)
        else:
            setattr(own, name, None)
    network = nn.Sequential(layer, own, nn.ReLU(inplace=True)).eval()
    x = torch.randn(3, *shape)
    with torch.no_grad():
        wanted = network(x)
    layer.weight.requires_grad_(False)
    assert fold_norms(network, (x.to("meta"),)) == ["1"]
    with torch.no_grad():
        torch.testing.assert_close(network(x), wanted, rtol=1e-5, atol=1e-6)
    assert list(network.state_dict()) == ["0.weight", "0.bias"]
    assert not any(parameter.requires_grad for parameter in network.parameters())


class Net(nn.Module):
    """A convolution and a norm, and what the subclass does with them."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.other = nn.Conv2d(8, 8, 3, padding=1)
        self.build()

    def build(self):
        pass


class InPlaceAfter(Net):
    """What writes into the norm's output now writes into the convolution's."""

    def forward(self, x):
        y = F.relu_(self.norm(self.conv(x)))
        return self.other(y.add_(1)) + y


class TwoNames(Net):
    def build(self):
        self.alias, self.unregistered = nn.ModuleDict({"norm": self.norm}), [self.norm]

    def forward(self, x):
        return self.unregistered[0](self.conv(x))


class ReadTwice(Net):
    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + self.other(y)


class ReadThroughAView(Net):
    def forward(self, x):
        y = self.conv(x)
        pooled = y.flatten(2).mean(2)
        return self.norm(y) + pooled[:, :, None, None]


class ChangedInPlace(Net):
    def forward(self, x):
        y = self.conv(x)
        F.relu_(y)
        return self.norm(y)


class ActivatedBefore(Net):
    def forward(self, x):
        return self.norm(F.relu(self.conv(x)))


class LayerTwice(Net):
    def forward(self, x):
        return self.norm(self.other(self.other(self.conv(x))))


class NormTwice(Net):
    def forward(self, x):
        y = self.norm(self.conv(x))
        return self.norm(self.other(y))


class Returned(Net):
    def forward(self, x):
        y = self.conv(x)
        return torch.stack([self.norm(y), y])


class WeightLent(Net):
    def forward(self, x):
        return self.norm(self.conv(x)) + F.conv2d(x, self.conv.weight, padding=1)


class StatisticsLent(Net):
    def forward(self, x):
        return self.norm(self.conv(x)) + self.norm.running_mean[:, None, None]


class BatchStatistics(Net):
    def build(self):
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)

    def forward(self, x):
        return self.norm(self.conv(x))


class Hooked(Net):
    def build(self):
        self.conv.register_forward_hook(lambda module, inputs, out: out * 2)

    def forward(self, x):
        return self.norm(self.conv(x))


class OwnConvolution(Net):
    def build(self):
        class Doubled(nn.Conv2d):
            def forward(self, x):
                return 2 * super().forward(x)

        self.conv = Doubled(3, 8, 3, padding=1)

    def forward(self, x):
        return self.norm(self.conv(x))


class OwnForward(Net):
    def build(self):
        self.norm.forward = F.silu

    def forward(self, x):
        return self.norm(self.conv(x))


@pytest.mark.parametrize("kind", [InPlaceAfter, TwoNames])
def test_folds(kind):
    assert fold_and_compare(kind(), torch.randn(2, 3, 6, 6)) == ["norm"]


@pytest.mark.parametrize(
    "kind",
    [
        ReadTwice,
        ReadThroughAView,
        ChangedInPlace,
        ActivatedBefore,
        LayerTwice,
        NormTwice,
        Returned,
        WeightLent,
        StatisticsLent,
        Hooked,
        OwnConvolution,
    ],
)
def test_leaves_alone(kind):
    assert fold_and_compare(kind(), torch.randn(2, 3, 6, 6)) == []


@pytest.mark.parametrize("kind", [BatchStatistics, OwnForward])
def test_leaves_norms_alone_that_compute_something_else(kind):
    network = kind().eval()
    x = torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        wanted = network(x)
        assert fold_norms(network, (x.to("meta"),)) == []
        torch.testing.assert_close(network(x), wanted)


def test_a_norm_over_another_dimension_than_the_layers_channels_stays():
    network = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    assert fold_and_compare(network, torch.randn(3, 6, 4)) == []


class Output(Net):
    def forward(self, x):
        self.norm(y := self.conv(x))
        return y


def test_the_networks_own_output_stays():
    network = Output().eval()
    assert fold_norms(network, (torch.empty(2, 3, 6, 6, device="meta"),)) == []


def test_a_shared_weight_folds_into_one_of_its_layers_alone():
    network = nn.Sequential(
        nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)
    )
    network[3].weight = network[0].weight
    fold_and_compare(network, torch.randn(2, 8, 6, 6))
