"""Every registered detector: torchvision's answers at full width, and the invariant."""

from functools import partial

import pytest
import torch
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.retinanet import RetinaNetHead

from mutualvideo.config import get_cfg, takes_pictures
from mutualvideo.detection import (
    Detector,
    calibrate_detector,
    detector_costs,
    extract_detector,
)
from mutualvideo.errors import InputError
from mutualvideo.models import build_model, full_subnet, network_of, require_runnable
from mutualvideo.registry import DETECTORS, NETWORKS
from mutualvideo.slim import set_subnet
from mutualvideo.subnet import Subnet
from tests.detection.detectors import differences, shake

NAMES = sorted(DETECTORS.all())
COLOURS = {"image_mean": [0.45] * 3, "image_std": [0.225] * 3}
OPTIONS = {"weights": None, "weights_backbone": None, "num_classes": 4, **COLOURS}
BUILDERS = {
    "FasterRCNN_R50_FPN": detection.fasterrcnn_resnet50_fpn,
    "MaskRCNN_R50_FPN": detection.maskrcnn_resnet50_fpn,
    "RetinaNet_R50_FPN": detection.retinanet_resnet50_fpn,
}


def make_cfg(name, **changes):
    cfg = get_cfg()
    cfg.MODEL.MODEL_NAME, cfg.MODEL.NUM_CLASSES, cfg.MODEL.DROPOUT_RATE = name, 4, 0.0
    cfg.DATA.TRAIN_CROP_SIZE, cfg.MUTUAL.WIDTH_RANGE = 64, [0.25, 1.0]
    if name == "RetinaNet_R18_FPN":
        cfg.DETECTOR.STEM_CHANNELS, cfg.DETECTOR.PYRAMID_CHANNELS = 16, 16
        cfg.DETECTOR.ANCHOR_SIZES = [8, 16, 32]
    for key, value in changes.items():
        section, leaf = key.split("__")
        cfg[section][leaf] = value
    return cfg


def few_boxes(model):
    """Few boxes, and none dropped for its score, since nothing is trained."""
    if hasattr(model, "roi_heads"):
        model.rpn._post_nms_top_n = {"training": 20, "testing": 20}
        model.roi_heads.score_thresh, model.roi_heads.detections_per_img = 0.0, 5
    else:
        model.score_thresh, model.topk_candidates, model.detections_per_img = 0.0, 40, 20
    return model.eval()


def make(name):
    torch.manual_seed(0)
    return few_boxes(shake(build_model(make_cfg(name))))


def test_detectors_and_networks_are_two_lists_that_a_configuration_chooses_from():
    assert not set(NAMES) & set(NETWORKS.all())
    assert all(takes_pictures(make_cfg(name)) for name in NAMES)
    assert takes_pictures(make_cfg("MobileNetV2")) and not takes_pictures(make_cfg("X3D"))
    with pytest.raises(InputError, match="MODEL.MODEL_NAME Retina: no such network"):
        network_of(make_cfg("Retina"))


@pytest.mark.parametrize("name", NAMES)
def test_full_width_answers_as_torchvision(name, pictures):
    model = make(name)
    if name in BUILDERS:
        upstream = BUILDERS[name](min_size=64, max_size=107, **OPTIONS)
    else:
        upstream = network_of(make_cfg(name)).build(make_cfg(name))
    few_boxes(upstream).load_state_dict(model.state_dict())
    assert type(upstream).__module__.startswith("torchvision.")
    with torch.inference_mode():
        assert differences(model(pictures), upstream(pictures)) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_what_is_cut_out_answers_as_what_is_switched_to(name, pictures):
    model = make(name)
    subnets = ["1x48", "0.5x64", "0.25x32"]
    if not hasattr(model, "roi_heads"):  # which finds nothing then: it is not trained
        generator = torch.Generator().manual_seed(0)
        batch = [torch.rand(3, 64, 64, generator=generator) for _ in range(4)]
        calibrate_detector(model, subnets, [batch])
    costs = detector_costs(model, subnets)
    for subnet in subnets:
        set_subnet(model, subnet)
        small = extract_detector(model, subnet)
        assert sum(p.numel() for p in small.parameters()) == costs[Subnet.of(subnet)].params
        with torch.inference_mode():
            assert differences(small(pictures), model(pictures)) < 1e-4


