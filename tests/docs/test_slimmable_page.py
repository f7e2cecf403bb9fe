"""The tables of docs/slimmable.md say what slimmable() says."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from mutualvideo import slimmable
from mutualvideo.errors import InputError
from mutualvideo.slim import Fixed, Ratio, slimmable_report

PAGE = (Path(__file__).resolve().parents[2] / "docs/slimmable.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.filterwarnings("ignore:slimmable().*multiply-adds:UserWarning")


class Net(nn.Module):
    """Two convolutions and a classifier; ``between`` and ``pooled`` are what the case is about."""

    def __init__(self, between=lambda x: x, pooled=lambda x: x, second=lambda layer: layer):
        super().__init__()
        self.a, self.f = nn.Conv2d(3, 32, 3), nn.Linear(32, 4)
        self.b = second(nn.Conv2d(32, 32, 3))
        self.between, self.pooled = between, pooled

    def forward(self, x):
        x = self.b(self.between(self.a(x)))
        return self.f(self.pooled(x.mean((2, 3))))


def rows(title):
    """First cells of the table with this title, without backticks."""
    table = PAGE.split(f"| {title} |")[1].split("\n\n")[0]
    return [cell for cell in re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)]


@pytest.mark.parametrize(
    ("network", "layer", "said"),
    [
        (lambda: Net(), "f", "the network's output is made of it"),
        (lambda: Net(lambda x: x.cumsum(1)), "a", "cumsum depends on the order of the channels"),
        (
            lambda: Net(pooled=lambda x: x.view(-1, 32)),
            "b",
            "view does something else at width 0.25 than at full width",
        ),
        (
            lambda: Net(second=weight_norm),
            "a",
            "convolution reads all channels of its input with a weight that is not cut",
        ),
        (lambda: Net(second=weight_norm), "b", "its weight is parametrised"),
        (
            lambda: Net(second=lambda layer: nn.ConvTranspose2d(32, 32, 3, groups=4)),
            "b",
            "transposed convolutions in groups are not cut",
        ),
        (
            lambda: Net(second=lambda layer: nn.Sequential(layer, nn.LayerNorm((32, 28, 28)))),
            "b.1",
            "it normalises more than the channels",
        ),
    ],
)
def test_the_report_says_it(network, layer, said):
    assert said in rows("the report says of a layer") + rows("the report says of a module")
    report = slimmable_report(
        slimmable(network(), example=torch.empty(2, 3, 32, 32, device="meta"))
    )
    assert said in {**report.kept, **report.whole}[layer]


@pytest.mark.parametrize(
    ("network", "arguments", "said"),
    [
        (
            lambda: nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 2)),
            {},
            "transformers are out of reach",
        ),
        (lambda: Net(), {"rules": {"f": Ratio(16, 1)}}, "the rule ... cannot hold"),
        (lambda: Net(), {"example": torch.empty(1, 5, 32, 32)}, "does not run on input of shape"),
        (lambda: nn.Sequential(nn.LazyConv2d(8, 3)), {}, "its parameters have no shape yet"),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.SyncBatchNorm(8)),
            {},
            "give slimmable() the plain BatchNorm",
        ),
        (lambda: nn.ReLU(), {}, "has no convolution and no linear layer"),
        (lambda: slimmable(Net()), {}, "is slimmable already"),
        (lambda: Net(), {"rules": {"c": Fixed()}}, "no layer is called"),
    ],
)
def test_the_refusal_says_it(network, arguments, said):
    assert said in rows("the error says")
    with pytest.raises(InputError, match=re.escape(said).replace(r"\.\.\.", ".*")):
        slimmable(network(), **arguments)
