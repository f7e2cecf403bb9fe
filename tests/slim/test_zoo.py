"""slimmable() on networks of other libraries, without a word about any of them."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mutualvideo.slim import (
    count_costs,
    extract,
    order_channels,
    set_subnet,
    set_width,
    slimmable,
)
from mutualvideo.subnet import Subnet
from tests.networks import randomize_norms
from tests.silenced import silenced
from tests.zoo.upstream import ZOO, make_input, make_network, run

WIDTHS = (0.25, 0.77, 1.0)


@pytest.fixture(scope="module", params=ZOO)
def case(request):
    """(name, plain network's answer and keys, the network made slimmable, its input)."""
    name = request.param
    network = make_network(name)
    randomize_norms(network)
    x = make_input(name)
    with torch.no_grad():
        answer = run(network, x)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    return name, answer, state, slimmable(network, example=x), x


def shape_of(name, width):
    shape = ZOO[name][1] or (3, 8, 64, 64)
    return Subnet(width, shape[1] if len(shape) == 4 else None, shape[-1])


def close(ours, theirs, tolerance=1e-5):
    scale = max(1.0, theirs.abs().max().item())
    assert (ours - theirs).abs().max().item() <= tolerance * scale


def test_full_width_is_the_upstream_network(case):
    name, answer, state, model, x = case
    set_width(model, 1.0)
    with torch.no_grad():
        close(run(model, x), answer)
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_extracted_equals_sliced(case):
    name, answer, _, model, x = case
    subnets = [shape_of(name, width) for width in WIDTHS]
    costs = count_costs(model, subnets, example=x)
    for subnet in subnets:
        static = extract(model, subnet, example=x)
        set_subnet(model, subnet)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            sliced = run(model, x)
        assert counter.get_total_flops() == 2 * len(answer) * costs[subnet].macs
        assert sliced.shape == answer.shape
        with torch.no_grad():
            close(run(static, x), sliced)
            if subnet != subnets[-1]:  # what folds does not depend on the width
                close(run(extract(model, subnet, example=x, fold=True), x), sliced)
        assert not any("Slim" in type(module).__name__ for module in static.modules())
        assert sum(p.numel() for p in static.parameters()) == costs[subnet].params
    params = [costs[subnet].params for subnet in subnets]
    assert params == sorted(params)
    # Only the classifier does not shrink with the square of the width.
    assert costs[subnets[0]].macs < 0.2 * costs[subnets[-1]].macs


def test_sliced_equals_the_full_network_with_silenced_channels(case):
    name, _, _, model, x = case
    set_width(model, 0.5)
    with torch.no_grad():
        sliced = run(model, x)
    network = make_network(name)
    network.load_state_dict(model.state_dict())
    close(sliced, silenced(network, model, lambda: run(network, x)), 1e-4)


@pytest.mark.parametrize("name", ["resnet18", "densenet", "pytorchvideo_x3d", "s3d"])
def test_upstream_to_slimmable_to_trained_to_upstream(name):
    network = make_network(name)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    x = make_input(name)
    model = slimmable(network, example=x)
    model.load_state_dict(state, strict=True)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    model.train()
    for width in (1.0, 0.25):
        set_width(model, width)
        run(model, x).square().mean().backward()
    optimizer.step()
    trained = model.state_dict()
    assert any(not torch.equal(trained[key], state[key]) for key in state)
    upstream = make_network(name, seed=1)
    upstream.load_state_dict(trained, strict=True)
    set_width(model.eval(), 1.0)
    with torch.no_grad():
        close(run(upstream, x), run(model, x))


def test_ordering_channels_changes_no_answer_of_the_full_network(case):
    name, answer, _, model, x = case
    before = {key: value.clone() for key, value in model.state_dict().items()}
    set_width(model, 1.0)
    with torch.no_grad():
        assert order_channels(model) > 0
        close(run(model, x), answer)
    moved = [k for k, value in model.state_dict().items() if not torch.equal(value, before[k])]
    assert len(moved) > len(before) / 3
