"""Parameter names of MutualNet's released image networks, as those of the networks here.

In the networks of the authors of arXiv 2003.13255 and 2105.07085
(github.com/taoyang1122/MutualNet) layers are ``features.{i}.body.{j}`` and ``classifier.0``;
position ``j`` in a body counts convolutions, BatchNorms and activations.

Their BatchNorm has no running statistics of the full network but some of a few widths,
``bn.{k}.running_mean``. Even those of the widest are of no use: their validation resets the
statistics of all widths whenever it turns to the next one, from the widest to the narrowest,
and their train.py writes its checkpoint right after that. What is left is the narrowest
width's, the others are initial values; so all statistics are left out in favour of
calibration. That goes for the one ordinary BatchNorm too, the last of v2, which by then has
seen the narrowest width alone.
"""

import re
from collections.abc import Callable, Collection

from mutualvideo.models.weights.weights_format import WeightsFormat

_BODY = re.compile(r"features\.(\d+)\.body\.(\d+)\.(\w+)")
_SHORTCUT = re.compile(r"features\.(\d+)\.shortcut\.([01])\.(\w+)")
_STATISTIC = re.compile(r".+\.(running_mean|running_var|num_batches_tracked)")
_V1 = {0: "0.0", 1: "0.1", 3: "1.0", 4: "1.1"}
_V2 = {0: "0.0", 1: "0.1", 3: "1.0", 4: "1.1", 6: "2", 7: "3"}
# v2's first block expands nothing: depthwise, then projection.
_V2_FIRST = {0: "0.0", 1: "0.1", 3: "1", 4: "2"}
_RESNET = {0: "conv1", 1: "bn1", 3: "conv2", 4: "bn2", 6: "conv3", 7: "bn3"}


def is_mutualnet(names: Collection[str], own: Collection[str] = ()) -> bool:
    """Whether ``names``, of parameters, are MutualNet's."""
    return "classifier.0.weight" in names and any(map(_BODY.fullmatch, names))


def is_statistic(name: str) -> bool:
    """Whether ``name`` is of statistics, which calibration replaces."""
    return _STATISTIC.fullmatch(name) is not None


def to_plain_network(names: Collection[str]) -> dict[str, str]:
    """``{MutualNet's name: name here}``.

    MobileNet v1 becomes :class:`~mutualvideo.models.mobilenet.MobileNetV1`, v2 and the ResNets
    torchvision's. A name that has no counterpart is kept, so that loading by name reports it.
    """
    if any(map(_SHORTCUT.fullmatch, names)):
        rename = _resnet(names)
    elif any(match[2] == "6" for match in map(_BODY.fullmatch, names) if match):
        rename = _mobilenet_v2(names)
    else:
        rename = _mobilenet_v1
    return {name: rename(name) for name in names}


def _mobilenet_v1(name: str) -> str:
    if (match := _BODY.fullmatch(name)) and int(match[2]) in _V1:
        return f"features.{match[1]}.{_V1[int(match[2])]}.{match[3]}"
    return _moved(name, {"classifier.0": "classifier"})


def _mobilenet_v2(names: Collection[str]) -> Callable[[str], str]:
    expanding = {match[1] for match in map(_BODY.fullmatch, names) if match and match[2] == "6"}

    def rename(name: str) -> str:
        if match := _BODY.fullmatch(name):
            layers = _V2 if match[1] in expanding else _V2_FIRST
            if int(match[2]) in layers:
                return f"features.{match[1]}.conv.{layers[int(match[2])]}.{match[3]}"
        return _moved(name, {"classifier.0": "classifier.1"})

    return rename


def _resnet(names: Collection[str]) -> Callable[[str], str]:
    # Every stage begins with a block that has a shortcut, and no other block has one.
    blocks = sorted({int(match[1]) for match in map(_BODY.fullmatch, names) if match})
    starts = {int(match[1]) for match in map(_SHORTCUT.fullmatch, names) if match}
    place, stage, index = {}, 0, 0
    for block in blocks:
        stage, index = (stage + 1, 0) if block in starts else (stage, index + 1)
        place[block] = f"layer{stage}.{index}"

    def rename(name: str) -> str:
        if (match := _BODY.fullmatch(name)) and int(match[2]) in _RESNET:
            return f"{place[int(match[1])]}.{_RESNET[int(match[2])]}.{match[3]}"
        if (match := _SHORTCUT.fullmatch(name)) and int(match[1]) in place:
            return f"{place[int(match[1])]}.downsample.{match[2]}.{match[3]}"
        return _moved(name, {"features.0.0": "conv1", "features.0.1": "bn1", "classifier.0": "fc"})

    return rename


def _moved(name: str, modules: dict[str, str]) -> str:
    module, _, leaf = name.rpartition(".")
    return f"{modules[module]}.{leaf}" if module in modules else name


MUTUALNET = WeightsFormat(
    "MutualNet", is_mutualnet, to_plain_network, skip=is_statistic, has_statistics=False
)
