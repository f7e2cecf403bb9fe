"""Released weights by name: what there is, where it lies, and under which terms."""

from dataclasses import dataclass

from mutualvideo.errors import InputError

PREFIX = "zoo:"
_KINETICS = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"
_TORCHVISION = "https://download.pytorch.org/models"


@dataclass(frozen=True)
class Released:
    """A file of weights that somebody published.

    Attributes:
        name: what ``zoo:`` is followed by.
        url: where the file lies.
        network: which network it is of, and the clip (frames x sampling rate) or picture.
        model: MODEL.MODEL_NAME that it fits.
        dataset: what it was trained on.
        top1: percent, as its publisher reports it.
        megabytes: of the file, about: four bytes a number.
        licence: of the repository that publishes it.
        sha256: the first digits of the file's SHA-256, where its name carries them; empty: nobody
            published any, and what was fetched first is remembered.
    """

    name: str
    url: str
    network: str
    model: str
    dataset: str
    top1: float
    megabytes: int
    licence: str
    sha256: str = ""


def _video(name: str, file: str, network: str, model: str, top1: float, megabytes: int) -> Released:
    url = f"{_KINETICS}/{file}.pyth"
    licence = "Apache-2.0 (PyTorchVideo)"
    return Released(name, url, network, model, "Kinetics-400", top1, megabytes, licence)


def _picture(name: str, file: str, network: str, model: str, top1: float, size: int) -> Released:
    url, digits = f"{_TORCHVISION}/{file}.pth", file.rpartition("-")[2]
    licence = "BSD-3-Clause (torchvision)"
    return Released(name, url, network, model, "ImageNet-1k", top1, size, licence, digits)


# Accuracies of PyTorchVideo's model zoo (30 views; X3D 10 x 3) and of torchvision's (one crop).
ZOO = {
    one.name: one
    for one in (
        _video("x3d_xs", "X3D_XS", "X3D-XS, 4 x 12 at 160", "X3D", 69.12, 15),
        _video("x3d_s", "X3D_S", "X3D-S, 13 x 6 at 160", "X3D", 73.33, 15),
        _video("x3d_m", "X3D_M", "X3D-M, 16 x 5 at 224", "X3D", 75.94, 15),
        _video("x3d_l", "X3D_L", "X3D-L, 16 x 5 at 312", "X3D", 77.44, 25),
        _video("slow_r50", "SLOW_8x8_R50", "Slow R50, 8 x 8", "ResNet", 74.58, 130),
        _video("c2d_r50", "C2D_8x8_R50", "C2D R50, 8 x 8", "ResNet", 71.46, 97),
        _video("i3d_r50", "I3D_8x8_R50", "I3D R50, 8 x 8", "ResNet", 73.27, 112),
        _video("slowfast_r50", "SLOWFAST_8x8_R50", "SlowFast R50, 8 x 8", "SlowFast", 76.94, 138),
        _video(
            "slowfast_r101", "SLOWFAST_8x8_R101", "SlowFast R101, 8 x 8", "SlowFast", 77.90, 251
        ),
        _picture("resnet50", "resnet50-0676ba61", "ResNet-50", "ImageResNet", 76.13, 102),
        _picture("mobilenet_v2", "mobilenet_v2-b0353104", "MobileNet v2", "MobileNetV2", 71.88, 14),
    )
}


def released(name: str) -> Released:
    """What ``name``, with or without ``zoo:``, stands for.

    Raises:
        InputError: naming all that there are.
    """
    key = name.removeprefix(PREFIX)
    if key not in ZOO:
        raise InputError(
            f"{PREFIX}{key}: no released weights of that name; known: {', '.join(ZOO)} (other "
            "files: name their path or URL)"
        )
    return ZOO[key]


def describe_zoo() -> str:
    """All of them as a table for a terminal."""
    rows = [("name", "network", "trained on", "top-1 %", "MB", "licence", "fits MODEL_NAME")]
    for one in ZOO.values():
        top1, size = f"{one.top1:.2f}", str(one.megabytes)
        rows.append(
            (PREFIX + one.name, one.network, one.dataset, top1, size, one.licence, one.model)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
