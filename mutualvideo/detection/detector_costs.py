"""What a sub-network of a detector costs, and its statistics: what a table of rows needs."""

import torch
from torch import nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from mutualvideo.detection.detector import slimmed_part
from mutualvideo.slim import calibrate, count_costs, set_subnet
from mutualvideo.slim.statistics.calibrate import as_before
from mutualvideo.subnet import Subnet


class _Counted(nn.Module):
    """All that a detector computes of a picture that is ready, without choosing boxes."""

    def __init__(self, detector, proposals, detections):
        super().__init__()
        self.detector, self.proposals, self.detections = detector, proposals, detections

    def forward(self, pictures):
        maps = self.detector.backbone(pictures)
        levels = list(maps.values())
        if not isinstance(self.detector, GeneralizedRCNN):
            return self.detector.head(levels)
        self.detector.rpn.head(levels)
        heads = self.detector.roi_heads
        for kind, count in (
            ("box", self.proposals),
            ("mask", self.detections),
            ("keypoint", self.detections),
        ):
            pool = getattr(heads, f"{kind}_roi_pool")
            if pool is not None:
                size = (len(pictures) * count, levels[0].shape[1], *pool.output_size)
                features = getattr(heads, f"{kind}_head")(levels[0].new_empty(size))
                getattr(heads, f"{kind}_predictor")(features)
        return maps


@torch.no_grad()
def detector_costs(model, subnets, picture=None, proposals=None, detections=None):
    """``{subnet: Costs}`` of one picture, multiply-adds of convolutions and linear layers.

    Args:
        model: a slimmable detector; it is left as it was.
        subnets: which sub-networks.
        picture: (height, width) of the picture before it is brought to the sub-network's size; by
            default it is square.
        proposals: boxes that an R-CNN looks at; by default the most that it takes in evaluation.
        detections: boxes that get a mask; by default the most that it returns.

    Returns:
        ``{Subnet: Costs}``, of the size that the picture has then, padding included.
    """
    costs = {}
    with as_before(model):
        model.eval()
        most = most_boxes(model)
        proposals = most[0] if proposals is None else proposals
        detections = most[1] if detections is None else detections
        counted = _Counted(model, proposals, detections)
        for subnet in map(Subnet.of, subnets):
            set_subnet(model, subnet)
            ready = model.transform([torch.zeros(3, *(picture or 2 * [subnet.size]))])[0].tensors
            costs |= count_costs(counted, [subnet], example=ready.to("meta"))
    return costs


def most_boxes(model):
    """(proposals, detections): the most of a picture in evaluation; of one stage (0, 0)."""
    if not isinstance(model, GeneralizedRCNN):
        return 0, 0
    with as_before(model):
        model.eval()
        return model.rpn.post_nms_top_n(), model.roi_heads.detections_per_img


class _Ready(nn.Module):
    """The part with BatchNorm, which takes what the data set gives."""

    def __init__(self, detector):
        super().__init__()
        self.transform, self.part = detector.transform, slimmed_part(detector)

    def forward(self, batch):
        return self.part(self.transform(batch["pictures"])[0].tensors)


def calibrate_detector(model, subnets, batches, over_processes=False):
    """:func:`~mutualvideo.calibrate` of a slimmable detector.

    Args:
        model: a slimmable detector; only statistics change.
        subnets: which sub-networks.
        batches: iterable of lists of pictures, float (3, H, W) from 0 to 1, on its device.
        over_processes: the processes calibrate together, see :func:`~mutualvideo.calibrate`. Each
            pads its own pictures, so statistics are those of one process where pictures have one
            size.

    Raises:
        InputError: if there are no batches, or a sub-network cannot be run.
    """
    # The first tensor says how many pictures a batch is; that of pictures themselves does not.
    counted = ({"count": some[0].new_empty(len(some)), "pictures": list(some)} for some in batches)
    calibrate(_Ready(model), subnets, counted, over_processes)
