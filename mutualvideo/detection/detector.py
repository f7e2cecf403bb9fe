"""A torchvision detector whose backbone follows the width, and whose pictures follow the size."""

import torch
from torch import nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.models.resnet import Bottleneck
from torchvision.ops import FrozenBatchNorm2d

from mutualvideo.detection.slim_transform import SlimTransform
from mutualvideo.errors import InputError, shown
from mutualvideo.models.resnet2d import bottleneck2d_rules
from mutualvideo.slim import Fixed, extract, order_channels, slimmable
from mutualvideo.slim.convert import forget_slimming
from mutualvideo.slim.meta_copy import copy_network
from mutualvideo.slim.state import SlimState, begin_forward, end_forward
from mutualvideo.subnet import Subnet

# Pyramids take a picture of any size; SSD's layers are made for its own.
_TRACED_SIZE = 64


class SlimmedPart(nn.Module):
    """What of ``detector`` is cut: its backbone and, of SSD, the head that reads it.

    It shares the detector's modules, under the same names, and takes pictures that are ready:
    float (B, 3, H, W). What comes after it chooses boxes by values, which no width can follow.
    """

    def __init__(self, detector):
        super().__init__()
        self.backbone = detector.backbone
        self.head = detector.head if isinstance(detector, SSD) else None

    def forward(self, pictures):
        maps = self.backbone(pictures)
        return maps if self.head is None else self.head(list(maps.values()))


def slimmable_detector(model, width_range=(0.25, 1.0), divisor=8):
    """Makes a detector of torchvision executable at every width and picture size, in place.

    RetinaNet, Faster, Mask and Keypoint R-CNN: the backbone follows the width; the pyramid, the
    heads, the boxes and masks keep their channels, and all sub-networks share them. The pyramid's
    lateral 1x1 convolutions read what channels the backbone has. So a slimmable network for
    classification takes the place of the backbone, as MutualNet's abstract has it for detection,
    and nothing else changes; a ResNet's inner layers follow by the rule of the classifier
    (:func:`~mutualvideo.models.resnet2d.bottleneck2d_rules`). SSD has no pyramid: its head's first
    layers read the backbone's maps and follow them.

    ``set_subnet(model, "0.5x320")`` also switches the size that the detector brings pictures to:
    the shorter side, or the side of SSD's square. After ``set_width`` that is the detector's own.
    The detector goes on taking a list of pictures, float (3, H, W) from 0 to 1 in any size, and
    gives boxes in their pixels. At full width and size it answers what it answered before.

    Statistics belong to sub-networks, so frozen BatchNorm (torchvision's when weights are given)
    becomes a BatchNorm whose running statistics and affine parameters stay frozen; its state dict
    gains ``num_batches_tracked``, which torchvision reads and drops.

    Args:
        model: ``torchvision.models.detection``'s RetinaNet, SSD or a GeneralizedRCNN.
        width_range: narrowest and widest width multiplier, within (0, 1].
        divisor: active channels are a multiple of this.

    Returns:
        The same ``model``. Its full network is the widest width at the detector's own size.

    Raises:
        InputError: for what is no such detector, and what :func:`~mutualvideo.slimmable` refuses;
            for a BatchNorm in the parts that are shared, since its statistics would be those of
            all sub-networks together.

    Reference: MutualNet (arXiv 2105.07085); Mask R-CNN (arXiv 1703.06870), RetinaNet (arXiv
    1708.02002), SSDLite (arXiv 1905.02244).
    """
    if not isinstance(model, (RetinaNet, SSD, GeneralizedRCNN)):
        raise InputError(
            f"slimmable_detector(): expected torchvision's RetinaNet, SSD or a GeneralizedRCNN, "
            f"got {shown(type(model).__name__)}; slimmable() takes other networks"
        )
    part, transform = SlimmedPart(model), model.transform
    _refuse_shared_norms(model, part)
    if type(transform) not in (GeneralizedRCNNTransform, SlimTransform):
        raise InputError(
            f"slimmable_detector(): its transform is {shown(type(transform).__name__)}, of which "
            "it is not known how pictures get their size; give it torchvision's "
            "GeneralizedRCNNTransform"
        )
    low, high = SlimState(width_range, divisor).width_range  # refuses a bad range or divisor
    size = min(transform.fixed_size or transform.min_size[-1:])
    frozen = _thaw_norms(part)
    traced = size if part.head is not None else _TRACED_SIZE
    rules = _rules(model.backbone)
    try:
        slimmable(
            part,
            (low, high),
            divisor,
            rules=rules,
            full=Subnet(high, None, size),
            example=torch.empty(2, 3, traced, traced, device="meta"),
        )
    except InputError:
        for owner, name, norm in frozen:
            setattr(owner, name, norm)
        raise
    for owner, name, _ in frozen:
        getattr(owner, name).frozen = True
    model.slim_state = part.slim_state
    model.register_forward_pre_hook(begin_forward)
    model.register_forward_hook(end_forward)
    transform.__class__ = SlimTransform
    transform.slim = model.slim_state
    return model


