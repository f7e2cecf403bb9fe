"""For networks at random: every width is a cut of the full network, or there is an error."""

import copy
import warnings
from collections import Counter

import pytest
import torch

from mutualvideo.errors import InputError
from mutualvideo.slim import extract, order_channels, set_width, slimmable
from mutualvideo.subnet import Subnet
from tests.networks import randomize_norms
from tests.silenced import silenced
from tests.zoo.random_networks import Composed, programs

WIDTHS = (0.25, 0.4, 0.7)
VERDICTS = Counter()
SLOW = pytest.mark.slow


def check(steps):
    torch.manual_seed(0)
    plain = Composed(steps).eval()
    randomize_norms(plain)
    x = torch.randn(2, 3, 4, 4)
    model = copy.deepcopy(plain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            slimmable(model, example=x.to("meta"))
        except InputError as error:
            assert "rules={" in str(error)
            VERDICTS["refused"] += 1
            return
    width = WIDTHS[sum(map(sum, steps)) % len(WIDTHS)]
    with torch.no_grad():
        answer = plain(x)
        torch.testing.assert_close(model(x), answer)
        set_width(model, width)
        sliced = model(x)
        wanted = silenced(plain, model, lambda: plain(x))
        torch.testing.assert_close(sliced, wanted, rtol=1e-4, atol=1e-4)
        static = extract(model, Subnet(width, None, 4), example=x)
        torch.testing.assert_close(static(x), sliced, rtol=1e-4, atol=1e-4)
        order_channels(model)
        set_width(model, 1.0)
        torch.testing.assert_close(model(x), answer, rtol=1e-4, atol=1e-4)
    VERDICTS["mostly cut" if model.slim_state.plan.share >= 0.5 else "mostly whole"] += 1


@pytest.mark.parametrize("part", [slice(0, 20), pytest.param(slice(20, None), marks=SLOW)])
def test_networks_at_random(part, capsys):
    VERDICTS.clear()
    chosen, met = programs(300)
    # Each of twenty operations after each, and after the first layer.
    assert sum(len(meeting) == 2 for meeting in met) >= 21 * 20 - 1
    for steps in chosen[part]:
        try:
            check(steps)
        except Exception as error:
            raise AssertionError(f"the network of the steps {steps}") from error
    with capsys.disabled():
        print(f"\nrandom networks: {dict(VERDICTS)}")
    assert VERDICTS.total() == len(chosen[part]) and VERDICTS["refused"] == 0
