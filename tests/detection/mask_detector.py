"""A Mask R-CNN that takes a step in a tenth of a second."""

from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

from mutualvideo.detection import Detector
from mutualvideo.registry import DETECTORS


class SmallMaskRCNN(Detector):
    """torchvision's Mask R-CNN on the small RetinaNet's backbone, for DETECTORS."""

    name = "SmallMaskRCNN"
    has_masks = True
    keys = DETECTORS.get("RetinaNet_R18_FPN").keys

    def build(self, cfg):
        plain = DETECTORS.get("RetinaNet_R18_FPN")().build(cfg)
        channels, levels = plain.backbone.out_channels, ["0", "1", "2"]
        return MaskRCNN(
            plain.backbone,
            min_size=cfg.DATA.TRAIN_CROP_SIZE,
            rpn_anchor_generator=AnchorGenerator(((8,), (16,), (32,)), ((0.5, 1.0, 2.0),) * 3),
            box_roi_pool=MultiScaleRoIAlign(levels, 5, 2),
            box_head=TwoMLPHead(channels * 25, 64),
            box_predictor=FastRCNNPredictor(64, cfg.MODEL.NUM_CLASSES),
            mask_roi_pool=MultiScaleRoIAlign(levels, 7, 2),
            mask_head=MaskRCNNHeads(channels, (16,), 1),
            mask_predictor=MaskRCNNPredictor(16, 16, cfg.MODEL.NUM_CLASSES),
            rpn_post_nms_top_n_train=50,
            rpn_post_nms_top_n_test=20,
            box_batch_size_per_image=32,
            box_score_thresh=0.0,
            box_detections_per_img=10,
        )
