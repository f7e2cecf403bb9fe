"""A sub-network that ``torch.export`` wrote, run by torch. Needs none of the network's code."""

import torch

from mutualvideo.backends.base import Runner
from mutualvideo.backends.torch_network import network_bytes, on_device

NAME = "torch-exported"


class TorchExportedRunner(Runner):
    """A program; calls from several threads run side by side.

    Args:
        subnet, shape: see :class:`~mutualvideo.backends.base.Runner`.
        path: of a ``.pt2`` file whose program takes a clip (B, 3, frames, size, size), B of any
            number, and gives logits (B, classes).
        device: ``torch.device``.
    """

    def __init__(self, subnet, shape, path, device):
        program = torch.export.load(path)
        if device.type != "cpu":
            # The program also holds devices of its own, beside those of its weights.
            program = torch.export.passes.move_to_device_pass(program, device)
        self._network, self._device = program.module(), device
        super().__init__(subnet, shape, network_bytes(self._network))
        self(self.blank())

    def __call__(self, clips):
        return self._run(clips).softmax(1).cpu().numpy()

    def logits(self, clips):
        """float32 array (B, classes) of what the program gives for ``clips``."""
        return self._run(clips).cpu().numpy()

    @torch.inference_mode()
    def _run(self, clips):
        return self._network(on_device(clips, self._device)).float()
