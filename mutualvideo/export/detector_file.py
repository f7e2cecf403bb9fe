"""A sub-network of a detector as one file: a picture in, boxes, labels and scores out.

The input ``picture`` is float32 (3, H, W), RGB from 0 to 1, of any H and W; bringing it to the
sub-network's size is part of the file. The outputs are ``boxes``, float32 (N, 4), x1 y1 x2 y2 in
the picture's pixels, ``labels``, int64 (N,), ``scores``, float32 (N,), and of Mask R-CNN ``masks``,
float32 (N, 1, H, W), from 0 to 1; objects of the highest scores first.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import MaskRCNN

from mutualvideo.detection.detector import extract_detector
from mutualvideo.errors import CALIBRATE_BY_TOOLS
from mutualvideo.export import onnx_file, openvino_file
from mutualvideo.export.formats import require_one_of
from mutualvideo.export.origin import KEY, as_text, package_versions
from mutualvideo.export.parity import TOLERANCE, DifferenceError
from mutualvideo.export.subnet_file import Written, write_staged
from mutualvideo.files import StrPath
from mutualvideo.runtime.adaptive_detector import AdaptiveDetector
from mutualvideo.slim import require_calibrated
from mutualvideo.subnet import Subnet

Found = dict[str, np.ndarray]

_ENDINGS = {"onnx": onnx_file.ENDINGS, "openvino": openvino_file.ENDINGS}
_PACKAGES = {"onnx": ("onnx", "onnxruntime"), "openvino": ("openvino", "onnx")}
# Of a picture's longest side: how far apart the same box may be.
_APART = 1e-4
# Scores that close are equal: which one comes first is the runtime's choice.
_EQUAL = 1e-5
_OPSET = 18


@dataclass(frozen=True)
class BoxDifference:
    """The largest differences between objects that are the same in both.

    Args:
        scores: of their scores and, of Mask R-CNN, the pixels of their masks.
        pixels: of their boxes.
        objects: how many objects were compared, of all pictures.
    """

    scores: float
    pixels: float
    objects: int

    def __str__(self) -> str:
        if not self.objects:
            return "none to tell, for nothing is found on the pictures that it is compared on"
        return f"scores {self.scores:.1e}, boxes {self.pixels:.1e} px ({self.objects} objects)"


def export_detector(
    model: nn.Module,
    subnet: Subnet | str,
    name: str,
    path: StrPath,
    picture: tuple[int, int] = (480, 640),
    about: Mapping[str, Any] | None = None,
) -> Written:
    """Exports one sub-network of a detector, and compares it with the torch detector.

    Args:
        model: a slimmable detector on the CPU, ``subnet`` calibrated.
        subnet: which sub-network.
        name: ``onnx`` or ``openvino``.
        path: of the file, with the format's ending.
        picture: (height, width) of the pictures that it is compared on; it takes any.
        about: further metadata, JSON values.

    Returns:
        :class:`~mutualvideo.export.subnet_file.Written`.

    Raises:
        InputError: for another format or ending, a sub-network that was never calibrated, a
            missing package, or a file that cannot be written.
        DifferenceError: if it finds other objects; nothing is left of it.
    """
    subnet = Subnet.of(subnet)
    require_one_of(_PACKAGES, name, "detectors")
    require_calibrated(model, subnet, "export", CALIBRATE_BY_TOOLS)
    plain = extract_detector(model, subnet, fold=True).eval().requires_grad_(False)
    graph = _Graph(plain)
    text = as_text(
        {
            "model": type(model).__name__,
            "subnet": str(subnet),
            "input": "picture, float32 (3, H, W), RGB from 0 to 1",
            "outputs": list(graph.outputs),
            **(about or {}),
            "versions": package_versions(_PACKAGES[name]),
        }
    )

    def write(file: Path) -> BoxDifference:
        {"onnx": _write_onnx, "openvino": _write_openvino}[name](graph, picture, text, file)
        find = {"onnx": open_onnx_detector, "openvino": open_openvino_detector}[name](file)
        return _compare(subnet, plain, find, picture)

    return write_staged(subnet, name, path, _ENDINGS[name], write)


def export_row(
    detector: AdaptiveDetector, subnet: Subnet | str, name: str, path: StrPath
) -> Written:
    """:func:`export_detector` of a row of a trained detector's table.

    Args:
        detector: on the CPU, as ``AdaptiveDetector.from_run`` opens it.
        subnet: a sub-network of its table.
        name, path: see :func:`export_detector`; errors too.
    """
    row = detector.table[subnet]
    about = {
        "classes": list(detector.class_names),
        "macs": row.macs,
        "params": row.params,
        "box_ap": row.box_ap,
        "checkpoint": detector.table.metadata.get("fingerprint"),
    }
    return export_detector(detector.model, row.subnet, name, path, about=about)


def open_onnx_detector(path: Path) -> Callable[[np.ndarray], Found]:
    """The detector of a file of format ``onnx``, by ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Of masks the graph states one object and gives as many as there are: a warning each.
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return lambda picture: dict(zip(names, session.run(None, {"picture": picture}), strict=True))