def test_the_small_one_is_torchvisions_with_its_own_resnet(pictures):
    cfg = make_cfg("RetinaNet_R18_FPN", DETECTOR__STEM_CHANNELS=64, DETECTOR__PYRAMID_CHANNELS=256)
    cfg.DETECTOR.ANCHOR_SIZES = [8, 16, 32, 64, 128]
    model = few_boxes(build_model(cfg))
    options = {"weights": None, "norm_layer": nn.BatchNorm2d, "trainable_layers": 5}
    backbone = resnet_fpn_backbone(backbone_name="resnet18", **options)
    scales = tuple((x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in (8, 16, 32, 64, 128))
    upstream = detection.RetinaNet(
        backbone,
        4,
        anchor_generator=AnchorGenerator(scales, ((0.5, 1.0, 2.0),) * 5),
        head=RetinaNetHead(256, 9, 4, partial(nn.GroupNorm, 8)),
        size_divisible=8,
        min_size=64,
        max_size=107,
        **COLOURS,
    )
    few_boxes(upstream).load_state_dict(model.state_dict())
    with torch.inference_mode():
        assert differences(model(pictures), upstream(pictures)) < 1e-4


@pytest.mark.parametrize(("sizes", "maps"), [([8, 16, 32], 3), ([8] * 4, 4), ([8] * 5, 5)])
def test_the_small_one_has_a_level_for_each_size_of_anchors(sizes, maps):
    model = make_cfg("RetinaNet_R18_FPN", DETECTOR__ANCHOR_SIZES=sizes)
    model = build_model(model).eval()
    levels = model.backbone(torch.zeros(1, 3, 64, 64))
    assert [len(level[0, 0]) for level in levels.values()] == [16, 8, 4, 2, 1][:maps]
    assert len(model.anchor_generator.sizes) == maps


def test_ssdlite_keeps_its_batch_norm_and_takes_any_size():
    model = make("SSDLite_MobileNetV2")
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(0.001, 0.03)}
    assert model.transform.fixed_size == (64, 64)
    maps = model.backbone(torch.zeros(1, 3, 320, 320))
    # SSDLite's of 320 pixels: strides 16, 32, 64 ...
    assert [len(one[0, 0]) for one in maps.values()] == [20, 10, 5, 3, 2, 1]
    assert [one.shape[1] for one in maps.values()] == [576, 1280, 512, 256, 256, 128]


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("RetinaNet_R50_FPN", {"DETECTOR__ANCHOR_SIZES": [8, 16]}, "has five levels"),
        ("FasterRCNN_R50_FPN", {"DETECTOR__ANCHOR_SIZES": [8] * 4 + [0]}, "above 0"),
        ("RetinaNet_R18_FPN", {"DETECTOR__ANCHOR_SIZES": [8, 16]}, "has 3 to five levels"),
        ("SSDLite_MobileNetV2", {"DETECTOR__ANCHOR_SIZES": [8]}, "shares of the picture"),
        ("RetinaNet_R18_FPN", {"DETECTOR__STEM_CHANNELS": 0}, "DETECTOR.STEM_CHANNELS is 0"),
        ("RetinaNet_R18_FPN", {"DETECTOR__PYRAMID_CHANNELS": 20}, "must be a multiple of 8"),
        ("RetinaNet_R18_FPN", {"MODEL__DROPOUT_RATE": 0.5}, "has no dropout"),
        ("RetinaNet_R18_FPN", {"MODEL__NUM_CLASSES": 0}, "MODEL.NUM_CLASSES is 0"),
        ("RetinaNet_R18_FPN", {"MODEL__ARCH": "2d"}, "MODEL.ARCH 2d does not go with"),
    ],
)
def test_what_no_detector_can_be_made_of_is_named(name, changes, words):
    with pytest.raises(InputError, match=words):
        build_model(make_cfg(name, **changes))


def test_sub_networks_have_no_frames():
    cfg = make_cfg("RetinaNet_R18_FPN")
    assert full_subnet(cfg) == Subnet(1.0, None, 64)
    with pytest.raises(InputError, match="takes pictures"):
        require_runnable(cfg, Subnet(1.0, 4, 64), "TABLE")


def test_one_of_your_own_is_a_class(monkeypatch):
    monkeypatch.setattr(DETECTORS, "_obj_map", DETECTORS.all())

    @DETECTORS.register()
    class Mine(Detector):
        name = "Mine"

        def build(self, cfg):
            return network_of(make_cfg("RetinaNet_R18_FPN")).build(make_cfg("RetinaNet_R18_FPN"))

    assert takes_pictures(make_cfg("Mine"))
    assert full_subnet(make_cfg("Mine")) == build_model(make_cfg("Mine")).slim_state.full
