"""Whether a network takes clips or pictures, what files of clips are called; light to import."""

from typing import Any

# Of files that are taken for videos in folders.
VIDEO_ENDINGS = frozenset(
    ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()
)


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
    from mutualvideo.registry import network_named

    return network_named(cfg.MODEL.MODEL_NAME).takes_pictures
