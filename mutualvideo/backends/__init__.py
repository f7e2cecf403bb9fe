"""Who executes a sub-network: one interface (``base``), one module per backend."""

from importlib import import_module

from mutualvideo.backends.base import Backend, Runner
from mutualvideo.errors import InputError

# Imported when asked for: openvino and onnxruntime are extras, and slow to import.
_BACKENDS = {
    "torch": ("torch_in_place", "InPlaceBackend"),
    "torch-extracted": ("torch_extracted", "ExtractedBackend"),
    "torch-compiled": ("torch_extracted", "CompiledBackend"),
    "torch-cudagraph": ("torch_extracted", "CudaGraphBackend"),
    "openvino": ("converted", "OpenVINOBackend"),
    "onnxruntime": ("converted", "OnnxRuntimeBackend"),
}
BACKENDS = tuple(_BACKENDS)

__all__ = ["BACKENDS", "Backend", "Runner", "make_backend"]


def make_backend(name, model, device=None, precision="fp32"):
    """The backend called ``name`` over a slimmable network.

    Args:
        name: one of ``BACKENDS``.

            - ``torch``: the network itself, switched in place; one copy of the weights.
            - ``torch-extracted``: sub-networks cut out, BatchNorm folded, channels last.
            - ``torch-compiled``: these through ``torch.compile``.
            - ``torch-cudagraph``: these as CUDA graphs; CUDA only.
            - ``openvino``, ``onnxruntime``: these converted.
        model: a slimmable network; torch backends move it to ``device``, the others to the CPU.
        device: ``"cpu"``, ``"cuda"``...; ``None``: for torch CUDA where there is one, else the
            CPU.
        precision: ``fp32``, ``bf16`` or ``fp16``, of the arithmetic; scores are float32.

    Returns:
        :class:`Backend`.

    Raises:
        InputError: if there is no such backend, device or precision, or a package is missing.
    """
    if name not in _BACKENDS:
        raise InputError(f"backend {name!r}: expected one of {', '.join(_BACKENDS)}")
    module, cls = _BACKENDS[name]
    module = import_module(f"mutualvideo.backends.{module}")
    return getattr(module, cls)(model, device, precision)
