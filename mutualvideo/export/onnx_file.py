"""ONNX models, weights inside. The metadata is the model's property ``mutualvideo``."""

from __future__ import annotations

from pathlib import Path

from mutualvideo.backends.common.to_runtime import to_onnx
from mutualvideo.backends.onnxruntime import OnnxRuntimeRunner
from mutualvideo.export.origin import KEY, Origin, as_text
from mutualvideo.export.parity import Logits
from mutualvideo.subnet import Subnet

ENDINGS = (".onnx",)
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def write(source: Origin, subnet: Subnet, path: Path) -> None:
    """Writes a model from ``clip`` to ``logits`` whose batch is free; see ``formats``."""
    import onnx

    content = to_onnx(source.network(subnet), source.shape(subnet))
    model = onnx.load_model_from_string(content)
    onnx.helper.set_model_props(model, {KEY: as_text(source.describe(subnet, PACKAGES))})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def load(source: Origin, subnet: Subnet, path: Path) -> Logits:
    return OnnxRuntimeRunner(subnet, source.shape(subnet), path).logits
