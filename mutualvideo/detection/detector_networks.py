"""The detectors that a configuration may name: torchvision's own builders and parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from fvcore.common.config import CfgNode
from torch import nn
from torchvision.models import detection, mobilenet_v2, resnet18
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteFeatureExtractorMobileNet, SSDLiteHead
from torchvision.models.resnet import BasicBlock

from mutualvideo.detection.detector import slimmable_detector
from mutualvideo.errors import InputError
from mutualvideo.models.network import Bounds, Network
from mutualvideo.registry import DETECTORS
from mutualvideo.subnet import Subnet

# The limit of a picture's longer side over its shorter side, in COCO's habit.
_LONGER = 1333 / 800
_RATIOS = (0.5, 1.0, 2.0)
# Of RetinaNet with five levels, and of the last of SSDLite's six maps but one.
_OCTAVES = (32, 64, 128, 256, 512)
_SSD_NORM = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
# Of the small RetinaNet's GroupNorm.
_GROUPS = 8
# Channels of the maps that SSD adds to its backbone.
_SSD_MAPS = (512, 256, 256, 128)


class Detector(Network):
    """A detector by its name; register a subclass in ``mutualvideo.registry.DETECTORS``.

    What :class:`~mutualvideo.models.Network` is to networks. :meth:`build` returns torchvision's
    detector with DATA.TRAIN_CROP_SIZE as its picture size, DATA.MEAN and STD, and
    MODEL.NUM_CLASSES classes, the background included.

    Attributes:
        has_masks: it learns masks and gives them.
    """

    takes_pictures = True
    has_dropout = False
    has_masks: ClassVar[bool] = False
    keys: ClassVar[Mapping[str, Bounds | None]] = {"DETECTOR.ANCHOR_SIZES": None}

    def slimmed(
        self, network: nn.Module, cfg: CfgNode, widths: Sequence[float], full: Subnet
    ) -> nn.Module:
        """:func:`~mutualvideo.detection.slimmable_detector` of it."""
        return slimmable_detector(network, tuple(widths), cfg.MUTUAL.DIVISOR)


def _common(cfg: CfgNode) -> dict[str, Any]:
    size = cfg.DATA.TRAIN_CROP_SIZE
    return {
        "num_classes": cfg.MODEL.NUM_CLASSES,
        "min_size": size,
        "max_size": round(size * _LONGER),
        "image_mean": list(cfg.DATA.MEAN),
        "image_std": list(cfg.DATA.STD),
    }


def _anchor_sizes(cfg: CfgNode, least: int = 5) -> tuple[int, ...]:
    sizes = cfg.DETECTOR.ANCHOR_SIZES
    if sizes and not (least <= len(sizes) <= 5 and min(sizes) > 0):
        count = "five" if least == 5 else f"{least} to five"
        raise InputError(
            f"DETECTOR.ANCHOR_SIZES {sizes}: {cfg.MODEL.MODEL_NAME} has {count} levels: give as "
            "many sizes in pixels, above 0"
        )
    return tuple(sizes)


def _octaves(sizes: tuple[int, ...]) -> AnchorGenerator:
    """RetinaNet's: three anchors an octave."""
    scales = tuple((x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in sizes)
    return AnchorGenerator(scales, (_RATIOS,) * len(sizes))


class _TwoStages(Detector):
    builder: ClassVar[Any]

    def build(self, cfg: CfgNode) -> nn.Module:
        options = _common(cfg)
        if sizes := _anchor_sizes(cfg):
            anchors = AnchorGenerator(tuple((x,) for x in sizes), (_RATIOS,) * len(sizes))
            options["rpn_anchor_generator"] = anchors
        return type(self).builder(weights=None, weights_backbone=None, **options)


@DETECTORS.register()
class FasterRCNN(_TwoStages):
    """torchvision's Faster R-CNN (arXiv 1506.01497) with ResNet-50 and a feature pyramid."""

    name = "FasterRCNN_R50_FPN"
    builder = staticmethod(detection.fasterrcnn_resnet50_fpn)


@DETECTORS.register()
class MaskRCNN(_TwoStages):
    """torchvision's Mask R-CNN (arXiv 1703.06870) with ResNet-50 and a feature pyramid."""

    name = "MaskRCNN_R50_FPN"
    has_masks = True
    builder = staticmethod(detection.maskrcnn_resnet50_fpn)


@DETECTORS.register()
class RetinaNetR50(Detector):
    """torchvision's RetinaNet (arXiv 1708.02002) with ResNet-50 and a feature pyramid."""

    name = "RetinaNet_R50_FPN"

    def build(self, cfg: CfgNode) -> nn.Module:
        options = _common(cfg)
        if sizes := _anchor_sizes(cfg):
            options["anchor_generator"] = _octaves(sizes)
        return detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, **options)


