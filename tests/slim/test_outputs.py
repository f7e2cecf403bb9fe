"""What reaches the network's output keeps its channels, whatever it is wrapped in."""

import copy
import functools
from collections import deque

import pytest
import torch
from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.slim import extract, order_channels, set_width, slimmable, slimmable_report
from mutualvideo.subnet import Subnet
from tests.zoo.oddities import Returns


class Callable:
    def __init__(self, map):
        self.map = map

    def __call__(self):
        return self.map


class Private:
    __slots__ = ("__map",)

    def __init__(self, map):
        self.__map = map

    def map(self):
        return self.__map


WRAPS = {
    "deque": (lambda low, high: deque([low, high]), list),
    "view of a dict": (lambda low, high: {"low": low, "high": high}.values(), list),
    "iterator": (lambda low, high: iter([low, high]), list),
    "lazy": (lambda low, high: (part * 2 for part in (low, high)), list),
    "iterator in a dict": (
        lambda low, high: {"maps": iter([low, high])},
        lambda o: list(o["maps"]),
    ),
    "partial": (lambda low, high: functools.partial(torch.add, low, other=high), lambda o: o.args),
    "callable": (lambda low, high: Callable(low), lambda o: [o()]),
    "private slot": (lambda low, high: Private(low), lambda o: [o.map()]),
}


@pytest.mark.parametrize("kind", WRAPS)
@pytest.mark.filterwarnings("ignore:slimmable")
def test_outputs_keep_their_channels(kind):
    wrap, parts = WRAPS[kind]
    model = slimmable(Returns(wrap).eval(), example=torch.randn(1, 3, 8, 8))
    set_width(model, 0.25)
    assert {part.shape[1] for part in parts(model(torch.randn(1, 3, 8, 8)))} == {32}


@pytest.mark.parametrize("norm", [torch.nn.utils.weight_norm, torch.nn.utils.spectral_norm])
@pytest.mark.filterwarnings("ignore:slimmable", "ignore::FutureWarning")
def test_a_weight_that_a_hook_computes_is_left_whole(norm):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    model = nn.Sequential(nn.Conv2d(3, 32, 1), norm(nn.Conv2d(32, 32, 1)), nn.Conv2d(32, 7, 1))
    with torch.no_grad():
        answer = model.eval()(x)
        slimmable(model, example=x)
        set_width(model, 0.5)
        static = extract(model, Subnet(0.5, None, 8), example=x)
        torch.testing.assert_close(static(x), model(x))
        order_channels(model)
        set_width(model, 1.0)
        torch.testing.assert_close(model(x), answer)


class Reads(nn.Module):
    """Has a layer that is not called, whose weight is used."""

    def __init__(self):
        super().__init__()
        self.stem, self.other = nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 1)
        self.last = nn.Conv2d(32, 7, 1)

    def forward(self, x):
        y = nn.functional.conv2d(self.stem(x), self.other.weight, self.other.bias)
        return self.last(y)


@pytest.mark.filterwarnings("ignore:slimmable")
def test_a_layer_of_which_only_the_weight_is_read_is_extracted():
    x = torch.randn(2, 3, 8, 8)
    model = slimmable(Reads().eval(), example=x)
    set_width(model, 0.25)
    static = extract(model, Subnet(0.25, None, 8), example=x)
    torch.testing.assert_close(static(x), model(x))
    assert type(static.other) is nn.Conv2d


@pytest.mark.parametrize("dims", [(1,), (2,)])
@pytest.mark.filterwarnings("ignore:slimmable")
def test_what_a_hook_does_to_a_layers_output_is_an_operation(dims):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 32, 1), nn.Conv2d(32, 7, 1)).eval()
    model[0].register_forward_hook(lambda module, inputs, out: out.flip(dims))
    x = torch.randn(2, 3, 8, 8)
    # At width 0.5, the first 16 of what is made; after a flip, the last of what is read.
    read = slice(16, 32) if dims == (1,) else slice(0, 16)
    with torch.no_grad():
        made = nn.functional.conv2d(x, model[0].weight[:16], model[0].bias[:16]).flip(dims)
        right = nn.functional.conv2d(made, model[1].weight[:, read], model[1].bias)
        slimmable(model, example=x)
        assert model.slim_state.plan.share == 1
        set_width(model, 0.5)
        torch.testing.assert_close(model(x), right)


def test_a_torchscript_network_is_refused_by_name_and_a_part_that_is_one_stays_whole():
    x = torch.randn(1, 3, 8, 8)
    part = torch.jit.trace(nn.Sequential(nn.Conv2d(3, 32, 1), nn.ReLU()), x)
    with pytest.raises(InputError, match="TopLevelTracedModule is a TorchScript program"):
        slimmable(part, example=x)
    layers = (nn.Conv2d(32, 32, 1), nn.Conv2d(32, 32, 1), nn.Conv2d(32, 7, 1))
    model = nn.Sequential(part, *layers).eval()
    with torch.no_grad():
        answer = model(x)
        slimmable(model, example=x)
        torch.testing.assert_close(model(x), answer)
        set_width(model, 0.5)
        assert model[0](x).shape[1] == 32 and model[1](model[0](x)).shape[1] == 16
        assert model(x).shape == answer.shape


def test_a_network_without_layers_is_taken_as_it_is():
    model = slimmable(nn.Flatten(), example=torch.randn(1, 3, 8, 8))
    set_width(model, 0.5)
    assert model(torch.randn(1, 3, 8, 8)).shape == (1, 192)


class Counting(nn.Module):
    """Returns a number beside the answer: of channels, of calls, or of neither."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.calls = kind, 0
        self.stem, self.body = nn.Conv2d(3, 32, 1), nn.Conv2d(32, 64, 1)
        self.head = nn.Conv2d(64, 4, 1)

    def forward(self, x):
        stem = self.stem(x)
        x = self.body(stem)
        self.calls += 1
        number = {
            "channels": x.shape[1],
            "size": x.shape[1:],
            "text": f"{x.shape[1]} channels",
            "calls": self.calls,
            "height": x.shape[2],
        }[self.kind]
        return self.head(x), {"number": number}


@pytest.mark.parametrize("kind", ["channels", "size", "text"])
def test_numbers_that_are_returned_do_not_change(kind):
    model, picture = Counting(kind).eval(), torch.zeros(2, 3, 8, 8)
    with pytest.warns(UserWarning, match="0% of the multiply-adds"):
        slim = slimmable(copy.deepcopy(model), width_range=(0.25, 1), example=picture)
    set_width(slim, 0.25)
    assert slim(picture)[1] == model(picture)[1]
    assert "a number in it at [1]['number']" in str(slimmable_report(slim))


@pytest.mark.parametrize("kind", ["calls", "height"])
def test_numbers_that_have_to_do_with_no_channel(kind):
    slim = slimmable(Counting(kind).eval(), width_range=(0.25, 1), example=torch.zeros(2, 3, 8, 8))
    assert slimmable_report(slim).share > 0.9
