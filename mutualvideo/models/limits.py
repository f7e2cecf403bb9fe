"""Which numbers a configuration of a network may hold, wherever it came from.

Far beyond what anybody trains; without them a damaged or hostile checkpoint could ask for a network
that takes hours, or all of the memory, to make.
"""

from mutualvideo.errors import InputError, shown

# Lowest and highest value, both allowed. RESNET.DEPTH and the names are looked up in lists.
_LIMITS = {
    "MODEL.NUM_CLASSES": (1, 1_000_000),
    "MODEL.DROPOUT_RATE": (0, 1),
    "X3D.WIDTH_FACTOR": (0.01, 100),
    "X3D.DEPTH_FACTOR": (0.01, 20),
    "X3D.BOTTLENECK_FACTOR": (0.01, 100),
    "X3D.DIM_C5": (1, 100_000),
    "X3D.DIM_C1": (1, 10_000),
    "MOBILENET.WIDTH_FACTOR": (0.01, 100),
    "WIDERESNET.DEPTH": (1, 1_000),
    "WIDERESNET.WIDEN_FACTOR": (1, 1_000),
    "SLOWFAST.ALPHA": (1, 1_000),
    "SLOWFAST.BETA_INV": (1, 1_000),
    "SLOWFAST.FUSION_CONV_CHANNEL_RATIO": (1, 100),
    "SLOWFAST.FUSION_KERNEL_SZ": (1, 1_000),
    "BN.EPSILON": (0, 1),
    "BN.MOMENTUM": (0, 1),
    "DATA.NUM_FRAMES": (1, 100_000),
    "DATA.TRAIN_CROP_SIZE": (1, 100_000),
    "MUTUAL.DIVISOR": (1, 100_000),
}


def require_plausible(cfg):
    """Checks the numbers that the network of ``cfg`` is made by.

    Raises:
        InputError: naming the first key that is out of bounds.
    """
    for key, (low, high) in _LIMITS.items():
        section, leaf = key.split(".")
        value = cfg[section][leaf]
        if not low <= value <= high:  # NaN is out of all bounds
            raise InputError(f"{key} is {shown(value)}, expected {low} to {high}")
    widths = cfg.MUTUAL.WIDTH_RANGE
    if len(widths) != 2:
        raise InputError(
            f"MUTUAL.WIDTH_RANGE is {shown(widths)}, expected the narrowest and the widest"
        )
