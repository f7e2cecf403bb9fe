"""A sub-network run by ONNX Runtime. Exported files do not need torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mutualvideo.backends.common.base import (
    BackendKind,
    Runner,
    Shape,
    check_precision,
    softmax,
)
from mutualvideo.errors import InputError
from mutualvideo.extras import import_extra
from mutualvideo.subnet import Subnet

if TYPE_CHECKING:
    from torch import nn

NAME = "onnxruntime"
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntime(BackendKind):
    """Only in fp32. Networks are converted in memory, by ``onnx`` and ``onnxscript``."""

    name = NAME
    extra = "onnx"
    packages = ("onnxruntime",)
    formats = ("onnx",)
    takes_threads = True

    def __init__(
        self, device: str | None = None, precision: str = "fp32", threads: int | None = None
    ) -> None:
        check_precision(precision, self.name, ["fp32"])
        self._provider = provider_of(device)
        super().__init__(device, precision, threads)

    def place(self, model: nn.Module) -> nn.Module:
        for package in ("onnx", "onnxscript"):
            import_extra(package, "onnx", f"backend {self.name!r}")
        return super().place(model)

    def run_network(self, network: nn.Module, subnet: Subnet, shape: Shape) -> Runner:
        from mutualvideo.backends.common.to_runtime import to_onnx

        content = to_onnx(network, shape)
        return OnnxRuntimeRunner(subnet, shape, content, self._provider, self.threads)

    def run_file(self, path: Path, subnet: Subnet, shape: Shape) -> Runner:
        return OnnxRuntimeRunner(subnet, shape, path, self._provider, self.threads)


def provider_of(device: str | None) -> str:
    """ONNX Runtime's name of a device, ``"cpu"`` or ``"cuda"``; InputError if it has none."""
    available = import_extra("onnxruntime", "onnx", f"backend {NAME!r}").get_available_providers()
    provider = _PROVIDERS.get(device or "cpu")
    if provider is None or provider not in available:
        known = [name for name, provider in _PROVIDERS.items() if provider in available]
        raise InputError(f"device {device!r}: onnxruntime has {', '.join(known)} here")
    return provider


class OnnxRuntimeRunner(Runner):
    """A session; calls from several threads run side by side.

    Args:
        subnet, shape: see :class:`~mutualvideo.backends.Runner`.
        model: bytes of an ONNX model, or the path of one, that takes what
            the runner takes, B of any number, and gives logits (B, classes).
        provider: from :func:`provider_of`.
        threads: of the CPU; ``None``: ONNX Runtime's choice.
    """

    takes_several = True

    def __init__(
        self,
        subnet: Subnet,
        shape: Shape,
        model: bytes | Path,
        provider: str = "CPUExecutionProvider",
        threads: int | None = None,
    ) -> None:
        super().__init__(subnet, shape)
        runtime = import_extra("onnxruntime", "onnx", f"backend {NAME!r}")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        # Activations are freed after every call, so that only weights count between calls.
        options.enable_cpu_mem_arena = False
        size = len(model) if isinstance(model, bytes) else model.stat().st_size
        source = model if isinstance(model, bytes) else str(model)
        self._session = runtime.InferenceSession(source, options, providers=[provider])
        self._input = self._session.get_inputs()[0].name
        # Weights as given and as laid out for the kernels.
        self.nbytes = 2 * size
        self(self.blank())

    @property
    def threads(self) -> int:
        """How many of the CPU the session was made with; 0: ONNX Runtime's choice."""
        return self._session.get_session_options().intra_op_num_threads

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        return softmax(self.logits(clips), self.several_labels)

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """float32 array (B, classes) of what the model gives for ``clips``."""
        return self._session.run(None, {self._input: np.ascontiguousarray(clips)})[0]
