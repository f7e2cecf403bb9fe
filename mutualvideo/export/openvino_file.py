"""OpenVINO models: ``.xml`` and, beside it, the weights in ``.bin``.

The metadata is ``rt_info``'s entry ``mutualvideo``. Weights and arithmetic are float32 here;
OpenVINO runs a model in bf16 where the CPU has it, unless INFERENCE_PRECISION_HINT says f32.
"""

from __future__ import annotations

from pathlib import Path

from mutualvideo.backends.common.to_runtime import to_openvino
from mutualvideo.backends.openvino import OpenVINORunner, core
from mutualvideo.export.origin import KEY, Origin, as_text
from mutualvideo.export.parity import Logits
from mutualvideo.subnet import Subnet

ENDINGS = (".xml", ".bin")
PACKAGES = ("openvino",)


def write(source: Origin, subnet: Subnet, path: Path) -> None:
    """Writes a model from ``clip`` to ``logits`` whose batch is free; see ``formats``."""
    import openvino

    model = to_openvino(source.network(subnet), source.shape(subnet))
    model.inputs[0].get_tensor().set_names({"clip"})
    model.outputs[0].get_tensor().set_names({"logits"})
    model.set_rt_info(as_text(source.describe(subnet, PACKAGES)), KEY)
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(str(error).strip().splitlines()[-1]) from error


def load(source: Origin, subnet: Subnet, path: Path) -> Logits:
    return OpenVINORunner(subnet, source.shape(subnet), core().read_model(path)).logits
