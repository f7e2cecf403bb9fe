"""Whether a network takes clips or pictures, without what the rest of a configuration needs."""

from typing import Any


def takes_pictures(cfg: Any) -> bool:
    """Whether the network of ``cfg`` takes pictures, not clips.

    MODEL.ARCH says so, where it is given (``2d``: pictures); else MODEL.MODEL_NAME does.

    Args:
        cfg: configuration; its ``MODEL`` section is read.

    Raises:
        InputError: if there is no such network.
    """
    if cfg.MODEL.ARCH:
        return cfg.MODEL.ARCH == "2d"
    # Imported when it is asked: the registry is fvcore's, which running an exported folder does
    # not need.
    from mutualvideo.registry import NETWORKS

    return NETWORKS.find(cfg.MODEL.MODEL_NAME).takes_pictures
