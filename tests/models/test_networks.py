"""Every registered network: costs of the literature, upstream's answers, the invariant."""

import functools

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mutualvideo.errors import InputError
from mutualvideo.models import MODEL_REGISTRY, build_model, full_subnet
from mutualvideo.slim import (
    calibrate,
    count_costs,
    count_macs,
    extract,
    set_subnet,
    set_width,
    subnet_input,
)
from mutualvideo.subnet import Subnet
from tests.networks import (
    NETWORKS,
    UPSTREAM,
    few_blocks,
    make_cfg,
    make_clip,
    randomize_norms,
    subnets,
    upstream,
    upstream_input,
)

SF_8X8 = {"SLOWFAST__ALPHA": 4, "SLOWFAST__FUSION_KERNEL_SZ": 7}
X3D_M = {"X3D__DEPTH_FACTOR": 2.2}
# network, settings, sub-network, GMACs, million parameters: published, for 400 classes.
PUBLISHED = [
    ("X3D", {"DATA__NUM_FRAMES": 4, **X3D_M}, "1x4x160", 0.605, 3.794),
    ("X3D", {"DATA__NUM_FRAMES": 13, **X3D_M}, "1x13x160", 1.963, 3.794),
    ("X3D", {"DATA__NUM_FRAMES": 16, **X3D_M}, "1x16x224", 4.732, 3.794),
    ("X3D", {"DATA__NUM_FRAMES": 16, "X3D__DEPTH_FACTOR": 5.0}, "1x16x312", 18.368, 6.153),
    ("ResNet", {"DATA__NUM_FRAMES": 4}, "1x4x256", 27.26, 32.45),
    ("ResNet", {"DATA__NUM_FRAMES": 8}, "1x8x224", 41.74, 32.45),
    ("ResNet", {"DATA__NUM_FRAMES": 8}, "1x8x256", 54.52, 32.45),
    ("SlowFast", {}, "1x4x224", 27.64, 34.48),
    ("SlowFast", {}, "1x4x256", 36.10, 34.48),
    ("SlowFast", SF_8X8, "1x8x224", 50.31, 34.57),
    ("SlowFast", SF_8X8, "1x8x256", 65.71, 34.57),
]
# The curves of the papers: sub-networks that fit their GMACs within 2 %.
CURVES = [
    ("ResNet", {"DATA__NUM_FRAMES": 8}, "0.84x8x224", 29.3),
    ("ResNet", {"DATA__NUM_FRAMES": 8}, "0.73x8x224", 22.5),
    ("ResNet", {"DATA__NUM_FRAMES": 8}, "0.63x8x224", 16.6),
    ("ResNet", {"DATA__NUM_FRAMES": 8}, "0.63x5x224", 10.4),
    ("ResNet", {"DATA__NUM_FRAMES": 8}, "0.63x5x184", 7.3),
    ("ResNet", {"DATA__NUM_FRAMES": 8}, "0.63x3x184", 4.4),
    ("ResNet", {"DATA__NUM_FRAMES": 8}, "0.63x3x144", 2.67),
    ("X3D", {"DATA__NUM_FRAMES": 16, **X3D_M}, "1x13x224", 3.85),
    ("X3D", {"DATA__NUM_FRAMES": 16, **X3D_M}, "1x10x224", 2.96),
    ("X3D", {"DATA__NUM_FRAMES": 16, **X3D_M}, "1x6x224", 1.78),
    ("SlowFast", {}, "0.63x4x224", 14.7),
]


@pytest.fixture(scope="module")
def full_size():
    """(name, settings) -> the network as papers have it, made once: counting changes nothing."""

    @functools.cache
    def build(name, settings):
        return build_model(make_cfg(name, DATA__TRAIN_CROP_SIZE=224, **dict(settings)))

    return lambda name, settings: build(name, tuple(settings.items()))


def test_the_tests_know_every_registered_network():
    ours = {"X3D", "ResNet", "SlowFast", "MobileNetV1", "MobileNetV2", "ImageResNet", "WideResNet"}
    assert NETWORKS.keys() == {name for name, _ in MODEL_REGISTRY} == ours


@pytest.mark.parametrize("name, settings, subnet, gmacs, params", PUBLISHED)
def test_published_costs(full_size, name, settings, subnet, gmacs, params):
    subnet, model = Subnet.parse(subnet), full_size(name, settings)
    costs = count_costs(model, [subnet])[subnet]
    assert costs.macs / 1e9 == pytest.approx(gmacs, abs=0.5 * 10 ** (len(str(int(gmacs))) - 3))
    assert costs.params / 1e6 == pytest.approx(params, abs=0.006)


