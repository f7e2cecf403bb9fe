"""Activation checkpointing, against the same network without it."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from mutualvideo.errors import InputError
from mutualvideo.models import build_model, recompute_blocks
from mutualvideo.models.blocks import blocks
from mutualvideo.slim import extract, set_subnet, slim_state, slimmable, subnet_input
from mutualvideo.slim.recompute import recompute
from tests.networks import NETWORKS, few_blocks, make_cfg, make_clip, randomize_norms, subnets


def pair(name, **overrides):
    """The configuration, the network, and the same one with activation checkpointing."""
    torch.manual_seed(0)
    cfg = make_cfg(name, **overrides)
    with few_blocks():
        model = build_model(cfg).train()
    randomize_norms(model)
    again = copy.deepcopy(model)
    assert recompute_blocks(again) == len(blocks(model))
    return cfg, model, again


def run(model, cfg, subnet, clip):
    """Output, gradients, buffers and saved bytes of one pass."""
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    model.zero_grad(set_to_none=True)
    set_subnet(model, subnet)
    torch.manual_seed(3)  # dropout
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model(subnet_input(model, clip, subnet))
    out.float().square().sum().backward()
    grads = {name: p.grad for name, p in model.named_parameters()}
    buffers = {name: tensor.clone() for name, tensor in model.named_buffers()}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    return out.detach(), grads, buffers, sum(n for at, n in saved.items() if at not in weights)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_outputs_and_statistics_are_the_same(name):
    cfg, model, again = pair(name)
    clip = make_clip(cfg)
    for subnet in subnets(cfg)[:2]:
        wanted, found = run(model, cfg, subnet, clip), run(again, cfg, subnet, clip)
        torch.testing.assert_close(found[:3], wanted[:3], rtol=0, atol=0)
        assert found[3] < 0.7 * wanted[3]
    assert list(again.state_dict()) == list(model.state_dict())
    assert [n for n, _ in again.named_modules()] == [n for n, _ in model.named_modules()]


class Activating(nn.BatchNorm2d):
    """A BatchNorm with a forward of its own."""

    def forward(self, x):
        return super().forward(x).relu()


def small():
    """Blocks with dropout, the second one's BatchNorm a subclass."""
    torch.manual_seed(0)

    def block(inputs, norm):
        conv = nn.Conv2d(inputs, 16, 3, padding=1)
        return nn.Sequential(conv, norm(16), nn.Dropout(0.5), nn.Conv2d(16, 16, 1))

    network = nn.Sequential(
        block(3, nn.BatchNorm2d),
        block(16, Activating),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )
    return slimmable(network, (0.5, 1)).train()


def test_one_backward_pass_for_several_widths():
    plain = small()
    again = copy.deepcopy(plain)
    recompute(again, again[:2])
    x = torch.randn(4, 3, 8, 8)
    for model in (plain, again):
        torch.manual_seed(3)
        total = 0
        for width in (1.0, 0.5, 0.75):
            slim_state(model).select(width)
            total = total + model(x).square().sum()
        total.backward()
        assert slim_state(model).width == 0.75 and not slim_state(model).recomputing
    for mine, wanted in zip(again.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, wanted.grad, rtol=0, atol=0)
    torch.testing.assert_close(again.state_dict(), plain.state_dict(), rtol=0, atol=0)
    assert again[1][1].num_batches_tracked == 1


def test_nothing_is_recomputed_outside_of_training():
    cfg, model, again = pair("MobileNetV1")
    subnet = subnets(cfg)[1]
    x = subnet_input(model, make_clip(cfg), subnet)
    seen = []
    again.features[1][0][0].register_forward_hook(lambda *_: seen.append(1))
    set_subnet(again.eval(), subnet)
    again(x).sum().backward()
    with torch.no_grad():
        again.train()(x)
    assert len(seen) == 2
    again(x).sum().backward()
    assert len(seen) == 4
    torch.testing.assert_close(extract(again, subnet)(x), extract(model, subnet)(x))


def test_a_network_without_known_blocks():
    with pytest.raises(InputError, match="MODEL.ACT_CHECKPOINT: Sequential has none of the blocks"):
        recompute_blocks(small())
