"""ONNX models, weights inside. The metadata is the model's property ``mutualvideo``."""

from mutualvideo.backends.common.base import import_extra
from mutualvideo.backends.common.to_runtime import to_onnx
from mutualvideo.backends.onnxruntime import OnnxRuntimeRunner
from mutualvideo.export.origin import KEY, as_text

ENDINGS = (".onnx",)
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def require():
    for package in PACKAGES:
        import_extra(package, "onnx", "onnx")


def write(source, subnet, path):
    """Writes a model from ``clip`` to ``logits`` whose batch is free; see ``formats``."""
    import onnx

    content = to_onnx(source.network(subnet), source.shape(subnet))
    model = onnx.load_model_from_string(content)
    onnx.helper.set_model_props(model, {KEY: as_text(source.describe(subnet, PACKAGES))})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def load(source, subnet, path):
    return OnnxRuntimeRunner(subnet, source.shape(subnet), path).logits
