"""A sub-network as one CUDA graph."""

import threading

import torch

from mutualvideo.backends.base import Runner
from mutualvideo.backends.torch_network import network_bytes, on_device, scores_of

_WARM_UP = 3


class CudaGraphRunner(Runner):
    """Replays what one clip launched; batches of several run as they are.

    The kernels are recorded once, with their addresses: clips are copied to where the first one
    lay, so calls take turns. Reference: torch's notes on CUDA graphs (warm-up on a side stream,
    then capture).

    Args:
        subnet, shape: see :class:`~mutualvideo.backends.base.Runner`.
        network: a plain network in eval mode on ``device``, in ``dtype``.
        device: a CUDA ``torch.device``.
    """

    def __init__(self, subnet, shape, network, device, dtype):
        super().__init__(subnet, shape, network_bytes(network))
        self._network, self._device, self._dtype = network, device, dtype
        self._lock = threading.Lock()
        self._clip = on_device(self.blank(), device, dtype)
        before = torch.cuda.memory_reserved(device)
        self._graph, self._logits = self._capture()
        self.nbytes += max(0, torch.cuda.memory_reserved(device) - before)

    @torch.inference_mode()
    def _capture(self):
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

    @torch.inference_mode()
    def __call__(self, clips):
        clips = on_device(clips, self._device, self._dtype)
        if len(clips) != 1:
            return scores_of(self._network(clips))
        with self._lock, torch.cuda.device(self._device):
            self._clip.copy_(clips)
            self._graph.replay()
            return scores_of(self._logits)
