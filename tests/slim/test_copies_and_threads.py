"""Copies of networks that are hard to copy, switches in the midst of a pass, companions' inputs."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mutualvideo.errors import InputError
from mutualvideo.mutual import mutual_step
from mutualvideo.slim import calibrate, count_macs, extract, set_subnet, set_width, slimmable
from mutualvideo.subnet import Subnet
from tests.slim.test_trace import Body, FlattenedConcatenation

FULL, HALF, SMALL = Subnet(1, None, 16), Subnet(0.5, None, 16), Subnet(0.5, None, 8)


class Keeps(Body):
    """Keeps an activation of its last pass."""

    def body(self, x):
        self.kept = x * 2
        return self.kept


def test_a_network_that_keeps_an_activation():
    network = Keeps()
    x = torch.randn(2, 3, 16, 16)
    network(x)
    model = slimmable(network)
    model(x)
    set_subnet(model, HALF)
    static = extract(model.eval(), HALF)
    torch.testing.assert_close(static(x), model(x))


def test_a_graph_module_and_its_copy():
    graph = torch.fx.symbolic_trace(FlattenedConcatenation().eval())
    model = slimmable(graph, example=torch.randn(2, 3, 16, 16))
    copied = copy.deepcopy(model)
    x = torch.randn(2, 3, 16, 16)
    for one in (model, copied):
        set_width(one, 0.5)
    torch.testing.assert_close(copied(x), model(x))
    torch.testing.assert_close(extract(copied, HALF)(x), model(x))


def test_a_switch_in_the_midst_of_a_pass_raises():
    model = slimmable(nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU(), nn.Conv2d(16, 4, 1)))
    x = torch.randn(2, 3, 4, 4)
    handle = model[1].register_forward_hook(lambda *_: set_width(model, 0.5))
    with pytest.raises(InputError, match="switched to another sub-network during a forward pass"):
        model(x)
    handle.remove()
    model(x)


class Any(nn.Module):
    def __init__(self, run, conv=nn.Conv2d, dense=False):
        super().__init__()
        self.a, self.b = conv(3, 32, 3, padding=1), conv(32, 32, 3, padding=1)
        self.norm = {nn.Conv1d: nn.BatchNorm1d, nn.Conv2d: nn.BatchNorm2d}[conv](32)
        self.fc = conv(32, 5, 1) if dense else nn.Linear(32, 5)
        self.run = run

    def features(self, x):
        return self.b(self.norm(self.a(x)).relu())

    def forward(self, *args):
        return self.run(self, *args)


def _top(net, y):
    return net.fc(y.flatten(2).mean(2))


def _by_value(net, x):
    y = net.features(x)
    return _top(net, y if y.mean() > 0 else -y)


P, LABELS = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
INPUTS = {
    "control flow by values": (_by_value, {}, P, LABELS, SMALL),
    "sequences": (
        lambda net, x: _top(net, net.features(x)),
        {"conv": nn.Conv1d},
        P[..., 0],
        LABELS,
        HALF,
    ),
    "two inputs": (
        lambda net, x, y: _top(net, net.features(x) + net.features(y)),
        {},
        (P, -P),
        LABELS,
        SMALL,
    ),
    "dense labels": (
        lambda net, x: net.fc(net.features(x)),
        {"dense": True},
        P,
        torch.randint(5, (4, 16, 16)),
        SMALL,
    ),
}


@pytest.mark.parametrize("name", INPUTS)
def test_companions_take_what_slimmable_took(name):
    run, options, x, targets, small = INPUTS[name]
    torch.manual_seed(0)
    model = slimmable(Any(run, **options), example=x, full=FULL)
    assert 0 < count_macs(model, HALF, example=x) < count_macs(model, FULL, example=x)
    calibrate(model, [HALF], [x])
    set_subnet(model, HALF)
    static = extract(model.eval(), HALF, example=x)
    args = x if isinstance(x, tuple) else (x,)
    torch.testing.assert_close(static(*args), model(*args))
    full, narrow = mutual_step(model.train(), x, targets, [FULL, small])
    assert full.loss > 0 and narrow.loss.isfinite()
    assert all(p.grad is not None for p in model.parameters())


def test_the_callers_own_losses():
    torch.manual_seed(0)
    net = Any(lambda net, x: _top(net, net.features(x)))
    model, wanted = slimmable(net, example=P, full=FULL).train(), torch.randn(4, 5)
    seen = []

    def distill(output, teacher):
        seen.append((output.requires_grad, teacher.requires_grad))
        return F.l1_loss(output, teacher)

    full, _ = mutual_step(model, P, wanted, [FULL, HALF], loss=F.mse_loss, distill=distill)
    assert seen == [(True, False)] and full.correct == 0
    set_subnet(model, FULL)
    torch.testing.assert_close(full.loss, F.mse_loss(model(P), wanted).detach())
    _, half = mutual_step(model, P, wanted, [FULL, HALF], loss=F.mse_loss)
    set_subnet(model, HALF)
    imitates = model(P)
    set_subnet(model, FULL)
    torch.testing.assert_close(half.loss, F.mse_loss(imitates, model(P)).detach())
