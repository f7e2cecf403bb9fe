"""What every backend offers. NumPy at the boundary: not every backend needs torch."""

import importlib
from abc import ABC, abstractmethod

import numpy as np

from mutualvideo.errors import InputError

PRECISIONS = ("fp32", "bf16", "fp16")


def batch_shape(shape, batch):
    """Of ``batch`` clips, or pictures, of ``shape`` (frames or ``None``, size), channels first."""
    frames, size = shape
    return (batch, 3, size, size) if frames is None else (batch, 3, frames, size, size)


class Runner(ABC):
    """One sub-network, ready to answer. Calls from several threads are safe.

    Attributes:
        subnet: the :class:`~mutualvideo.Subnet`.
        shape: (frames, size) of the clips it takes; frames ``None``: pictures.
        nbytes: memory of its own, beside what the backend holds anyway, in bytes.
    """

    def __init__(self, subnet, shape, nbytes=0):
        self.subnet = subnet
        self.shape = shape
        self.nbytes = nbytes

    @abstractmethod
    def __call__(self, clips):
        """Softmax scores of clips.

        Args:
            clips: normalised float32 array (B, 3, frames, size, size), or of pictures
                (B, 3, size, size), contiguous.

        Returns:
            float32 array (B, classes); each row sums to 1.
        """

    def blank(self, batch=1):
        """Zeros of the shape that it takes."""
        return np.zeros(batch_shape(self.shape, batch), np.float32)


class Backend(ABC):
    """Makes a :class:`Runner` of every sub-network.

    Attributes:
        name: what ``backend=`` calls it.
        device: str.
        immediate: whether :meth:`prepare` costs nothing, so that there is no need to do it in
            the background.
    """

    name = None
    device = "cpu"
    immediate = False

    @abstractmethod
    def check(self, subnet):
        """Raises InputError if ``subnet`` cannot answer; takes no time, changes nothing."""

    @abstractmethod
    def input_shape(self, subnet):
        """(frames, size) of the clip that ``subnet`` takes; frames ``None``: pictures."""

    @abstractmethod
    def prepare(self, subnet):
        """The :class:`Runner` of ``subnet``. Slow; any thread may call it while others answer."""

    def describe(self):
        """What a measured latency depends on beside the machine, as JSON values."""
        return {"backend": self.name, "device": self.device}


def import_extra(package, extra, backend):
    """The module ``package``.

    Raises:
        InputError: naming the extra to install, if it cannot be imported.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"backend {backend!r}: {package} cannot be imported ({reason}): "
            f"pip install mutualvideo[{extra}]"
        ) from error


def check_precision(precision, backend, supported):
    """Raises InputError unless ``precision`` is one that ``backend`` has on its device."""
    if precision not in supported:
        raise InputError(
            f"precision {precision!r}: backend {backend!r} has {', '.join(supported)} here"
        )


def softmax(logits):
    """float array (B, classes) -> float32 scores whose rows sum to 1."""
    logits = np.asarray(logits, np.float32)
    scores = np.exp(logits - logits.max(1, keepdims=True))
    return scores / scores.sum(1, keepdims=True)
