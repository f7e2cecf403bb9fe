"""Published curves of image networks on ImageNet, for comparison in plots.

From the query tables of MutualNet's authors (github.com/taoyang1122/MutualNet) and the table of
US-Net (arXiv 1903.05134). The networks are full ones at 224 pixels; none was retrained here.
"""

from mutualvideo.subnet import Subnet

IMAGENET_CLASSES = 1000

# {sub-network: (million multiply-adds, top-1 in percent)}
_MUTUALNET = {
    "MobileNetV1": {
        "1x224": (569, 72.4), "0.95x224": (518, 71.7), "0.9x224": (466, 71.2),
        "1x192": (418, 70.9), "0.95x192": (380, 70.6), "0.9x192": (342, 70.2),
        "0.85x192": (309, 69.7), "0.8x192": (269, 69.1), "0.75x192": (239, 68.4),
        "0.85x160": (215, 67.7), "0.8x160": (187, 67.2), "0.75x160": (166, 66.5),
        "0.7x160": (146, 65.6), "0.65x160": (127, 64.7), "0.6x160": (111, 63.5),
        "0.5x160": (76, 60.3), "0.45x160": (63, 58.9), "0.35x160": (41, 54.4),
        "0.25x192": (30, 52.7), "0.25x160": (21, 50.1), "0.25x128": (13, 45.5),
    },
    "MobileNetV2": {
        "1x224": (300, 72.9), "0.95x224": (284, 72.7), "0.9x224": (269, 72.4),
        "0.85x224": (254, 72.0), "1x192": (221, 71.8), "0.95x192": (209, 71.6),
        "0.9x192": (198, 71.4), "0.85x192": (187, 71.0), "0.8x192": (164, 70.4),
        "0.75x192": (154, 70.1), "0.7x192": (128, 69.6), "0.75x160": (107, 68.3),
        "0.7x160": (89, 67.6), "0.85x128": (84, 65.8), "0.7x128": (57, 64.2),
    },
}  # fmt: skip
_US_NET = {
    "MobileNetV1": (
        (568, 71.8), (466, 71.3), (325, 69.5), (217, 66.8), (149, 64.2), (80, 59.0), (41, 55.7),
    ),
    "MobileNetV2": ((300, 71.5), (222, 70.0), (161, 68.3), (97, 65.1), (59, 62.3)),
}  # fmt: skip


def image_curves(cfg):
    """What is published of the network of ``cfg`` on ImageNet.

    Returns:
        list of ``(name, [(GMACs, top-1 in percent), ...])``, as ``QueryTable.plot`` takes its
        ``overlays``; empty for other networks, widths and numbers of classes.
    """
    name = cfg.MODEL.MODEL_NAME
    scaled = cfg.MOBILENET.WIDTH_FACTOR != 1
    if name not in _MUTUALNET or scaled or cfg.MODEL.NUM_CLASSES != IMAGENET_CLASSES:
        return []
    curves = {"MutualNet": _MUTUALNET[name].values(), "US-Net": _US_NET[name]}
    return [
        (f"{label} (published)", [(mmacs / 1000, top1) for mmacs, top1 in points])
        for label, points in curves.items()
    ]


def published_rows(name):
    """``{Subnet: (million multiply-adds, top-1 in percent)}`` of MutualNet's ``name``."""
    return {Subnet.parse(text): row for text, row in _MUTUALNET[name].items()}
