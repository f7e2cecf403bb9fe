"""A sub-network that ``torch.export`` wrote, run by torch. Needs none of the network's code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mutualvideo.backends.common.base import BackendKind, Runner, Shape, check_precision
from mutualvideo.subnet import Subnet

if TYPE_CHECKING:
    import torch


class TorchExported(BackendKind):
    """Only exported files, in fp32."""

    name = "torch-exported"
    packages = ("torch",)
    formats = ("torch_export",)
    takes_network = False

    def __init__(
        self, device: str | None = None, precision: str = "fp32", threads: int | None = None
    ) -> None:
        check_precision(precision, self.name, ["fp32"])
        from mutualvideo.backends.common.over_network import torch_device

        self._torch_device = torch_device(device)
        super().__init__(str(self._torch_device), precision, threads)

    def run_file(self, path: Path, subnet: Subnet, shape: Shape) -> Runner:
        return TorchExportedRunner(subnet, shape, path, self._torch_device)


class TorchExportedRunner(Runner):
    """A program; calls from several threads run side by side.

    Args:
        subnet, shape: see :class:`~mutualvideo.backends.Runner`.
        path: of a ``.pt2`` file whose program takes a clip (B, 3, frames, size, size), B of any
            number, and gives logits (B, classes).
        device: ``torch.device``.
    """

    takes_several = True

    def __init__(self, subnet: Subnet, shape: Shape, path: Path, device: torch.device) -> None:
        import torch

        from mutualvideo.backends.common.over_network import network_bytes

        program = torch.export.load(path)
        if device.type != "cpu":
            # The program also holds devices of its own, beside those of its weights.
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        self._network, self._device = program.module(), device
        super().__init__(subnet, shape, network_bytes(self._network))
        self(self.blank())

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        from mutualvideo.backends.common.over_network import scores_of

        return scores_of(self._run(clips), self.several_labels)

    def logits(self, clips: np.ndarray) -> np.ndarray:
        """float32 array (B, classes) of what the program gives for ``clips``."""
        return self._run(clips).cpu().numpy()

    def _run(self, clips: np.ndarray) -> torch.Tensor:
        import torch

        from mutualvideo.backends.common.over_network import on_device

        with torch.inference_mode():
            return self._network(on_device(clips, self._device)).float()
