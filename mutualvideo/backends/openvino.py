"""A sub-network run by OpenVINO. Exported files do not need torch."""

from __future__ import annotations

import functools
import math
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

NAME = "openvino"
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}


class OpenVINO(BackendKind):
    """The fastest one on a CPU. Networks are converted in memory."""

    name = NAME
    extra = "openvino"
    packages = ("openvino",)
    formats = ("openvino", "onnx")
    takes_threads = True

    def __init__(
        self, device: str | None = None, precision: str = "fp32", threads: int | None = None
    ) -> None:
        self._openvino_device = check_device(device, precision)
        super().__init__(device, precision, threads)

    def run_network(self, network: nn.Module, subnet: Subnet, shape: Shape) -> Runner:
        from mutualvideo.backends.common.to_runtime import to_openvino

        return self._runner(to_openvino(network, shape), subnet, shape)

    def run_file(self, path: Path, subnet: Subnet, shape: Shape) -> Runner:
        return self._runner(core().read_model(path), subnet, shape)

    def _runner(self, model: Any, subnet: Subnet, shape: Shape) -> Runner:
        where = self._openvino_device, self.precision, self.threads
        return OpenVINORunner(subnet, shape, model, *where)


@functools.cache
def core() -> Any:
    """OpenVINO's own object, one for the process; InputError where it is not installed."""
    return import_extra("openvino", "openvino", f"backend {NAME!r}").Core()


def check_device(device: str | None, precision: str) -> str:
    """OpenVINO's name of a device (``CPU``, ``GPU``: Intel's).

    Raises:
        InputError: if there is no such device, or it does not have the precision.
    """
    name = (device or "cpu").upper()
    available = core().available_devices
    if name not in available:
        raise InputError(f"device {device!r}: openvino has {', '.join(available).lower()} here")
    has = core().get_property(name, "OPTIMIZATION_CAPABILITIES")
    check_precision(precision, NAME, [p for p, key in _CAPABILITIES.items() if key in has])
    return name


class OpenVINORunner(Runner):
    """Compiles a model for low latency and answers one call at a time.

    Args:
        subnet, shape: see :class:`~mutualvideo.backends.Runner`.
        model: ``openvino.Model`` that takes what the runner takes, B of any number, and gives
            logits (B, classes); :func:`core` reads it from ``.xml`` or ``.onnx``.
        device: from :func:`check_device`.
        precision: of the arithmetic; left to itself, OpenVINO chooses bf16 where the CPU has it.
        threads: of the CPU; ``None``: OpenVINO's choice.
    """

    takes_several = True

    def __init__(
        self,
        subnet: Subnet,
        shape: Shape,
        model: Any,
        device: str = "CPU",
        precision: str = "fp32",
        threads: int | None = None,
    ) -> None:
        super().__init__(subnet, shape)
        config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
        }
        if threads is not None and device == "CPU":
            config["INFERENCE_NUM_THREADS"] = threads
        weights = _constant_bytes(model)
        compiled = self._compiled = core().compile_model(model, device, config)
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()
        # The first call chooses kernels and allocates.
        self(self.blank())
        # Weights as given and as laid out for the kernels.
        self.nbytes = 2 * weights + _arena_bytes(compiled)

    @property
    def threads(self) -> int:
        """How many of the CPU OpenVINO says that it uses."""
        return self._compiled.get_property("INFERENCE_NUM_THREADS")

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        return softmax(self.logits(clips), self.several_labels)

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """float32 array (B, classes) of what the model gives for ``clips``."""
        with self._lock:
            self._request.infer([np.ascontiguousarray(clips)], share_inputs=True)
            # The tensor is the next call's as well.
            return np.array(self._request.get_output_tensor(0).data, np.float32)


def _constant_bytes(model: Any) -> int:
    constants = (op for op in model.get_ops() if op.get_type_name() == "Constant")
    return sum(op.get_byte_size() for op in constants)


def _arena_bytes(compiled: Any) -> int:
    """Most bytes of activations alive at once, with one clip; what OpenVINO keeps for them.

    An estimate: measured growth of the process was up to a third more, with X3D-M.
    """
    ops = compiled.get_runtime_model().get_ordered_ops()
    ops = [op for op in ops if op.get_type_name() != "Constant"]
    last_read = {}
    for time, op in enumerate(ops):
        for port in op.inputs():
            last_read[port.get_source_output().get_node().get_name()] = time
    alive = most = 0
    freed = [0] * len(ops)
    for time, op in enumerate(ops):
        size = sum(4 * _numbers(port.get_partial_shape()) for port in op.outputs())
        alive += size
        freed[last_read.get(op.get_name(), time)] += size
        most = max(most, alive)
        alive -= freed[time]
    return most


def _numbers(shape: Any) -> int:
    return math.prod(extent.get_length() if extent.is_static else 1 for extent in shape)