def open_openvino_detector(path: Path) -> Callable[[np.ndarray], Found]:
    """The detector of a file of format ``openvino``, in fp32 on the CPU."""
    from mutualvideo.backends.openvino import core

    model = core().read_model(path)
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def find(picture: np.ndarray) -> Found:
        found = compiled(picture)
        return {port.get_any_name(): np.array(found[port]) for port in compiled.outputs}

    return find


class _Graph(nn.Module):
    """A detector of one picture, whose answer is a tuple."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector
        masks = ("masks",) if isinstance(detector, MaskRCNN) else ()
        self.outputs = ("boxes", "labels", "scores", *masks)
        self.eval()

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        (found,) = self.detector([picture])
        return tuple(found[key] for key in self.outputs)


def _write_onnx(graph: _Graph, picture: tuple[int, int], text: str, path: Path) -> None:
    import onnx

    free: dict[str, Any] = {key: {0: "objects"} for key in graph.outputs}
    free["picture"] = {1: "height", 2: "width"}
    with warnings.catch_warnings():
        # How many boxes there are depends on values, which torch.export cannot follow in
        # torchvision's detectors. The exporter that can is deprecated and says so.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (torch.rand(3, *picture),),
            str(path),
            opset_version=_OPSET,
            dynamo=False,
            input_names=["picture"],
            output_names=list(graph.outputs),
            dynamic_axes=free,
        )
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {KEY: text})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _write_openvino(graph: _Graph, picture: tuple[int, int], text: str, path: Path) -> None:
    import openvino

    between = path.with_suffix(".onnx")
    _write_onnx(graph, picture, text, between)
    model = openvino.convert_model(between)
    between.unlink()
    model.set_rt_info(text, KEY)
    openvino.save_model(model, path, compress_to_fp16=False)


def _compare(
    subnet: Subnet,
    detector: nn.Module,
    find: Callable[[np.ndarray], Found],
    picture: tuple[int, int],
) -> BoxDifference:
    """On pictures of the given height and width, and of the other way round."""
    scores = pixels = 0.0
    count = 0
    for given in _probes(*picture) + _probes(*picture[::-1]):
        with torch.inference_mode():
            (answer,) = detector([given])
        wanted = {key: value.numpy() for key, value in answer.items()}
        found = find(given.numpy())
        apart = _apart(wanted, found, _APART * max(picture))
        if apart is None:
            raise DifferenceError(
                f"sub-network {subnet}: the exported file finds other objects than the torch "
                f"detector ({len(found['boxes'])} and {len(wanted['boxes'])} in a picture of "
                f"{given.shape[1]} x {given.shape[2]}); it is not kept"
            )
        scores, pixels = max(scores, apart[0]), max(pixels, apart[1])
        count += len(wanted["boxes"])
    return BoxDifference(scores, pixels, count)


def _probes(height: int, width: int) -> list[Tensor]:
    """Clouds of colours, coarse and fine, with noise on them; float32 (3, H, W) from 0 to 1.

    Nothing in them repeats: of two places that look the same any may be proposed before the other.
    """
    generator = torch.Generator().manual_seed(0)
    found = []
    for cells in (3, 6, 12):
        coarse = torch.rand(1, 3, cells, cells, generator=generator)
        cloud = F.interpolate(coarse, (height, width), mode="bilinear")[0]
        found.append(0.7 * cloud + 0.3 * torch.rand(3, height, width, generator=generator))
    return found


def _apart(wanted: Found, found: Found, pixels: float) -> tuple[float, float] | None:
    """(scores, pixels) between the same objects; ``None`` if they are not the same.

    Objects of equal scores may come in any order. A detector gives a limited number of objects:
    among those with the lowest score any may be missing.
    """
    if len(wanted["boxes"]) != len(found["boxes"]):
        return None
    if not len(wanted["boxes"]):
        return 0.0, 0.0
    boxes = np.abs(wanted["boxes"][:, None] - found["boxes"][None]).max(2)
    scores = np.abs(wanted["scores"][:, None] - found["scores"][None])
    if "masks" in wanted:
        masks = [[np.abs(one - other).max() for other in found["masks"]] for one in wanted["masks"]]
        scores = np.maximum(scores, masks)
    same = wanted["labels"][:, None] == found["labels"][None]
    same &= (boxes <= pixels) & (scores <= TOLERANCE)
    last = wanted["scores"].min() + _EQUAL
    for mine, there in ((wanted, same.any(1)), (found, same.any(0))):
        if not np.all(there | (mine["scores"] <= last)):
            return None
    return float(scores[same].max(initial=0.0)), float(boxes[same].max(initial=0.0))
