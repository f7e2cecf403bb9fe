"""What has no twin, or one that does not know what it does, answers and trains rightly."""

import copy
import warnings

import pytest
import torch
import torchvision
from torch import nn

from mutualvideo import Subnet, extract, set_width, slimmable
from mutualvideo.mutual import mutual_step
from mutualvideo.slim import Fixed, calibrate, set_subnet, slim_state

META = torch.empty(2, 3, 16, 16, device="meta")


class Attending(nn.Module):
    def __init__(self, norm_first):
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=norm_first)
        self.stem = nn.Conv2d(3, 32, 4, 4)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=not norm_first)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.encoder(self.stem(x).flatten(2).transpose(1, 2)).mean(1))


@pytest.mark.parametrize("norm_first", [False, True])
def test_layers_that_torch_fuses_without_gradients(norm_first):
    """The fused operation would read the whole weights of its linear layers."""
    plain = Attending(norm_first).eval()
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        wanted = plain(x)
    model = slimmable(plain, example=META, rules={"encoder.layers.*.self_attn": Fixed()})
    with torch.no_grad():
        torch.testing.assert_close(model(x), wanted)
        set_width(model, 0.25)
        narrow = model(x)
    assert not torch.allclose(narrow, wanted, atol=1e-3)
    torch.testing.assert_close(model(x), narrow)
    alone = extract(model, Subnet(0.25, None, 16), example=META)
    with torch.no_grad():
        torch.testing.assert_close(alone(x), narrow)


class HandMade(nn.Module):
    """A norm with running means, kept in place."""

    def __init__(self, count):
        super().__init__()
        self.register_buffer("kept", torch.zeros(count))

    def forward(self, x):
        mean = self.kept
        if self.training:
            mean = x.mean((0, 2, 3))
            self.kept.mul_(0.9).add_(0.1 * mean.detach())
        return x - mean.view(1, -1, 1, 1)


def with_norm(norm):
    part = nn.Sequential(nn.Conv2d(32, 32, 3), norm(32))
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
    return nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), part, nn.ReLU(), *head)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.InstanceNorm2d, HandMade])
@pytest.mark.parametrize(
    "left",
    [{}, {"exclude": ["2"]}, {"exclude": ["2.1"]}, {"rules": {"2": Fixed()}}],
    ids=["cut", "excluded", "norm excluded", "fixed"],
)
@pytest.mark.filterwarnings("ignore:slimmable.*follow the width")
def test_only_the_full_network_moves_statistics(norm, left):
    if norm is nn.InstanceNorm2d:
        network = with_norm(lambda count: nn.InstanceNorm2d(count, track_running_stats=True))
    else:
        network = with_norm(norm)
    full = Subnet(1, None, 16)
    generator, states = torch.Generator().manual_seed(0), []
    x, labels = torch.randn(8, 3, 16, 16, generator=generator), torch.arange(8)
    for others in ([], [Subnet(0.25, None, 16), Subnet(0.5, None, 12)]):
        model = slimmable(copy.deepcopy(network), example=META, full=full, **left).train()
        for _ in range(3):
            mutual_step(model, x, labels, [full, *others])
        states.append({name: value.clone() for name, value in model.named_buffers()})
    assert states[0].keys() == states[1].keys()
    before = dict(network.named_buffers())
    assert any(not torch.equal(value, before[name]) for name, value in states[0].items())
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=0, atol=0)


class Counting(nn.BatchNorm2d):
    """BatchNorm that moves its statistics itself, in one of two ways."""

    in_place = True

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        with torch.no_grad():
            self.num_batches_tracked += 1
            if self.in_place:
                self.running_mean += self.momentum * (mean - self.running_mean)
                self.running_var.lerp_(var, self.momentum)
            else:
                self.running_mean = self.running_mean.lerp(mean, self.momentum)
                self.running_var = self.running_var.lerp(var, self.momentum)
        shape = 1, -1, 1, 1
        x = (x - mean.view(shape)) / (var.view(shape) + self.eps).sqrt()
        return x * self.weight.view(shape) + self.bias.view(shape)


class Replacing(Counting):
    in_place = False