@pytest.mark.parametrize("name, settings, subnet, gmacs", CURVES)
def test_costs_of_the_papers_curves(full_size, name, settings, subnet, gmacs):
    model = full_size(name, settings)
    assert count_macs(model, Subnet.parse(subnet)) / 1e9 == pytest.approx(gmacs, rel=0.02)


@pytest.mark.parametrize("name", UPSTREAM)
def test_full_width_answers_are_upstreams(name):
    torch.manual_seed(0)
    theirs = upstream(name).eval()
    randomize_norms(theirs)
    cfg = make_cfg(name)
    model = build_model(cfg)
    model.load_state_dict(theirs.state_dict(), strict=True)
    assert list(model.state_dict()) == list(theirs.state_dict())
    clip = make_clip(cfg)
    with torch.no_grad():
        wanted = theirs(upstream_input(name, clip))
        assert (model.eval()(clip) - wanted).abs().max() < 1e-5
        set_subnet(model, full_subnet(cfg))
        assert (model(clip) - wanted).abs().max() < 1e-5
    # ... and the weights go back to upstream code.
    theirs.load_state_dict(model.state_dict(), strict=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_extracted_equals_sliced(name):
    torch.manual_seed(0)
    cfg = make_cfg(name)
    with few_blocks():
        model = build_model(cfg)
    randomize_norms(model)
    clip = make_clip(cfg)
    calibrate(model, subnets(cfg), [clip])
    costs = count_costs(model, subnets(cfg))
    model.eval()
    for subnet in subnets(cfg):
        static = extract(model, subnet)
        set_subnet(model, subnet)
        x = subnet_input(model, clip, subnet)
        with torch.no_grad():
            assert (static(x) - model(x)).abs().max() < 1e-5
        assert not any("Slim" in type(module).__name__ for module in static.modules())
        assert sum(p.numel() for p in static.parameters()) == costs[subnet].params
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            static(x[:1])
        assert counter.get_total_flops() == 2 * costs[subnet].macs


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_a_narrow_pass_stay_in_the_prefix(name):
    torch.manual_seed(0)
    cfg = make_cfg(name)
    # Batch statistics over a handful of values amplify every rounding: float64 decides.
    with few_blocks():
        model = build_model(cfg)
    subnet = subnets(cfg)[1]
    static = extract(model, subnet).double().train()
    model.double().train()
    set_subnet(model, subnet)
    clip = make_clip(cfg, dtype=torch.float64)
    x = subnet_input(model, clip, subnet)
    torch.manual_seed(1)
    model(x).square().sum().backward()
    torch.manual_seed(1)
    static(x).square().sum().backward()
    wanted = dict(static.named_parameters())
    for key, parameter in model.named_parameters():
        # Wherever its channels lie, a slice's gradients are the extracted network's.
        assert parameter.grad is not None, key
        torch.testing.assert_close(
            parameter.grad.norm(), wanted[key].grad.norm(), rtol=1e-6, atol=1e-9, msg=key
        )


def test_the_fast_pathway_is_the_same_for_every_subnetwork():
    cfg = make_cfg("SlowFast")
    with few_blocks():
        model = build_model(cfg).eval()
    clip = torch.randn(1, 3, 32, 64, 64)
    seen = []
    fast = model.blocks[4].multipathway_blocks[1]
    fast.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        set_width(model, 1.0)
        model(clip)
        set_subnet(model, Subnet.parse("0.63x2x32"))
        model(clip)
    torch.testing.assert_close(seen[0], seen[1])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"MODEL__MODEL_NAME": "X4D"}, "X4D: no such network; known: .*SlowFast, WideResNet, X3D"),
        ({"MODEL__ARCH": "slow"}, "set it to x3d"),
        ({"MUTUAL__WIDTH_RANGE": [0.9, 0.5]}, "width range"),
    ],
)
def test_bad_configuration(change, message):
    with pytest.raises(InputError, match=message):
        build_model(make_cfg("X3D", **change))


def test_slow_pathway_refuses_frames_it_has_not():
    with few_blocks():
        model = build_model(make_cfg("SlowFast"))
    with pytest.raises(InputError, match="1 to 4 frames"):
        set_subnet(model, Subnet.parse("1x5x64"))
    with pytest.raises(InputError, match="RESNET.DEPTH 18"):
        build_model(make_cfg("ResNet", RESNET__DEPTH=18))
    with pytest.raises(InputError, match="SLOWFAST.ALPHA"):
        build_model(make_cfg("SlowFast", DATA__NUM_FRAMES=30))
