"""Costs are torch.utils.flop_counter's, to the last operation, and quickly found."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from mutualvideo.models import build_model
from mutualvideo.slim import Costs, count_costs, count_macs, set_subnet, slimmable
from mutualvideo.slim.counting.macs import example_input
from mutualvideo.slim.counting.operation_costs import MetaFlops
from mutualvideo.slim.meta_copy import meta_twin
from mutualvideo.subnet import Subnet
from tests.networks import NETWORKS, make_cfg, subnets


@torch.library.custom_op("mutualvideo_test::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@twice.register_fake
def _(x):
    return torch.empty_like(x)


register_flop_formula(torch.ops.mutualvideo_test.twice)(lambda shape, **_: 14 * shape[-1])


class Hard(nn.Module):
    """Costs outside of layers, operations in place, views, branches, repeated shapes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.block = nn.Conv2d(16, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.table = nn.Parameter(torch.randn(()))

    def forward(self, x):
        x = self.conv(x)
        for _ in range(2):  # shared, so every shape recurs
            x = F.relu_(self.norm(self.block(x)))
            x.add_(x.mean((2, 3), keepdim=True)).mul_(self.table)
        x = F.conv2d(x, x.new_zeros(16, 1, 3, 3), groups=16)
        x = F.conv_transpose2d(x, x.new_zeros(16, 8, 2, 2), stride=2)
        tokens = x.flatten(2).transpose_(1, 2)
        halves = tokens.chunk(2, 2)
        y = torch.matmul(halves[0], halves[1].transpose(1, 2)).softmax(-1) @ halves[1]
        y = torch.einsum("bnc,bmc->bnm", y, y)[:, ::2] + tokens.sum()
        y = torch.baddbmm(y, y, y.new_zeros(len(y), y.shape[2], y.shape[2]))
        heads = tokens.unsqueeze(1)
        y = y.sum() + F.scaled_dot_product_attention(heads, heads, heads)
        return torch.ops.mutualvideo_test.twice(torch.cat([y, y.split(4, -1)[0]], -1))


def counted(network, *args):
    """FlopCounterMode's count of one pass."""
    with FlopCounterMode(display=False) as counter:
        network(*args)
    return counter.get_total_flops()


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_cost_what_the_flop_counter_says(name):
    cfg = make_cfg(name)
    model = build_model(cfg)
    some = subnets(cfg)
    costs = count_costs(model, [*some, some[0]])
    twin = meta_twin(model)
    for subnet in some:
        set_subnet(twin, subnet)
        with torch.no_grad():
            assert costs[subnet].macs == counted(twin, example_input(twin, subnet)) // 2


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_operations_outside_layers_cost_what_the_flop_counter_says(guard):
    network = meta_twin(Hard())
    counter = MetaFlops()
    with guard():
        # The third has the first one's shapes: all of it is remembered.
        for size in (8, 10, 8):
            x = torch.empty(2, 3, size, size, device="meta")
            before = counter.total
            with counter:
                out = network(x)
            assert counter.total - before == counted(network, x) > 0
            wanted = network(x)
            assert (out.shape, out.stride(), out.dtype) == (
                wanted.shape,
                wanted.stride(),
                wanted.dtype,
            )


def test_remembered_results_are_tensors_of_their_own():
    x = torch.empty(4, 6, device="meta")
    with torch.no_grad(), MetaFlops():
        first, second = x + 1, x + 1
        assert first is not second
        assert (x + True).dtype == torch.float32
        whole = torch.empty(4, 6, device="meta", dtype=torch.int64)
        # 1, 1.0 and True are equal, and make different types.
        kinds = [(whole + number).dtype for number in (1, 1.0, True, 1, 1.0)]
        assert kinds == [torch.int64, torch.float32, torch.int64, torch.int64, torch.float32]
        for tensor in (first, second):
            assert tensor.t_() is tensor and tensor.shape == (6, 4)
        for tensor in (first, second, second):
            assert tensor.relu_() is tensor
            assert tensor[1:].untyped_storage()._cdata == tensor.untyped_storage()._cdata


def test_what_values_decide_is_never_remembered():
    count = torch.zeros(())
    with torch.no_grad(), MetaFlops():
        lengths = [len(torch.nonzero(torch.tensor(row))) for row in ([0, 1, 0], [1, 1, 0])]
        for _ in range(3):
            count.add_(1)
    assert lengths == [1, 2] and count == 3


def test_branches_cost_the_dearer_one():
    def dear(x):
        return x @ x @ x

    def cheap(x):
        return x @ x

    x, choice = torch.empty(4, 4, device="meta"), torch.empty((), dtype=torch.bool, device="meta")
    with torch.no_grad(), MetaFlops() as counter:
        torch.ops.higher_order.cond(choice, dear, cheap, (x,))
    assert counter.total == 2 * 2 * 4**3


class Pathways(nn.Module):
    """Takes a list of two pathways and writes into it, as PyTorchVideo's SlowFast does."""

    def __init__(self):
        super().__init__()
        self.slow, self.fast = nn.Conv3d(3, 32, 1), nn.Conv3d(3, 16, 1)
        self.fc = nn.Linear(48, 5)

    def forward(self, x):
        for number, layer in enumerate((self.slow, self.fast)):
            x[number] = layer(x[number]).mean((2, 3, 4))
        return self.fc(torch.cat(x, 1))


class TwoArguments(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 32, 1), nn.Linear(32, 5)

    def forward(self, x, scale, power):
        return self.fc((self.conv(x) * scale[:, None, None, None]).pow(power).mean((2, 3)))


@pytest.mark.parametrize("batch", [1, 2])
def test_an_example_is_counted_for_one_clip(batch):
    def clip(frames):
        return torch.empty(batch, 3, frames, 4, 4, device="meta")

    x = [clip(2), clip(8)]
    model = slimmable(Pathways(), example=x)
    # By hand: positions x inputs x outputs of each convolution, then the classifier.
    wanted = {
        1.0: Costs(32 * 3 * 32 + 128 * 3 * 16 + 48 * 5, 4 * 32 + 4 * 16 + 49 * 5),
        0.5: Costs(32 * 3 * 16 + 128 * 3 * 8 + 24 * 5, 4 * 16 + 4 * 8 + 25 * 5),
    }
    subnets = {width: Subnet(width, 2, 4) for width in wanted}
    costs = count_costs(model, subnets.values(), example=x)
    assert {width: costs[subnet] for width, subnet in subnets.items()} == wanted
    assert count_macs(model, subnets[0.5], example=x) == wanted[0.5].macs
    assert [tuple(part.shape[:3]) for part in x] == [(batch, 3, 2), (batch, 3, 8)]

    args = torch.zeros(batch, 3, 4, 4), torch.zeros(batch), 2
    model = slimmable(TwoArguments(), example=args)
    assert count_macs(model, Subnet(0.5, None, 4), example=args) == 16 * 3 * 16 + 16 * 5
    assert count_macs(model, Subnet(0.5, None, 8), example=args) == 16 * 3 * 16 + 16 * 5


def test_counting_leaves_the_network_as_it_was():
    model = slimmable(torchvision.models.resnet18(num_classes=7)).train()
    set_subnet(model, Subnet(0.5, None, 48))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    hooks = [dict(m._forward_pre_hooks) | dict(m._forward_hooks) for m in model.modules()]
    count_macs(model, Subnet(0.25, None, 64))
    assert model.training and model.slim_state.subnet == Subnet(0.5, None, 48)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    after = [dict(m._forward_pre_hooks) | dict(m._forward_hooks) for m in model.modules()]
    assert hooks == after and not any(hooks[1:])
