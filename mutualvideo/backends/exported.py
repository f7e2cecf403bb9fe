"""Sub-networks read from a folder that ``tools/export.py --folder`` wrote.

Imports torch for those that torch wrote alone.
"""

from importlib.metadata import version
from pathlib import Path

from mutualvideo.backends import onnxruntime, openvino
from mutualvideo.backends.base import Backend, check_precision
from mutualvideo.errors import InputError
from mutualvideo.subnet import Subnet

# What runs a format; the first where nothing is asked for.
RUN_BY = {
    "openvino": ("openvino",),
    "onnx": ("onnxruntime", "openvino"),
    "torch_export": ("torch-exported",),
}
_PACKAGES = {"openvino": "openvino", "onnxruntime": "onnxruntime", "torch-exported": "torch"}


class ExportedBackend(Backend):
    """Runs the models of a folder.

    Args:
        folder: where they lie; their checksums are not looked at here.
        manifest: :class:`~mutualvideo.runtime.manifest.Manifest`.
        device, precision: as in :func:`~mutualvideo.backends.make_backend`.
        name: the backend; ``None``: the first that runs the folder's format.
        threads: of the CPU; ``None``: the runtime's choice.

    Raises:
        InputError: if the backend does not run this format, or is not installed.
    """

    def __init__(self, folder, manifest, device=None, precision="fp32", name=None, threads=None):
        if manifest.kind not in RUN_BY:
            known = ", ".join(RUN_BY)
            raise InputError(f"{folder}: holds {manifest.kind!r} models, expected one of {known}")
        able = RUN_BY[manifest.kind]
        self.name = name or able[0]
        if self.name not in able:
            raise InputError(
                f"backend {name!r}: {folder} holds {manifest.kind} models, which "
                f"{' and '.join(able)} can run"
            )
        self.folder, self.manifest = Path(folder), manifest
        self.precision, self.threads = precision, threads
        self._rows = {Subnet.parse(row.subnet): row for row in manifest.rows}
        self._make, self.device = self._runners(device)

    def _runners(self, device):
        """(function of a sub-network, its shape and its path, that gives a Runner; device)"""
        if self.name == openvino.NAME:
            where = openvino.check_device(device, self.precision)
            more = (where, self.precision, self.threads)
            return lambda *args: openvino.OpenVINORunner(*args, *more), device or "cpu"
        check_precision(self.precision, self.name, ["fp32"])
        if self.name == onnxruntime.NAME:
            more = (onnxruntime.provider_of(device), self.threads)
            return lambda *args: onnxruntime.OnnxRuntimeRunner(*args, *more), device or "cpu"
        from mutualvideo.backends.torch_exported import TorchExportedRunner
        from mutualvideo.backends.torch_network import torch_device

        where = torch_device(device)
        return lambda *args: TorchExportedRunner(*args, where), str(where)

    def check(self, subnet):
        if subnet not in self._rows:
            known = ", ".join(map(str, self._rows))
            raise InputError(f"{self.folder}: holds no sub-network {subnet}; it has {known}")

    def input_shape(self, subnet):
        self.check(subnet)
        return self._rows[subnet].frames, self._rows[subnet].size

    def prepare(self, subnet):
        shape = self.input_shape(subnet)
        return self._make(subnet, shape, self.folder / self._rows[subnet].files[0])

    def describe(self):
        return {
            **super().describe(),
            "precision": self.precision,
            "threads": self.threads,
            "versions": {_PACKAGES[self.name]: version(_PACKAGES[self.name])},
        }
