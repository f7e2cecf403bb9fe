"""Ordering channels by importance: which come first, and what is left alone."""

import pytest
import torch
from torch import nn

from mutualvideo.errors import InputError
from mutualvideo.slim import (
    calibrate,
    is_calibrated,
    order_channels,
    set_subnet,
    set_width,
    slim_state,
    slimmable,
)
from mutualvideo.subnet import Subnet
from tests.slim.test_trace import HARD, WideGroups


@pytest.mark.parametrize("kind", HARD)
def test_the_full_network_answers_as_before(kind):
    torch.manual_seed(0)
    model = slimmable(kind().eval())
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        answer = model(x)
        order_channels(model)
        torch.testing.assert_close(model(x), answer)


def test_the_most_read_channels_come_first():
    torch.manual_seed(0)
    model = slimmable(
        nn.Sequential(
            nn.Conv2d(3, 16, 1), nn.ReLU(), nn.Conv2d(16, 8, 1), nn.Flatten(), nn.Linear(8, 2)
        ),
        example=torch.empty(2, 3, 1, 1),
    )
    first, second = model[0], model[2]
    read = second.weight.detach().abs().sum((0, 2, 3))
    wanted = read.argsort(descending=True)
    made = first.weight.detach()[wanted].clone()
    order_channels(model)
    torch.testing.assert_close(second.weight.detach().abs().sum((0, 2, 3)), read[wanted])
    torch.testing.assert_close(first.weight.detach(), made)


def test_where_a_norm_scales_them_its_weights_decide():
    torch.manual_seed(0)
    model = slimmable(
        nn.Sequential(nn.Conv2d(3, 16, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 1)),
        example=torch.empty(2, 3, 1, 1),
    )
    scales = torch.randn(16)
    model[1].weight.data.copy_(scales)
    model[1].running_mean.copy_(scales)
    order_channels(model)
    wanted = scales[scales.abs().argsort(descending=True)]
    assert torch.equal(model[1].weight.detach(), wanted)
    assert torch.equal(model[1].running_mean, wanted)


def test_a_narrower_network_answers_more_like_the_full_one():
    """Channels that nobody reads are the last ones: without them nothing is missing."""
    torch.manual_seed(0)
    model = slimmable(
        nn.Sequential(
            nn.Conv2d(3, 32, 3, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 4),
        ).eval(),
        width_range=(0.5, 1),
    )
    dead = torch.randperm(32)[:16]
    with torch.no_grad():
        model[5].weight[:, dead] = 0
        x = torch.randn(4, 3, 8, 8)
        answer = model(x)
        set_width(model, 0.5)
        assert not torch.allclose(model(x), answer, atol=1e-3)
        order_channels(model)
        torch.testing.assert_close(model(x), answer)


def test_groups_stay_together():
    torch.manual_seed(0)
    model = slimmable(WideGroups().eval())
    groups = {tuple(sorted(block.flatten().tolist())) for block in model.expand.weight.split(24)}
    order_channels(model)
    after = {tuple(sorted(block.flatten().tolist())) for block in model.expand.weight.split(24)}
    assert groups == after


def test_statistics_of_subnetworks_are_dropped():
    model = slimmable(WideGroups(), full=Subnet(1, None, 16))
    subnet = Subnet(0.5, None, 16)
    calibrate(model, [subnet], [torch.randn(4, 3, 16, 16)])
    set_subnet(model, subnet)
    assert is_calibrated(model, subnet)
    order_channels(model)
    assert not is_calibrated(model, subnet)
    assert slim_state(model).subnet == subnet


def test_a_layer_that_runs_in_training_alone_goes_along():
    class Auxiliary(WideGroups):
        def build(self):
            super().build()
            self.side = nn.Conv2d(96, 5, 1)

        def body(self, x):
            y = super().body(x)
            return y if not self.training else y + self.side(y).mean()

    torch.manual_seed(0)
    model = slimmable(Auxiliary().eval())
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        aside, answer = model.train()(x), model.eval()(x)
        assert order_channels(model.eval()) > 0
        torch.testing.assert_close(model(x), answer)
        torch.testing.assert_close(model.train()(x), aside)
    with pytest.raises(InputError, match="not slimmable"):
        order_channels(WideGroups())
