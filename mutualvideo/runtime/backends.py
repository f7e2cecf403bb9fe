"""Who executes a sub-network: one class per backend, all with the same methods."""

import torch

from mutualvideo.errors import InputError
from mutualvideo.slim import require_calibrated, set_subnet, subnet_input


class TorchBackend:
    """The slimmable network itself, switched in place: one copy of the weights.

    Args:
        model: a slimmable network; it is put in eval mode, on ``device``, in
            ``channels_last_3d`` (3 to 7 times faster for depthwise convolutions on CPU).
        device: ``torch.device``.
    """

    def __init__(self, model, device):
        self.device = device
        self.model = model.to(device, memory_format=torch.channels_last_3d).eval()

    def check(self, subnet):
        """Raises InputError if the network cannot answer as ``subnet``; switches nothing."""
        require_calibrated(self.model, subnet, "recognizer")

    def switch(self, subnet):
        """Executes as ``subnet`` from now on; O(1)."""
        set_subnet(self.model, subnet)

    def wait(self):
        """Returns when the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @torch.inference_mode()
    def scores(self, clip, subnet):
        """Softmax scores of full-size clips.

        Args:
            clip: normalised float32 (B, 3, T, H, W) on the backend's device.
            subnet: what was switched to.

        Returns:
            float32 array (B, classes).
        """
        clip = subnet_input(self.model, clip, subnet)
        logits = self.model(clip.contiguous(memory_format=torch.channels_last_3d))
        # The copy to the CPU also waits for the device, so that latency is the whole truth.
        return logits.float().softmax(1).cpu().numpy()


_BACKENDS = {"torch": TorchBackend}


def make_backend(name, model, device):
    """The backend called ``name``.

    Args:
        name: ``torch``.
        model: a slimmable network.
        device: ``"cpu"``, ``"cuda"``...; ``None``: CUDA where there is one, else the CPU.

    Raises:
        InputError: if there is no such backend or device.
    """
    if name not in _BACKENDS:
        raise InputError(f"backend {name!r}: expected one of {', '.join(_BACKENDS)}")
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {str(device)!r}: cannot be used ({reason})") from error
    return _BACKENDS[name](model, device)
