"""C2D, I3D, non-local blocks and temporal kernels: against PyTorchVideo's own, and slimmed."""

import pytest
import torch
from pytorchvideo.layers.nonlocal_net import create_nonlocal
from pytorchvideo.models.hub import resnet as hub
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mutualvideo.config import load_cfg
from mutualvideo.errors import InputError
from mutualvideo.models import (
    build_model,
    full_subnet,
    load_weights,
    network_of,
    require_runnable,
)
from mutualvideo.models.non_local import NonLocalBlock
from mutualvideo.models.weights.pyslowfast_names import to_pytorchvideo
from mutualvideo.slim import (
    calibrate,
    count_costs,
    extract,
    order_channels,
    set_subnet,
    subnet_input,
)
from mutualvideo.subnet import Subnet
from tests.networks import few_blocks, make_clip, randomize_norms

EMPTY = [[[]], [[]], [[]], [[]]]
SOME = [[[]], [[1]], [[0, 1]], [[]]]
BOTH = [[[], []], [[1], [0]], [[0, 1], []], [[], []]]


def make(arch="slow", frames=4, **keys):
    name = "SlowFast" if arch == "slowfast" else "ResNet"
    keys = {
        "MODEL.MODEL_NAME": name,
        "MODEL.ARCH": arch,
        "DATA.NUM_FRAMES": frames,
        "DATA.TRAIN_CROP_SIZE": 64,
        "DATA.TEST_CROP_SIZE": 64,
        "MODEL.NUM_CLASSES": 7,
        **{key.replace("__", "."): value for key, value in keys.items()},
    }
    return load_cfg(None, [part for key, value in keys.items() for part in (key, str(value))])


FAMILY = {
    "c2d": make("c2d"),
    "i3d": make("i3d"),
    "slow_i3d": make("slow_i3d"),
    "slow, non-local": make(NONLOCAL__LOCATION=SOME, NONLOCAL__INSTANTIATION="softmax"),
    "i3d, non-local": make("i3d", NONLOCAL__LOCATION=SOME, NONLOCAL__POOL=[[[2, 2, 2]]] * 4),
    "slowfast, non-local": make("slowfast", 32, NONLOCAL__LOCATION=BOTH),
}


@pytest.mark.parametrize("arch, factory", [("c2d", hub.c2d_r50), ("i3d", hub.i3d_r50)])
def test_the_zoos_networks(arch, factory):
    torch.manual_seed(0)
    # Its heads pool exactly the clips of the zoo; their depth after pooling is 4 frames of 7 x 7.
    theirs = factory(model_num_class=7).eval()
    randomize_norms(theirs)
    model = build_model(make(arch, 8, DATA__TRAIN_CROP_SIZE=224)).eval()
    model.load_state_dict(theirs.state_dict(), strict=True)
    clip = torch.randn(1, 3, 8, 224, 224)
    with torch.no_grad():
        assert (model(clip) - theirs(clip)).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["softmax", "dot_product"])
