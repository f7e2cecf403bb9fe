"""A sub-network run by OpenVINO. Does not need torch."""

import functools
import math
import threading

import numpy as np

from mutualvideo.backends.base import Runner, check_precision, import_extra, softmax
from mutualvideo.errors import InputError

NAME = "openvino"
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}


@functools.cache
def core():
    """OpenVINO's own object, one for the process; InputError where it is not installed."""
    return import_extra("openvino", "openvino", NAME).Core()


def check_device(device, precision):
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
        subnet, shape: see :class:`~mutualvideo.backends.base.Runner`.
        model: ``openvino.Model``, or the path of one (``.xml``, ``.onnx``), that takes what
            the runner takes, B of any number, and gives logits (B, classes).
        device: from :func:`check_device`.
        precision: of the arithmetic; OpenVINO would choose bf16 by itself where there is any.
        threads: of the CPU; ``None``: OpenVINO's choice.
    """

    def __init__(self, subnet, shape, model, device="CPU", precision="fp32", threads=None):
        super().__init__(subnet, shape)
        config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[precision]}
        if threads is not None and device == "CPU":
            config["INFERENCE_NUM_THREADS"] = threads
        if not hasattr(model, "get_ops"):
            model = core().read_model(model)
        weights = _constant_bytes(model)
        compiled = core().compile_model(model, device, config)
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()
        # The first call chooses kernels and allocates.
        self(self.blank())
        # Weights as given and as laid out for the kernels.
        self.nbytes = 2 * weights + _arena_bytes(compiled)

    def __call__(self, clips):
        return softmax(self.logits(clips))

    def logits(self, clips):
        """float32 array (B, classes) of what the model gives for ``clips``."""
        with self._lock:
            self._request.infer([np.ascontiguousarray(clips)], share_inputs=True)
            # The tensor is the next call's as well.
            return np.array(self._request.get_output_tensor(0).data, np.float32)


def _constant_bytes(model):
    constants = (op for op in model.get_ops() if op.get_type_name() == "Constant")
    return sum(op.get_byte_size() for op in constants)


def _arena_bytes(compiled):
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


def _numbers(shape):
    return math.prod(extent.get_length() if extent.is_static else 1 for extent in shape)
