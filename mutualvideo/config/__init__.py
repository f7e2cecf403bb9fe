"""Configuration: the keys, and how files and overrides are read and checked."""

from mutualvideo.config.defaults import get_cfg, takes_pictures
from mutualvideo.config.load import load_cfg, save_cfg

__all__ = ["get_cfg", "load_cfg", "save_cfg", "takes_pictures"]
