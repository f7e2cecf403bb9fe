"""Random operations on colours and geometry, the same ones for all frames of a clip."""

import re

import torch
from torchvision.transforms import v2

from mutualvideo.errors import InputError

# torchvision's magnitudes are bins, 0 the weakest; papers and timm count from 0 to 10.
_BINS = 31
_POLICIES = {
    "autoaugment": v2.AutoAugmentPolicy.IMAGENET,
    "autoaugment-cifar10": v2.AutoAugmentPolicy.CIFAR10,
}
_FIELDS = {"m": r"\d+(\.\d+)?", "n": r"\d+", "mstd": r"\d+(\.\d+)?", "inc": "1"}


def build_auto_augment(aa_type, color_jitter, mean):
    """What AUG.AA_TYPE asks for, or AUG.COLOR_JITTER where that is empty.

    Strings are timm's, which PySlowFast uses too: ``autoaugment`` (the policy of ImageNet),
    ``autoaugment-cifar10`` (that of CIFAR-10, which the paper uses for CIFAR-100 too), or ``rand``
    with ``-mM`` (magnitude 0 to 10), ``-nN`` (operations; 2 without it), ``-mstdS`` (every
    operation's magnitude is drawn from a normal distribution around M with this deviation)
    and ``-inc1`` (the larger the magnitude, the stronger the operation; torchvision's always
    are). The operations are torchvision's: its fourteen, the identity one of them, applied
    always, where timm has a list of its own and skips every second one. Moved pictures are
    sampled bilinearly and filled up with the mean.

    Args:
        aa_type: AUG.AA_TYPE.
        color_jitter: AUG.COLOR_JITTER, the strength of brightness, contrast and saturation.
        mean: C numbers from 0 to 1, DATA.MEAN.

    Returns:
        A function from uint8 frames (T, C, H, W), or an image (C, H, W), to the same, which
        draws from torch's global generator of the CPU; ``None`` where nothing is to be done.

    Raises:
        InputError: naming the key, for a string or a strength that means nothing.
    """
    if not aa_type:
        if color_jitter < 0:
            raise InputError(f"AUG.COLOR_JITTER must not be negative, not {color_jitter}")
        return v2.ColorJitter(*[color_jitter] * 3) if color_jitter else None
    moved = {
        "interpolation": v2.InterpolationMode.BILINEAR,
        "fill": [round(255 * value) for value in mean],
    }
    if aa_type in _POLICIES:
        return v2.AutoAugment(_POLICIES[aa_type], **moved)
    return _RandAugment(*_parse(aa_type), moved)


def _parse(aa_type):
    """(magnitude, deviation, operations) of a string such as ``rand-m7-n4-mstd0.5-inc1``."""
    kind, *parts = aa_type.split("-")
    found = {}
    for part in parts:
        name = next(iter(re.findall("^[a-z]+", part)), "")
        if name not in _FIELDS or name in found:
            break
        if not re.fullmatch(_FIELDS[name], part[len(name) :]):
            break
        found[name] = float(part[len(name) :])
    understood = kind == "rand" and len(found) == len(parts) and "m" in found
    found.setdefault("n", 2)  # as timm does
    if not understood or found["m"] > 10 or found["n"] < 1:
        raise InputError(
            f"AUG.AA_TYPE {aa_type!r} is unknown: give rand-mM-nN with M from 0 to 10 and N "
            f"operations, perhaps with -mstdS and -inc1, or {' or '.join(_POLICIES)}, or nothing"
        )
    return found["m"], found.get("mstd", 0.0), int(found["n"])


class _RandAugment:
    """``v2.RandAugment`` whose operations may differ in magnitude."""

    def __init__(self, magnitude, deviation, operations, moved):
        self.magnitude, self.deviation, self.operations = magnitude, deviation, operations
        self._one = [
            v2.RandAugment(num_ops=1, magnitude=number, num_magnitude_bins=_BINS, **moved)
            for number in range(_BINS)
        ]

    def __call__(self, frames):
        for _ in range(self.operations):
            magnitude = self.magnitude
            if self.deviation:
                magnitude += self.deviation * torch.randn(()).item()
            frames = self._one[round(min(max(magnitude / 10, 0), 1) * (_BINS - 1))](frames)
        return frames
