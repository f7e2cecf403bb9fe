"""Sub-networks cut out as plain networks, each with weights of its own, run by torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mutualvideo.backends.common.base import BackendKind, Runner, Shape
from mutualvideo.subnet import Subnet

if TYPE_CHECKING:
    import torch
    from torch import nn


class Extracted(BackendKind):
    """BatchNorm folded, in the fast layout. Other precisions than fp32 hold for weights too."""

    name = "torch-extracted"
    packages = ("torch",)
    gives_features = True

    def __init__(
        self, device: str | None = None, precision: str = "fp32", threads: int | None = None
    ) -> None:
        from mutualvideo.backends.common.over_network import DTYPES, check_torch

        self.torch_device = check_torch(self.name, device, precision)
        self.dtype = DTYPES[precision]
        super().__init__(str(self.torch_device), precision, threads)

    def place(self, model: nn.Module) -> nn.Module:
        from mutualvideo.slim import place

        return place(model, self.torch_device)

    def run_network(self, network: nn.Module, subnet: Subnet, shape: Shape) -> Runner:
        from mutualvideo.slim import place

        place(network.to(self.dtype), self.torch_device)
        runner = self.runner(network, subnet, shape)
        # The first call chooses kernels, which takes many times as long.
        runner(runner.blank())
        return runner

    def runner(self, network: nn.Module, subnet: Subnet, shape: Shape) -> Runner:
        """The runner of a network that has its precision and layout."""
        return ExtractedRunner(subnet, shape, network, self.torch_device, self.dtype)


class ExtractedRunner(Runner):
    """A plain network. Memory for activations comes from torch's allocator and goes back."""

    takes_several = True

    def __init__(
        self,
        subnet: Subnet,
        shape: Shape,
        network: nn.Module,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        from mutualvideo.backends.common.over_network import network_bytes

        super().__init__(subnet, shape, network_bytes(network))
        self._network, self._device, self._dtype = network, device, dtype
        # What is recorded is what Python calls: of a compiled network, what was compiled.
        self._plain = getattr(network, "_orig_mod", network)

    def with_features(self, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import torch

        from mutualvideo.backends.common.final_features import logits_and_features
        from mutualvideo.backends.common.over_network import on_device, scores_of

        with torch.inference_mode():
            given = on_device(clips, self._device, self._dtype)
            logits, features = logits_and_features(self._plain, given)
            return scores_of(logits, self.several_labels), features.cpu().numpy()

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        import torch

        from mutualvideo.backends.common.over_network import on_device, scores_of

        with torch.inference_mode():
            logits = self._network(on_device(clips, self._device, self._dtype))
            return scores_of(logits, self.several_labels)