@DETECTORS.register()
class RetinaNetR18(Detector):
    """RetinaNet with torchvision's ResNet-18, or a narrower one, for small pictures.

    Levels from stride 4 on, as many as DETECTOR.ANCHOR_SIZES: for small objects. Sides are padded
    to multiples of 8 alone, so that small sizes cost what they say. It is meant to begin with
    random weights, so its head has GroupNorm, as torchvision's ``retinanet_resnet50_fpn_v2`` has.
    """

    name = "RetinaNet_R18_FPN"
    keys = {
        **Detector.keys,
        "DETECTOR.STEM_CHANNELS": (8, 1024),
        "DETECTOR.PYRAMID_CHANNELS": (16, 4096),
    }

    def build(self, cfg: CfgNode) -> nn.Module:
        stem, channels = cfg.DETECTOR.STEM_CHANNELS, cfg.DETECTOR.PYRAMID_CHANNELS
        if channels % _GROUPS:
            raise InputError(
                f"DETECTOR.PYRAMID_CHANNELS {channels}: must be a multiple of {_GROUPS}"
            )
        sizes = _anchor_sizes(cfg, least=3) or _OCTAVES
        body = _resnet18_body(stem)
        stages = range(min(len(sizes), 4))
        backbone = BackboneWithFPN(
            body,
            {f"layer{number + 1}": str(number) for number in stages},
            [stem * 2**number for number in stages],
            channels,
        )
        if len(sizes) < 5:  # it adds one level, by pooling
            backbone.fpn.extra_blocks = None
        anchors = _octaves(sizes)
        head = RetinaNetHead(
            channels,
            anchors.num_anchors_per_location()[0],
            cfg.MODEL.NUM_CLASSES,
            partial(nn.GroupNorm, _GROUPS),
        )
        _begin_afresh(head)
        return detection.RetinaNet(
            backbone, anchor_generator=anchors, head=head, size_divisible=8, **_common(cfg)
        )


def _begin_afresh(head: RetinaNetHead) -> None:
    """He's initial weights in the towers.

    torchvision's have a deviation of 0.01, which suits 256 channels and trained backbones: of 32
    channels each of the four layers passes on an eighth of what it gets.
    """
    for tower in (head.classification_head.conv, head.regression_head.conv):
        for layer in tower.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")


def _resnet18_body(stem: int) -> nn.Module:
    """torchvision's ResNet-18 with ``stem`` channels in place of 64, by the same names."""
    body = resnet18()
    if stem == body.conv1.out_channels:
        return body
    body.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
    body.bn1 = nn.BatchNorm2d(stem)
    inputs = stem
    for number in range(4):
        outputs = stem * 2**number
        layer = [_basic_block(inputs, outputs, 1 + (number > 0)), _basic_block(outputs, outputs, 1)]
        setattr(body, f"layer{number + 1}", nn.Sequential(*layer))
        inputs = outputs
    for module in body.modules():  # as torchvision begins
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return body


def _basic_block(inputs: int, outputs: int, stride: int) -> BasicBlock:
    shortcut = None
    if stride > 1 or inputs != outputs:
        convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        shortcut = nn.Sequential(convolution, nn.BatchNorm2d(outputs))
    return BasicBlock(inputs, outputs, stride, shortcut)


@DETECTORS.register()
class SSDLite(Detector):
    """SSDLite with MobileNet v2 (arXiv 1801.04381), of torchvision's parts.

    torchvision's builder has MobileNet v3 and 320 pixels; the rest is as there: the boxes, the
    added maps, the head, and BatchNorm's own numbers.
    """

    name = "SSDLite_MobileNetV2"

    def build(self, cfg: CfgNode) -> nn.Module:
        if cfg.DETECTOR.ANCHOR_SIZES:
            raise InputError(
                f"DETECTOR.ANCHOR_SIZES {cfg.DETECTOR.ANCHOR_SIZES}: SSDLite's boxes are shares of "
                "the picture: leave it empty"
            )
        backbone = _ssd_backbone()
        boxes = DefaultBoxGenerator([[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95)
        options = _common(cfg)
        size, classes = options.pop("min_size"), options.pop("num_classes")
        del options["max_size"]
        channels = [576, 1280, *_SSD_MAPS]
        head = SSDLiteHead(channels, boxes.num_anchors_per_location(), classes, _SSD_NORM)
        return SSD(
            backbone,
            boxes,
            (size, size),
            classes,
            head=head,
            score_thresh=0.001,
            nms_thresh=0.55,
            detections_per_img=300,
            topk_candidates=300,
            **options,
        )


def _ssd_backbone() -> nn.Module:
    """MobileNet v2 up to the expansion of its last stage, the rest of it, and four maps more."""
    features = mobilenet_v2(norm_layer=_SSD_NORM).features
    for layer in features.modules():  # as torchvision's SSDLite begins without released weights
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.03)
    blocks = list(features)
    last = max(n for n, block in enumerate(blocks) if getattr(block, "_is_cn", False))
    # What v3 calls its layers, and torchvision's extractor looks for.
    blocks[last].block = blocks[last].conv
    return SSDLiteFeatureExtractorMobileNet(nn.Sequential(*blocks), last, _SSD_NORM)
