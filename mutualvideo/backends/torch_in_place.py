"""The slimmable network itself, switched in place: one copy of the weights."""

import threading

import torch

from mutualvideo.backends.base import Runner
from mutualvideo.backends.forking import survives_fork
from mutualvideo.backends.torch_network import TorchBackend, on_device, scores_of
from mutualvideo.slim import set_subnet, slim_state


class InPlaceBackend(TorchBackend):
    """Runners that share the network and take turns; switching is O(1) and copies nothing."""

    name = "torch"
    immediate = True

    def __init__(self, model, device, precision):
        super().__init__(model, device, precision)
        self.after_fork()
        survives_fork(self)

    def after_fork(self):
        """In a new process nobody holds the lock; there the thread that did has no copy."""
        self._lock = threading.Lock()

    def prepare(self, subnet):
        self.check(subnet)
        return InPlaceRunner(self, subnet)

    @torch.inference_mode()
    def run(self, clips, subnet):
        """Softmax scores of ``clips`` as ``subnet``."""
        with (
            self._lock,
            torch.autocast(self.torch_device.type, self.dtype, enabled=self.precision != "fp32"),
        ):
            if slim_state(self.model).subnet != subnet:
                # Not in every call: layers keep what they cut out until the next switch.
                set_subnet(self.model, subnet)
            return scores_of(self.model(on_device(clips, self.torch_device)))


class InPlaceRunner(Runner):
    """Runs the shared network as one sub-network."""

    def __init__(self, backend, subnet):
        super().__init__(subnet, backend.input_shape(subnet))
        self._backend = backend

    def __call__(self, clips):
        return self._backend.run(clips, self.subnet)
