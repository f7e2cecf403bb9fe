"""Detection and instance segmentation: torchvision's detectors, at any width and picture size."""

from mutualvideo.detection.detector import (
    extract_detector,
    order_detector_channels,
    slimmable_detector,
)
from mutualvideo.detection.detector_weights import load_backbone, load_detector

__all__ = [
    "extract_detector",
    "load_backbone",
    "load_detector",
    "order_detector_channels",
    "slimmable_detector",
]
