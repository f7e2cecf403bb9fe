import copy

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import detection
from torchvision.ops import FrozenBatchNorm2d

from mutualvideo import (
    InputError,
    Subnet,
    extract,
    set_subnet,
    set_width,
    slimmable,
    slimmable_report,
)
from mutualvideo.detection import (
    extract_detector,
    load_backbone,
    load_detector,
    order_detector_channels,
    slimmable_detector,
)
from mutualvideo.detection.detector_costs import detector_costs
from mutualvideo.models.resnet2d import bottleneck2d_rules
from mutualvideo.slim.twin_base import slim_layers
from tests.detection.detectors import build, counted, differences, shake, small_retinanet
from tests.models.weights import mutualnet_twin

_SUBNETS = {
    "SSDLite": ("0.25x160", "0.5x96", "1x128"),
    "others": ("0.25x64", "0.5x48", "1x32"),
}


@pytest.fixture(scope="module")
def small():
    return slimmable_detector(small_retinanet())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RetinaNet", "Faster R-CNN", "Mask R-CNN", "SSDLite"])
@torch.inference_mode()
def test_every_detector(name, pictures):
    """Torchvision's answers at full width; at others those of what was cut out."""
    model = build(name)
    wanted = model([picture.clone() for picture in pictures])
    assert ("masks" in wanted[0]) == (name == "Mask R-CNN")
    names = list(model.state_dict())
    assert slimmable_detector(model) is model
    assert list(model.state_dict()) == names
    assert differences(model(pictures), wanted) <= 1e-4
    whole = sum(p.numel() for p in model.parameters())
    sizes = []
    for subnet in _SUBNETS.get(name, _SUBNETS["others"]):
        plain = extract_detector(model, subnet)
        assert type(plain) is type(model) and not slim_layers(plain)
        assert not any(type(m).__module__.startswith("mutualvideo") for m in plain.modules())
        set_subnet(model, subnet)
        assert differences(plain(pictures), model(pictures)) <= 1e-4
        sizes.append(sum(p.numel() for p in plain.parameters()))
    assert sizes[0] < sizes[1] < sizes[2] == whole
    for kind in ("box", "mask"):
        if (
            pool := getattr(getattr(model, "roi_heads", None), f"{kind}_roi_pool", None)
        ) is not None:
            pool.register_forward_hook(lambda *_, kind=kind: seen.update({kind: len(_[-1])}))
    seen, subnet = {}, Subnet.of(subnet)
    runs = counted(model, pictures[:1])
    costs = detector_costs(model, [subnet], (50, 70), seen.get("box"), seen.get("mask"))
    assert costs[subnet].macs == runs and costs[subnet].params == whole
    set_width(model, 1.0)
    assert differences(model(pictures), wanted) <= 1e-4


def test_pyramid_and_heads_keep_their_channels(small):
    set_width(small, 0.25)
    narrow = extract_detector(small, "0.25x64")
    lateral = narrow.backbone.fpn.inner_blocks
    assert [block[0].in_channels for block in lateral] == [32, 64, 128]
    assert {block[0].out_channels for block in lateral} == {256}
    heads = [name for name, _ in small.named_parameters() if name.startswith("head.")]
    before, after = dict(small.named_parameters()), dict(narrow.named_parameters())
    assert heads and all(before[name].shape == after[name].shape for name in heads)
    assert not slim_layers(small.head)
    assert slimmable_report(small).share > 0.5


@torch.inference_mode()
def test_folded(small, pictures):
    plain = extract_detector(small, "0.5x64", fold=True)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in plain.modules())
    set_subnet(small, "0.5x64")
    assert differences(plain(pictures), small(pictures)) <= 1e-3


@pytest.mark.parametrize(
    ("subnet", "shapes"),
    [
        ("1x64", [(64, 89), (85, 64)]),  # the detector's own: shorter side 64, longer at most 96
        ("1x32", [(32, 44), (42, 32)]),
        ("0.5x48", [(48, 67), (64, 48)]),
    ],
)
def test_pictures_follow_the_size(small, pictures, subnet, shapes):
    set_subnet(small, subnet)
    sizes = small.transform(pictures)[0].image_sizes
    assert [tuple(size) for size in sizes] == shapes


def test_the_longer_side_is_limited_in_proportion(small):
    set_subnet(small, "1x32")
    (size,) = small.transform([torch.rand(3, 32, 320)])[0].image_sizes
    assert max(size) == 48


def test_torchvisions_settings_stay_settings():
    model = slimmable_detector(small_retinanet())
    model.transform.min_size, model.transform.max_size = (40,), 60
    assert tuple(model.transform([torch.rand(3, 64, 64)])[0].image_sizes[0]) == (40, 40)


def test_copies_have_a_width_of_their_own(small, pictures):
    set_subnet(small, "0.5x32")
    twin = copy.deepcopy(small)
    set_subnet(twin, "1x64")
    assert small.transform.min_size == (32,) and twin.transform.min_size == (64,)


def test_a_switch_during_a_pass_is_noticed(small, pictures):
    handle = small.head.register_forward_pre_hook(lambda *_: set_width(small, 0.3))
    try:
        with pytest.raises(InputError, match="was switched to another sub-network"):
            small(pictures)
    finally:
        handle.remove()