@pytest.mark.parametrize("window", [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
def test_a_non_local_block_is_pytorchvideos(kind, window):
    torch.manual_seed(0)
    theirs = create_nonlocal(dim_in=12, dim_inner=6, pool_size=window, instantiation=kind)
    randomize_norms(theirs)
    x = torch.randn(2, 12, 4, 6, 5)
    wanted = theirs.eval()(x)
    theirs.__class__ = NonLocalBlock
    torch.testing.assert_close(theirs(x), wanted, rtol=1e-5, atol=1e-5)
    assert theirs(x[:, :, :1, :1]).shape == (2, 12, 1, 1, 5)  # smaller than the window


@pytest.mark.parametrize("name", FAMILY)
def test_extracted_equals_sliced(name):
    torch.manual_seed(0)
    cfg = FAMILY[name]
    with few_blocks():
        model = build_model(cfg)
    randomize_norms(model)
    clip = make_clip(cfg)
    subnets = [full_subnet(cfg), Subnet(0.63, 2, 32), Subnet(0.8, 3, 48)]
    with torch.no_grad():
        before = model.eval()(clip)
    order_channels(model)  # the full network's answers do not change
    with torch.no_grad():
        torch.testing.assert_close(model(clip), before, rtol=1e-4, atol=1e-4)
    calibrate(model, subnets, [clip])
    costs = count_costs(model, subnets)
    model.eval()
    for subnet in subnets:
        static = extract(model, subnet)
        set_subnet(model, subnet)
        x = subnet_input(model, clip, subnet)
        with torch.no_grad():
            assert (static(x) - model(x)).abs().max() < 1e-5
        assert sum(p.numel() for p in static.parameters()) == costs[subnet].params
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            static(x[:1])
        assert counter.get_total_flops() == 2 * costs[subnet].macs


def test_gradients_of_a_narrow_non_local_pass_are_the_extracted_networks():
    torch.manual_seed(0)
    cfg = make(NONLOCAL__LOCATION=SOME, MODEL__DROPOUT_RATE=0)
    with few_blocks():
        model = build_model(cfg)
    subnet = Subnet(0.63, 2, 32)
    static = extract(model, subnet).double().train()
    model.double().train()
    set_subnet(model, subnet)
    x = subnet_input(model, make_clip(cfg, dtype=torch.float64), subnet)
    model(x).square().sum().backward()
    static(x).square().sum().backward()
    wanted = dict(static.named_parameters())
    for key, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad.norm(), wanted[key].grad.norm(), rtol=1e-6, atol=1e-9, msg=key
        )


def temporal_convolutions(model):
    return sum(
        isinstance(m, nn.Conv3d) and m.kernel_size[0] > 1 and "fusion" not in n
        for n, m in model.named_modules()
    )


# Of PySlowFast's three SlowFast R101, of which blocks of res4 look at other frames; the stem of the
# Fast pathway does too. By hand: Slow res4 + res5, Fast res2 to res5 and stem.
@pytest.mark.parametrize(
    "counts, convolutions",
    [
        ([[3, 3], [4, 4], [6, 6], [3, 3]], (6 + 3) + (3 + 4 + 6 + 3) + 1),
        ([[3, 3], [4, 4], [6, 23], [3, 3]], (6 + 3) + (3 + 4 + 23 + 3) + 1),
        ([[3, 3], [4, 4], [23, 23], [3, 3]], (23 + 3) + (3 + 4 + 23 + 3) + 1),
        ([], (23 + 3) + (3 + 4 + 23 + 3) + 1),
    ],
)
def test_blocks_with_temporal_kernels(counts, convolutions):
    cfg = make("slowfast", 32, RESNET__DEPTH=101, RESNET__NUM_BLOCK_TEMP_KERNEL=counts)
    with torch.device("meta"):
        network = network_of(cfg).build(cfg)
    assert temporal_convolutions(network) == convolutions


def test_weights_of_pyslowfast_with_pooling_and_non_local_blocks():
    names = {
        "s1.pathway0_stem.conv.weight": "blocks.0.conv.weight",
        "s2.pathway0_res0.branch2.a.weight": "blocks.1.res_blocks.0.branch2.conv_a.weight",
        "s3.pathway0_res1.branch2.a.weight": "blocks.3.res_blocks.1.branch2.conv_a.weight",
        "s3.pathway0_nonlocal1.conv_theta.bias": "blocks.3.nonlocals.1.conv_theta.bias",
        "s4.pathway0_nonlocal3.bn.running_var": "blocks.4.nonlocals.3.norm.running_var",
        "head.projection.weight": "blocks.6.proj.weight",
    }
    assert to_pytorchvideo(list(names), pooled=True) == names
    cfg = make("i3d", NONLOCAL__LOCATION=[[[]], [[1, 3]], [[1, 3, 5]], [[]]])
    model = build_model(cfg)
    theirs = {}
    for name, tensor in model.state_dict().items():
        block, _, rest = name.removeprefix("blocks.").partition(".")
        stage = f"s{int(block) + 1 - (int(block) > 1)}"
        for ours, name in (
            ("conv.", "pathway0_stem.conv."),
            ("norm.", "pathway0_stem.bn."),
        ):
            if block == "0" and rest.startswith(ours):
                theirs[f"s1.{name}{rest.removeprefix(ours)}"] = tensor
        if rest.startswith("proj."):
            theirs[f"head.projection.{rest[5:]}"] = tensor
        if rest.startswith("nonlocals."):
            _, number, layer, leaf = rest.split(".")
            layer = "bn" if layer == "norm" else layer
            theirs[f"{stage}.pathway0_nonlocal{number}.{layer}.{leaf}"] = tensor
        if rest.startswith("res_blocks."):
            _, number, *layer, leaf = rest.split(".")
            layer = ".".join(layer)
            for letter in "abc":
                layer = layer.replace(f"conv_{letter}", letter)
                layer = layer.replace(f"norm_{letter}", f"{letter}_bn")
            layer = layer.replace("branch1_conv", "branch1").replace("branch1_norm", "branch1_bn")
            theirs[f"{stage}.pathway0_res{number}.{layer}.{leaf}"] = tensor
    assert load_weights(build_model(cfg), theirs, "file").format == "PySlowFast"


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"NONLOCAL__LOCATION": [[[]], [[9]], [[]], [[]]]}, "LOCATION holds 9 for res3.* 0 to 3"),
        ({"NONLOCAL__LOCATION": [[[1]]]}, "NONLOCAL.LOCATION is .*, expected a list for"),
        ({"NONLOCAL__LOCATION": SOME, "NONLOCAL__INSTANTIATION": "mean"}, "INSTANTIATION mean"),
        ({"NONLOCAL__LOCATION": SOME, "NONLOCAL__POOL": [[[2]]] * 4}, "NONLOCAL.POOL holds"),
        ({"RESNET__NUM_BLOCK_TEMP_KERNEL": [[3], [4], [7], [3]]}, "at most .3, 4, 6, 3."),
        ({"RESNET__NUM_BLOCK_TEMP_KERNEL": [[3], [4]]}, "for each of the four stages"),
        ({"arch": "x3d"}, "set it to slow or .*, or MODEL.MODEL_NAME to X3D"),
    ],
)
def test_what_makes_no_network(keys, message):
    with pytest.raises(InputError, match=message):
        build_model(make(**keys))


def test_pooling_over_time_needs_two_frames():
    cfg = make("c2d")
    require_runnable(cfg, Subnet(1.0, 2, 64), "KEY")
    with pytest.raises(InputError, match="KEY: MODEL.ARCH c2d pools every two frames, 1x1x64"):
        require_runnable(cfg, Subnet(1.0, 1, 64), "KEY")
    require_runnable(make("slow_c2d"), Subnet(1.0, 1, 64), "KEY")
