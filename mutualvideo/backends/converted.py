"""Sub-networks of a torch network, run by something else than torch."""

from importlib.metadata import version

import torch

from mutualvideo.backends import onnxruntime, openvino
from mutualvideo.backends.base import check_precision, import_extra
from mutualvideo.backends.to_runtime import to_onnx, to_openvino
from mutualvideo.backends.torch_network import NetworkBackend


class _ConvertedBackend(NetworkBackend):
    packages = ()

    def __init__(self, model, device, precision):
        super().__init__(model.to("cpu"))
        self.device, self.precision = device or "cpu", precision
        # As many as torch uses, so that the two can be compared.
        self.threads = torch.get_num_threads()

    def describe(self):
        return {
            **super().describe(),
            "precision": self.precision,
            "threads": self.threads,
            "versions": {name: version(name) for name in self.packages},
        }


class OpenVINOBackend(_ConvertedBackend):
    """The fastest one on a CPU."""

    name = openvino.NAME
    packages = ("openvino",)

    def __init__(self, model, device, precision):
        self._openvino_device = openvino.check_device(device, precision)
        super().__init__(model, device, precision)

    def prepare(self, subnet):
        shape = self.input_shape(subnet)
        model = to_openvino(self.extracted(subnet), shape)
        return openvino.OpenVINORunner(
            subnet, shape, model, self._openvino_device, self.precision, self.threads
        )


class OnnxRuntimeBackend(_ConvertedBackend):
    """In fp32 alone."""

    name = onnxruntime.NAME
    packages = ("onnxruntime",)

    def __init__(self, model, device, precision):
        self._provider = onnxruntime.provider_of(device)
        for package in ("onnx", "onnxscript"):
            import_extra(package, "onnx", self.name)
        check_precision(precision, self.name, ["fp32"])
        super().__init__(model, device, precision)

    def prepare(self, subnet):
        shape = self.input_shape(subnet)
        model = to_onnx(self.extracted(subnet), shape)
        return onnxruntime.OnnxRuntimeRunner(subnet, shape, model, self._provider, self.threads)
