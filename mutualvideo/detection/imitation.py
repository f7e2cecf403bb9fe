"""How a sub-network of a detector learns from the full width's scores and boxes."""

from contextlib import contextmanager

import torch
from torch.nn import functional as F
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.models.detection.ssd import SSD

from mutualvideo.slim import set_subnet


def imitation_of(scores, boxes, told_scores, told_boxes, softmax):
    """The loss of one set of anchors or proposals against the teacher's answers at the same ones.

    The cross-entropy with the teacher's softened classes, less what the teacher's own is, so that
    equal answers give 0, and the smooth L1 distance of the box deltas. Each anchor counts as much
    as the teacher is sure that there is an object, so that thousands of anchors on the background,
    which the detector's own loss sees to, do not drown the few that matter.

    Args:
        scores, told_scores: logits, float (N, classes); with ``softmax`` class 0 is the background.
        boxes, told_boxes: box deltas, float (N, 4), or (N, classes * 4), of each class.
        softmax: whether classes exclude each other; else each has a sigmoid of its own.

    Returns:
        scalar tensor, 0 for no anchors.
    """
    scores, boxes, told_scores, told_boxes = (
        one.float() for one in (scores, boxes, told_scores, told_boxes)
    )
    if softmax:
        classes = told_scores.softmax(-1)
        sure = 1 - classes[:, 0]
        apart = F.kl_div(scores.log_softmax(-1), classes, reduction="none").sum(-1)
    else:
        classes = told_scores.sigmoid()
        sure = classes.amax(-1)
        apart = F.binary_cross_entropy_with_logits(scores, classes, reduction="none")
        own = F.binary_cross_entropy_with_logits(told_scores, classes, reduction="none")
        apart = (apart - own).sum(-1)
    off = F.smooth_l1_loss(boxes, told_boxes, reduction="none")
    if boxes.shape[1] == 4:
        off = off.sum(-1) * sure
    else:  # of each class: as sure as of that
        off = (off.unflatten(1, (-1, 4)).sum(-1) * classes)[:, 1:].sum(-1)
    return (apart * sure + off).sum() / sure.sum().clamp(min=1)


class Watched:
    """What a pass of the detector in training went through; filled by :func:`watch`.

    Attributes:
        pictures: what the backbone took, float (B, 3, H, W).
        maps: what it gave.
        dense: what the heads over all anchors gave.
        regions: of an R-CNN, the proposals that it learned on, as ``box_roi_pool`` takes them.
        boxes: of an R-CNN, (class logits, box deltas) of those.
    """

    pictures = maps = dense = regions = boxes = None


@contextmanager
def watch(model):
    """Yields :class:`Watched`, filled when ``model`` runs."""
    seen = Watched()

    def see(name, of_input=False):
        def hook(_, inputs, output):
            setattr(seen, name, inputs if of_input else output)

        return hook

    def see_backbone(_, inputs, output):
        seen.pictures, seen.maps = inputs[0], output

    handles = [model.backbone.register_forward_hook(see_backbone)]
    if isinstance(model, GeneralizedRCNN):
        heads = model.roi_heads
        handles += [
            model.rpn.head.register_forward_hook(see("dense")),
            heads.box_roi_pool.register_forward_hook(see("regions", of_input=True)),
            heads.box_predictor.register_forward_hook(see("boxes")),
        ]
    else:
        handles.append(model.head.register_forward_hook(see("dense")))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def look(model, teacher, pictures):
    """(maps, dense outputs) of ``model``, switched to ``teacher``, of pictures that are ready."""
    set_subnet(model, teacher)
    maps = model.backbone(pictures)
    head = model.rpn.head if isinstance(model, GeneralizedRCNN) else model.head
    return maps, head(list(maps.values()))


def imitate(model, seen, told):
    """The loss of the pass ``seen`` against the teacher's answers at its anchors and proposals.

    Args:
        model: the slimmable detector, in training mode.
        seen: :class:`Watched` of the sub-network's pass.
        told: (maps, dense outputs) of the teacher, of the same pictures.

    Returns:
        scalar tensor.
    """
    maps, dense = told
    if not isinstance(model, GeneralizedRCNN):
        pairs = [
            _per_anchor(both["cls_logits"], both["bbox_regression"]) for both in (seen.dense, dense)
        ]
        return imitation_of(*pairs[0], *pairs[1], softmax=isinstance(model, SSD))
    # The network that proposes regions: whether there is an object, at every anchor.
    mine, theirs = ([list(part) for part in both] for both in (seen.dense, dense))
    first = imitation_of(*_objects(*mine), *_objects(*theirs), softmax=False)
    heads = model.roi_heads
    with torch.no_grad():
        features = heads.box_head(heads.box_roi_pool(maps, *seen.regions[1:]))
        answers = heads.box_predictor(features)
    return first + imitation_of(*seen.boxes, *answers, softmax=True)


def _per_anchor(scores, boxes):
    return scores.flatten(0, 1), boxes.flatten(0, 1)


def _objects(scores, boxes):
    flat_scores, flat_boxes = concat_box_prediction_layers(scores, boxes)
    return flat_scores.reshape(-1, 1), flat_boxes.reshape(-1, 4)