@pytest.mark.parametrize("norm", [Counting, Replacing])
@pytest.mark.parametrize("high", [1.0, 0.5])
def test_a_batch_norm_that_moves_its_statistics_itself(norm, high):
    network = with_norm(norm)
    model = slimmable(copy.deepcopy(network), (0.25, high), example=META).train()
    assert slim_state(model).plan.share > 0.9
    x = torch.randn(8, 3, 16, 16)
    before = copy.deepcopy(model.state_dict())
    set_width(model, 0.25)
    model(x).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    set_width(model, high)
    model(x)
    alone = extract(copy.deepcopy(model), Subnet(high, None, 16), example=META).train()
    count = 32 * high
    assert int(model[2][1].num_batches_tracked) == 1
    moved = model[2][1].running_mean != before["2.1.running_mean"]
    assert moved[: int(count)].all() and not moved[int(count) :].any()
    # What the same pass leaves in the network alone.
    wanted = with_norm(norm)[2][1]
    alone[2][1].running_mean = wanted.running_mean[: int(count)].clone()
    alone(x)
    torch.testing.assert_close(alone[2][1].running_mean, model[2][1].running_mean[: int(count)])
    narrow = Subnet(0.25, None, 16)
    calibrate(model, [narrow], [x])
    set_subnet(model.eval(), narrow)
    torch.testing.assert_close(
        model(x), extract(model, narrow, example=META).eval()(x), rtol=1e-4, atol=1e-5
    )


class Weighing(nn.Conv2d):
    """A number for each channel that it reads, or makes."""

    def __init__(self, *args, reads=True):
        super().__init__(*args)
        self.each, self.reads = nn.Parameter(torch.rand(args[0]) + 0.5), reads

    def forward(self, x):
        each = self.each.view(1, -1, 1, 1)
        if self.reads:
            return self._conv_forward(x * each, self.weight, self.bias)
        return self._conv_forward(x, self.weight, self.bias) * each


class Joining(nn.Module):
    def __init__(self, reads):
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 32, 1), nn.Conv2d(3, 32, 1)
        self.both, self.last = Weighing(64, 64, 1, reads=reads), nn.Conv2d(64, 10, 1)

    def forward(self, x):
        return self.last(self.both(torch.cat([self.one(x), self.other(x)], 1)).relu())


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.filterwarnings("ignore:slimmable.*follow the width")
def test_numbers_of_a_convolution_go_with_what_they_weigh(reads, device):
    """As many channels come in as go out: a shape does not tell which of them a number is of."""
    with torch.device(device):
        plain = Joining(reads)
    plain.both.requires_grad_(False)
    model = slimmable(plain, example=META)
    assert (slim_state(model).plan.share > 0.9) is not reads
    assert not plain.both.each.requires_grad
    if device == "meta":
        return
    x = torch.randn(2, 3, 4, 4)
    for width in (0.27, 0.5, 0.61):
        set_width(model, width)
        alone = extract(model, Subnet(width, None, 4), example=META)
        torch.testing.assert_close(alone(x), model(x))
        if reads:
            continue
        count = alone.one.out_channels
        kept = [*range(count), *range(32, 32 + count)]
        made = alone.both.out_channels
        weight = plain.both._parameters["weight"][:made][:, kept]
        torch.testing.assert_close(alone.both.weight, weight)
        torch.testing.assert_close(alone.both.each, plain.both._parameters["each"][:made])


class Skipping(nn.Module):
    """Stochastic depth that asks for a number, and a second head, in training alone."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.side, self.head = nn.Conv2d(32, 16, 1), nn.Linear(32, 10)

    def forward(self, x):
        x = self.first(x).relu()
        if not self.training:
            return self.head((x + self.second(x)).mean((2, 3)))
        if torch.rand(1, device=x.device).item() < 0.9:
            x = x + self.second(x)
        return self.head(x.mean((2, 3))), self.side(x)


def test_a_forward_that_looks_at_values_in_training_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = slimmable(Skipping(), example=torch.randn(2, 3, 16, 16)).train()
    set_width(model, 0.25)
    answer, side = model(torch.randn(2, 3, 16, 16))
    assert answer.shape == (2, 10) and side.shape[1] == 16
    alone = extract(model, Subnet(0.25, None, 16), example=torch.randn(2, 3, 16, 16))
    assert alone.side.in_channels == 8
    with pytest.warns(UserWarning, match="in training mode Skipping does not run.*with values"):
        slimmable(Skipping(), example=META)


def test_layers_of_training_that_the_example_is_too_small_for():
    network = torchvision.models.inception_v3(init_weights=False)
    with pytest.warns(UserWarning, match="in training mode Inception3 does not run.*too small"):
        slimmable(network, example=torch.empty(2, 3, 96, 96, device="meta"))
