"""What the backends over a slimmable torch network have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from mutualvideo.backends.common.base import Backend, BackendKind, Runner, Shape, check_precision
from mutualvideo.errors import CALIBRATE_BY_TOOLS, InputError
from mutualvideo.slim import channels_last, input_shape, require_calibrated
from mutualvideo.subnet import Subnet

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class NetworkBackend(Backend):
    """Sub-networks of a slimmable network that lies in memory.

    Args:
        kind: who runs them.
        model: a slimmable network; put in eval mode, and where ``kind`` wants it.
    """

    def __init__(self, kind: BackendKind, model: nn.Module) -> None:
        self.name, self.device, self.immediate = kind.name, kind.device, kind.immediate
        self.gives_features = kind.gives_features
        self.kind, self.model = kind, kind.place(model).eval()
        if kind.threads is None:
            # As many as torch uses, so that backends can be compared.
            kind.threads = torch.get_num_threads()

    def check(self, subnet: Subnet) -> None:
        require_calibrated(self.model, subnet, "recognizer", CALIBRATE_BY_TOOLS)

    def input_shape(self, subnet: Subnet) -> Shape:
        return input_shape(self.model, subnet)

    def prepare(self, subnet: Subnet) -> Runner:
        self.check(subnet)
        runner = self.kind.run_subnet(self.model, subnet, self.input_shape(subnet))
        return runner.score_several(self.name) if self.several_labels else runner

    def describe(self) -> dict[str, Any]:
        about = self.kind.describe()
        if "torch" in about["versions"]:
            # With the build, and as many threads as it has now.
            about["versions"]["torch"] = str(torch.__version__)
            about["threads"] = torch.get_num_threads()
        return about


def check_torch(backend: str, device: str | None, precision: str) -> torch.device:
    """The device on which torch is to compute for a backend.

    Raises:
        InputError: if it cannot be used, or does not have the precision.
    """
    found = torch_device(device)
    # torch has half precision on the CPU for completeness, not for speed.
    supported = [name for name in DTYPES if name != "fp16" or found.type != "cpu"]
    check_precision(precision, backend, supported)
    return found


def torch_device(device: str | torch.device | None) -> torch.device:
    """``torch.device``; ``None``: CUDA where there is one, else the CPU.

    Raises:
        InputError: if it cannot be used.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {str(device)!r}: cannot be used ({reason})") from error
    return found


def on_device(
    clips: np.ndarray, device: torch.device, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """A float32 array, see ``Runner``, as a tensor there, channels last in memory."""
    return channels_last(torch.from_numpy(clips).to(device, dtype))


def scores_of(logits: torch.Tensor, several_labels: bool = False) -> np.ndarray:
    """float32 array of softmax scores, or of sigmoids; the copy to the CPU waits for the device."""
    logits = logits.float()
    return (logits.sigmoid() if several_labels else logits.softmax(1)).cpu().numpy()


def network_bytes(network: nn.Module) -> int:
    """Bytes of its parameters and buffers."""
    tensors = (*network.parameters(), *network.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