@torch.inference_mode()
def test_frozen_norms_stay_frozen(pictures, tmp_path):
    """Torchvision's own when weights are given: statistics of epsilon 0, and no counters."""
    model = shake(small_retinanet(FrozenBatchNorm2d))
    detection._utils.overwrite_eps(model, 0.0)
    wanted = model(pictures)
    released = model.state_dict()
    slimmable_detector(model)
    assert differences(model(pictures), wanted) <= 1e-4
    model.backbone.train()
    model.backbone(torch.rand(2, 3, 64, 64))
    state = model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in released.items())
    norm = model.backbone.body.bn1
    assert not norm.weight.requires_grad and norm.eps == 0
    small_retinanet(FrozenBatchNorm2d).load_state_dict(state, strict=True)
    torch.save(released, tmp_path / "released.pth")
    assert load_detector(model, tmp_path / "released.pth") == []


@torch.inference_mode()
def test_weights_load_by_name(small, pictures, tmp_path):
    other = small_retinanet()
    nn.init.normal_(other.head.regression_head.bbox_reg.bias)
    torch.save(other.state_dict(), tmp_path / "detector.pth")
    model = slimmable_detector(small_retinanet())
    assert load_detector(model, tmp_path / "detector.pth") == []
    assert differences(model(pictures), other(pictures)) <= 1e-4

    classifier = shake(torchvision.models.resnet18(num_classes=7), seed=5).eval()
    torch.save(classifier.state_dict(), tmp_path / "classifier.pth")
    load_backbone(model, tmp_path / "classifier.pth")
    body, state = model.backbone.body.state_dict(), classifier.state_dict()
    assert len(body) > 100 and all(torch.equal(body[name], state[name]) for name in body)


def test_weights_for_other_classes(small, tmp_path):
    other = small_retinanet()
    logits = other.head.classification_head.cls_logits
    other.head.classification_head.cls_logits = nn.Conv2d(logits.in_channels, 3 * 91, 3, padding=1)
    torch.save(other.state_dict(), tmp_path / "coco.pth")
    model = slimmable_detector(small_retinanet())
    kept = load_detector(model, tmp_path / "coco.pth")
    assert kept == [f"head.classification_head.cls_logits.{name}" for name in ("weight", "bias")]


def test_weights_of_another_network(small, tmp_path):
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "resnet34.pth")
    for load in (load_backbone, load_detector):
        with pytest.raises(InputError, match="resnet34.pth: belongs to another architecture"):
            load(small, tmp_path / "resnet34.pth")


@torch.inference_mode()
def test_ordered_channels_answer_the_same(pictures):
    model = slimmable_detector(small_retinanet())
    wanted = model(pictures)
    assert order_detector_channels(model) > 0
    assert differences(model(pictures), wanted) <= 1e-4


@pytest.mark.parametrize("width_range", [(0.5, 2), "wide", (0.5,)])
def test_a_bad_range_is_refused(width_range):
    with pytest.raises(InputError, match="width range"):
        slimmable_detector(small_retinanet(), width_range=width_range)


def test_what_is_refused(small):
    with pytest.raises(InputError, match="expected torchvision's RetinaNet, SSD or a"):
        slimmable_detector(torchvision.models.resnet18())
    with pytest.raises(InputError, match="is slimmable already"):
        slimmable_detector(small)
    other = small_retinanet()
    other.transform = type("Other", (type(other.transform),), {})(64, 96, [0.5] * 3, [0.25] * 3)
    with pytest.raises(InputError, match="its transform is 'Other', of which it is not known"):
        slimmable_detector(other)
    shared = small_retinanet()
    shared.head.classification_head.conv.add_module("norm", nn.BatchNorm2d(256))
    with pytest.raises(InputError, match="classification_head.conv.norm is a BatchNorm in a part"):
        slimmable_detector(shared)
    with pytest.raises(InputError, match="call slimmable_detector"):
        extract_detector(small_retinanet(), "0.5x64")
    with pytest.raises(InputError, match="takes pictures, WIDTHxSIZE"):
        set_subnet(small, "0.5x8x64")


def test_nothing_is_changed_by_a_refusal():
    model = small_retinanet(FrozenBatchNorm2d)
    # What slimmable() finds while it traces, after norms were exchanged.
    model.backbone.body.layer1.add_module("attention", nn.MultiheadAttention(64, 4))
    with pytest.raises(InputError, match="transformers are out of reach"):
        slimmable_detector(model)
    assert isinstance(model.backbone.body.bn1, FrozenBatchNorm2d)


@pytest.mark.slow
def test_mutualnets_classifier_is_a_backbone(tmp_path):
    """The same layers, at the same widths: those of the classifier that the paper slims."""
    state = mutualnet_twin.resnet50(10).state_dict()
    torch.save({"model": state}, tmp_path / "mutualnet.pth")
    model = slimmable_detector(build("RetinaNet"))
    loaded = load_backbone(model, tmp_path / "mutualnet.pth")
    assert loaded.format == "MutualNet" and loaded.needs_calibration and not loaded.replaced
    body = model.backbone.body
    # Block 14 of theirs is the first of the last stage.
    assert torch.equal(body.layer4[0].conv1.weight, state["features.14.body.0.weight"])
    assert torch.equal(body.conv1.weight, state["features.0.0.weight"])
    classifier = torchvision.models.resnet50()
    classifier = slimmable(classifier, rules=bottleneck2d_rules(classifier))
    for width in (0.25, 0.45, 0.7):
        set_width(classifier, width)
        plain = extract(classifier, Subnet(width, None, 64))
        own = extract_detector(model, Subnet(width, None, 64)).backbone.body.state_dict()
        wanted = plain.state_dict()
        assert all(own[name].shape == wanted[name].shape for name in own)
