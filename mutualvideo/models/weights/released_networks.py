"""What released weights were trained as: the configuration of their network, names of classes."""

from dataclasses import dataclass, field
from typing import Any

from mutualvideo.errors import InputError
from mutualvideo.models.weights.zoo import PREFIX, released


@dataclass(frozen=True)
class ReleasedNetwork:
    """The configuration that released weights fit.

    Attributes:
        clip: frames, sampling rate, height and width in pixels that they were tested at.
        jitter: short sides of frames in training, in pixels: those that calibration sees.
        frames, sizes: the grid of a table, dearest first, which is that of ``clip``; of SlowFast
            frames of the Slow pathway.
        keys: ``{configuration key: value}`` of the network.
    """

    clip: tuple[int, int, int]
    jitter: tuple[int, int]
    frames: tuple[int, ...]
    sizes: tuple[int, ...]
    keys: dict[str, Any] = field(default_factory=dict)


_X3D = {"MODEL.MODEL_NAME": "X3D", "X3D.WIDTH_FACTOR": 2.0, "X3D.DEPTH_FACTOR": 2.2}
_X3D_L = {**_X3D, "X3D.DEPTH_FACTOR": 5.0}
_SLOWFAST = {"MODEL.MODEL_NAME": "SlowFast", "SLOWFAST.ALPHA": 4}
_WIDE = (256, 224, 192, 160, 128)


def _resnet(arch: str) -> ReleasedNetwork:
    keys = {"MODEL.MODEL_NAME": "ResNet", "MODEL.ARCH": arch}
    return ReleasedNetwork((8, 8, 256), (256, 320), (8, 6, 4), _WIDE, keys)


def _slowfast(depth: int, kernel: int) -> ReleasedNetwork:
    keys = {**_SLOWFAST, "RESNET.DEPTH": depth, "SLOWFAST.FUSION_KERNEL_SZ": kernel}
    return ReleasedNetwork((32, 2, 256), (256, 320), (8, 6, 4), _WIDE, keys)


# By name; as in PyTorchVideo's builders of the same weights.
_NETWORKS = {
    "x3d_xs": ReleasedNetwork((4, 12, 160), (182, 228), (4, 3, 2), (160, 128, 96), _X3D),
    "x3d_s": ReleasedNetwork((13, 6, 160), (182, 228), (13, 8, 5), (160, 128, 96), _X3D),
    "x3d_m": ReleasedNetwork((16, 5, 224), (256, 320), (16, 10, 6), (224, 192, 160, 128), _X3D),
    "x3d_l": ReleasedNetwork((16, 5, 312), (356, 446), (16, 10, 6), (312, 256, 224, 160), _X3D_L),
    "slow_r50": _resnet("slow"),
    "c2d_r50": _resnet("c2d"),
    "i3d_r50": _resnet("i3d"),
    "slowfast_r50": _slowfast(50, 7),
    "slowfast_r101": _slowfast(101, 5),
}


def released_network(name: str) -> ReleasedNetwork:
    """The network of the weights ``name``, with or without ``zoo:``.

    Raises:
        InputError: for an unknown name, or weights of a network of pictures.
    """
    one = released(name)
    if one.name not in _NETWORKS:
        raise InputError(
            f"{PREFIX}{one.name}: {one.network} takes pictures, not videos; choose one of: "
            f"{', '.join(_NETWORKS)}"
        )
    return _NETWORKS[one.name]


def class_names(name: str) -> list[str] | None:
    """Names of the classes of the weights ``name``, by label; ``None``: they are not known.

    torchvision carries those of Kinetics-400, in the order of PyTorchVideo's labels.
    """
    if released(name).dataset != "Kinetics-400":
        return None
    from torchvision.models.video import MC3_18_Weights

    return list(MC3_18_Weights.KINETICS400_V1.meta["categories"])
