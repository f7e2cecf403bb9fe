"""A forward that asks its layers for their type must not do something else without a word."""

import pytest
import torch
from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.slim import set_width, slimmable

PICTURES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Asks(nn.Module):
    """Runs its second layer, or twice its input, if that layer is one of torch's."""

    def __init__(self, asks, way):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 1)
        self.head = nn.Linear(16, 5)
        self.asks, self.way = asks, way

    def forward(self, x):
        x = self.first(x).relu()
        if self.asks(self.second):
            x = self.second(x) if self.way == "layer" else x * 2
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("way", ["layer", "function"])
@pytest.mark.parametrize("example", [None, PICTURES], ids=["guessed", "values"])
@pytest.mark.parametrize(
    "asks",
    [lambda layer: type(layer) is nn.Conv2d, lambda layer: layer.__class__.__name__ == "Conv2d"],
    ids=["type", "name"],
)
def test_a_network_that_asks_for_types_is_refused(way, example, asks):
    network = Asks(asks, way).eval()
    before = network(PICTURES)
    other = "module second" if way == "layer" else "mul"
    with pytest.raises(InputError, match=rf"Asks does something else .* where {other} \(its own"):
        slimmable(network, example=example)
    assert torch.equal(network(PICTURES), before)  # it is as it was


@pytest.mark.filterwarnings("ignore:slimmable.*of the multiply-adds of Asks")
@pytest.mark.parametrize(
    "asks, kept",
    [
        (lambda layer: isinstance(layer, nn.Conv2d), ()),
        (lambda layer: type(layer) is nn.Conv2d, ("second",)),
    ],
    ids=["isinstance", "excluded"],
)
def test_isinstance_holds_and_a_layer_may_stay_out(asks, kept):
    torch.manual_seed(0)
    network = Asks(asks, "layer").eval()
    before = network(PICTURES)
    slimmable(network, exclude=kept)
    torch.testing.assert_close(network(PICTURES), before)
    set_width(network, 0.5)
    # What stays out keeps the channels whole that it reads and makes, which are all.
    assert torch.allclose(network(PICTURES), before) == bool(kept)