def _rules(backbone):
    """Those of the classifier that the backbone is made of, and that the pyramid stays."""
    body = "backbone.body" if hasattr(backbone, "body") else "backbone"
    layers = getattr(backbone, "body", backbone)
    rules = {}
    if any(isinstance(m, Bottleneck) and m.conv2.groups == 1 for m in layers.modules()):
        rules = {f"{body}.{name}": rule for name, rule in bottleneck2d_rules(layers).items()}
    if hasattr(backbone, "fpn"):
        rules["backbone.fpn"] = Fixed()
    return rules


def _refuse_shared_norms(model, part):
    ours = set(part.modules())
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module not in ours:
            raise InputError(
                f"slimmable_detector(): {name} is a BatchNorm in a part that all sub-networks "
                "share, whose statistics would be a mixture; give that part another norm "
                "(GroupNorm, FrozenBatchNorm2d)"
            )


def _thaw_norms(part):
    """Puts BatchNorm2d in the place of frozen ones; returns [(owner, name, frozen one)]."""
    found = [
        (owner, name, norm)
        for owner in part.modules()
        for name, norm in owner.named_children()
        if isinstance(norm, FrozenBatchNorm2d)
    ]
    for owner, name, norm in found:
        plain = nn.BatchNorm2d(len(norm.weight), norm.eps).to(norm.weight.device, norm.weight.dtype)
        plain.load_state_dict(norm.state_dict(), strict=False)
        setattr(owner, name, plain.requires_grad_(False).train(norm.training))
    return found


def slimmed_part(model):
    """The :class:`SlimmedPart` of a slimmable detector; it shares the detector's modules.

    Raises:
        InputError: if ``model`` is no slimmable detector.
    """
    if not isinstance(getattr(model, "transform", None), SlimTransform):
        raise InputError(f"{type(model).__name__}: call slimmable_detector(model) first")
    return SlimmedPart(model)


def class_count(model):
    """How many classes torchvision's detector ``model`` tells apart, the background included."""
    if isinstance(model, GeneralizedRCNN):
        return model.roi_heads.box_predictor.cls_score.out_features
    head = model.head.classification_head
    return head.num_columns if isinstance(model, SSD) else head.num_classes


def order_detector_channels(model, along=None):
    """:func:`~mutualvideo.order_channels` of a slimmable detector that was trained at one width.

    Args:
        model: what :func:`slimmable_detector` made.
        along: as :func:`~mutualvideo.order_channels` takes it.

    Returns:
        int: how many sets of channels were sorted.

    Raises:
        InputError: if ``model`` is no slimmable detector.
    """
    return order_channels(slimmed_part(model), along)


def extract_detector(model, subnet, fold=False):
    """A sub-network of a slimmable detector as torchvision's own class, in eval mode.

    A copy of plain layers that brings pictures to the sub-network's size, and answers what
    ``model`` answers when it is switched there. mutualvideo is not needed to run it.

    Args:
        model: a slimmable detector.
        subnet: which sub-network, ``WIDTHxSIZE``.
        fold: whether BatchNorm becomes part of the convolution before it; see
            :func:`~mutualvideo.extract`.

    Raises:
        InputError: if ``model`` is no slimmable detector, or cannot be switched to ``subnet``.
    """
    part, subnet = slimmed_part(model), Subnet.of(subnet)
    small = extract(part, subnet, fold=fold)
    memo = {id(model.backbone): small.backbone}
    if part.head is not None:
        memo[id(model.head)] = small.head
    # The transform's size is fixed while the sub-network is the one that is switched to.
    memo[id(model.transform)] = _static_transform(model, subnet)
    static = copy_network(model, memo).eval()
    forget_slimming(static)
    return static


def _static_transform(model, subnet):
    transform = copy_network(model.transform)
    transform.slim.select(subnet.width, subnet)  # of the copy
    transform.to_static()
    return transform
