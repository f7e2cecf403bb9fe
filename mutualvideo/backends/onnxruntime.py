"""A sub-network run by ONNX Runtime. Does not need torch."""

import numpy as np

from mutualvideo.backends.base import Runner, import_extra, softmax
from mutualvideo.errors import InputError

NAME = "onnxruntime"
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def provider_of(device):
    """ONNX Runtime's name of a device, ``"cpu"`` or ``"cuda"``; InputError if it has none."""
    available = import_extra("onnxruntime", "onnx", NAME).get_available_providers()
    provider = _PROVIDERS.get(device or "cpu")
    if provider not in available:
        known = [name for name, provider in _PROVIDERS.items() if provider in available]
        raise InputError(f"device {device!r}: onnxruntime has {', '.join(known)} here")
    return provider


class OnnxRuntimeRunner(Runner):
    """A session; calls from several threads run side by side.

    Args:
        subnet, shape: see :class:`~mutualvideo.backends.base.Runner`.
        model: bytes of an ONNX model, or the path of one, that takes what
            the runner takes, B of any number, and gives logits (B, classes).
        provider: from :func:`provider_of`.
        threads: of the CPU; ``None``: ONNX Runtime's choice.
    """

    def __init__(self, subnet, shape, model, provider="CPUExecutionProvider", threads=None):
        super().__init__(subnet, shape)
        runtime = import_extra("onnxruntime", "onnx", NAME)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        # Activations are freed after every call, so that only weights count between calls.
        options.enable_cpu_mem_arena = False
        size = len(model) if isinstance(model, bytes) else model.stat().st_size
        model = model if isinstance(model, bytes) else str(model)
        self._session = runtime.InferenceSession(model, options, providers=[provider])
        self._input = self._session.get_inputs()[0].name
        # Weights as given and as laid out for the kernels.
        self.nbytes = 2 * size
        self(self.blank())

    def __call__(self, clips):
        return softmax(self.logits(clips))

    def logits(self, clips):
        """float32 array (B, classes) of what the model gives for ``clips``."""
        return self._session.run(None, {self._input: np.ascontiguousarray(clips)})[0]
