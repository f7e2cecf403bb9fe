"""The slimmable core: any conv net at any width. Knows torch and nothing else."""

from mutualvideo.slim.batch_norm_layers import batch_norms
from mutualvideo.slim.convert import set_subnet, set_width, slim_state, slimmable
from mutualvideo.slim.counting.macs import Costs, count_costs, count_macs
from mutualvideo.slim.every_subnet import each_subnet
from mutualvideo.slim.extract import extract
from mutualvideo.slim.memory_format import channels_last, place, weights_layout
from mutualvideo.slim.order import order_channels
from mutualvideo.slim.resampling import frame_indices, input_shape, resample_clip, subnet_input
from mutualvideo.slim.rules import Fixed, Ratio, Scaled, Segment, round_channels
from mutualvideo.slim.share_report import SlimmableReport, slimmable_report
from mutualvideo.slim.statistics.calibrate import (
    calibrate,
    get_statistics,
    is_calibrated,
    load_statistics,
    require_calibrated,
)
from mutualvideo.slim.statistics.own_statistics import own_statistics
from mutualvideo.slim.training_shape import training_shape

__all__ = [
    "Costs",
    "Fixed",
    "Ratio",
    "Scaled",
    "Segment",
    "SlimmableReport",
    "batch_norms",
    "calibrate",
    "channels_last",
    "count_costs",
    "count_macs",
    "each_subnet",
    "extract",
    "frame_indices",
    "get_statistics",
    "input_shape",
    "is_calibrated",
    "load_statistics",
    "order_channels",
    "own_statistics",
    "place",
    "require_calibrated",
    "resample_clip",
    "round_channels",
    "set_subnet",
    "set_width",
    "slim_state",
    "slimmable",
    "slimmable_report",
    "subnet_input",
    "training_shape",
    "weights_layout",
]
