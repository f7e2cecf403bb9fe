"""A network's buffers as they were before a step."""

import torch


class Buffers:
    """Keeps what the buffers of ``model`` hold, and puts it back.

    A module may write to a buffer, or put another tensor in its place.
    """

    def __init__(self, model):
        self._places = [
            (module, name)
            for module in model.modules()
            for name, tensor in module._buffers.items()
            if tensor is not None
        ]
        self._held, self._copies = [], []

    @torch.no_grad()
    def keep(self):
        """Remembers them as they are now."""
        self._held = [module._buffers[name] for module, name in self._places]
        alike = len(self._copies) == len(self._held) and all(
            a.shape == b.shape and a.dtype == b.dtype and a.device == b.device
            for a, b in zip(self._held, self._copies, strict=True)
        )
        if alike and self._held:
            torch._foreach_copy_(self._copies, self._held)
        else:
            self._copies = [tensor.clone() for tensor in self._held]

    @torch.no_grad()
    def put_back(self):
        """Makes them what they were when :meth:`keep` was called."""
        for (module, name), tensor in zip(self._places, self._held, strict=True):
            module._buffers[name] = tensor
        if self._held:
            torch._foreach_copy_(self._held, self._copies)
