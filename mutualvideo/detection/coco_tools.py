"""pycocotools, which reads masks and computes average precision: the reference for both."""

from mutualvideo.extras import import_extra


def coco_tools():
    """The modules (coco, cocoeval, mask) of pycocotools.

    Raises:
        InputError: if it is not installed.
    """
    return tuple(
        import_extra(f"pycocotools.{name}", "detection", "COCO masks and average precision")
        for name in ("coco", "cocoeval", "mask")
    )
