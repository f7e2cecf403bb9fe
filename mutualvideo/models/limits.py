"""Which numbers a network may be configured with, whatever file they come from.

Far beyond what anybody trains; without them a damaged or hostile checkpoint could ask for a network
that takes hours, or all of the memory, to make.
"""

from collections.abc import Mapping

from fvcore.common.config import CfgNode

from mutualvideo.errors import InputError, shown

# Lowest and highest value, both allowed, of what every network has.
_LIMITS = {
    "MODEL.NUM_CLASSES": (1, 1_000_000),
    "MODEL.DROPOUT_RATE": (0, 1),
    "BN.EPSILON": (0, 1),
    "BN.MOMENTUM": (0, 1),
    "DATA.NUM_FRAMES": (1, 100_000),
    "DATA.TRAIN_CROP_SIZE": (1, 100_000),
    "MUTUAL.DIVISOR": (1, 100_000),
}


def require_plausible(cfg: CfgNode, keys: Mapping[str, tuple[float, float] | None]) -> None:
    """Checks the numbers that the network of ``cfg`` is made by.

    Args:
        cfg: the configuration.
        keys: see :attr:`~mutualvideo.models.Network.keys`.

    Raises:
        InputError: naming the first key that is out of bounds.
    """
    for key, bounds in {**_LIMITS, **keys}.items():
        if bounds is None:
            continue
        section, leaf = key.split(".")
        low, high = bounds
        value = cfg[section][leaf]
        if key == "MODEL.NUM_CLASSES" and value == 0:
            raise InputError(
                "MODEL.NUM_CLASSES is 0, as many as the data have, and a network that is made "
                "without data needs to know: set it"
            )
        if not low <= value <= high:  # NaN is out of all bounds
            raise InputError(f"{key} is {shown(value)}, expected {low} to {high}")
    widths = cfg.MUTUAL.WIDTH_RANGE
    if len(widths) != 2:
        raise InputError(
            f"MUTUAL.WIDTH_RANGE is {shown(widths)}, expected the narrowest and the widest"
        )
