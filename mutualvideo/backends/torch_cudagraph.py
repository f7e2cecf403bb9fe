"""Sub-networks cut out, each as one CUDA graph."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from mutualvideo.backends.common.base import Runner, Shape
from mutualvideo.backends.torch_extracted import Extracted, ExtractedRunner
from mutualvideo.errors import InputError
from mutualvideo.subnet import Subnet

if TYPE_CHECKING:
    import torch
    from torch import nn

_WARM_UP = 3


class CudaGraph(Extracted):
    """One CUDA graph per sub-network: one launch instead of hundreds.

    For clips that come one at a time, where launching the kernels of a small sub-network takes
    longer than running them.
    """

    name = "torch-cudagraph"

    def __init__(
        self, device: str | None = None, precision: str = "fp32", threads: int | None = None
    ) -> None:
        super().__init__(device, precision, threads)
        if self.torch_device.type != "cuda":
            raise InputError(f"backend {self.name!r}: needs CUDA, the device is {self.device}")

    def runner(self, network: nn.Module, subnet: Subnet, shape: Shape) -> Runner:
        return CudaGraphRunner(subnet, shape, network, self.torch_device, self.dtype)


class CudaGraphRunner(ExtractedRunner):
    """Replays what one clip launched; batches of several run as they are.

    The kernels are recorded once, with their addresses: clips are copied to where the first one
    lay, so calls take turns. Reference: torch's notes on CUDA graphs (warm-up on a side stream,
    then capture).

    Args:
        subnet, shape: see :class:`~mutualvideo.backends.Runner`.
        network: a plain network in eval mode on ``device``, in ``dtype``.
        device: a CUDA ``torch.device``.
    """

    def __init__(
        self,
        subnet: Subnet,
        shape: Shape,
        network: nn.Module,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        import torch

        from mutualvideo.backends.common.over_network import on_device

        super().__init__(subnet, shape, network, device, dtype)
        self._lock = threading.Lock()
        with torch.inference_mode():
            self._clip = on_device(self.blank(), device, dtype)
            before = torch.cuda.memory_reserved(device)
            self._graph, self._logits = self._capture()
        self.nbytes += max(0, torch.cuda.memory_reserved(device) - before)

    def _capture(self) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:
        import torch

        with torch.cuda.device(self._device):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    self._network(self._clip)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Another thread may be answering meanwhile, and what it allocates is its own affair.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                logits = self._network(self._clip)
        return graph, logits

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        import torch

        from mutualvideo.backends.common.over_network import on_device, scores_of

        with torch.inference_mode():
            given = on_device(clips, self._device, self._dtype)
            if len(given) != 1:
                return scores_of(self._network(given), self.several_labels)
            with self._lock, torch.cuda.device(self._device):
                self._clip.copy_(given)
                self._graph.replay()
                return scores_of(self._logits, self.several_labels)
