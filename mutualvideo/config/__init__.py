"""Configuration: the keys, and how files and overrides are read and checked."""

from mutualvideo.config.defaults import add_section, get_cfg
from mutualvideo.config.load import in_pairs, load_cfg, save_cfg, trace_cfg, trace_run
from mutualvideo.config.origins import format_cfg
from mutualvideo.media_kind import takes_pictures

__all__ = [
    "add_section",
    "format_cfg",
    "get_cfg",
    "in_pairs",
    "load_cfg",
    "save_cfg",
    "takes_pictures",
    "trace_cfg",
    "trace_run",
]
