"""What every backend offers. NumPy at the boundary: not every backend needs torch."""

from __future__ import annotations

import importlib
import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from mutualvideo.errors import InputError
from mutualvideo.subnet import Subnet

if TYPE_CHECKING:
    from torch import nn

# (frames, size) of clips; frames ``None``: of pictures.
Shape = tuple[int | None, int]

PRECISIONS = ("fp32", "bf16", "fp16")


def batch_shape(shape: Shape, batch: int) -> tuple[int, ...]:
    """Of ``batch`` clips, or pictures, of ``shape``, channels first."""
    frames, size = shape
    return (batch, 3, size, size) if frames is None else (batch, 3, frames, size, size)


class Runner(ABC):
    """One sub-network, ready to answer. Calls from several threads are safe.

    Attributes:
        subnet: the :class:`~mutualvideo.Subnet`.
        shape: (frames, size) of the clips it takes; frames ``None``: pictures.
        nbytes: bytes of memory that it holds in addition to the backend's own.
        takes_several: whether it can give the sigmoid of each class instead of the softmax; one
            that can asks ``several_labels``.
        several_labels: whether it is to.
    """

    takes_several: ClassVar[bool] = False
    several_labels = False

    def __init__(self, subnet: Subnet, shape: Shape, nbytes: int = 0) -> None:
        self.subnet = subnet
        self.shape = shape
        self.nbytes = nbytes

    @abstractmethod
    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """Softmax scores of clips; with ``several_labels`` the sigmoid of each class.

        Args:
            clips: normalised float32 array (B, 3, frames, size, size), or of pictures
                (B, 3, size, size), contiguous.

        Returns:
            float32 array (B, classes); each row sums to 1, but with ``several_labels``.
        """

    def with_features(self, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The scores, and what enters the classifier's last linear layer.

        Args:
            clips: as for a call.

        Returns:
            scores, float32 (B, classes), and features, float32 (B, D): after pooling, D the
            channels that are active.

        Raises:
            InputError: if the network does not end in a linear layer.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no features")

    def score_several(self, name: str) -> Runner:
        """This runner, which from now on gives the sigmoid of each class.

        Raises:
            InputError: naming the backend, ``name``, if it cannot.
        """
        if not self.takes_several:
            raise InputError(
                f"backend {name!r}: gives scores of classes that exclude one another, and this "
                "network's videos have several labels: choose another backend"
            )
        self.several_labels = True
        return self

    def blank(self, batch: int = 1) -> np.ndarray:
        """Zeros of the shape that it takes."""
        return np.zeros(batch_shape(self.shape, batch), np.float32)


class Backend(Protocol):
    """Makes a :class:`Runner` of every sub-network.

    Attributes:
        name: what ``backend=`` calls it.
        device: where it computes: ``"cpu"``, ``"cuda"``...
        immediate: whether :meth:`prepare` costs nothing, so that there is no need to do it in
            the background.
        several_labels: whether its runners give the sigmoid of each class.
        gives_features: whether its runners have :meth:`Runner.with_features`.
    """

    name: str
    device: str = "cpu"
    immediate: bool = False
    several_labels: bool = False
    gives_features: bool = False

    @abstractmethod
    def check(self, subnet: Subnet) -> None:
        """Raises InputError if ``subnet`` cannot answer; takes no time, changes nothing."""

    @abstractmethod
    def input_shape(self, subnet: Subnet) -> Shape:
        """(frames, size) of the clip that ``subnet`` takes; frames ``None``: pictures."""

    @abstractmethod
    def prepare(self, subnet: Subnet) -> Runner:
        """The :class:`Runner` of ``subnet``. Slow; any thread may call it while others answer."""

    def describe(self) -> dict[str, Any]:
        """What a measured latency depends on apart from the machine, as JSON values."""
        return {"backend": self.name, "device": self.device}


class BackendKind:
    """What a backend's file declares: its name and what it runs.

    Defining a subclass that has a ``name`` declares it; nothing else names it. An object of it is
    the backend on one device in one precision. It runs sub-networks of a
    torch network if it has :meth:`run_network`, and exported files of its ``formats``, by
    :meth:`run_file`. A file of this package imports neither torch nor an extra at its top, for
    all of them are imported to know what there is.

    Args:
        device: ``"cpu"``, ``"cuda"``...; ``None``: the backend's choice.
        precision: of the arithmetic, one of ``PRECISIONS``.
        threads: of the CPU; ``None``: the backend's choice.

    Attributes:
        name: what ``backend=`` calls it.
        extra: the extra of this package that installs what it needs; ``None``: nothing.
        packages: distributions whose versions a measured latency depends on.
        formats: of exported files that it opens (see ``mutualvideo.export.formats``). Of the
            backends that open a format, that which names it earliest is the default.
        takes_threads: whether it can be given a number of CPU threads of its own. torch has one
            number for the process, which is not a backend's to change.
        takes_network: whether it runs sub-networks of a torch network.
        immediate: whether :meth:`run_subnet` costs nothing, see :class:`Backend`.
        gives_features: whether its runners have :meth:`Runner.with_features`.

    Raises:
        InputError: if there is no such device or precision, or a package is missing.
    """

    # Every kind by its name; the same definition, run again in a notebook, replaces the first.
    declared: ClassVar[dict[str, type[BackendKind]]] = {}

    name: ClassVar[str]
    extra: ClassVar[str | None] = None
    packages: ClassVar[tuple[str, ...]] = ()
    formats: ClassVar[tuple[str, ...]] = ()
    takes_threads: ClassVar[bool] = False
    takes_network: ClassVar[bool] = True
    immediate: ClassVar[bool] = False
    gives_features: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            return
        before = cls.declared.get(cls.name)
        if before is not None and before.__qualname__ != cls.__qualname__:
            raise InputError(
                f"backend {cls.name!r}: {before.__module__}.{before.__qualname__} has this name "
                f"already: give {cls.__module__}.{cls.__qualname__} another one"
            )
        cls.declared[cls.name] = cls

    def __init__(
        self, device: str | None = None, precision: str = "fp32", threads: int | None = None
    ) -> None:
        self.device, self.precision, self.threads = device or "cpu", precision, threads

    def place(self, model: nn.Module) -> nn.Module:
        """The slimmable network where sub-networks are to be cut out of it: on the CPU."""
        return model.to("cpu")

    def run_subnet(self, model: nn.Module, subnet: Subnet, shape: Shape) -> Runner:
        """A runner of a sub-network: it is cut out, BatchNorm folded, for :meth:`run_network`.

        Args:
            model: the slimmable network, where :meth:`place` put it, in eval mode.
            subnet, shape: for the :class:`Runner`.
        """
        from mutualvideo.slim import extract

        network = extract(model, subnet, fold=True).requires_grad_(False)
        return self.run_network(network, subnet, shape)

    def run_network(self, network: nn.Module, subnet: Subnet, shape: Shape) -> Runner:
        """A runner of a plain torch network.

        Args:
            network: in eval mode, BatchNorm folded, float32, where :meth:`place` put the
                slimmable one; takes what the runner takes and gives logits (B, classes).
            subnet, shape: for the :class:`Runner`.
        """
        raise NotImplementedError(f"backend {self.name!r} does not run torch networks")

    def run_file(self, path: Path, subnet: Subnet, shape: Shape) -> Runner:
        """A runner of an exported file of one of ``formats`` that gives logits (B, classes)."""
        raise NotImplementedError(f"backend {self.name!r} does not run exported files")

    def describe(self) -> dict[str, Any]:
        """What a measured latency depends on apart from the machine, as JSON values."""
        return {
            "backend": self.name,
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "versions": {name: importlib.metadata.version(name) for name in self.packages},
        }


def check_precision(precision: str, backend: str, supported: Iterable[str]) -> None:
    """Raises InputError unless ``precision`` is one that ``backend`` has on its device."""
    supported = list(supported)
    if precision not in supported:
        raise InputError(
            f"precision {precision!r}: backend {backend!r} has {', '.join(supported)} here"
        )


def softmax(logits: np.ndarray, several_labels: bool = False) -> np.ndarray:
    """float array (B, classes) -> float32 scores whose rows sum to 1.

    With ``several_labels`` the sigmoid of each.
    """
    logits = np.asarray(logits, np.float32)
    if several_labels:
        # Of either sign nothing overflows.
        small = np.exp(-np.abs(logits))
        return np.where(logits < 0, small, np.float32(1)) / (1 + small)
    scores = np.exp(logits - logits.max(1, keepdims=True))
    return scores / scores.sum(1, keepdims=True)
