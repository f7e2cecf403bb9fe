"""What the backends over a slimmable torch network have in common."""

import torch

from mutualvideo.backends.base import Backend, check_precision
from mutualvideo.errors import CALIBRATE_BY_TOOLS, InputError
from mutualvideo.slim import (
    channels_last,
    extract,
    input_shape,
    require_calibrated,
    weights_layout,
)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class NetworkBackend(Backend):
    """Sub-networks of a slimmable network that lies in memory.

    Args:
        model: a slimmable network; put in eval mode.
    """

    def __init__(self, model):
        self.model = model.eval()

    def check(self, subnet):
        require_calibrated(self.model, subnet, "recognizer", CALIBRATE_BY_TOOLS)

    def input_shape(self, subnet):
        return input_shape(self.model, subnet)

    def extracted(self, subnet):
        """The sub-network as a plain network, BatchNorm folded, that needs no gradients."""
        self.check(subnet)
        return extract(self.model, subnet, fold=True).requires_grad_(False)


class TorchBackend(NetworkBackend):
    """Those that torch executes: on a device, in a precision."""

    def __init__(self, model, device, precision):
        device = torch_device(device)
        # torch has half precision on the CPU for completeness, not for speed.
        supported = [name for name in DTYPES if name != "fp16" or device.type != "cpu"]
        check_precision(precision, self.name, supported)
        super().__init__(model.to(device, memory_format=weights_layout(model)))
        self.torch_device, self.device = device, str(device)
        self.precision, self.dtype = precision, DTYPES[precision]

    def describe(self):
        return {
            **super().describe(),
            "precision": self.precision,
            "threads": torch.get_num_threads(),
            "versions": {"torch": torch.__version__},
        }


def torch_device(device):
    """``torch.device``; ``None``: CUDA where there is one, else the CPU.

    Raises:
        InputError: if it cannot be used.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {str(device)!r}: cannot be used ({reason})") from error
    return device


def on_device(clips, device, dtype=torch.float32):
    """A float32 array, see ``Runner``, as a tensor there, channels last in memory."""
    return channels_last(torch.from_numpy(clips).to(device, dtype))


def scores_of(logits):
    """float32 array of softmax scores; the copy to the CPU waits for the device."""
    return logits.float().softmax(1).cpu().numpy()


def network_bytes(network):
    """Bytes of its parameters and buffers."""
    tensors = (*network.parameters(), *network.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
