"""Sub-networks cut out as plain networks, each with weights of its own, run by torch."""

import torch

from mutualvideo.backends.base import Runner
from mutualvideo.backends.cuda_graph import CudaGraphRunner
from mutualvideo.backends.torch_network import TorchBackend, network_bytes, on_device, scores_of
from mutualvideo.errors import InputError
from mutualvideo.slim import weights_layout


class ExtractedBackend(TorchBackend):
    """BatchNorm folded, channels last. Other precisions than fp32 hold for weights too."""

    name = "torch-extracted"

    def prepare(self, subnet):
        network = self.extracted(subnet)
        network.to(self.dtype, memory_format=weights_layout(network))
        runner = self.runner(subnet, self.input_shape(subnet), network)
        # The first call chooses kernels, which takes many times as long.
        runner(runner.blank())
        return runner

    def runner(self, subnet, shape, network):
        return ExtractedRunner(subnet, shape, network, self.torch_device, self.dtype)


class CompiledBackend(ExtractedBackend):
    """Through ``torch.compile``, which needs a C++ compiler on the CPU and some minutes."""

    name = "torch-compiled"

    def runner(self, subnet, shape, network):
        return super().runner(subnet, shape, torch.compile(network))


class CudaGraphBackend(ExtractedBackend):
    """One CUDA graph per sub-network: one launch instead of hundreds.

    For clips that come one at a time, where launching the kernels of a small sub-network takes
    longer than running them.
    """

    name = "torch-cudagraph"

    def __init__(self, model, device, precision):
        super().__init__(model, device, precision)
        if self.torch_device.type != "cuda":
            raise InputError(f"backend {self.name!r}: needs CUDA, the device is {self.device}")

    def runner(self, subnet, shape, network):
        return CudaGraphRunner(subnet, shape, network, self.torch_device, self.dtype)


class ExtractedRunner(Runner):
    """A plain network. Memory for activations comes from torch's allocator and goes back."""

    def __init__(self, subnet, shape, network, device, dtype):
        super().__init__(subnet, shape, network_bytes(network))
        self._network, self._device, self._dtype = network, device, dtype

    @torch.inference_mode()
    def __call__(self, clips):
        return scores_of(self._network(on_device(clips, self._device, self._dtype)))
