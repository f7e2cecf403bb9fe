"""Small detectors of torchvision, untrained, and how far their answers lie apart."""

import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

# Of every detector: few boxes, and none dropped for its score, since nothing is trained.
_ONE_STAGE = {"score_thresh": 0.0, "detections_per_img": 20, "topk_candidates": 40}
_TWO_STAGES = {
    "rpn_pre_nms_top_n_test": 40,
    "rpn_post_nms_top_n_test": 20,
    "rpn_post_nms_top_n_train": 40,
    "box_batch_size_per_image": 32,
    "box_score_thresh": 0.0,
    "box_detections_per_img": 5,
}
# (sizes, aspect ratios) of four levels
_ANCHORS = ((8,), (16,), (32,), (64,)), ((0.5, 1.0, 2.0),) * 4
_SMALL = {"min_size": 64, "max_size": 96}
_BUILDERS = {
    "RetinaNet": (detection.retinanet_resnet50_fpn, {**_SMALL, **_ONE_STAGE}),
    "Faster R-CNN": (detection.fasterrcnn_resnet50_fpn, {**_SMALL, **_TWO_STAGES}),
    "Mask R-CNN": (detection.maskrcnn_resnet50_fpn, {**_SMALL, **_TWO_STAGES}),
    "SSDLite": (detection.ssdlite320_mobilenet_v3_large, _ONE_STAGE),
}


def shake(model, seed=0):
    """Random BatchNorm statistics and affine parameters, so that none of them goes unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if hasattr(module, "running_var"):
            for tensor, low, high in (
                (module.running_mean, -0.1, 0.1),
                (module.running_var, 0.5, 1.5),
                (module.weight.data, 0.3, 0.6),
                (module.bias.data, -0.1, 0.1),
            ):
                tensor.uniform_(low, high, generator=generator)
    return model


def build(name):
    torch.manual_seed(0)
    builder, options = _BUILDERS[name]
    model = builder(weights=None, weights_backbone=None, num_classes=4, **options)
    return shake(model).eval()


def counted(model, pictures):
    """Multiply-adds of a pass of ``model``, whatever it is."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(pictures)
    return counter.get_total_flops() // 2


def small_backbone(norm_layer=torch.nn.BatchNorm2d):
    torch.manual_seed(0)
    return resnet_fpn_backbone(
        backbone_name="resnet18",
        weights=None,
        norm_layer=norm_layer,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
    )


def small_retinanet(norm_layer=torch.nn.BatchNorm2d, **options):
    backbone = small_backbone(norm_layer)
    options = {**_SMALL, **_ONE_STAGE, **options}
    options = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, **options}
    anchors = detection.anchor_utils.AnchorGenerator(*_ANCHORS)
    model = detection.RetinaNet(backbone, 4, anchor_generator=anchors, **options)
    return shake(model).eval()


def small_mask_rcnn():
    anchors = detection.anchor_utils.AnchorGenerator(*_ANCHORS)
    options = {**_SMALL, **_TWO_STAGES, "rpn_anchor_generator": anchors}
    return shake(detection.MaskRCNN(small_backbone(), 4, **options)).eval()


def differences(found, wanted):
    """The largest difference of anything that two lists of answers hold, which must be alike."""
    assert [list(one) for one in found] == [list(one) for one in wanted]
    pairs = [(a[name], b[name]) for a, b in zip(found, wanted, strict=True) for name in a]
    assert all(a.shape == b.shape and a.numel() for a, b in pairs)
    return max((a.double() - b.double()).abs().max().item() for a, b in pairs)
