"""Detection and instance segmentation: torchvision's detectors, at any width and picture size."""

from mutualvideo.detection.coco_pictures import CocoPictures, as_lists
from mutualvideo.detection.coco_scores import CocoScores, evaluate_detector, score_detections
from mutualvideo.detection.detection_step import detection_step
from mutualvideo.detection.detector import (
    extract_detector,
    order_detector_channels,
    slimmable_detector,
)
from mutualvideo.detection.detector_costs import calibrate_detector, detector_costs
from mutualvideo.detection.detector_networks import Detector
from mutualvideo.detection.detector_table import detector_table
from mutualvideo.detection.detector_weights import load_backbone, load_detector

__all__ = [
    "CocoPictures",
    "CocoScores",
    "Detector",
    "as_lists",
    "calibrate_detector",
    "detection_step",
    "detector_costs",
    "detector_table",
    "evaluate_detector",
    "extract_detector",
    "load_backbone",
    "load_detector",
    "order_detector_channels",
    "score_detections",
    "slimmable_detector",
]
