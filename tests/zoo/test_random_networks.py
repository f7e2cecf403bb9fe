"""For networks at random: every width is a cut of the full network, or there is an error."""

import copy
import warnings
from collections import Counter

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings

from mutualvideo.errors import InputError
from mutualvideo.slim import extract, order_channels, set_width, slimmable
from mutualvideo.subnet import Subnet
from tests.networks import randomize_norms
from tests.silenced import silenced
from tests.zoo.random_networks import STEPS, Composed

WIDTHS = (0.25, 0.4, 0.7)
VERDICTS = Counter()


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


COMMON = dict(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@settings(max_examples=30, **COMMON)
@given(STEPS)
def test_a_few_networks_at_random(steps):
    check(steps)


@pytest.mark.slow
def test_two_thousand_networks_at_random(capsys):
    VERDICTS.clear()
    settings(max_examples=2000, **COMMON)(given(STEPS)(check))()
    with capsys.disabled():
        print(f"\nrandom networks: {dict(VERDICTS)}")
    assert VERDICTS.total() >= 1900 and VERDICTS["refused"] == 0
