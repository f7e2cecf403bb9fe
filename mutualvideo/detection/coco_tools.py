"""pycocotools, which reads masks and computes average precision: the reference for both."""

from mutualvideo.errors import InputError
from mutualvideo.extras import install_command


def coco_tools():
    """The modules (coco, cocoeval, mask) of pycocotools.

    Raises:
        InputError: if it is not installed.
    """
    try:
        from pycocotools import coco, cocoeval, mask
    except ImportError as error:
        raise InputError(
            f"COCO masks and average precision need pycocotools ({error}): "
            f"{install_command('detection')}"
        ) from None
    return coco, cocoeval, mask
